"""What a heap of numbers is like, whatever their order: each sum is one of sorted numbers, so that reordering changes no bit."""

from __future__ import annotations

import numpy as np

QUANTILES = (0, 1, 5, 25, 50, 75, 95, 99, 100)
_SIZES = QUANTILES[1:-1]  # of magnitudes; the smallest is chance, the largest among the others
VALUES = (
    *("mean", "log deviation", "skewness", "log kurtosis", "log rms"),
    *(f"p{q}" for q in QUANTILES),
    *(f"standardised p{q}" for q in QUANTILES),
    *(f"log size p{q}" for q in _SIZES),
    *("mean log size", "deviation of log size", "share negative", "share zero"),
)
_FLOOR = 1e-12  # below any weight that float32 training leaves, but for zeros
_ZERO = 1e-7


def log(x: np.ndarray, floor: float = _FLOOR) -> np.ndarray:
    """log10 of magnitudes; zeros are `floor`."""
    return np.log10(np.abs(x) + floor)


def measured(x: np.ndarray) -> np.ndarray:
    """The `VALUES` of each row: x (n, L) float32, finite -> (n, 34) float64.

    Percentiles interpolate linearly. Standardised ones, skewness and kurtosis of equal numbers are 0.
    """
    ordered = np.sort(x, axis=1)
    sizes = np.sort(np.abs(ordered), axis=1)
    exact = ordered.astype(np.float64)
    # The mean of equal numbers can be off by its last bit, and what is standardised by that would be noise.
    constant = ordered[:, 0] == ordered[:, -1]
    mean = np.where(constant, exact[:, 0], exact.mean(1))
    apart = exact - mean[:, None]
    squares = apart * apart
    deviation = np.sqrt(squares.mean(1))
    deviation[constant] = 0
    scale = np.where(constant, 1.0, deviation)
    skewness = (squares * apart).mean(1) / scale**3
    kurtosis = (squares * squares).mean(1) / scale**4
    quantiles = _interpolated(exact, QUANTILES)
    logs = np.log10(sizes + np.float32(_FLOOR))  # float32: a hundredth of a percent is enough, and it takes a tenth of the time
    return np.column_stack(
        [
            *(mean, log(deviation), skewness, np.log1p(kurtosis), log(np.sqrt(mean * mean + deviation * deviation))),
            quantiles,
            (quantiles - mean[:, None]) / scale[:, None],
            log(_interpolated(sizes.astype(np.float64), _SIZES)),
            logs.mean(1, dtype=np.float64),
            logs.std(1, dtype=np.float64),
            (ordered < 0).mean(1),
            (sizes < _ZERO).mean(1),
        ]
    )


def _interpolated(ordered: np.ndarray, percentiles: tuple[int, ...]) -> np.ndarray:
    position = np.array(percentiles) / 100 * (ordered.shape[1] - 1)
    below = position.astype(np.int64)
    above = np.minimum(below + 1, ordered.shape[1] - 1)
    low = ordered[:, below]
    return low + (ordered[:, above] - low) * (position - below)


def spread(x: np.ndarray) -> np.ndarray:
    """Deviation along the last axis; 0 for what rounding alone tells apart."""
    deviation = x.std(-1)
    return np.where(deviation > 1e-9 * np.sqrt(np.mean(x * x, -1)), deviation, 0.0)


def correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Along the last axis; 0 where one of them is constant but for rounding."""
    a, b = np.broadcast_arrays(a, b)
    flat = (spread(a) == 0) | (spread(b) == 0)
    a, b = a - a.mean(-1, keepdims=True), b - b.mean(-1, keepdims=True)
    scale = np.sqrt((a * a).sum(-1) * (b * b).sum(-1))
    return np.where(flat, 0.0, (a * b).sum(-1) / np.where(scale == 0, 1.0, scale))
