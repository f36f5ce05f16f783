"""Boosting on tables: its trees are scikit-learn's, its stack knows what nets are, and strangers' trees are looked through."""

import hashlib
import json
import warnings

import numpy as np
import pytest
from fabricated import fabricated_zoo
from numpy.testing import assert_allclose, assert_array_equal
from safetensors.numpy import load_file, save_file

import nws
from nws.meta import Boosting, load, save
from nws.meta.boosting import _folds, _thinned, by_slot
from nws.meta.trees import DEEPEST, Forest
from nws.representations.tensors import BLOCKS, NAMES


def table(n, rng, F=12, classes=3):
    """Rows whose class is seen in two columns, and noise."""
    y = np.arange(n) % classes
    x = rng.normal(size=(n, F))
    x[:, 3] += y
    x[:, 7] -= y
    return x, y


@pytest.mark.parametrize("outputs", [1, 2, 3])
def test_trees_add_up_to_scikit_learns(outputs):
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    x, y = table(200, np.random.default_rng(0), classes=max(outputs, 2))
    kind = HistGradientBoostingRegressor if outputs == 1 else HistGradientBoostingClassifier
    model = kind(max_iter=20, early_stopping=False).fit(x[:, ::-1], y)
    columns = np.arange(12)[::-1]
    grown = [(tree.nodes, k, columns) for each in model._predictors for k, tree in enumerate(each)]
    trees = len(model._predictors[0])
    said = Forest.of(grown).sums(x, trees) + np.ravel(model._baseline_prediction)
    theirs = model.predict(x[:, ::-1]) if outputs == 1 else model.decision_function(x[:, ::-1])
    assert_allclose(said[:, 0] if trees == 1 else said, theirs, rtol=1e-9, atol=1e-12)


def test_nets_are_never_cut_by_a_fold_and_classes_are_spread():
    rng = np.random.default_rng(0)
    nets = rng.permutation(np.repeat(np.arange(30), 4))
    target = nets % 3
    fold = _folds(nets, target, False, rng)
    for net in range(30):
        assert len(set(fold[nets == net])) == 1
    first = np.array([fold[nets == net][0] for net in range(30)])
    assert (np.array([np.bincount(first[np.arange(30) % 3 == c], minlength=3) for c in range(3)]) >= 3).all()
    assert_array_equal(np.bincount(nets[_thinned(nets, target)]), 2)
    changing = np.arange(120) % 2  # what each snapshot has its own of: as many of each class of a net
    of_each = [sum(min(2, int((changing[nets == net] == c).sum())) for c in (0, 1)) for net in range(30)]
    assert_array_equal(np.bincount(nets[_thinned(nets, changing)]), of_each)


def test_twins_do_not_make_it_sure():
    rng = np.random.default_rng(0)
    nets = np.repeat(np.arange(60), 8)
    x = rng.normal(size=(60, 30))[nets] + 0.01 * rng.normal(size=(480, 30))
    y = rng.integers(0, 2, 60)[nets]  # nothing to be read
    new = rng.normal(size=(200, 30))
    told, not_told = (Boosting(rounds=40).fit(x, y, groups=groups) for groups in (nets, None))
    assert told.skill_[0] < 0.1
    assert not_told.skill_[0] > 0.2  # it found each net's twin
    assert told.predict_proba(new).max(1).mean() < 0.6
    with pytest.raises(nws.NwsError, match="give the net of each row"):
        Boosting().fit(x, y, groups=nets[1:])


def test_it_says_which_slot_a_target_is_seen_by():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(90, len(NAMES))), np.arange(90) % 3
    of_fc1 = BLOCKS["fc1"]
    x[:, np.setdiff1d(np.arange(len(NAMES)), np.concatenate([of_fc1[:20], BLOCKS["out"][:20]]))] = 0
    x[:, of_fc1[:3]] += 2 * y[:, None]
    model = Boosting(rounds=20).fit(x, y)
    ((best, skill),) = by_slot(model)  # the output knows nothing, the others do not vary
    assert best == "fc1"
    assert skill > 0.4
    assert set(np.argsort(-model.gain_)[:3]) == set(of_fc1[:3])
    number = Boosting(rounds=20, regression=True).fit(x, y * 0.1)
    assert next(by_slot(number))[0] == "fc1"


