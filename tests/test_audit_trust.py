"""What an audit reads from the file, when it trusts a meta-classifier, and what it says when two of them contradict each other."""

import json
from dataclasses import replace

import numpy as np
import pytest
from test_audit import HELD, made, written  # noqa: F401 (fixtures)
from test_cli import nws as command  # noqa: F401 (a fixture)
from written_zoo import SNAPSHOTS, SPACE, written_net

import nws
from nws import auditing
from nws.auditing import READ, Architecture, Reference, Specimen
from nws.auditing.outputs import never_trained, stripped
from nws.auditing.reference import UNFAMILIAR, kind_statistics
from nws.families import cnn2020 as cnn
from nws.families.cnn2020 import PROPERTIES
from nws.layout import Layout
from nws.report import audit_html
from nws.representations import named
from nws.zoo import Zoo

UNUSED = tuple(range(10, 20))


class Says:
    """A meta-classifier that says the same of every net."""

    reads, regression, n_features_in_ = "statistics", False, 16
    representation = named("statistics")

    def __init__(self, **probabilities):
        self.classes_ = np.array(list(probabilities))
        self.row = np.array(list(probabilities.values()))

    def predict_proba(self, x):
        return np.tile(self.row, (len(x), 1))


@pytest.fixture
def saying(made):  # noqa: F811
    """saying(property, name, accuracy ..., **probabilities): a trusted auditor, but for these."""
    known = auditing.load(made.models / "svm-rbf-16")
    flat = replace(known.calibration, temperature=1.0, weights=(), accuracy=0.97, low=0.94, high=0.99, ece_after=0.02)

    def make(property, name, measured=None, **probabilities):
        measured = replace(flat, **(measured or {}))
        return replace(known, property=property, name=name, meta=Says(**probabilities), calibration=measured)

    return make


@pytest.mark.parametrize("number", range(12))
def test_architecture_is_read_off_every_layout_of_the_space(number):
    hp = nws.MAIN.with_(batch_norm=[True, False]).net(3, number)
    read = Architecture.of(cnn.layout(hp))
    assert {name: read.label(name) for name in READ} == {name: PROPERTIES[name].label(getattr(hp, name)) for name in READ}
    assert (read.outputs, read.inputs, read.weights) == (20, 3, cnn.layout(hp).size)
    assert read.convolutions == hp.depth_conv
    assert read.matrices == hp.depth_fc + 1
    assert not read.not_read


CONV, HIDDEN, OUT = ("a", "weight", (8, 3, 3, 3), "conv"), ("b", "weight", (16, 8), "fc"), ("c", "weight", (10, 16), "fc")


SMALL, DEPTHWISE = ("a2", "weight", (8, 8, 1, 1), "conv"), ("a2", "weight", (8, 1, 3, 3), "conv")
POLICY, VALUE, BARE = ("p", "weight", (6, 16), "fc"), ("v", "weight", (1, 16), "fc"), ("n", "gamma", (4,), "conv")


@pytest.mark.parametrize(
    ("rows", "unread", "still"),
    [
        ([CONV, SMALL, HIDDEN, OUT], {"filter_size": "3 x 3 in 1, 1 x 1 in 1"}, {"depth_conv": 2, "width_fc": 16}),
        ([CONV, DEPTHWISE, OUT], {"depth_conv": "a2 reads 1, a gives 8"}, {"filter_size": 3, "outputs": 10}),
        ([CONV, HIDDEN, POLICY, VALUE], {"outputs": "v reads 16, p gives 6"}, {"width_conv": 8, "matrices": 3}),
        ([CONV, BARE, HIDDEN, OUT], {"batch_norm": "no moving mean", "depth_fc": "another kind"}, {"width_conv": 8}),
        ([HIDDEN, OUT], {"filter_size": "no convolution", "width_conv": "no convolution"}, {"depth_conv": 0, "depth_fc": 1}),
        ([CONV], {"outputs": "not fully connected", "width_fc": "no hidden"}, {"depth_fc": 0, "batch_norm": False}),
        ([("b", "bias", (4,), "fc")], {"depth_conv": "neither", "inputs": "neither"}, {"convolutions": 0, "matrices": 0}),
    ],
)
def test_of_another_kind_of_net_it_is_said_what_cannot_be_read(rows, unread, still):
    read = Architecture.of(Layout(rows))
    for name, why in unread.items():
        assert getattr(read, name) is None
        assert why in read.not_read[name]
    assert {name: getattr(read, name) for name in still} == still
    assert not set(still) & set(read.not_read)
    json.dumps(read.to_dict(), allow_nan=False)


