"""When a process stops and which share is its own: what users write, and what SLURM says."""

import os
import stat
import time
from datetime import datetime

import pytest

from nws import NwsError
from nws.shift import Shift, parsed_share, seconds_until

NOW = datetime(2026, 11, 25, 16, 0)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("4h", 14400),
        ("1h30m", 5400),
        ("90s", 90),
        ("2d", 172800),
        ("90min", 5400),
        ("1.5h", 5400),
        ("17:30", 5400),
        ("15:00", 23 * 3600),
        ("2026-11-25T16:10", 600),
    ],
)
def test_when_to_stop(text, seconds):
    assert seconds_until(text, NOW) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "4", "h", "4 hours", "25:00", "tomorrow", "2026-13-01", "4h30", "-4h", "2020-01-01T00:00"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(NwsError, match="--until"):
        seconds_until(text, NOW)


@pytest.mark.parametrize(("text", "share"), [("0/4", (0, 4)), ("3/4", (3, 4)), ("4/4", (0, 4)), (" 1/1 ", (0, 1))])
def test_shares(text, share):
    assert parsed_share(text) == share


@pytest.mark.parametrize("text", ["", "1", "1/0", "5/4", "-1/4", "a/b", "1/2/3", "1.5/2"])
def test_what_is_no_share_is_refused(text):
    with pytest.raises(NwsError, match="--share"):
        parsed_share(text)


@pytest.mark.parametrize(("first", "step"), [(0, 1), (1, 1), (10, 5)])
def test_tasks_of_an_array_have_all_shares_wherever_it_begins(first, step):
    found = []
    for task in range(first, first + 4 * step, step):
        slurm = {
            "SLURM_ARRAY_TASK_ID": task,
            "SLURM_ARRAY_TASK_COUNT": 4,
            "SLURM_ARRAY_TASK_MIN": first,
            "SLURM_ARRAY_TASK_STEP": step,
        }
        found.append(Shift.of(environment={name: str(value) for name, value in slurm.items()}).share)
    assert found == [(0, 4), (1, 4), (2, 4), (3, 4)]


def test_what_the_user_said_wins():
    slurm = {"SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_TASK_COUNT": "4", "SLURM_JOB_ID": "7", "SLURM_JOB_END_TIME": "99999999999"}
    shift = Shift.of("2/3", "1h", slurm)
    assert shift.share == (2, 3)
    assert shift.until == pytest.approx(time.monotonic() + 3600, abs=5)
    assert Shift.of(environment={}) == Shift()


def test_the_end_of_the_job_a_little_earlier():
    end = {"SLURM_JOB_ID": "7", "SLURM_JOB_END_TIME": str(int(time.time()) + 3600)}
    assert Shift.of(environment=end).until == pytest.approx(time.monotonic() + 3570, abs=5)


@pytest.mark.parametrize(("said", "left"), [("EndTime=2100-01-01T00:00:00", True), ("EndTime=Unknown", False), ("", False)])
def test_older_slurm_is_asked_by_scontrol(tmp_path, monkeypatch, said, left):
    fake = tmp_path / "scontrol"
    fake.write_text(f'#!/bin/sh\n[ "$1 $2 $3 $4" = "show job --oneliner 7" ] && echo "JobId=7 StartTime=x {said} Deadline=N/A"\n')
    fake.chmod(fake.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    until = Shift.of(environment={"SLURM_JOB_ID": "7"}).until
    assert (until is not None) == left
    if until is not None:
        assert until - time.monotonic() == pytest.approx(datetime(2100, 1, 1).timestamp() - time.time(), rel=1e-3)
