"""The protocol: no net on both sides, balanced classes, honest intervals."""

import functools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, ClassifierMixin

import nws
from nws.errors import NwsError
from nws.families import cnn2020 as cnn
from nws.net import HISTORY, Net
from nws.representations import named
from nws.tasks import evaluation, results
from nws.tasks.evaluation import evaluate, fits
from nws.tasks.inputs import Inputs, Where
from nws.tasks.protocol import Task, draw_round, interval
from nws.zoo import Zoo

SPACE = nws.FIXED.with_(
    filter_size=3,
    width_conv=1,
    width_fc=8,
    dataset=["mnist", "toy"],
    optimizer=["adam", "momentum"],
    activation=["relu", "elu", "tanh"],
)
SNAPSHOTS = 3


def make_net(number, hp, rng):
    """A net whose optimizer is written all over its weights and whose other properties are nowhere."""
    layout = cnn.layout(hp)
    theta = rng.normal(scale=2.0 if hp.optimizer == "adam" else 1.0, size=(SNAPSHOTS, layout.size)).astype(np.float32)
    history = np.zeros((SNAPSHOTS, len(HISTORY)))
    history[:, 1:] = 0.9 if number % 5 else 0.1
    return Net(number, hp, layout, theta, np.arange(SNAPSHOTS), history)


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    rng = np.random.default_rng(0)
    zoo = Zoo.create(tmp_path_factory.mktemp("zoos") / "zoo", space=SPACE, seed=0, nets=48)
    for number, hp in enumerate(SPACE.sample(48)):
        zoo.append(make_net(number, hp, rng))
    return zoo


class Spy(ClassifierMixin, BaseEstimator):
    """Remembers nothing but counts classes: always says the first class. Records which rows it was given."""

    reads = "statistics"
    representation = named("statistics")
    seen: list = []  # noqa: RUF012

    def __init__(self, regression=False, random_state=0):
        self.regression = regression
        self.random_state = random_state

    def fit(self, x, y):
        self.classes_ = np.unique(y)
        Spy.seen.append(("fit", np.asarray(x), np.asarray(y)))
        return self

    def predict_proba(self, x):
        Spy.seen.append(("test", np.asarray(x), None))
        p = np.zeros((len(x), len(self.classes_)))
        p[:, 0] = 1
        return p


@given(counts=st.lists(st.integers(2, 30), min_size=2, max_size=5), seed=st.integers(0, 1000), stored=st.booleans())
def test_no_net_on_both_sides_and_every_class_the_same_number(counts, seed, stored):
    y = np.repeat([f"class{c}" for c in range(len(counts))], counts)
    nets = np.random.default_rng(seed).permutation(len(y) * 3)[: len(y)]
    sides = None
    if stored:  # each class on both sides, so that a split exists
        sides = np.concatenate([["test", "train", *(["train"] * (n - 2))] for n in counts])
    drawn = draw_round(nets, y, sides, np.random.default_rng(seed))
    assert not set(drawn.train) & set(drawn.test)
    label = dict(zip(nets, y))
    for side in (drawn.train, drawn.test):
        assert len(set(side)) == len(side)
        per_class = [sum(label[n] == c for n in side) for c in set(y)]
        assert len(set(per_class)) == 1
        assert per_class[0] >= 1
    if stored:
        assert all(sides[list(nets).index(n)] == "test" for n in drawn.test)


def test_no_snapshot_of_a_test_net_is_trained_on(zoo):
    Spy.seen.clear()
    evaluate({"spy": Spy()}, Task("optimizer", snapshots=(1, 2, 3)), zoo, rounds=4)
    for (fit, x, _), (test, z, _) in zip(Spy.seen[::2], Spy.seen[1::2], strict=True):
        assert (fit, test) == ("fit", "test")
        assert not {row.tobytes() for row in x} & {row.tobytes() for row in z}
        assert len(x) % 3 == len(z) % 3 == 0


def test_rounds_differ_and_metas_see_the_same_rounds(zoo):
    Spy.seen.clear()
    evaluate({"one": Spy(), "two": Spy()}, Task("activation"), zoo, rounds=2)
    fits = [x for what, x, _ in Spy.seen if what == "fit"]
    np.testing.assert_array_equal(fits[0], fits[2])
    np.testing.assert_array_equal(fits[1], fits[3])
    assert not np.array_equal(fits[0], fits[1])