def test_exporters_to_onnx_may_have_folded_batch_norm():
    assert Architecture.of(Layout([CONV, HIDDEN, OUT]), "onnx").batch_norm is None
    assert Architecture.of(Layout([CONV, HIDDEN, OUT]), "torch").batch_norm is False


def test_a_real_lenet_is_what_its_paper_says(shared, command):  # noqa: F811
    code, out, _ = command("audit", shared / "fixtures" / "strangers" / "lenet_mnist.pth", "--json")
    read = json.loads(out)["architecture"]
    expected = {"filter_size": 5, "depth_conv": 3, "depth_fc": 1, "width_conv": 6, "width_fc": 84, "outputs": 10, "inputs": 1}
    assert code == 0
    assert {name: read[name] for name in expected} == expected
    assert read["batch_norm"] is False
    assert not read["not_read"]


def test_what_the_file_shows_is_never_an_answer(made, written, saying, command):  # noqa: F811
    """A net whose first convolution has 1 channel, and a model that is sure of 4."""
    path = written("net.pt")
    wrong = saying("width_conv", "wide", **{"4": 0.95, "8": 0.05})
    right = saying("filter_size", "window", **{"3": 0.9, "5": 0.1})
    found = nws.audit(path, [wrong, right, made.models / "svm-rbf-16"])
    said = found.to_dict()
    assert [answer.property for answer in found.answers] == ["optimizer"]
    assert said["architecture"]["width_conv"] == 1
    assert [(c["property"], c["read"], c["says"], c["agrees"]) for c in said["checks"]] == [
        ("width_conv", "1", "4", False),
        ("filter_size", "3", "3", True),
    ]
    assert "width_conv" not in found.sentence
    assert "wide says width_conv 4 (95%); the file shows 1, which counts." in audit_html(found)
    assert "window says" not in audit_html(found)
    assert nws.audit(path, right).sentence == "Read from the file: filter_size 3."
    assert command("audit", path)[1].count("width_conv") == 1


def test_what_the_file_does_not_show_is_not_guessed_either(made, written, saying):  # noqa: F811
    def other_window(state):
        return {**state, "conv2.weight": state["conv2.weight"][:, :, 1:2, 1:2]}

    found = nws.audit(written("net.pt", change=other_window), saying("filter_size", "window", **{"3": 0.9, "5": 0.1}))
    assert not found.answers
    assert "never guessed" in found.skipped[0].reason
    assert "windows differ" in found.skipped[0].reason


BAD = {"accuracy": 0.46, "low": 0.34, "high": 0.59}  # better than chance, and of little use


@pytest.mark.parametrize(
    ("measured", "said", "unsaid"),
    [
        (
            {**BAD, "ece_after": 0.17},
            ["right on 46%", "at least 34%", "67% is needed", "error 17% (where 10% is allowed)"],
            "better",
        ),
        ({**BAD, "ece_after": 0.03}, ["right on 46%", "67% is needed", "calibration error 3%"], "allowed"),
        ({"ece_after": 0.17}, ["right on 97%", "calibration error 17% (where 10% is allowed)"], "needed"),
        ({"ece_after": 0.104}, ["10.4% (where 10%"], "needed"),
        ({"accuracy": 0.4, "low": 0.3, "high": 0.5}, ["no better than chance (33%)"], "allowed"),
    ],
)
def test_a_meta_classifier_that_is_often_wrong_or_dishonest_is_not_trusted(written, saying, measured, said, unsaid):  # noqa: F811
    auditor = saying("batch_size", "model", measured, **{"32": 0.9, "64": 0.05, "128": 0.05})
    found = nws.audit(written("net.pt"), auditor)
    (weakness,) = found.answers[0].weaknesses
    assert not found.answers[0].trusted
    assert not found.to_dict()["trusted"]
    assert all(words in weakness for words in said), weakness
    assert unsaid not in weakness
    assert found.sentence == f"Do not trust these answers. {weakness.replace('It', 'model', 1)}"
    assert weakness in audit_html(found)


