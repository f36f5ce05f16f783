"""The benchmarks by name, each run in a process of its own: a crash loses one, memory is its own, threads are pinned."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence

from nws.bench.rows import Row

# name -> what it compares. `nws.bench.NAME` has rows(quick=False), which yields one dictionary per row (see rows.py).
SUITES = {
    "engine": "one core: our engines, the usual loop, the core's matrix product",
    "features": "statistics of weights against numpy and scipy group by group",
    "store": "random slices of a zoo on disk and in memory, against np.memmap and safe_open",
    "meta": "a training step of the deep meta-classifier against the plain module",
    "sampling": "whole processes: nws sample against the bare engine, two workers against one, memory",
    "fashion": "nws sample of one net at full size (with --full only)",
}
# One core for all: a second thread of a matrix product would go on spinning while ours is timed, and be counted. Libraries read
# these when they are loaded, so they must stand before.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def run(names: Sequence[str], quick: bool = True, on_progress: Callable[[str], None] = lambda doing: None) -> Iterator[Row]:
    """The rows of the suites as they come. A suite that fails gives a row that says so, and the others go on."""
    for name in names:
        on_progress(f"{name}: starting")
        command = [sys.executable, "-m", "nws.bench", name, *(["--quick"] if quick else [])]
        with tempfile.TemporaryFile("w+", encoding="utf-8") as errors:  # not a pipe, which would block when nobody reads it
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=errors, text=True, encoding="utf-8", env=os.environ | ONE_THREAD
            )
            try:
                assert process.stdout
                for line in process.stdout:
                    row = Row.of(json.loads(line))
                    on_progress(f"{name}: after {row.what}")
                    yield row
                if code := process.wait():
                    errors.seek(0)
                    why = (errors.read().strip().splitlines() or [f"exit code {code}"])[-1]
                    yield Row(name, "the rest of this suite", skipped=f"it failed: {why}")
            finally:
                process.kill()
                process.communicate()
