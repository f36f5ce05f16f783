"""Job arrays of SLURM that fill a zoo: the script, and handing it in. What the jobs are at, the zoo tells (`nws info`).

Plain sbatch: a task is `nws sample ZOO ...`, which finds its share and its end in SLURM's variables (nws.shift) and what is left to
do in the zoo. Nothing has to be pickled, watched or collected, so that no library is needed for it (docs/log.md).
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nws.errors import NwsError
from nws.shift import seconds_of

WARNING = 120  # seconds before the end of a job at which it is told to begin nothing more


@dataclass(frozen=True)
class Array:
    """A job array. NwsError for what SLURM would not understand.

    command   of every task, in words
    name      of the job, and of the folder for its script and logs: `folder`
    time      wall time of a task: 4h, 1h30m, 2d, or as SLURM writes it: 04:00:00, 1-12:00:00
    more      further options of sbatch, as partition=short
    """

    command: Sequence[str]
    folder: Path
    name: str
    jobs: int
    cpus: int
    time: str
    more: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.jobs < 1 or self.cpus < 1:
            raise NwsError(f"{self.jobs} jobs of {self.cpus} cores each: at least one of both")
        for option in self.more:
            if not re.fullmatch(r"[a-z][a-z0-9-]*(=[^\n\r\0]*)?", option):
                raise NwsError(
                    f"--sbatch {option!r}: write an option of sbatch as it is called there, such as --sbatch partition=short"
                )
        if re.search(r"[\n\r\0]", f"{self.folder}{self.name}{''.join(self.command)}"):
            raise NwsError(f"{self.folder!s:.80}: names with line ends cannot be handed to SLURM")
        _ = self.seconds

    @property
    def seconds(self) -> int:
        return _seconds(self.time)

    def script(self) -> str:
        """What sbatch is given."""
        hours, rest = divmod(self.seconds, 3600)
        options = [
            f"job-name={re.sub(r'[^A-Za-z0-9._-]', '-', self.name)}",
            f"array=0-{self.jobs - 1}",
            f"time={hours // 24}-{hours % 24:02d}:{rest // 60:02d}:{rest % 60:02d}",
            "ntasks=1",
            f"cpus-per-task={self.cpus}",
            "requeue",
            "open-mode=append",
            # To the shell, which the command has replaced by then.
            f"signal=B:USR1@{min(WARNING, self.seconds // 4)}",
            f"output={shlex.quote(str(self.folder).replace('%', '%%'))}/%A_%a.log",
            *self.more,
        ]
        lines = ["#!/bin/bash", *(f"#SBATCH --{option}" for option in options), f"cd {shlex.quote(str(Path.cwd()))}"]
        return "\n".join([*lines, f"exec {shlex.join(self.command)}", ""])

    def submit(self) -> str:
        """Hand it in; the number of the job. NwsError with what SLURM says against it."""
        if not shutil.which("sbatch"):
            raise NwsError("there is no sbatch here: run this where SLURM's commands are, or print the script with --dry-run")
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "job.sh"
        path.write_text(self.script(), encoding="utf-8")
        done = subprocess.run(["sbatch", "--parsable", str(path)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise NwsError(f"sbatch: {' '.join(done.stderr.split()) or f'exit code {done.returncode}'} ({path})")
        return done.stdout.strip().partition(";")[0]


def python() -> list[str]:
    """This Python, which has nws, by its full path: jobs do not come with an environment that was activated."""
    return [sys.executable, "-m", "nws"]


def _seconds(text: str) -> int:
    match = re.fullmatch(r"(?:(\d+)-)?(\d{1,4}):(\d{2})(?::(\d{2}))?", text.strip())
    if match and (match[4] is not None or match[1] is not None):
        days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
        found: float | None = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    else:
        found = seconds_of(text)
    if found is None or found < 60:
        raise NwsError(f"--time {text}: write the wall time of each job, at least a minute, such as 4h, 1h30m or 04:00:00")
    return round(found)