def test_a_constant_guess_is_exactly_chance(zoo):
    for name in ("optimizer", "activation", "dataset", "augmentation"):
        (row,) = evaluate({"spy": Spy()}, Task(name), zoo, rounds=3)
        assert row.accuracy == pytest.approx(row.chance)
        assert row.chance == 1 / len(row.classes)
        assert row.classes == {"optimizer": ("adam", "momentum"), "activation": ("relu", "elu", "tanh")}.get(name, row.classes)
        assert row.low <= row.accuracy <= row.high


def test_what_is_written_in_the_weights_is_read_and_what_is_not_is_not(zoo):
    found = {r.property: r for r in evaluate("svm-linear-16", [Task("optimizer"), Task("activation")], zoo, rounds=4)}
    assert found["optimizer"].accuracy > 0.95
    assert found["optimizer"].low > found["optimizer"].chance
    assert found["activation"].low < found["activation"].chance < found["activation"].high


def test_slices_and_votes(zoo):
    (row,) = evaluate("svm-rbf-16", Task("optimizer", slice_length=40, part="fc"), zoo, rounds=2)
    assert row.slice_length == 40
    assert row.vote >= row.accuracy - 0.02
    assert sum(map(sum, row.confusion)) == 2 * row.n_test * SNAPSHOTS * 10


def test_layer_wise_features_and_parts(zoo):
    where = Where("conv", None, (3,))
    x = Inputs(zoo).rows(named("layer-statistics"), where, [0, 1], test=False)
    whole = Inputs(zoo).rows(named("layer-statistics"), Where("all", None, (3,)), [0, 1], test=False)
    assert whole.shape == (2, 480)
    np.testing.assert_array_equal(x, whole[:, : x.shape[1]])
    assert x.shape[1] == 3 * 6 * 16


def test_stored_split_tests_the_stored_nets(zoo):
    (fitted,) = fits(Spy(), Task("optimizer", split="stored"), zoo, rounds=1)
    assert set(zoo.index.loc[fitted.drawn.test, "split"]) == {"test"}
    assert set(zoo.index.loc[fitted.drawn.train, "split"]) == {"train"}


def test_converged_leaves_the_others_out(zoo):
    every, good = (evaluate({"spy": Spy()}, Task("optimizer", converged=c), zoo, rounds=1)[0] for c in (False, True))
    assert good.n_train + good.n_test < every.n_train + every.n_test
    assert any("converged" in note or "threshold" in note for note in good.notes)


def test_learning_rate_is_a_regression_with_an_error(zoo):
    (row,) = evaluate("svm-linear-16", Task("learning_rate"), zoo, rounds=2)
    assert row.accuracy is None
    assert 0 < row.low <= row.error <= row.high
    assert 0 < row.chance < 0.005


def test_one_class_says_which(zoo):
    with pytest.raises(NwsError, match=r"filter_size cannot be told apart in .*filter_size=3"):
        evaluate("svm-linear-16", Task("filter_size"), zoo)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"property": "optimizer", "part": "head"}, "part 'head' is unknown"),
        ({"property": "optimizer", "snapshots": (0,)}, "snapshots are numbered from 1"),
        ({"property": "optimizer", "slice_length": 1}, "at least 2 weights"),
        ({"property": "optimizer", "slice_length": "long"}, "or 'whole'"),
        ({"property": "optimizer", "split": "random"}, "split 'random' is unknown"),
        ({"property": "optimizer", "without": ("biases",)}, "without 'biases' is unknown"),
        ({"property": "optimizer", "without_at": "train"}, "without_at 'train' is unknown"),
        ({"property": "optimizer", "only": {"optimizer": "adam"}}, "nets must differ in it"),
    ],
)
def test_nonsense_tasks_are_refused_when_built(task, message):
    with pytest.raises(NwsError, match=message):
        Task(**task)


def test_snapshots_beyond_the_zoo_and_slices_longer_than_the_nets(zoo):
    with pytest.raises(NwsError, match="have snapshots 1 to 3"):
        evaluate("svm-linear-16", Task("optimizer", snapshots=(4,)), zoo)
    with pytest.raises(NwsError, match="slice"):
        evaluate("svm-linear-16", Task("optimizer", slice_length=10**6), zoo)


def test_a_slice_is_refused_by_what_reads_whole_nets(zoo):
    with pytest.raises(NwsError, match="svm-linear-480 reads whole nets, not slices of 40"):
        evaluate(["svm-linear-16", "svm-linear-480"], Task("optimizer", slice_length=40), zoo)
    (row,) = evaluate("svm-linear-480", Task("optimizer", slice_length="whole"), zoo, rounds=1)
    assert row.slice_length is None


def test_inputs_have_a_seed_of_their_own(zoo):
    inputs = Inputs(zoo, seed=3)
    asked = functools.partial(evaluate, "svm-linear-16", "optimizer", inputs, rounds=1)
    with pytest.raises(NwsError, match="seed=5: these Inputs have seed 3"):
        asked(seed=5)
    assert asked()[0].seed == asked(seed=3)[0].seed == 3


