"""Named statistics of weights: what the SVMs read (E.1 of the paper).

Eight measures of a vector, and the same eight of its gradient. The gradient of theta is the plain first difference along the
vector, theta[i + 1] - theta[i]: the paper says "gradient" without a formula, and a difference of neighbours is the finest one.
"""

from __future__ import annotations

import math

import numpy as np

from nws.errors import NwsError
from nws.layout import Layout, Tensor

PERCENTILES = (1, 25, 50, 75, 99)
MEASURES = ("mean", "variance", "skewness", *(f"p{q}" for q in PERCENTILES))
STATISTICS = (*MEASURES, *(f"{name}_d" for name in MEASURES))  # _d: of the gradient, as in Fig. 17
_CHUNK = 1 << 16  # values worked on at once: 0.5 MB as float64, so that the passes over them run in the cache
_ROWS = 64  # of theta read at once, so that a memory-mapped theta is read in order


def statistics(x: np.ndarray) -> np.ndarray:
    """The 16 `STATISTICS` of each vector: x (..., L) -> (..., 16) float64.

    Variance is the mean square deviation; skewness is E[((x - mean) / deviation)^3], 0 for a constant vector; percentiles
    interpolate linearly. The gradient of a single weight is empty, its measures are 0. NaN or infinite weights give features
    that are not finite. NwsError when L is 0.
    """
    x = np.asarray(x)
    if not x.ndim or not x.shape[-1]:
        raise NwsError(f"statistics need vectors of at least one weight, got an array of shape {x.shape}")
    length, vectors = x.shape[-1], math.prod(x.shape[:-1])
    rows = x.reshape(vectors, length)
    out = np.zeros((vectors, len(STATISTICS)))
    step = max(1, _CHUNK // length)
    with np.errstate(invalid="ignore", over="ignore"):
        for start in range(0, vectors, step):
            chunk = rows[start : start + step]
            exact = chunk.astype(np.float64)
            out[start : start + step, :8] = _measures(exact, np.sort(chunk, axis=1))
            if length > 1:
                gradient = np.diff(exact, axis=1)
                out[start : start + step, 8:] = _measures(gradient, np.sort(gradient, axis=1))
    return out.reshape(*x.shape[:-1], len(STATISTICS))


def layer_statistics(theta: np.ndarray, layout: Layout, output: bool = False) -> np.ndarray:
    """The 16 statistics of each weight type of each layer: theta (..., P) -> (..., F) float64, F = len(feature_names(...)).

    The fixed architecture has 5 layers x 6 types x 16 = 480. The output layer is counted only with `output`.
    NwsError when theta does not fit the layout.
    """
    theta = np.asarray(theta)
    if not theta.ndim or theta.shape[-1] != layout.size:
        raise NwsError(f"theta has shape {theta.shape}, its layout {layout.size:,} weights")
    rows = theta.reshape(math.prod(theta.shape[:-1]), layout.size)
    groups = _groups(layout, output)
    out = np.empty((len(rows), len(groups), len(STATISTICS)))
    for start in range(0, len(rows), _ROWS):
        chunk = rows[start : start + _ROWS]
        for group, t in enumerate(groups):
            out[start : start + _ROWS, group] = statistics(chunk[:, t.start : t.stop])
    return out.reshape(*theta.shape[:-1], len(groups) * len(STATISTICS))


def feature_names(layout: Layout, output: bool = False) -> list[str]:
    """What the columns of `layer_statistics` are: ["conv1.weight/mean", "conv1.weight/variance", ...]."""
    return [f"{t.name}/{statistic}" for t in _groups(layout, output) for statistic in STATISTICS]


def _groups(layout: Layout, output: bool) -> list[Tensor]:
    last = layout.tensors[-1].layer
    return [t for t in layout.tensors if output or t.layer != last]


def _measures(x: np.ndarray, ordered: np.ndarray) -> np.ndarray:
    """The 8 `MEASURES` of x (n, L) float64, given the same values in rising order. -> (n, 8)."""
    # A mean of equal numbers can be off by its last bit, and the skewness of that rounding error would be +-1.
    constant = ordered[:, 0] == ordered[:, -1]
    mean = np.where(constant, x[:, 0], x.mean(axis=1))
    deviations = x - mean[:, None]
    # np.mean adds each row on its own; einsum would round a row differently in other company.
    variance = np.mean(deviations * deviations, axis=1)
    deviations /= np.sqrt(np.where(variance == 0, 1, variance))[:, None]
    skewness = np.mean(deviations * deviations * deviations, axis=1)
    return np.column_stack([mean, variance, skewness, _percentiles(ordered)])


def _percentiles(ordered: np.ndarray) -> np.ndarray:
    """Rows in rising order (n, L) -> their percentiles (n, 5), numpy's default linear interpolation."""
    position = np.array(PERCENTILES) / 100 * (ordered.shape[1] - 1)
    below = position.astype(np.int64)
    above = np.minimum(below + 1, ordered.shape[1] - 1)
    low, high = ordered[:, below].astype(np.float64), ordered[:, above].astype(np.float64)
    return low + (high - low) * (position - below)