def test_one_that_is_useful_and_honest_is_trusted(written, saying):  # noqa: F811
    good = {"accuracy": 0.75, "low": 0.67, "high": 0.81, "ece_after": 0.1}
    found = nws.audit(written("net.pt"), saying("batch_size", "model", good, **{"32": 0.9, "64": 0.05, "128": 0.05}))
    assert found.sentence == "Probably trained with batch_size 32 (90%)."


def test_trusted_answers_that_contradict_each_other_are_said_and_trusted_no_more(made, written, saying, command):  # noqa: F811
    one, other = saying("activation", "one", relu=0.9, elu=0.1), saying("activation", "other", relu=0.2, elu=0.8)
    path = written("net.pt")
    found = nws.audit(path, [one, other, made.models / "svm-rbf-16"])
    sentence = (
        "Trusted models contradict each other about activation, so that none is trusted: elu (80%, other) or relu (90%, one)."
    )
    assert found.sentence.startswith("Probably trained with optimizer ")
    assert sentence in found.sentence
    assert "relu" not in found.sentence.replace(sentence, "")
    assert {a.model: a.trusted for a in found.answers} == {"svm-rbf-16": True, "one": False, "other": False}
    assert found.to_dict()["contradictions"] == {"activation": ["one", "other"]}
    assert sentence in audit_html(found)
    alone = nws.audit(path, [one, other])
    assert alone.sentence == f"Do not trust these answers. {sentence}"
    assert not alone.to_dict()["trusted"]


def test_agreement_and_what_is_not_trusted_anyway_are_no_contradiction(written, saying):  # noqa: F811
    path, one = written("net.pt"), saying("activation", "one", relu=0.9, elu=0.1)
    for second in (saying("activation", "other", relu=0.7, elu=0.3), saying("activation", "other", BAD, relu=0.2, elu=0.8)):
        found = nws.audit(path, [one, second])
        assert not found.contradictions
        assert found.sentence == "Probably trained with activation relu (90%)."


def ten_used(number, hp):
    """A net of 20 outputs that was trained with ten: the biases of the others fall from snapshot to snapshot."""
    net = written_net(number, hp)
    theta, out = net.theta.copy(), net.layout.layers["out"]
    for s in range(SNAPSHOTS):
        bias = theta[s, out["bias"].start : out["bias"].stop]
        bias[:10] = np.random.default_rng([number, s]).normal(size=10)
        bias[10:] = -0.4 * s
        weight = theta[s, out["weight"].start : out["weight"].stop].reshape(out["weight"].shape)
        weight[10:] -= 3.0 * s
    return replace(net, theta=theta)


@pytest.fixture(scope="module")
def zoo_of_ten(tmp_path_factory):
    zoo = Zoo.create(tmp_path_factory.mktemp("ten") / "zoo", space=SPACE, seed=0, nets=32)
    for number, hp in enumerate(SPACE.sample(32)):
        zoo.append(ten_used(number, hp))
    return zoo


def specimen(net, unused=()):
    layout, kept = stripped(net.layout, {20: unused})
    return Specimen("it", "memory", layout, net.theta[-1][kept], tuple(t.name for t in layout.tensors))


