"""Boosting on slices, and votes: learned from nets that were held out, blind to where a slice lies, saved without a pickle."""

import json

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from safetensors.numpy import load_file, save_file
from sklearn.ensemble import HistGradientBoostingClassifier

import nws
from nws.meta import SliceBoosting, load, save
from nws.meta.slice_boosting import _Folds, _folds, in_common
from nws.meta.votes import Votes, opinions
from nws.tasks.metrics import calibration_floor, expected_calibration_error
from nws.tasks.protocol import Round
from nws.tasks.tally import Tally

QUICK = {"rounds": 12, "learning_rate": 0.3}


def nets_of_slices(n, rng, slices=6):
    """n nets of three kinds with 6 slices each, of which one, anywhere, shows the kind; X (6 n, 5), y and net of each row."""
    kind, knows = np.arange(n) % 3, rng.integers(slices, size=n)
    X = rng.normal(size=(n, slices, 5))
    X[..., 4] = np.nan
    X[np.arange(n), knows, 4] = kind * 3 + rng.normal(0, 0.3, n)
    return X.reshape(n * slices, 5), np.repeat(kind, slices), np.repeat(np.arange(n), slices)


@pytest.fixture(scope="module")
def fitted():
    X, y, nets = nets_of_slices(120, np.random.default_rng(0))
    return SliceBoosting(**QUICK).fit(X, y, groups=nets, together=6)


def test_the_vote_hears_the_slice_that_knows(fitted):
    X, y, _ = nets_of_slices(90, np.random.default_rng(1))
    said = fitted.predict_proba(X).reshape(90, 6, 3)
    voted = fitted.vote(said, X)
    assert_allclose(voted.sum(1), 1, rtol=1e-9)
    single, together = (
        (of.argmax(-1) == y.reshape(90, 6)[:, : of.shape[1] if of.ndim > 2 else 1].squeeze()).mean() for of in (said, voted)
    )
    assert single < 0.6
    assert together > 0.95
    assert expected_calibration_error(voted, y[::6]) < calibration_floor(voted) + 0.05


def test_the_vote_does_not_depend_on_the_order_of_slices(fitted):
    X, _, _ = nets_of_slices(20, np.random.default_rng(2))
    order = np.random.default_rng(3).permuted(np.tile(np.arange(6), (20, 1)), axis=1) + 6 * np.arange(20)[:, None]
    said = fitted.predict_proba(X)
    mixed = X[order.ravel()]
    assert_allclose(fitted.vote(said[order], mixed), fitted.vote(said.reshape(20, 6, 3), X), rtol=1e-9)


def test_a_number_is_voted_on_in_its_own_unit():
    X, y, nets = nets_of_slices(120, np.random.default_rng(0))
    model = SliceBoosting(**QUICK, regression=True).fit(X, 1000 + 50.0 * y, groups=nets, together=6)
    X, y, _ = nets_of_slices(60, np.random.default_rng(1))
    said = model.predict(X).reshape(60, 6)
    voted = model.vote(said, X)
    assert voted.shape == (60,)
    assert np.abs(voted - (1000 + 50.0 * y[::6])).mean() < 20
    assert np.abs(voted - (1000 + 50.0 * y[::6])).mean() < 0.5 * np.abs(said.mean(1) - (1000 + 50.0 * y[::6])).mean()


def test_one_slice_has_no_vote(fitted):
    X, _, _ = nets_of_slices(5, np.random.default_rng(4))
    said = fitted.predict_proba(X)
    assert_array_equal(fitted.vote(said[:, None], X), said)
    alone = SliceBoosting(**QUICK).fit(*nets_of_slices(30, np.random.default_rng(0))[:2])
    assert_array_equal(alone.vote(said.reshape(5, 6, 3), X), said.reshape(5, 6, 3).mean(1))


def test_folds_keep_nets_whole_and_spread_classes():
    nets = np.repeat(np.arange(31), 4)
    target = np.repeat(np.arange(31) % 3, 4)
    fold = _folds(nets, target, 3, np.random.default_rng(0))
    assert_array_equal(fold.reshape(31, 4), np.repeat(fold[::4, None], 4, 1))
    for kind in range(3):
        counts = np.bincount(fold[target == kind])
        assert counts.max() - counts.min() <= 4
    assert not _folds(
        np.arange(3), np.arange(3), 3, np.random.default_rng(0)
    ).any()  # one net of each class: nothing can be held out


def test_trees_send_what_is_unknown_where_scikit_learns_own_do():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 6))
    y = (X[:, 0] + X[:, 1] > 0).astype(int)
    X[rng.random(X.shape) < 0.3] = np.nan
    X[:, 5] = np.where(y == 1, np.nan, X[:, 5])  # what is known, and nothing else, tells
    model = HistGradientBoostingClassifier(max_iter=20, early_stopping=False).fit(X, y)
    ours = _Folds.of([(model._predictors, np.ravel(model._baseline_prediction), np.arange(6))], 6)
    assert_allclose(ours.sums(X)[:, 0], model.decision_function(X), rtol=1e-9)


def test_what_slices_have_in_common_skips_what_they_lack():
    X = np.array([[[1.0, np.nan], [3.0, np.nan], [np.nan, np.nan]]])
    assert_array_equal(in_common(X), [[2, np.nan, 1, np.nan, 1, np.nan, 3, np.nan]])


