"""How the weights of a slice are distributed, whatever their order: quantiles, magnitudes, histograms."""

from __future__ import annotations

import numpy as np

from nws.representations.slices.named import Columns, spread
from nws.representations.slices.rows import TINY, Rows, quantiles

LEVELS = np.array([0, 0.5, 1, 5, 10, 25, 50, 75, 90, 95, 99, 99.5, 100])  # percent
_INNER = LEVELS[1:-1]
MAGNITUDES = np.arange(-9, 3.25, 0.25)  # edges of log10|w|
_SIDES = np.arange(-2.5, 2.75, 0.25)  # edges of (w - median) / IQR
_LIMITS = (-7, -5, -3)  # powers of ten that a weight may be below
_FAR = 1e4


def distribution(rows: Rows) -> Columns:
    x, length = rows.x, rows.x.shape[1]
    q = quantiles(rows.ordered, LEVELS)
    sides = (rows.ordered - rows.median) / rows.iqr
    below = np.stack([np.searchsorted(row, np.array(_LIMITS, np.float32)) for row in rows.sizes]) / length
    return {
        **spread("value_p", LEVELS, q),
        **spread("spread_p", LEVELS, np.clip((q - rows.median) / rows.iqr, -_FAR, _FAR)),
        "median_by_iqr": np.clip(rows.median / rows.iqr, -_FAR, _FAR)[:, 0],
        "log_iqr": np.log10(rows.iqr)[:, 0],
        **spread("log_p", _INNER, quantiles(rows.sizes, _INNER)),
        "log_mean": rows.logs.mean(1),
        "log_deviation": rows.logs.std(1),
        "log_rms": np.log10(np.sqrt(np.einsum("nl,nl->n", x, x) / length) + TINY),
        "negative": np.array([np.searchsorted(row, 0) for row in rows.ordered]) / length,
        "repeated": (rows.ordered[:, 1:] == rows.ordered[:, :-1]).mean(1),
        **spread("below_1e", _LIMITS, below),
        **spread("magnitude_", MAGNITUDES[:-1], np.log1p(counts(rows.sizes, MAGNITUDES))),
        **spread("side_", _SIDES[:-1], counts(sides, _SIDES) / length),
        **_shape(np.clip((x - rows.median) / rows.iqr, -5, 5)),
    }


def counts(ordered: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Rows in rising order (n, L) -> how many values of each lie between neighbouring edges, (n, k - 1)."""
    edges = edges.astype(ordered.dtype)
    return np.diff(np.stack([np.searchsorted(row, edges) for row in ordered]), axis=1)


def _shape(u: np.ndarray) -> Columns:
    """Skewness and kurtosis of weights whose tails are cut off."""
    u = u - u.mean(1, keepdims=True)
    square = u * u
    variance = square.mean(1) + TINY
    skewness = np.einsum("nl,nl->n", square, u) / u.shape[1] / variance**1.5
    return {"skewness": skewness, "kurtosis": np.einsum("nl,nl->n", square, square) / u.shape[1] / variance**2}
