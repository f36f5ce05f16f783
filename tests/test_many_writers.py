"""Several processes at one zoo, as users start them: the same nets as by one alone, whoever is killed or told to end."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from nws import Zoo
from nws.zoo import netfile

SMALL = ["--set", "filter_size=3", "--set", "width_conv=1", "--set", "width_fc=8", "--set", "batch_size=32"]
QUICK = [*SMALL, "--images", "digits", "--limit", "100", "--limit-test", "50", "--epochs", "3", "--snapshots", "4", "--seed", "1"]
SLOW = [
    "--family",
    "waiting:Waiting",
    "--images",
    "digits",
    "--limit",
    "20",
    "--limit-test",
    "10",
    "--epochs",
    "2",
    "--snapshots",
    "2",
]


def start(zoo, settings, nets, *more, wait="0.1"):
    command = [sys.executable, "-m", "nws", "sample", str(zoo), *settings, "--nets", str(nets), "--workers", "1", *more]
    environment = {**os.environ, "NWS_WAIT": wait, "PYTHONPATH": str(Path(__file__).parent)}
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment)


def ended(process):
    """(exit code, what it said)"""
    said = process.communicate(timeout=200)[1]
    return process.returncode, said


def begun(zoo, process, nets=1):
    while len(list(Path(zoo).rglob("*.safetensors"))) < nets:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)


def contents(zoo):
    """Every net's file, (header, bytes behind it), but for the seconds that its training took and the order in the header."""
    found = {}
    for number in zoo.numbers():
        data = netfile.encode(replace(zoo.net(number), seconds=0.0), zoo.split(number))
        start = 8 + int.from_bytes(data[:8], "little")
        found[number] = json.loads(data[8:start]), data[start:]
    return found


def left_over(zoo):
    return sorted(path.name for path in zoo.path.iterdir() if path.name not in ("zoo.json", "nets", "index.parquet"))


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone") / "zoo"
    assert ended(start(folder, QUICK, 40))[0] == 0
    return contents(Zoo(folder))


def test_three_processes_make_the_zoo_of_one(tmp_path, alone):
    processes = [start(tmp_path / "zoo", QUICK, 40, "--share", f"{k}/3") for k in range(3)]
    assert [ended(process)[0] for process in processes] == [0, 0, 0]
    zoo = Zoo(tmp_path / "zoo")
    assert contents(zoo) == alone
    assert left_over(zoo) == []


def test_killed_processes_lose_nothing(tmp_path, alone):
    """Two of three are killed in the middle; the third takes over what they had, at once, for they were on its machine."""
    zoo = tmp_path / "zoo"
    processes = [start(zoo, QUICK, 40) for _ in range(3)]
    begun(zoo, processes[0], 3)
    for process in processes[:2]:
        process.send_signal(signal.SIGKILL)
    assert ended(processes[2])[0] == 0
    for process in processes[:2]:
        ended(process)
    assert contents(Zoo(zoo)) == alone
    assert left_over(Zoo(zoo)) == []


def test_who_would_make_other_nets_is_refused(tmp_path):
    zoo = tmp_path / "zoo"
    first = start(zoo, SLOW, 100, wait="0.3")
    begun(zoo, first)
    for option, value in (("--seed", "2"), ("--limit", "30")):
        settings = [value if before == option else word for before, word in zip(["", *SLOW], SLOW)]
        code, said = ended(start(zoo, settings if settings != SLOW else [*SLOW, option, value], 20))
        assert code == 2
        assert "was made with" in said
        assert "Traceback" not in said
    first.terminate()
    assert ended(first)[0] == 0


@pytest.mark.parametrize(("told", "dropped"), [("SIGTERM", True), ("SIGUSR1", False)])
def test_a_process_that_is_told_to_end_does_so_and_says_what_is_left(tmp_path, told, dropped):
    zoo = tmp_path / "zoo"
    process = start(zoo, SLOW, 50, wait="0.3")
    begun(zoo, process)
    process.send_signal(getattr(signal, told))
    code, said = ended(process)
    assert code == 0, said
    assert "nets are left: the same command goes on" in said
    assert ("asked to end; what is finished is kept" in said) == dropped
    assert 1 <= len(Zoo(zoo)) < 50
    assert "claims" not in left_over(Zoo(zoo))


def test_time_is_up(tmp_path):
    zoo = tmp_path / "zoo"
    started = time.monotonic()
    code, said = ended(start(zoo, SLOW, 500, "--until", "12s"))
    assert (code, "nets are left: the same command goes on" in said) == (0, True), said
    assert time.monotonic() - started < 60
    assert not Zoo(zoo).verify().damaged
    assert "claims" not in left_over(Zoo(zoo))
    for wrong in ("yesterday", "2001-01-01", "0/0"):
        code, said = ended(start(zoo, SLOW, 500, "--share" if "/" in wrong else "--until", wrong))
        assert (code, said.count("\n")) == (2, 1)


def test_a_zoo_that_is_being_filled_is_not_repaired(tmp_path):
    zoo = tmp_path / "zoo"
    process = start(zoo, SLOW, 100, wait="0.3")
    begun(zoo, process)
    repair = subprocess.run(
        [sys.executable, "-m", "nws", "verify", str(zoo), "--repair"], capture_output=True, text=True, check=False
    )
    assert repair.returncode == 2
    assert f"process {process.pid} on " in repair.stderr
    assert "wait for it to end, or end it" in repair.stderr
    process.send_signal(signal.SIGTERM)
    assert ended(process)[0] == 0
