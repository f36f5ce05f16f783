"""Work shared between processes: the same bits as alone, one line when a worker dies, one thread in each."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial

import pytest
from studied import studied_zoo

from nws import NwsError, gallery, threads
from nws.meta import DMC
from nws.processes import Pool
from nws.processes import Task as Call
from nws.tasks import evaluation, results, rounds
from nws.tasks.evaluation import evaluate
from nws.tasks.inputs import Inputs
from nws.tasks.protocol import Task

TASKS = [Task("optimizer", slice_length=50), Task("initialization"), Task("initialization", without=("bias",))]
SVMS = ["svm-linear-16", "svm-rbf-16"]


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    return studied_zoo(tmp_path_factory.mktemp("workers") / "zoo", nets=60)


@pytest.fixture
def at_once(monkeypatch):
    """Little work is shared too, that would otherwise be done before a worker is ready."""
    monkeypatch.setattr(rounds, "ALONE", 0.0)


def answered(rows):
    return [replace(row, seconds=0.0) for row in rows]


def test_together_is_alone(zoo, at_once, tmp_path):
    alone = evaluate(SVMS, TASKS, zoo, rounds=3, out=tmp_path / "one")
    told = []
    with Inputs(zoo, workers=2) as inputs:
        together = evaluate(SVMS, TASKS, inputs, rounds=3, out=tmp_path / "two", on_progress=told.append)
        assert inputs.pool.ready, "nobody helped"
    assert answered(together) == answered(alone)
    one, two = (answered(results.load(tmp_path / folder / "results.json")) for folder in ("one", "two"))
    assert one == two, "and kept in the same order"
    for name in ("optimizer-svm-linear-16-50", "initialization-svm-rbf-16"):
        one, two = (tmp_path / folder / "models" / f"{name}.safetensors" for folder in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()
    assert any("property 2 of 2 (initialization), svm-rbf-16: round 3 of 3" in said for said in told)
    assert max(said.share for said in told) == 1
    assert not multiprocessing.active_children()


def test_the_dmc_too(zoo, at_once):
    meta = {"small": DMC(slice_length=50, max_steps=2)}
    alone, together = (evaluation.evaluate(meta, Task("optimizer", slice_length=50), zoo, rounds=2, workers=n) for n in (1, 2))
    assert answered(alone) == answered(together)


def test_folds_and_figures_too(zoo, at_once, tmp_path):
    with Inputs(zoo, workers=2) as inputs:
        one, two = (evaluation.held_out("svm-rbf-16", Task("optimizer"), i, folds=3) for i in (Inputs(zoo), inputs))
    assert one.probability.tobytes() == two.probability.tobytes()
    for workers in (1, 2):
        gallery.make(zoo, tmp_path / str(workers), ["figure16"], workers=workers)
    one, two = (tmp_path / str(n) / "tables" / "importance.csv" for n in (1, 2))
    assert one.read_bytes() == two.read_bytes()


def test_a_killed_worker_is_one_line_and_finished_rows_stay(zoo, at_once, tmp_path):
    def kill(said):
        if "initialization" in said and (children := multiprocessing.active_children()):
            os.kill(children[0].pid, signal.SIGKILL)

    with Inputs(zoo, workers=2) as inputs, pytest.raises(NwsError, match=r"a worker died \(exit code -9\)") as said:
        evaluate(SVMS, TASKS, inputs, rounds=5, out=tmp_path, on_progress=kill)
    assert "\n" not in str(said.value)
    assert not multiprocessing.active_children()
    assert all(row.property == "optimizer" for row in results.load(tmp_path / "results.json"))


def test_what_workers_cannot_know_is_refused(zoo, at_once):
    class Mine(DMC):
        """Nobody can import this."""

    with pytest.raises(NwsError, match="use workers=1"):
        evaluation.evaluate(Mine(slice_length=50, max_steps=1), Task("optimizer", slice_length=50), zoo, rounds=2, workers=2)


def counts(state, on_progress):
    import torch
    from threadpoolctl import threadpool_info

    return [torch.get_num_threads(), *(pool["num_threads"] for pool in threadpool_info())]


def with_torch():
    import sklearn.svm  # noqa: F401
    import torch  # noqa: F401


def test_workers_have_one_thread_each(monkeypatch):
    for name in threads.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(threads, "chosen_by_user", lambda: None)
    pool = Pool(1, with_torch)
    [(_, found)] = pool.run([Call(counts, ())])
    pool.close()
    assert set(found) == {1}


@pytest.mark.parametrize(
    ("said", "first", "expected"), [({}, "", {1}), ({"OMP_NUM_THREADS": "2"}, "", {2}), ({}, "torch.set_num_threads(3)", {3})]
)
def test_library_calls_use_one_thread_unless_told_otherwise(said, first, expected):
    script = f"""
import torch, sklearn.svm
from threadpoolctl import threadpool_info
from nws import threads
{first}
count = lambda: [torch.get_num_threads(), *(p["num_threads"] for p in threadpool_info() if p["user_api"] == "openmp")]
before = count()
with threads.one():
    print(max(count()[:1]))
assert count() == before
"""
    clean = {name: value for name, value in os.environ.items() if name not in threads.VARIABLES}
    run = subprocess.run([sys.executable, "-c", script], env={**clean, **said}, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert {int(run.stdout)} == expected


@pytest.mark.parametrize(("said", "expected"), [({}, 1), ({"OPENBLAS_NUM_THREADS": "2"}, 2), ({"OMP_NUM_THREADS": "2"}, 2)])
def test_the_command_also_limits_numpy_which_is_there_before_it(said, expected):
    script = """
import sys
from threadpoolctl import threadpool_info
from nws import cli
sys.argv = ["nws", "images", "--json"]
try:
    cli.main()
except SystemExit:
    print([p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"])
"""
    clean = {name: value for name, value in os.environ.items() if name not in threads.VARIABLES}
    run = subprocess.run([sys.executable, "-c", script], env={**clean, **said}, capture_output=True, text=True, check=True)
    counts = json.loads(run.stdout.splitlines()[-1])
    assert counts
    assert set(counts) == {min(expected, threads.cores())}  # numpy has no more than cores


def refuse(state, why, on_progress):
    raise NwsError(why)


def test_an_error_of_a_task_is_raised_as_it_is():
    pool = Pool(1, partial(dict))
    with pytest.raises(NwsError, match="net 3 is damaged"):
        list(pool.run([Call(refuse, ("net 3 is damaged",))]))
    assert not pool.started