def test_a_vote_that_nothing_has_to_be_learned_for_repeats_what_it_hears():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(4), size=4000)
    y = (p.cumsum(1) < rng.random((4000, 1))).sum(1)  # p is perfectly calibrated
    votes = Votes.learned(p[None], y)
    assert_allclose(votes.weights, 1, atol=0.1)
    assert_allclose(votes.decided(p[None]), p, atol=0.05)
    hot = p**3 / (p**3).sum(1, keepdims=True)
    assert_allclose(Votes.learned(hot[None], y).weights, 1 / 3, atol=0.05)


def test_opinions_are_probabilities():
    said = np.random.default_rng(0).dirichlet(np.ones(3), size=(7, 10))
    found = opinions(said)
    assert_allclose(found.sum(2), 1, rtol=1e-9)
    assert_allclose(found[0], said.mean(1))
    assert_allclose(opinions(np.repeat(said[:, :1], 10, 1)), np.broadcast_to(said[:, 0], found.shape), atol=1e-5)


@pytest.mark.parametrize("regression", [False, True])
def test_saved_with_its_vote_it_says_the_same_bits(regression, tmp_path):
    X, y, nets = nets_of_slices(60, np.random.default_rng(0))
    model = SliceBoosting(**QUICK, regression=regression).fit(X, y * 1.0 if regression else y, groups=nets, together=6)
    save(model, tmp_path / "m")
    again = load(tmp_path / "m")
    said = (model.predict if regression else model.predict_proba)(X)
    said = said.reshape(60, 6, *said.shape[1:])
    assert_array_equal(again.vote(said, X), model.vote(said, X))
    assert_array_equal(again.gain_, model.gain_)
    assert (model.gain_ > 0).all()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("sets.left", lambda a: a * 0),
        ("single.feature", lambda a: a + 1000),
        ("single.base", lambda a: a[:-1]),
        ("vote.weights", lambda a: np.append(a, 1.0)),
        ("calibration.weights", lambda a: np.append(a, 1.0)),
        ("gain", lambda a: a[:-1]),
    ],
)
def test_files_that_were_tampered_with_are_refused(fitted, name, change, tmp_path):
    import hashlib

    save(fitted, tmp_path / "m")
    arrays = load_file(tmp_path / "m.safetensors")
    arrays[name] = np.ascontiguousarray(change(arrays[name]))
    save_file(arrays, tmp_path / "m.safetensors")
    described = json.loads((tmp_path / "m.json").read_text())
    described["sha256"] = hashlib.sha256((tmp_path / "m.safetensors").read_bytes()).hexdigest()
    (tmp_path / "m.json").write_text(json.dumps(described))
    with pytest.raises(nws.NwsError, match=r"m\.safetensors"):
        load(tmp_path / "m")


def test_arguments_and_rows_that_make_no_sense_are_errors():
    X, y, nets = nets_of_slices(6, np.random.default_rng(0))
    for wrong in ({"rounds": 0}, {"folds": 1}, {"max_rows": 1.5}, {"learning_rate": 0}):
        with pytest.raises(nws.NwsError, match=next(iter(wrong))):
            SliceBoosting(**wrong).fit(X, y)
    with pytest.raises(nws.NwsError, match="whole sets of 5"):
        SliceBoosting(**QUICK).fit(X, y, groups=nets, together=5)
    with pytest.raises(nws.NwsError, match="the net of each"):
        SliceBoosting(**QUICK).fit(X, y, groups=nets[1:])


def test_slices_are_read_from_a_zoo_and_workers_change_nothing(tmp_path):
    space = nws.FIXED.with_(dataset="digits", width_conv=2, width_fc=16)
    zoo = nws.sample(
        tmp_path, space.sample(24, seed=1), images="digits", limit=200, limit_test=50, snapshots=4, epochs=3, workers=1
    )
    task = nws.Task("initialization", slice_length=300)
    made = SliceBoosting(**QUICK)
    rows = [nws.evaluate({"slices": made}, task, zoo, rounds=2, workers=workers)[0] for workers in (1, 2)]
    assert rows[0].accuracy == rows[1].accuracy
    assert rows[0].vote == rows[1].vote
    assert rows[0].accuracy > 0.4  # chance 0.25
    number = nws.evaluate({"slices": SliceBoosting(rounds=3)}, nws.Task("test_accuracy", slice_length=300), zoo, rounds=1)[0]
    assert number.vote > 0
    assert number.r2 is not None


def test_a_vote_of_its_own_takes_the_place_of_the_mean():
    nets, truth = np.arange(4), np.array([["a"], ["b"], ["a"], ["b"]])
    said = np.tile([0.9, 0.1], (2, 1, 3, 1))  # all slices say "a"
    voted = np.array([[[0.0, 1.0]], [[0.0, 1.0]]])  # together they say "b"
    drawn = Round(nets[2:], nets[:2])
    found = []
    for own in (None, voted):
        tally = Tally(nets, truth, ["a", "b"])
        tally.add(drawn, said, np.array(["a", "b"]), own)
        found.append((tally.single[:2].tolist(), tally.vote[:2].tolist()))
    assert found == [([1, 0], [1, 0]), ([1, 0], [0, 1])]
    tally = Tally(nets, np.array([[1.0], [2.0], [3.0], [4.0]]), [])
    tally.add(drawn, np.full((2, 1, 3), 5.0), None, np.array([[1.0], [2.0]]))
    assert tally.vote[:2].tolist() == [0, 0]  # errors
    assert tally.single[:2].tolist() == [4, 3]
