"""The audit of one file: the same answer however it was saved, honest about strangers, and nothing in it is run or believed."""

import json
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from safetensors.numpy import save_file
from test_cli import nws as command  # noqa: F401 (a fixture)
from test_cli import refused
from written_zoo import SNAPSHOTS, written_zoo

import nws
from nws import auditing, meta
from nws.auditing import reference
from nws.auditing.reference import kind_statistics
from nws.report import audit_html, write_audit
from nws.tasks.inputs import Inputs, Where
from nws.zoo.netfile import net_path

SLICE = 200
HELD = 32  # a net that no meta-classifier learned from


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A zoo of 36 nets of which 32 were learned from, and two saved auditors of the optimizer: on slices, and layer-wise."""
    folder = tmp_path_factory.mktemp("audit")
    zoo, all_nets = written_zoo(folder / "zoo"), written_zoo(folder / "all", nets=36)
    inputs = Inputs(zoo, test_slices=auditing.SLICES)
    for name, length in (("svm-rbf-16", SLICE), ("svm-linear-480", None)):
        auditing.learn(name, nws.Task("optimizer", (SNAPSHOTS,), slice_length=length), inputs).save(folder / "models" / name)
    return SimpleNamespace(zoo=zoo, all=all_nets, models=folder / "models")


@pytest.fixture
def written(made, tmp_path):
    """written(name, net, change): the file of a net's last snapshot, its state dict changed."""

    def write(name, number=HELD, change=lambda state: state):
        layout = made.all.layout(number)
        state = layout.state_dict(made.all.theta(number, SNAPSHOTS))
        state = {key: np.ascontiguousarray(array) for key, array in change(state).items()}
        if name.endswith(".safetensors"):
            save_file(state, tmp_path / name, {"order": json.dumps(list(state))})
        elif name.endswith(".npz"):
            np.savez(tmp_path / name, **state)
        else:
            torch.save({key: torch.from_numpy(array) for key, array in state.items()}, tmp_path / name)
        return tmp_path / name

    return write


def probabilities(found):
    return {answer.model: answer.probabilities for answer in found.answers}


def test_a_file_is_read_as_the_zoo_reads_the_net(made, written):
    """Slices, statistics and probabilities are those of `Inputs`, which evaluation uses; calibration comes on top."""
    inputs = Inputs(made.all, test_slices=auditing.SLICES)
    found = nws.audit(written("net.pt"), made.models)
    assert [a.meta for a in found.answers] == ["svm-linear-480", "svm-rbf-16"]
    for answer in found.answers:
        auditor = auditing.load(made.models / answer.model)
        where = Where("all", auditor.slice_length, (SNAPSHOTS,))
        rows = inputs.rows(auditor.meta.representation, where, np.array([HELD]), test=True)
        expected = auditor.meta.predict_proba(rows)
        assert_allclose([e.probabilities for e in answer.evidence], expected)
        assert_allclose(answer.probabilities, auditor.calibration.probabilities(expected))
        assert sum(answer.votes) == len(expected)
        assert sum(answer.probabilities) == pytest.approx(1)


def test_a_net_of_a_zoo_is_audited_like_its_last_snapshot(made, written):
    of_zoo = nws.audit(net_path(made.all.path, HELD), made.models)
    assert [a.probabilities for a in of_zoo.answers] == [a.probabilities for a in nws.audit(written("net.pt"), made.models).answers]
    assert any("snapshots" in note for note in of_zoo.notes)


def test_nets_held_out_are_read_rightly_and_trusted(made, written):
    for number in range(32, 36):
        found = nws.audit(written("net.npz", number), made.models)
        truth = made.all.net(number).hp.optimizer
        assert all(answer.trusted for answer in found.answers), found.reasons
        assert found.best["optimizer"].best == truth
        assert found.sentence.startswith(f"Probably trained with optimizer {truth} (")


