"""Two ways to do the same work, timed in turn: their ratio holds on a machine that others use too."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

Work = Callable[[], Any]


def paired(ours: Work, theirs: Work, rounds: int, clock: Callable[[], float] = time.process_time) -> tuple[float, float, float]:
    """(seconds of ours, seconds of theirs, theirs / ours): medians over rounds, after one round that is not counted."""
    ours(), theirs()
    pairs = np.array([(seconds(ours, clock), seconds(theirs, clock)) for _ in range(rounds)])
    return (*np.median(pairs, axis=0), float(np.median(pairs[:, 1] / pairs[:, 0])))


def seconds(work: Work, clock: Callable[[], float] = time.process_time) -> float:
    """CPU seconds of the process, or what `clock` counts."""
    started = clock()
    work()
    return clock() - started
