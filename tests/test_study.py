"""What is asked and what it may cost; nothing is computed twice."""

from dataclasses import replace

import numpy as np
import pytest
from written_zoo import written_zoo

from nws import tables
from nws.analysis.study import Effort, Study
from nws.representations import named
from nws.tasks import evaluation, results
from nws.tasks.inputs import Inputs
from nws.zoo import Zoo

TINY = Effort(
    rounds=2,
    dmc_rounds=1,
    dmc_steps=2,
    dmc_parts=("all",),
    dmc_properties=(),
    slice_length=40,
    global_steps=0,
    converged=False,
)


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    return written_zoo(tmp_path_factory.mktemp("zoos") / "zoo")


def test_properties_that_cannot_be_told_apart_are_not_asked(zoo):
    study = Study(Inputs(zoo), TINY)
    assert study.properties() == ["dataset", "optimizer"]
    with pytest.raises(tables.NotForThisZooError, match="at least two options"):
        study.properties(["filter_size"])


def test_the_dmc_learns_what_it_is_asked_and_something_of_a_zoo_without_that(zoo):
    few = Study(Inputs(zoo), replace(TINY, dmc_properties=("initialization", "optimizer")))
    assert few.for_dmc(["dataset", "optimizer"]) == ["optimizer"]
    assert few.for_dmc(["a", "b", "c", "d"]) == ["a", "b", "c"]
    assert Study(Inputs(zoo), TINY).for_dmc(["a", "b", "c", "d"]) == ["a", "b", "c", "d"]


def test_the_last_snapshots_are_those_that_all_nets_have(zoo):
    study = Study(Inputs(zoo), TINY)
    assert study.last(2) == (3, 4)
    assert study.last(9) == (1, 2, 3, 4)


def test_a_dmc_takes_exactly_so_many_steps(zoo):
    seen = []
    study = Study(Inputs(zoo), TINY, on_progress=seen.append)
    study.dmc([study.local("optimizer")])
    assert [line for line in seen if "step" in line][-1].split(", ")[-2] == "step 2 of 2"


def test_a_piece_is_made_once_for_the_same_zoo_and_effort(zoo, tmp_path):
    study, made = Study(Inputs(zoo), TINY, tmp_path), []

    def make():
        made.append(1)
        return results.table(study.svms([study.local("optimizer")], ["svm-linear-16"]))

    first = study.piece("some", make, grid=(2, 3))
    assert study.piece("some", make, grid=(2, 3)).equals(tables.load(tmp_path / "pieces", "some"))
    assert len(made) == 1
    study.piece("some", make, grid=(2, 4))
    Study(Inputs(zoo, seed=1), TINY, tmp_path).piece("some", make, grid=(2, 4))
    assert len(made) == 3
    assert first["property"].tolist() == ["optimizer"]


def test_the_first_dmc_is_the_one_that_was_tested(zoo, tmp_path, monkeypatch):
    study = Study(Inputs(zoo), TINY, tmp_path)
    task = study.local("optimizer")
    (row,) = study.dmc([task])
    monkeypatch.setattr("nws.tasks.rounds.fit", lambda *a, **k: pytest.fail("trained twice"))
    monkeypatch.setattr(evaluation, "fits", lambda *a, **k: pytest.fail("trained twice"))
    fitted = Study(Inputs(Zoo(zoo.path)), TINY, tmp_path).first_dmc(task)
    x = study.inputs.rows(named("weights"), results_where(study, task), fitted.drawn.test, test=True)
    truth = zoo.index.loc[fitted.drawn.test, "optimizer"].to_numpy().repeat(len(x) // len(fitted.drawn.test))
    assert np.mean(fitted.meta.predict(x) == truth) == pytest.approx(row.accuracy)
    assert (len(fitted.drawn.train), len(fitted.drawn.test)) == (row.n_train, row.n_test)


def results_where(study, task):
    from nws.tasks.inputs import Where

    return Where(task.part, task.slice_length, task.snapshots)
