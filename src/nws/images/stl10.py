"""STL-10, binary version: images of three 96 x 96 planes, each COLUMN by column, and a file of labels 1..10."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nws.images import records
from nws.images.resize import SIDE

_SIDE = 96
_CHUNK = 512  # images at a time: their 16-bit sums stay below 30 MB


def read_split(paths: Sequence[Path]) -> tuple[np.ndarray, np.ndarray]:
    """(image file, label file) -> pictures (N, 32, 32, 3), labels (N,) from 0, both uint8."""
    images = records.read(paths[0], 3 * _SIDE * _SIDE).reshape(-1, 3, _SIDE, _SIDE)  # (N, channel, column, row)
    labels = records.read(paths[1], 1)[:, 0]
    records.check_counts(paths[1], len(images), len(labels))
    records.check_labels(paths[1], labels, 1, 10)
    pictures = np.empty((len(images), SIDE, SIDE, 3), np.uint8)
    for start in range(0, len(images), _CHUNK):
        chunk = images[start : start + _CHUNK].transpose(0, 3, 2, 1)  # (n, row, column, channel)
        pictures[start : start + _CHUNK] = reduce(chunk)
    return pictures, labels - 1


def reduce(images: np.ndarray) -> np.ndarray:
    """(N, 96, 96, 3) uint8 -> (N, 32, 32, 3) uint8: the mean of each 3 x 3 pixels, rounded to the nearest (exact integers)."""
    N = len(images)
    sums = images.reshape(N, SIDE, 3, SIDE, 3, 3).sum(axis=(2, 4), dtype=np.uint16)
    return ((2 * sums + 9) // 18).astype(np.uint8)
