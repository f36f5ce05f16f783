"""Slices, with what all their statistics are computed from: sorted once, logarithms taken once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

TINY = np.float32(1e-12)  # added to magnitudes before their logarithm: zeros are common (dead units, fresh biases)


@dataclass(frozen=True)
class Rows:
    """x (n, L) float32; ordered, the same in rising order; logs = log10(|x| + TINY), sizes, the same in rising order;
    median and iqr (n, 1), the interquartile range and a little more, so that one may divide by it.
    """

    x: np.ndarray
    ordered: np.ndarray
    logs: np.ndarray
    sizes: np.ndarray
    median: np.ndarray
    iqr: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray) -> Rows:
        ordered = np.sort(x, axis=1)
        # numpy's log of float32 is vectorised, its log10 is not: a third of the time.
        logs = np.log(np.abs(x) + TINY) * np.float32(1 / np.log(10))
        low, median, high = np.hsplit(quantiles(ordered, np.array([25, 50, 75])), 3)
        return cls(x, ordered, logs, np.sort(logs, axis=1), median, high - low + TINY)


def quantiles(ordered: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Rows in rising order (n, L) -> (n, k) at so many percent, interpolated linearly."""
    position = levels / 100 * (ordered.shape[1] - 1)
    below = position.astype(np.int64)
    above = np.minimum(below + 1, ordered.shape[1] - 1)
    low = ordered[:, below]
    return low + (ordered[:, above] - low) * (position - below).astype(np.float32)
