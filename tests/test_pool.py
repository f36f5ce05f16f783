"""Workers that die: their nets are tried once more, then given up, and everybody else goes on."""

import multiprocessing
import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import nws
from nws.errors import NwsError
from nws.images import ImageSet
from nws.train import Job, Schedule, train
from nws.train.runners.base import Training

HP = nws.FIXED.with_(filter_size=3, width_conv=1, width_fc=8, batch_size=32, dataset="noise").sample(1)[0]


@pytest.fixture(scope="module")
def noise() -> ImageSet:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 255, (100, 32, 32, 3), np.uint8), np.arange(100) % 10
    return ImageSet("noise", x, y, x[:20], y[:20], tuple("0123456789"))


def test_the_net_of_a_killed_worker_is_trained_by_another(noise):
    killed = []

    def kill(progress):
        if not killed:
            victim = multiprocessing.active_children()[0]
            killed.append(victim.pid)
            os.kill(victim.pid, signal.SIGKILL)

    jobs, schedule = [Job(i, HP) for i in range(4)], Schedule(epochs=3)
    nets = {net.number: net for net in train(jobs, {"noise": noise}, schedule, workers=2, on_progress=kill)}
    assert killed
    assert sorted(nets) == [0, 1, 2, 3]
    for alone in train(jobs, {"noise": noise}, schedule):
        np.testing.assert_array_equal(nets[alone.number].theta, alone.theta)


class Deadly(int):
    """A number that does something to the worker it is sent to, the first `times` times."""

    def __new__(cls, number, kind, proof, times):
        made = super().__new__(cls, number)
        made.arguments = (number, kind, proof, times)
        return made

    def __reduce__(self):
        return harm, self.arguments


def harm(number, kind, proof, times):
    with open(proof, "a") as file:
        file.write("x")
        file.flush()
        if file.tell() <= times:
            if kind == "memory":
                raise MemoryError
            os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_a_net_that_ends_two_workers_is_given_up_and_the_others_go_on(noise, tmp_path):
    killing, greedy, lucky = (str(tmp_path / name) for name in ("killing", "greedy", "lucky"))
    numbers = [0, Deadly(1, "kill", killing, 2), Deadly(2, "memory", greedy, 2), Deadly(3, "kill", lucky, 1)]
    made, lost = [], []
    with pytest.raises(NwsError, match="2 of 4 nets could not be trained: net ") as said:
        made.extend(train([Job(n, HP) for n in numbers], {"noise": noise}, Schedule(epochs=1), workers=2, gave_up=lost.append))
    assert "\n" not in str(said.value)
    assert sorted(net.number for net in made) == [0, 3]
    why = {net.number: net.why for net in lost}
    assert why == {1: "its worker died 2 times, exit code -9", 2: "its worker died 2 times, memory ran out"}


def test_workers_that_cannot_start_are_one_line(noise):
    bad = replace(noise, about={"evil": Deadly(0, "kill", os.devnull, 1)})
    with pytest.raises(NwsError, match="3 workers died while starting"):
        list(train([Job(i, HP) for i in range(3)], {"noise": bad}, Schedule(epochs=1), workers=2))
    assert not multiprocessing.active_children()


def test_without_workers_a_net_that_does_not_fit_is_given_up_too(noise, monkeypatch):
    def greedy(training, job, images, on_progress):
        if job.number == 0:
            raise MemoryError
        return whole(training, job, images, on_progress)

    whole = Training.__call__
    monkeypatch.setattr(Training, "__call__", greedy)
    made = []
    with pytest.raises(NwsError, match=r"1 of 2 nets could not be trained: net 0 \(memory ran out\)"):
        made.extend(train([Job(0, HP), Job(1, HP)], {"noise": noise}, Schedule(epochs=1)))
    assert [net.number for net in made] == [1]


@pytest.mark.parametrize("piped", [False, True], ids=["as a file", "piped into python"])
def test_a_script_without_a_guard_is_not_run_again_by_its_workers(tmp_path, piped):
    script = (
        "import nws\n"
        "nets = nws.FIXED.with_(filter_size=3, width_conv=1, width_fc=8).sample(2)\n"
        f"zoo = nws.sample({str(tmp_path / 'zoo')!r}, nets, images='digits', workers=2,"
        " epochs=2, limit=300, limit_test=20, snapshots=2)\n"
        "print(len(zoo))\n"
    )
    (tmp_path / "script.py").write_text(script)
    command, given = ([sys.executable, "-"], script) if piped else ([sys.executable, str(tmp_path / "script.py")], None)
    said = subprocess.run(command, input=given, capture_output=True, text=True, timeout=120)
    assert (said.stdout, said.returncode) == ("2\n", 0), said.stderr
