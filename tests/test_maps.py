"""Performance maps find a property where and when it was written, and nowhere else."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from test_study import TINY
from written_zoo import SNAPSHOTS, written_zoo

from nws.analysis.maps import SVM, Grid, maps
from nws.analysis.study import Study
from nws.representations import named
from nws.tasks.evaluation import Fitted
from nws.tasks.inputs import Inputs
from nws.tasks.protocol import Round


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    return written_zoo(tmp_path_factory.mktemp("zoos") / "zoo")


@pytest.fixture(scope="module")
def table(zoo, tmp_path_factory):
    study = Study(Inputs(zoo), replace(TINY, dmc_properties=("optimizer",)), tmp_path_factory.mktemp("out"))
    return maps(study, grid=(5, 4), dmc_grid=(2, 2))


def place(table, **where):
    for column, value in where.items():
        table = table[table[column] == value]
    return table["accuracy"].mean()


def test_read_where_and_when_it_was_written(table):
    found = table[(table["meta"] == SVM) & (table["property"] == "optimizer")]
    assert place(found, part="conv", snapshot=SNAPSHOTS) > 0.95
    assert place(found, part="all", snapshot=SNAPSHOTS, position=0.0) > 0.9
    assert place(found, part="conv", snapshot=1) < place(found, part="conv", snapshot=2) - 0.1  # the biases tell it from the start


def test_what_was_not_written_is_read_by_chance(table):
    found = table[(table["meta"] == SVM) & (table["property"] == "dataset")]
    assert 0.35 < found["accuracy"].mean() < 0.65
    assert set(found["chance"]) == {0.5}


def test_every_place_is_there_once(table):
    svm, dmc = (table[table["meta"] == meta] for meta in (SVM, "dmc"))
    assert len(svm) == 2 * 3 * 5 * 4
    assert len(dmc) == 2 * 2
    assert not table.duplicated(["property", "meta", "part", "position", "snapshot"]).any()
    assert set(table["position"]) == {0, 0.25, 0.5, 0.75, 1}
    assert (dmc["n"] <= svm["n"].max()).all()


class Says:
    """Reads raw weights, and says adam where the first weight of a slice is what it was told."""

    reads = "weights"
    representation = named("weights")
    classes_ = np.array(["adam", "momentum"])

    def __init__(self, first):
        self.first = first

    def predict(self, x):
        return np.where(x[:, 0] == self.first, "adam", "momentum")


def test_slices_lie_where_the_map_says(zoo):
    grid, layout = Grid(Inputs(zoo), 40, 3, 2), zoo.layout(0)
    part = layout.part("fc")
    net = next(n for n in zoo.numbers() if zoo.index.loc[n, "optimizer"] == "adam")
    first = zoo.theta(net, SNAPSHOTS)[part.stop - 40]
    drawn = Round(np.array([]), np.array([net]))
    frame = grid.accuracy([Fitted(Says(first), drawn)], "optimizer", "fc")
    right = frame[frame["accuracy"] == 1.0]
    assert right[["position", "snapshot"]].to_numpy().tolist() == [[1.0, SNAPSHOTS]]


def test_maps_are_made_once(zoo, tmp_path, monkeypatch):
    study = Study(Inputs(zoo), TINY, tmp_path)
    settings = {"grid": (3, 2), "dmc_grid": (2, 2), "svm_rounds": 1}
    first = maps(study, **settings)
    monkeypatch.setattr("nws.analysis.maps.fits", lambda *a, **k: pytest.fail("computed twice"))
    pd.testing.assert_frame_equal(maps(study, **settings), first)
