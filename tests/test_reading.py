"""The rows of Figs. 2, 4, 18 and 19: complete, shared, and about what they say."""

from dataclasses import replace

import pytest
from test_study import TINY
from written_zoo import SPACE, written_zoo

from nws.analysis import reading
from nws.analysis.study import Study
from nws.tables import NotForThisZooError
from nws.tasks.inputs import Inputs


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return Study(Inputs(written_zoo(tmp_path_factory.mktemp("zoos") / "zoo")), TINY, tmp_path_factory.mktemp("out"))


def test_whole_nets(study):
    table = reading.meta_classification(study)
    assert table[table["meta"] != "dmc"]["slice_length"].isna().all()
    assert table.groupby("property", sort=False)["meta"].agg(list).to_dict() == {
        name: [*reading.WHOLE_SVMS, "dmc"] for name in ("dataset", "optimizer")
    }
    best = table[table["property"] == "optimizer"]["accuracy"].max()
    assert best == 1.0


def test_slices_of_each_part_and_nothing_twice(study, monkeypatch):
    table = reading.local(study)
    read = table[table["property"] == "optimizer"][["meta", "part"]].to_numpy().tolist()
    assert read == [["svm-linear-16", "all"], ["svm-rbf-16", "all"], ["svm-rbf-16", "conv"], ["svm-rbf-16", "fc"], ["dmc", "all"]]
    assert set(table["slice_length"]) == {TINY.slice_length}
    reading.meta_classification(study)
    monkeypatch.setattr("nws.tasks.rounds.fit", lambda *a, **k: pytest.fail("computed twice"))
    assert reading.local(study).equals(table)
    deep = reading.meta_classification(study).query("meta == 'dmc'").set_index("property")["accuracy"]
    assert deep.to_dict() == table.query("meta == 'dmc' and part == 'all'").set_index("property")["accuracy"].to_dict()
    same = reading.subset_size(study, lengths=[TINY.slice_length], dmc_lengths=[TINY.slice_length])  # all of it is known
    assert len(same) == 4


def test_longer_slices_than_the_nets_are_not_asked_for(study):
    table = reading.subset_size(study, lengths=[20, 40, 10**6], dmc_lengths=[])
    assert sorted(set(table["slice_length"])) == [20, 40]


def test_batch_norm_needs_nets_with_and_without(study):
    with pytest.raises(NotForThisZooError, match="--with batch_norm=off,on"):
        reading.batch_norm(study)


def test_batch_norm_on_and_off_each_whole_and_stripped_by_one_training(tmp_path, monkeypatch):
    zoo = written_zoo(tmp_path / "zoo", SPACE.with_(batch_norm=[False, True], dataset="mnist"), nets=40)
    seen = []
    study = Study(Inputs(zoo), replace(TINY, rounds=1), tmp_path / "out", seen.append)
    table = reading.batch_norm(study)
    places = table[["meta", "only", "without"]].to_numpy().tolist()
    assert places[:4] == [["svm-rbf-16", f"batch_norm={on}", without] for on in ("on", "off") for without in ("", "bias norm")]
    assert len(table) == 8
    assert len([line for line in seen if "round 1 of 1" in line and "step" not in line]) == 4  # trainings, not tests