# Weights left out, and nets


MARK = 1e6


@pytest.fixture(scope="module")
def marked(tmp_path_factory):
    """Nets whose biases alone tell the optimizer, and are so large that no statistic can miss them."""
    rng = np.random.default_rng(0)
    zoo = Zoo.create(tmp_path_factory.mktemp("zoos") / "marked", space=SPACE, seed=0, nets=24)
    for number, hp in enumerate(SPACE.sample(24)):
        net = make_net(number, hp.with_(optimizer="momentum"), rng)
        for tensor in net.layout.tensors:
            if tensor.role == "bias":
                net.theta[:, tensor.start : tensor.stop] = MARK if hp.optimizer == "adam" else -MARK
        zoo.append(Net(number, hp, net.layout, net.theta, np.arange(SNAPSHOTS), net.history))
    return zoo


@pytest.mark.parametrize("reads", ["statistics", "weights"])
@pytest.mark.parametrize("test", [True, False])
@pytest.mark.parametrize("length", [None, 30])
def test_no_row_has_seen_what_is_left_out(marked, reads, test, length):
    for without, seen in (((), True), (("bias",), False)):
        x = Inputs(marked).rows(named(reads), Where("fc", length, (2, 3), without), np.array([0, 1]), test)
        assert (max(np.abs(row).max() for row in x) > MARK / 1000) == seen


def test_learned_with_and_tested_without(marked):
    tasks = [Task("optimizer"), Task("optimizer", without=("bias",)), Task("optimizer", without=("bias",), without_at="both")]
    Spy.seen.clear()
    with_all, tested, never = evaluate({"spy": Spy()}, tasks, marked, rounds=1)
    assert [what for what, _, _ in Spy.seen] == ["fit", "test", "test", "fit", "test"]  # one training for the first two
    largest = [np.abs(x).max() > MARK for _, x, _ in Spy.seen]
    assert largest == [True, True, False, False, False]
    assert (with_all.without, tested.without, tested.without_at, never.without_at) == ((), ("bias",), "test", "both")
    read = evaluate("svm-linear-480", [tasks[0], tasks[2]], marked, rounds=2)
    assert read[0].accuracy == 1.0
    assert read[1].low < read[1].chance < read[1].high


def test_layer_statistics_cannot_miss_some_of_their_features(marked):
    with pytest.raises(NwsError, match="without_at='both'"):
        evaluate("svm-linear-480", Task("optimizer", without=("bias",)), marked)


def test_only_some_of_the_nets(zoo):
    task = Task("optimizer", only={"dataset": "toy"})
    (row,) = evaluate({"spy": Spy()}, task, zoo, rounds=1)
    (fitted,) = fits(Spy(), task, zoo, rounds=1)
    drawn = np.concatenate([fitted.drawn.train, fitted.drawn.test])
    assert set(zoo.index.loc[drawn, "dataset"]) == {"toy"}
    assert "only nets with dataset=toy" in row.notes
    with pytest.raises(NwsError, match=r"no usable net of .* has batch_norm=off"):
        evaluate({"spy": Spy()}, Task("optimizer", only={"batch_norm": False}), zoo)


# Intervals


def test_interval_is_agresti_and_coull_for_single_nets():
    hits = np.array([1.0] * 30 + [0.0] * 10)
    p, n = 32 / 44, 44
    low, high = interval(hits)
    assert (low, high) == pytest.approx((p - 1.96 * np.sqrt(p * (1 - p) / n), p + 1.96 * np.sqrt(p * (1 - p) / n)))


@given(st.lists(st.floats(0, 1), min_size=2, max_size=60))
def test_interval_holds_the_mean_and_stays_in_0_to_1(hits):
    low, high = interval(np.array(hits))
    assert 0 <= low <= np.mean(hits) + 1e-12
    assert np.mean(hits) - 1e-12 <= high <= 1
    assert high > low