def test_format_order_of_tensors_and_a_training_state_around_them_do_not_matter(made, written, tmp_path):
    plain = nws.audit(written("net.safetensors"), made.models)
    assert plain.answers

    def backwards(state):
        return dict(reversed(state.items()))

    # safetensors without its order and reversed: the names tell
    state = backwards(made.all.layout(HELD).state_dict(made.all.theta(HELD, SNAPSHOTS)))
    save_file({key: np.ascontiguousarray(array) for key, array in state.items()}, tmp_path / "sorted.safetensors")
    training = {"epoch": 3, "optimizer": {"state": {0: {"exp_avg": torch.ones(5)}}}, "model": torch.load(written("net.pt"))}
    torch.save(training, tmp_path / "state.ckpt")
    for path in (written("net.pt"), written("net.npz"), tmp_path / "sorted.safetensors", tmp_path / "state.ckpt"):
        assert probabilities(nws.audit(path, made.models)) == probabilities(plain), path
    assert any("found in model" in note for note in nws.audit(tmp_path / "state.ckpt").notes)


def test_evidence_runs_through_the_net(made, written):
    by_model = {a.model: a for a in nws.audit(written("net.pt"), made.models).answers}
    evidence = by_model["svm-rbf-16"].evidence
    assert len(evidence) == auditing.SLICES
    assert (evidence[0].start, evidence[-1].stop) == (0, made.all.layout(HELD).size)
    assert all(e.stop - e.start == SLICE for e in evidence)
    layers = list(made.all.layout(HELD).layers)
    visited = [layers.index(e.layer) for e in evidence]
    assert visited == sorted(visited)
    assert len(by_model["svm-linear-480"].evidence) == 1


def disturbed(made, number, how):
    layout, rng = made.all.layout(number), np.random.default_rng(number)
    theta = made.all.theta(number, SNAPSHOTS)
    new = {"gaussian": rng.normal(0, theta.std(), theta.size), "permuted": rng.permutation(theta), "small": theta / 100}[how]
    names = tuple(t.name for t in layout.tensors)
    return auditing.Specimen("it", "memory", layout, new.astype(np.float32), names)


@pytest.mark.parametrize("how", ["gaussian", "permuted", "small"])
def test_random_weights_are_noticed(made, how):
    auditor = auditing.load(made.models / "svm-rbf-16")
    for number in range(HELD, 36):
        found = auditing.examine(disturbed(made, number, how), [auditor])
        assert not found.answers[0].trusted
        assert "further from the nets of the zoo" in " ".join(found.reasons)
        assert found.sentence.startswith("Do not trust")


def portrait(zoo, number):
    return reference.portrait(zoo.theta(number, SNAPSHOTS), zoo.layout(number), {})


def test_the_distance_to_itself_is_small_and_to_half_of_the_zoo_is_larger(made):
    known = auditing.load(made.models / "svm-rbf-16").reference
    inside = known.distance(portrait(made.zoo, 0))
    assert known.percentile(inside) == 0
    assert known.percentile(float("inf")) == 100
    held = [known.percentile(known.distance(portrait(made.all, n))) for n in range(32, 36)]
    assert max(held) < 100
    adam = np.array([made.zoo.net(n).hp.optimizer == "adam" for n in made.zoo.numbers()])
    half = replace(known, rows=known.rows[adam])
    other = int(np.flatnonzero(~adam)[0])
    assert half.percentile(half.distance(portrait(made.zoo, other))) == 100


def without_norm(state):
    return {name: array for name, array in state.items() if "_norm." not in name}


def quantised(state):
    def rounded(array):
        step = np.abs(array).max() / 127
        return (np.round(array / step) * step).astype(np.float32)

    return {name: rounded(array) if array.ndim > 1 else array for name, array in state.items()}


def narrower(state):
    name = next(reversed([name for name, array in state.items() if array.ndim == 2]))
    return {**state, name: state[name][:5], name.replace("weight", "bias"): state[name.replace("weight", "bias")][:5]}


def with_counters(state):
    return {**state, "conv1.scale_of": np.arange(6).reshape(2, 3)}


def attentive(state):
    return {**state, "encoder.self_attn.in_proj.weight": np.ones((12, 4), np.float32)}


def untrained(state):
    def start(name, array):
        if array.ndim > 1:
            return array
        return np.full_like(array, name.endswith(("_norm.weight", "running_var")))

    return {name: start(name, array) for name, array in state.items()}