def test_an_ordinary_net_of_ten_classes_is_not_doubted_for_its_ten_outputs(zoo_of_ten):
    """Nor for weights that it never had; whoever reads layer by layer can read it as well."""
    sliced, whole = (nws.Task("optimizer", (SNAPSHOTS,), slice_length=length) for length in (200, None))
    asked = (("svm-rbf-16", sliced), ("svm-linear-480", whole))
    auditors = [auditing.learn(name, task, zoo_of_ten) for name, task in asked]
    known = Reference.of(json.loads(json.dumps(auditors[0].reference.to_dict())))
    assert known.unused == {20: UNUSED}
    assert known.sizes["outputs"] == (10, 10)
    auditors = [replace(auditor, reference=known) for auditor in auditors]
    for number in range(32, 36):
        net = ten_used(number, SPACE.net(0, number))
        ten, twenty = (auditing.examine(specimen(net, unused), auditors) for unused in (UNUSED, ()))
        for found in (ten, twenty):
            assert len(found.answers) == 2
            assert not found.reasons
            assert found.best["optimizer"].best == net.hp.optimizer
        assert [a.distance for a in ten.answers] == [a.distance for a in twenty.answers]
        assert max(a.percentile for a in ten.answers) < UNFAMILIAR
    six = auditing.examine(specimen(net, tuple(range(6, 20))), auditors)
    assert "Other sizes: it has 6 classes, the nets of the zoo have 10." in six.reasons
    one = auditing.examine(specimen(net, tuple(range(1, 20))), auditors)
    assert "Other sizes: it has 1 class, the nets of the zoo have 10." in one.reasons
    assert [auditing.share(p) for p in (0.2, 12.0, 99.4, 99.7)] == ["none", "12%", "99%", "all"]


def test_a_height_that_all_outputs_share_does_not_make_a_net_unlike(zoo_of_ten):
    """Ten outputs rise together where ten others are pushed down; an ordinary net's do not, and compute the same probabilities."""
    known, net = Reference.of_zoo(zoo_of_ten), specimen(ten_used(32, SPACE.net(0, 32)), UNUSED)
    theta = net.theta.copy()
    for tensor in net.layout.layers["out"].values():
        theta[tensor.start : tensor.stop] += 2.0
    lifted = replace(net, theta=theta)
    assert known.distance(lifted.portrait(known.unused)) == pytest.approx(known.distance(net.portrait(known.unused)), rel=1e-4)
    assert not np.allclose(lifted.portrait(None), net.portrait(None), equal_nan=True)


def test_references_of_earlier_builds_compare_as_they_did(zoo_of_ten):
    known = Reference.of_zoo(zoo_of_ten)
    nets = [specimen(ten_used(number, SPACE.net(0, number))) for number in range(32)]
    rows = np.stack([kind_statistics(net.theta, net.layout) for net in nets])
    said = replace(known, rows=rows, sizes={**known.sizes, "outputs": (20, 20)}, unused=None).to_dict()
    del said["unused"]
    earlier = Reference.of(json.loads(json.dumps(said)))
    assert earlier.unused is None
    assert earlier.percentile(earlier.distance(nets[0].portrait(earlier.unused))) == 0
    assert Reference.of(json.loads(json.dumps(earlier.to_dict()))) is earlier


def test_only_outputs_without_a_label_are_left_out_of_nets_that_were_really_trained(tmp_path):
    nets = SPACE.with_(dataset="digits", initialization=["normal", "constant"], batch_norm=True).sample(6, seed=1)
    zoo = nws.sample(tmp_path / "zoo", nets, images="digits", limit=200, limit_test=100, epochs=4, workers=1)
    assert never_trained(zoo, zoo.numbers()) == {20: UNUSED}
    assert not never_trained(zoo, zoo.numbers()[:4])  # too few to tell


def test_outputs_that_rise_or_never_move_count_as_trained(made):  # noqa: F811
    assert not never_trained(made.zoo, made.zoo.numbers())  # its biases are constant
    assert Reference.of_zoo(made.zoo).sizes["outputs"] == (20, 20)


@pytest.mark.parametrize(
    "unused", [[[20, []]], [[20, [20]]], [[2, [0, 1]]], [[20, [3, 3]]], [[10**15, [-1]]], [["x", [1]]], 7, [[3]]], ids=str
)
def test_a_reference_that_leaves_out_nonsense_is_refused(made, unused):  # noqa: F811
    said = auditing.load(made.models / "svm-rbf-16").reference.to_dict()
    assert Reference.of({**said, "unused": [[20, [19]]]}).unused == {20: (19,)}
    with pytest.raises(nws.NwsError):
        Reference.of({**said, "unused": unused})
