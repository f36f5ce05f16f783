"""Readers of one's own: estimators and pipelines of scikit-learn, modules of PyTorch, in the same protocol as ours."""

from unittest import SkipTest

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import RidgeClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator
from torch import nn

import nws
from nws import NwsError, Results, Task
from nws.meta import SVM, Reader, TorchReader, named
from nws.representations.statistics import statistics
from nws.tasks.evaluation import fits

FEW = {"images": "digits", "limit": 100, "limit_test": 30, "snapshots": 4, "epochs": 3, "workers": 1}


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    space = nws.FIXED.with_(width_conv=2, width_fc=8, dataset="digits", optimizer=["adam", "momentum"])
    return nws.sample(tmp_path_factory.mktemp("zoos") / "zoo", space, 16, **FEW)


def small(inputs, outputs):
    return nn.Sequential(nn.Linear(inputs, 8), nn.ReLU(), nn.Linear(8, outputs))


@pytest.mark.parametrize(
    "estimator",
    [RandomForestClassifier(10), make_pipeline(StandardScaler(), GaussianNB()), RidgeClassifier(), KNeighborsClassifier(3)],
    ids=lambda e: type(e).__name__,
)
def test_any_estimator_reads_like_ours(zoo, estimator):
    (row,) = nws.evaluate(estimator, "optimizer", zoo, rounds=2)
    again, together = (
        nws.evaluate(estimator, "optimizer", zoo, rounds=2),
        nws.evaluate([estimator, "svm-linear-16"], "optimizer", zoo, rounds=2),
    )
    assert again[0].per_round == together[0].per_round == row.per_round  # seeded by the round, whoever is beside it
    assert row.meta == type(estimator).__name__
    assert 0 <= row.low <= row.accuracy <= row.high <= 1
    assert not hasattr(estimator, "estimators_")  # it is cloned


def test_workers_share_the_rounds_of_an_estimator(zoo):
    alone, shared = (nws.evaluate(RandomForestClassifier(5), "optimizer", zoo, rounds=4, workers=n) for n in (1, 2))
    assert alone[0].per_round == shared[0].per_round


def test_what_is_right_is_found_right(zoo):
    """An oracle column in the weights themselves: the reader is given what it has to tell."""
    zoo.annotate(pd.DataFrame({"net": range(16), "half": [n % 2 == 0 for n in range(16)]}), replace=True)
    first = {n: float(zoo.theta(n, 4)[0]) for n in range(16)}
    zoo.annotate(pd.DataFrame({"net": range(16), "first": list(first.values())}), replace=True)
    numbers = nws.evaluate(RandomForestRegressor(20), ["first", "test_accuracy"], zoo, rounds=2)
    assert [r.unit for r in numbers] == ["first", "accuracy"]
    assert all(np.isfinite(r.r2) and np.isfinite(r.tau) for r in numbers)


def test_kinds_that_do_not_fit_are_refused_in_one_line(zoo):
    for estimator, target, said in (
        (RandomForestClassifier(), "test_accuracy", "tells classes, and what is asked for is a number: give a regressor"),
        (RandomForestRegressor(), "optimizer", "tells a number, and what is asked for is classes: give a classifier"),
        (3, "optimizer", "int is no reader"),
    ):
        with pytest.raises(NwsError, match=said):
            nws.evaluate(estimator, target, zoo, rounds=1)


def test_an_estimator_reads_layers_where_it_can_and_vectors_else(zoo):
    reader = Reader(RandomForestClassifier(5))
    seen = [next(fits(reader, task, zoo, rounds=1)).meta for task in (Task("optimizer"), Task("optimizer", slice_length=50))]
    assert [one.representation.name for one in seen] == ["layer-statistics", "statistics"]
    chosen = Reader(RandomForestClassifier(5), reads="statistics")
    assert chosen.suited(True) is chosen


@pytest.mark.parametrize("reads", ["statistics", "layer-statistics", "weights"])
@pytest.mark.parametrize("target", ["optimizer", "test_accuracy"])
def test_a_module_reads_tables_and_slices(zoo, reads, target):
    reader = TorchReader(small, reads, slice_length=60, steps=5)
    task = Task(target, slice_length=60 if reads == "weights" else None)
    first, second = (nws.evaluate(reader, task, zoo, rounds=1)[0] for _ in range(2))
    assert first.per_round == second.per_round
    assert clone(reader).get_params() == reader.get_params()


def test_a_module_learns_what_is_there():
    rng = np.random.default_rng(0)
    kind = np.arange(200) % 3
    x = statistics(rng.normal(size=(200, 50)) * np.array([1, 3, 9])[kind, None])
    reader = TorchReader(small, steps=300, learning_rate=0.01).fit(x[:150], np.array(["a", "b", "c"])[kind[:150]])
    assert (reader.predict(x[150:]) == np.array(["a", "b", "c"])[kind[150:]]).mean() > 0.9
    assert_allclose(reader.predict_proba(x).sum(1), 1, rtol=1e-6)


def test_names_of_readers_are_their_own():
    found = named([RandomForestClassifier(), RandomForestClassifier(5), "svm-linear-16", make_pipeline(GaussianNB())])
    assert list(found) == ["RandomForestClassifier", "RandomForestClassifier-2", "svm-linear-16", "Pipeline"]
    assert list(named({"mine": GaussianNB})) == ["mine"]


def test_results_are_a_list_and_a_table(zoo):
    rows = nws.evaluate("svm-linear-16", ["optimizer", "test_accuracy"], zoo, rounds=1)
    assert isinstance(rows, Results)
    assert rows.frame["property"].tolist() == ["optimizer", "test_accuracy"]
    assert rows.frame["r2"].notna().tolist() == [False, True]
    shown = rows._repr_html_()
    assert "<table" in shown
    assert "svm-linear-16" in shown


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_what_reads_tables_passes_the_checks_of_scikit_learn(kernel):
    failed = []
    for estimator, check in estimator_checks_generator(SVM(kernel=kernel)):
        name = getattr(check, "func", check).__name__
        try:
            check(estimator)
        except SkipTest:  # for array libraries that are not here
            continue
        except Exception as error:
            failed.append((name, str(error).splitlines()[0][:120] if str(error) else type(error).__name__))
    assert not failed, failed