def test_a_class_of_one_net_and_a_table_without_differences_can_be_fitted():
    x, _ = table(20, np.random.default_rng(0))
    y = np.array([0] * 10 + [1] * 9 + [2])
    p = Boosting(rounds=5).fit(x, y).predict_proba(x)
    assert_allclose(p.sum(1), 1)
    flat = Boosting(rounds=5).fit(x * 0, y)
    assert_array_equal(flat.predict(x * 0), 0)
    assert_allclose(Boosting(rounds=5, regression=True).fit(x * 0, x[:, 0]).predict(x * 0), x[:, 0].mean(), atol=0.05)


@pytest.mark.parametrize(
    "wrong", [{"rounds": 0}, {"learning_rate": 0}, {"leaves": 1}, {"leaves": 65}, {"features": 2.0}, {"reads": "weights"}]
)
def test_arguments_that_make_no_sense_are_errors(wrong):
    with pytest.raises(nws.NwsError, match=next(iter(wrong))):
        Boosting(**wrong).fit(*table(20, np.random.default_rng(0)))


def test_boosting_passes_scikit_learns_own_checks():
    from sklearn.utils.estimator_checks import check_estimator

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # checks that do not apply
        results = check_estimator(Boosting(rounds=5), on_fail=None)
    failed = {result["check_name"] for result in results if result["status"] == "failed"}
    vital = ("idempotent", "overwrite", "unchanged", "invariance", "pickle", "clone", "params", "readonly", "dict_unchanged")
    assert len(results) > 40
    assert not {name for name in failed for word in vital if word in name}


def test_nets_of_several_architectures_are_read_with_their_snapshots(tmp_path):
    zoo = fabricated_zoo(tmp_path / "zoo")
    rows = [nws.evaluate("tensors", "optimizer", zoo, rounds=1, workers=workers)[0] for workers in (1, 2)]
    assert rows[0].n_test > 0
    assert rows[0].confusion == rows[1].confusion
    with pytest.raises(nws.NwsError, match="tensors reads whole nets, not slices"):
        nws.evaluate("tensors", nws.Task("optimizer", slice_length=20), zoo, rounds=1)


@pytest.fixture
def saved(tmp_path):
    """A saved model, and a function that changes its arrays and loads it."""
    save(Boosting(rounds=3).fit(*table(60, np.random.default_rng(0))), tmp_path / "model")

    def changed(change):
        said, arrays = json.loads((tmp_path / "model.json").read_text()), load_file(tmp_path / "model.safetensors")
        change(arrays)
        save_file(arrays, tmp_path / "model.safetensors")
        said["sha256"] = hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).hexdigest()
        (tmp_path / "model.json").write_text(json.dumps(said))
        return load(tmp_path / "model")

    return changed


def in_a_circle(arrays):
    arrays["left"][1] = 0


def too_deep(arrays):
    nodes = DEEPEST + 2
    steps = np.minimum(np.arange(nodes) + 1, nodes - 1)
    arrays |= {
        "feature": np.zeros(nodes, np.int64),
        "threshold": np.zeros(nodes),
        "value": np.zeros(nodes),
        "left": steps,
        "right": steps,
    }
    arrays |= {"root": np.zeros(1, np.int64), "output": np.zeros(1, np.int64)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a["feature"].__setitem__(0, 12), "feature must be"),
        (lambda a: a["left"].__setitem__(0, 10**9), "left must be"),
        (lambda a: a["right"].__setitem__(0, -1), "right must be"),
        (lambda a: a["root"].__setitem__(0, 10**6), "root must be"),
        (lambda a: a["output"].__setitem__(0, 3), "output must be"),
        (lambda a: a["blocks"].__setitem__(0, 300), "names of blocks"),
        (lambda a: a["blocks"].__setitem__(0, 10), "as many names"),
        (lambda a: a.update(value=a["value"][:-1]), "value has shape"),
        (lambda a: a.update(skill=np.zeros(0)), "has shape"),
        (lambda a: a.update(root=a["root"].astype(np.float64)), "root must be whole"),
        (in_a_circle, "left and right must be later nodes"),
        (too_deep, "deeper than 63 steps"),
    ],
    ids=[*"abcdefghijkl"],
)
def test_trees_from_strangers_that_make_no_sense_are_refused(saved, change, message):
    with pytest.raises(nws.NwsError, match=message) as error:
        saved(change)
    assert "\n" not in str(error.value)


def test_an_unchanged_file_loads(saved):
    assert saved(lambda arrays: None).blocks_ == ("all",)
