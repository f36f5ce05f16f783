"""When a process stops, and which part of the work it takes first: what a batch system, or whoever shares the work out, decides."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import FrameType

from nws.errors import NwsError

_UNITS = {"d": 86400, "h": 3600, "m": 60, "min": 60, "s": 1}
_PIECE = re.compile(r"(\d+(?:\.\d+)?) *(min|[dhms])")
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})")
# Seconds before a batch system ends the job: for what is being written, the index, and an epoch that cannot be broken off.
MARGIN = 30.0


class Stopped(BaseException):
    """Time is up, or somebody asked for an end: what is in hand is dropped. Raised wherever the program is, like Ctrl-C."""


@dataclass
class Shift:
    """share: (k, n), the k-th of n parts comes first, from 0; until: time.monotonic() at which all must be over.

    enough  nothing more is to be begun; set by a signal
    """

    share: tuple[int, int] | None = None
    until: float | None = None
    enough: bool = field(default=False, compare=False)

    @classmethod
    def of(cls, share: str | None = None, until: str | None = None, environment: Mapping[str, str] = os.environ) -> Shift:
        """From what a user said; what was not said is SLURM's. NwsError for what makes no sense."""
        limit = seconds_until(until) if until is not None else _slurm_seconds(environment)
        return cls(
            parsed_share(share) if share is not None else _slurm_share(environment),
            None if limit is None else time.monotonic() + limit,
        )


def parsed_share(text: str) -> tuple[int, int]:
    """ "2/4" -> (2, 4). Counted from 0, and N/N is 0/N: who counts from 1 leaves no part out either."""
    match = re.fullmatch(r"(\d{1,7})/(\d{1,7})", text.strip())
    k, n = (int(match[1]), int(match[2])) if match else (1, 0)
    if k > n or n < 1:
        raise NwsError(f"--share {text}: write K/N, such as 0/4, 1/4, 2/4 and 3/4 for four processes that share the nets")
    return k % n, n


def seconds_until(text: str, now: datetime | None = None) -> float:
    """ "4h", "1h30m", "90s", "2d" -> seconds; "17:30" and "2026-11-25T17:30" -> seconds until then, local time."""
    text, now = text.strip(), now or datetime.now()
    pieces = _PIECE.findall(text)
    if pieces and not _PIECE.sub("", text).strip():
        return sum(float(number) * _UNITS[unit] for number, unit in pieces)
    try:
        if match := _CLOCK.fullmatch(text):
            then = now.replace(hour=int(match[1]), minute=int(match[2]), second=0, microsecond=0)
            then += timedelta(days=then <= now)
        else:
            then = datetime.fromisoformat(text)
        left = then.timestamp() - now.timestamp()
    except (ValueError, OverflowError):
        raise NwsError(f"--until {text}: write how long, such as 4h or 1h30m, or when, such as 17:30 or 2026-11-25T17:30") from None
    if left <= 0:
        raise NwsError(f"--until {text}: that is over")
    return left


@contextlib.contextmanager
def on_duty(shift: Shift) -> Iterator[None]:
    """Signals meanwhile: SIGUSR1, nothing more is begun; SIGTERM, or when time is up: `Stopped`. In the main thread only.

    A batch system sends the first some time before the end (`--signal`) and the second at the end.
    """

    def enough(number: int, frame: FrameType | None) -> None:
        shift.enough = True

    def stop(number: int, frame: FrameType | None) -> None:
        if not stopping:
            stopping.append(number)
            shift.enough = True
            raise Stopped("time is up" if number == getattr(signal, "SIGALRM", None) else "asked to end")

    stopping: list[int] = []
    wanted = {"SIGUSR1": enough, "SIGTERM": stop, "SIGALRM": stop}
    before = {
        getattr(signal, name): signal.signal(getattr(signal, name), do) for name, do in wanted.items() if hasattr(signal, name)
    }
    if shift.until is not None and hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, max(shift.until - time.monotonic(), 1e-3))
    try:
        yield
    finally:
        if shift.until is not None and hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def _slurm_share(environment: Mapping[str, str]) -> tuple[int, int] | None:
    """This task's place in its job array, whose numbers may begin anywhere."""
    try:
        task, count = int(environment["SLURM_ARRAY_TASK_ID"]), int(environment["SLURM_ARRAY_TASK_COUNT"])
        least, step = int(environment.get("SLURM_ARRAY_TASK_MIN", 0)), int(environment.get("SLURM_ARRAY_TASK_STEP", 1))
        return ((task - least) // max(step, 1)) % count, count
    except (KeyError, ValueError, ZeroDivisionError):
        return None


def _slurm_seconds(environment: Mapping[str, str]) -> float | None:
    """Until a little before SLURM ends this job; None outside of one, or where it has no end."""
    job = environment.get("SLURM_JOB_ID", "")
    if not job.isdecimal():
        return None
    end = environment.get("SLURM_JOB_END_TIME", "")
    left = float(end) - time.time() if end.isdecimal() else _scontrol_seconds(job)
    return None if left is None else max(left - min(MARGIN, 0.1 * max(left, 0.0)), 1.0)


def _scontrol_seconds(job: str) -> float | None:
    """What `scontrol` says of a job's end: versions before 23.02 set no SLURM_JOB_END_TIME."""
    if not shutil.which("scontrol"):
        return None
    try:
        said = subprocess.run(
            ["scontrol", "show", "job", "--oneliner", job], capture_output=True, text=True, timeout=30, check=True
        ).stdout
        match = re.search(r"\bEndTime=(\S+)", said)
        return datetime.fromisoformat(match[1]).timestamp() - time.time() if match else None
    except (OSError, subprocess.SubprocessError, ValueError):  # "Unknown": no end
        return None
