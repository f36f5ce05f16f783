"""What the file formats share: files of equal records, and labels that must lie in a range."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nws.errors import NwsError

MAX_BYTES = 2 << 30  # no official file holds more; a header that claims more is wrong or hostile


def read(path: Path, record: int) -> np.ndarray:
    """A headerless file of `record`-byte records -> (N, record) uint8. NwsError unless it holds a whole number of them."""
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise NwsError(f"{path} is {size:,} bytes, more than any file of this kind")
    if not size or size % record:
        raise NwsError(f"{path} is cut short or has trailing bytes: its {size:,} bytes are not whole records of {record:,}")
    return np.fromfile(path, np.uint8).reshape(-1, record)


def check_labels(path: Path, y: np.ndarray, low: int, high: int) -> None:
    """NwsError unless the labels y (N,) read from `path` lie in low..high."""
    if y.min() < low or y.max() > high:
        wrong = int(np.flatnonzero((y < low) | (y > high))[0])
        raise NwsError(f"{path} is damaged: label {wrong} is {y[wrong]}, must be {low} to {high}")


def check_counts(path: Path, images: int, labels: int) -> None:
    """NwsError unless the label file `path` has as many labels as there are images."""
    if images != labels:
        raise NwsError(f"{path} has {labels:,} labels for {images:,} images: one of the two files is cut short")