def broken(state):
    name = next(iter(state))
    array = state[name].copy()
    array.flat[0] = np.nan
    return {**state, name: array}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without_norm, "no batch norm, which every net of the zoo has"),
        (quantised, "weights are quantised"),
        (with_counters, "whole numbers"),
        (attentive, "named like those of a transformer"),
        (untrained, "looks untrained"),
        (narrower, "Other sizes"),
        (broken, "1 of its"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_is_odd_is_said_in_plain_words(made, written, change, said):
    found = nws.audit(written("net.pt", change=change), made.models / "svm-rbf-16")
    assert not found.answers[0].trusted
    assert any(said in reason for reason in found.reasons), found.reasons
    assert all(reason.endswith(".") and "\n" not in reason for reason in found.reasons)
    json.dumps(found.to_dict(), allow_nan=False)


def test_another_architecture_is_skipped_by_what_reads_layers_and_answered_by_slices(made, written, command):  # noqa: F811
    path = written("net.pt", change=narrower)
    found = nws.audit(path, made.models)
    assert [answer.model for answer in found.answers] == ["svm-rbf-16"]
    assert [(s.model, "other shapes" in s.reason) for s in found.skipped] == [("svm-linear-480", True)]
    assert command("audit", path, "--with", made.models)[0] == 0
    code, out, _ = command("audit", path, "--with", made.models / "svm-linear-480", "--json")
    assert code == 2
    assert json.loads(out)["sentence"] == "No model could read this net."


def test_a_net_shorter_than_a_slice_is_skipped(made, tmp_path):
    np.savez(tmp_path / "short.npz", **{"fc.weight": np.ones((3, 4), np.float32)})
    found = nws.audit(tmp_path / "short.npz", made.models / "svm-rbf-16")
    assert "less than a slice of 200" in found.skipped[0].reason


def test_a_model_of_classify_answers_but_is_not_trusted(made, written, tmp_path):
    from nws.tasks.evaluation import evaluate

    evaluate(["svm-linear-16"], [nws.Task("optimizer", (SNAPSHOTS,))], made.zoo, rounds=1, out=tmp_path / "results")
    (answer,) = nws.audit(written("net.pt"), tmp_path / "results").answers
    assert (answer.property, answer.calibration, answer.trusted) == ("optimizer", None, False)
    assert "not made for audits" in answer.weaknesses[0]


def test_a_property_that_is_not_in_the_weights_is_not_trusted(made, written):
    auditor = auditing.learn("svm-linear-16", nws.Task("dataset", (SNAPSHOTS,), slice_length=SLICE), made.zoo)
    (answer,) = nws.audit(written("net.pt"), auditor).answers
    assert not answer.trusted
    assert "no better than chance" in answer.weaknesses[0]
    assert not answer.reasons


def test_each_net_held_out_is_as_far_as_if_it_came_alone():
    """Also where nets differ in the kinds of weights they have, and where one is the only one of its kind."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(20, reference.WIDTH)).astype(np.float32)
    rows[12:19, :16] = np.nan
    rows[19, 16:48] = np.nan
    known = reference.Reference(rows, {}, None)
    alone = [reference._nearest(known._places[k], np.delete(known._places, k, 0)) for k in range(20)]
    assert_allclose(known._held_out, alone)
    assert reference.Reference.of(known.to_dict()) is reference.Reference.of(json.loads(json.dumps(known.to_dict())))


def test_statistics_of_kinds_say_which_kinds_there_are(made):
    layout = made.zoo.layout(0)
    row = kind_statistics(made.zoo.theta(0, 1), layout)
    assert np.isfinite(row).all()
    bare = layout.without(("norm",))
    row = kind_statistics(made.zoo.theta(0, 1)[layout.kept(("norm",))], bare)
    assert np.isnan(row[3 * 16 :]).all()
    assert np.isfinite(row[: 3 * 16]).all()


HOSTILE = "<script>alert('1')</script>\"&\n[red]"


class Harm:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return exec, (f"open({str(self.path)!r}, 'w')",)


def test_nothing_in_the_file_is_run(made, tmp_path, command):  # noqa: F811
    torch.save({"model": {"fc.weight": torch.ones(3, 4)}, "x": Harm(tmp_path / "harm")}, tmp_path / "net.pt")
    refused(command("audit", tmp_path / "net.pt", "--with", made.models), "net.pt")
    assert not (tmp_path / "harm").exists()


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def test_hostile_names_are_data_everywhere(made, written, tmp_path, command):  # noqa: F811
    path = written("net.pt", change=lambda state: {f"{HOSTILE}{name}": array for name, array in state.items()})
    hostile = tmp_path / "<img src=x onerror=alert(1)>.pt"
    path.rename(hostile)
    found = nws.audit(hostile, made.models)
    assert len(found.answers) == 2
    page = Tags(write_audit(found, tmp_path / "page.html").read_text())
    assert not [tag for tag, attrs in page.tags if tag in ("script", "img", "iframe") or any(k.startswith("on") for k in attrs)]
    policy = next(attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv"))
    assert policy.startswith("default-src 'none'")
    assert not [attrs for _, attrs in page.tags if "style" in attrs or str(attrs.get("href", "")).startswith("http")]
    assert command("audit", hostile, "--with", made.models)[0] == 0
    assert command("audit", hostile)[1].count("[red]")  # not taken for a colour


def test_the_command_gives_all_as_json_and_a_page(made, written, tmp_path, command):  # noqa: F811
    path = written("net.pt")
    code, out, _ = command("audit", path, "--with", made.models, "--json", "--html", tmp_path / "page.html")
    found = nws.audit(path, [made.models])
    assert code == 0
    assert json.loads(out) == json.loads(json.dumps(found.to_dict()))
    assert (tmp_path / "page.html").read_text() == audit_html(found)
    assert out.count('"evidence"') == 2
    code, out, _ = command("audit", path, "--with", made.models / "svm-rbf-16.json")
    assert code == 0
    assert out.startswith("Probably trained with optimizer")
    code, out, _ = command("audit", path)
    assert code == 0
    assert "conv1" in out


def test_bad_input_is_one_line(made, written, tmp_path, command):  # noqa: F811
    path = written("net.pt")
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.pt").write_text("no weights")
    refused(command("audit", tmp_path / "none.pt", "--with", made.models), "none.pt")
    refused(command("audit", tmp_path / "text.pt"), "text.pt")
    (tmp_path / "net.txt").write_text("no weights")
    refused(command("audit", tmp_path / "net.txt"), "is text, not weights")
    refused(command("audit", path, "--with", tmp_path / "empty"), "holds no saved meta-classifier")
    refused(command("audit", path, "--with", tmp_path / "model"), "model does not exist")
    refused(command("audit", path, "--with", made.models, "--html", tmp_path), "cannot be written")


MEASURED = {"temperature": 1.0, "weights": [], "nets": 9, "accuracy": 0.5, "low": 0.4, "high": 0.6}
MEASURED |= {"ece_before": 0.1, "ece_tempered": 0.1, "ece_after": 0.1}


@pytest.mark.parametrize(
    "change",
    [
        {"property": 3},
        {"part": "<b>"},
        {"slice_length": 1},
        {"slice_length": "many"},
        {"without": ["sense"]},
        {"audit": 3},
        {"audit": {"slices": -1}},
        {"audit": {"calibration": {"temperature": 0}}},
        {"audit": {"calibration": {**MEASURED, "temperature": 0}}},
        {"audit": {"calibration": {**MEASURED, "weights": [[1.0] * 7] * 3}}},  # it knows two classes
        {"audit": {"calibration": {**MEASURED, "weights": [[1.0, 2.0]]}}},
        {"audit": {"calibration": {**MEASURED, "weights": [["1.0"] * 5] * 2}}},
        {"audit": {"calibration": {**MEASURED, "weights": [3]}}},
        {"audit": {"reference": {"rows": "AAAA", "sizes": {}, "architecture": None}}},
        {"audit": {"reference": {"rows": 3}}},
    ],
    ids=str,
)
def test_a_model_that_says_nonsense_about_itself_is_refused(made, tmp_path, change):
    loaded = meta.load(made.models / "svm-rbf-16")
    meta.save(loaded, tmp_path / "odd", {**loaded.about_, **change})
    with pytest.raises(nws.NwsError, match="odd"):
        auditing.load(tmp_path / "odd")


def test_a_meta_classifier_of_whole_nets_reads_the_whole_net(made, written, tmp_path):
    loaded = meta.load(made.models / "svm-rbf-16")
    meta.save(loaded, tmp_path / "whole", {**loaded.about_, "slice_length": "whole"})
    (answer,) = nws.audit(written("net.pt"), tmp_path / "whole").answers
    assert [(e.start, e.stop) for e in answer.evidence] == [(0, made.all.layout(HELD).size)]
