"""Files that nws 0.1.0 wrote open as they did then: zoos of formats 1 and 2, saved meta-classifiers, a folder of results."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

import nws
from nws import Task, Zoo, meta
from nws.representations import statistics as features
from nws.tasks import results

OLD = Path(__file__).parent / "written_by_0_1_0"
EXPECTED = json.loads((OLD / "expected.json").read_text())


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return Path(shutil.copytree(OLD, tmp_path / "old"))


def test_the_zoo_reads_as_it_was_written(old: Path) -> None:
    zoo = Zoo(old / "zoo")
    assert zoo.verify().ok
    assert zoo.family.name == "cnn2020"
    for number, theta in EXPECTED["theta"].items():
        assert_allclose(zoo.theta(int(number), 3)[:5], theta)
    rows = zoo.index.drop(columns=["path", "seconds", "bytes"])
    assert json.loads(rows.to_json(orient="table"))["data"] == EXPECTED["index"]
    assert zoo.net(0).hp.optimizer in ("adam", "momentum")
    zoo.layout(0).permutation(np.random.default_rng(0))  # the axes of the paper's nets are known, whoever wrote them


def test_sampling_goes_on_in_it(old: Path) -> None:
    space = nws.FIXED.with_(dataset="digits", width_conv=1, width_fc=4, filter_size=3, optimizer=["adam", "momentum"])
    few = {"images": "digits", "limit": 200, "limit_test": 50, "snapshots": 3, "epochs": 3, "workers": 1, "space": space}
    before = Zoo(old / "zoo").theta(11)
    zoo = nws.sample(old / "zoo", space.sample(14, seed=1), **few)
    assert len(zoo.index) == 14
    assert np.array_equal(zoo.theta(11), before)
    assert zoo.net(13).hp == space.net(1, 13)


def test_the_imported_zoo_reads_as_it_was_written(old: Path) -> None:
    zoo = Zoo(old / "imported")
    assert zoo.verify().ok
    assert zoo.index["optimizer"].tolist() == ["sgd", "adam", "sgd"]
    assert_allclose(zoo.index["dropout"], [0.1, 0.2, 0.3])
    assert zoo.properties["optimizer"].options == ("adam", "sgd")


def test_saved_meta_classifiers_answer_as_they_did(old: Path) -> None:
    zoo, model = Zoo(old / "zoo"), meta.load(old / "results" / "models" / "optimizer-svm-linear-16")
    x = np.stack([features.statistics(zoo.theta(n, 3)) for n in range(12)])
    assert model.predict(x).tolist() == EXPECTED["predictions"]


def test_results_are_found_again(old: Path) -> None:
    rows = results.load(old / "results" / "results.json")
    assert len(rows) == EXPECTED["rows"]
    assert {r.property for r in rows} == {"optimizer", "learning_rate"}
    assert all(np.isfinite(r.low) for r in rows)
    assert Task("optimizer", (2, 3)).snapshots == rows[0].snapshots
