"""Whole commands as a user types them, and what they cost."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from nws.errors import NwsError


@dataclass(frozen=True)
class Spent:
    """Seconds that passed, and seconds of all cores together."""

    wall: float
    cpu: float


def nws_sample(zoo: Path, *options: str) -> Spent:
    """`nws sample` from start to exit, its workers included. NwsError with its last line when it fails."""
    command = [sys.executable, "-m", "nws", "sample", str(zoo), *options]
    started, before = time.perf_counter(), os.times()
    with tempfile.TemporaryFile("w+", encoding="utf-8") as errors:
        failed = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=errors, check=False).returncode
        if failed:
            errors.seek(0)
            raise NwsError((errors.read().strip().splitlines() or [f"nws sample failed: exit code {failed}"])[-1])
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Spent(time.perf_counter() - started, cpu)