@pytest.mark.parametrize(("p", "within"), [(0.3, 0.0), (0.5, 0.2), (0.95, 0.0), (0.99, 0.0)])
def test_interval_covers_the_truth_95_percent_of_the_time(p, within):
    """Nets of which each is read rightly with its own probability, tested ten times: the net is the unit."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(2000):
        each = np.clip(rng.normal(p, within, 40), 0, 1) if within else (rng.random(40) < p).astype(float)
        low, high = interval(rng.binomial(10, each) / 10)
        covered += low <= p <= high
    assert covered / 2000 > 0.935


# Results on disk


def test_rows_are_kept_and_not_computed_twice(zoo, tmp_path, monkeypatch):
    first = evaluate(["svm-linear-16"], [Task("optimizer")], zoo, rounds=2, out=tmp_path)
    assert json.loads((tmp_path / "results.json").read_text())[0]["accuracy"] == first[0].accuracy
    assert (tmp_path / "results.csv").read_text().startswith("property,meta,part")
    monkeypatch.setattr(evaluation, "question", lambda *a, **k: pytest.fail("computed twice"))
    again = evaluate(["svm-linear-16"], [Task("optimizer")], zoo, rounds=2, out=tmp_path)
    assert again == first


def test_saved_models_load_and_predict_what_they_predicted(zoo, tmp_path):
    evaluate(["svm-rbf-16"], [Task("optimizer")], zoo, rounds=1, out=tmp_path)
    loaded = nws.meta.load(tmp_path / "models" / "optimizer-svm-rbf-16")
    assert loaded.about_["property"] == "optimizer"
    held_out = loaded.about_["test_nets"]
    assert not set(held_out) & set(loaded.about_["train_nets"])
    x = Inputs(zoo).rows(named("statistics"), Where("all", None, (3,)), held_out, test=True)
    said = loaded.predict(x)
    assert np.mean(said == zoo.index.loc[held_out, "optimizer"].to_numpy()) > 0.9


def test_other_parameters_are_another_question_and_notes_reach_the_row(zoo, tmp_path):
    classify = functools.partial(evaluate, ["svm-rbf-16"], [Task("optimizer")], zoo, rounds=1, out=tmp_path)
    (every,) = classify()
    (default,) = classify(settings={"svm-rbf-16": {"max_samples": 8000}})
    (fewer,) = classify(settings={"svm-rbf-16": {"max_samples": 20}})
    assert default == every
    assert fewer.key != every.key
    assert (every.notes, fewer.notes) == ((), ("RBF SVMs learn from at most 20 rows",))


def test_other_questions_leave_rows_and_models_alone(zoo, tmp_path):
    tasks = [Task("optimizer"), Task("optimizer", part="fc"), Task("optimizer", slice_length=50), Task("optimizer", converged=True)]
    for task in tasks:
        evaluate(["svm-linear-16"], [task], zoo, rounds=1, out=tmp_path)
    kept = results.load(tmp_path / "results.json")
    assert [(r.part, r.slice_length, r.converged) for r in kept] == [
        ("all", None, False),
        ("fc", None, False),
        ("all", 50, False),
        ("all", None, True),
    ]
    names = {path.name for path in (tmp_path / "models").glob("*.json")}
    assert names == {f"optimizer-svm-linear-16{seen}.json" for seen in ("", "-fc", "-50", "-converged")}


def test_tested_without_is_a_question_of_its_own_and_shares_the_model(zoo, tmp_path):
    tasks = [Task("optimizer"), Task("optimizer", without=("bias", "moving")), Task("optimizer", only={"dataset": "toy"})]
    rows = evaluate(["svm-linear-16"], tasks, zoo, rounds=1, out=tmp_path)
    assert results.load(tmp_path / "results.json") == rows
    assert results.table(rows)[["without", "only"]].to_numpy().tolist() == [["", ""], ["bias moving", ""], ["", "dataset=toy"]]
    names = {path.name for path in (tmp_path / "models").glob("*.json")}
    assert names == {"optimizer-svm-linear-16.json", "optimizer-svm-linear-16-dataset=toy.json"}


def test_rows_of_an_older_version_are_read(zoo, tmp_path):
    (row,) = evaluate(["svm-linear-16"], [Task("optimizer")], zoo, rounds=1, out=tmp_path)
    stored = json.loads((tmp_path / "results.json").read_text())
    for name in ("without", "without_at", "only"):
        del stored[0][name]
    (tmp_path / "results.json").write_text(json.dumps(stored))
    assert results.load(tmp_path / "results.json") == [row]


def test_a_broken_results_file_is_named(tmp_path):
    (tmp_path / "results.json").write_text("[{]")
    with pytest.raises(NwsError, match=r"results.json cannot be read as results"):
        results.Store(tmp_path)


def test_a_full_disk_keeps_the_old_results(tmp_path, monkeypatch):
    results.write(tmp_path / "a.json", "old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nws.atomic.os.fsync", full)
    with pytest.raises(NwsError, match="No space left"):
        results.write(tmp_path / "a.json", "new")
    assert (tmp_path / "a.json").read_text() == "old"
    assert list(tmp_path.iterdir()) == [tmp_path / "a.json"]
