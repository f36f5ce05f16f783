"""CIFAR-10, binary version: records of one label byte and three 32 x 32 planes (red, green, blue), each row by row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nws.images import records
from nws.images.resize import SIDE

_RECORD = 1 + 3 * SIDE * SIDE


def read_split(paths: Sequence[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Batch files, one after another -> pictures (N, 32, 32, 3), labels (N,), both uint8."""
    batches = [read(path) for path in paths]
    return np.concatenate([x for x, _ in batches]), np.concatenate([y for _, y in batches])


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """One batch file -> pictures (N, 32, 32, 3), labels (N,), both uint8."""
    batch = records.read(path, _RECORD)
    records.check_labels(path, batch[:, 0], 0, 9)
    planes = batch[:, 1:].reshape(-1, 3, SIDE, SIDE)  # (N, channel, row, column)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), batch[:, 0]
