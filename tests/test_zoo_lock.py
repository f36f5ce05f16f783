"""Two writers of one zoo: the second is told who the first is; a dead writer holds nothing."""

import os
import signal
import subprocess
import sys

import pytest

from nws import FIXED, Zoo
from nws.errors import NwsError

HOLD = """
import sys, time
from nws import Zoo
with Zoo(sys.argv[1]).only_writer():
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def zoo(tmp_path):
    return Zoo.create(tmp_path / "zoo", FIXED, seed=0, nets=2)


@pytest.fixture
def holder(zoo):
    process = subprocess.Popen([sys.executable, "-c", HOLD, zoo.path], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_the_second_writer_is_told_who_the_first_is(zoo, holder):
    with pytest.raises(NwsError, match=rf"process {holder.pid} on .* is filling it"), zoo.only_writer():
        pytest.fail("two writers at once")


def test_sample_refuses_a_zoo_that_another_process_fills(tmp_path):
    command = [sys.executable, "-m", "nws", "sample", str(tmp_path / "zoo"), "--images", "digits", "--nets"]
    settings = ["--limit", "100", "--epochs", "1", "--workers", "1", "--with", "batch_size=32"]
    assert subprocess.run([*command, "1", *settings], capture_output=True, check=False).returncode == 0
    zoo = Zoo(tmp_path / "zoo")
    with zoo.only_writer():
        refused = subprocess.run([*command, "2", *settings], capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert f"process {os.getpid()} on " in refused.stderr
    assert "Traceback" not in refused.stderr
    assert len(zoo) == 1


def test_a_killed_writer_holds_nothing(zoo, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with zoo.only_writer():
        pass


def test_one_process_may_take_it_again(zoo):
    for _ in range(2):
        with zoo.only_writer():
            pass
