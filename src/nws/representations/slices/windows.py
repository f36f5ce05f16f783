"""How the weights of a slice change along it: windows of three lengths, sixths, runs."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from nws.representations.slices.named import Columns, missing, spread
from nws.representations.slices.rows import TINY, Rows

WINDOWS = (16, 64, 256)
_MEASURES = ("deviation", "mean", "log", "positive")
_LEVELS = np.array([0, 5, 10, 25, 50, 75, 90, 95, 100])
_CHANGES = ("deviation", "step", "step_max", "step_at")
_SHAPE = (0, 25, 50, 75, 100)
_FAR = 1e4
_SIXTHS = 6


def windows(rows: Rows) -> Columns:
    """Of windows of 16, 64 and 256 weights: deviation, mean, mean magnitude and share of positive ones, and how these vary.

    A change point is where a measure steps furthest from one window to the next (step_max, and where: step_at, 0 to 1).
    """
    found: Columns = {}
    x, positive = rows.x, (rows.x > 0).astype(np.float32)
    for width in WINDOWS:
        count = x.shape[1] // width
        if count < 2:
            found |= missing(_names(width), len(x))
            continue
        mean, log, share = (_means(v, width) for v in (x, rows.logs, positive))
        apart = x[:, : count * width].reshape(len(x), count, width) - mean[:, :, None]
        deviation = np.sqrt(np.einsum("nkw,nkw->nk", apart, apart) / width)
        for name, values in zip(_MEASURES, (np.log10(deviation + TINY), mean / rows.iqr, log, share)):
            found |= _along(f"{name}_{width}", np.clip(values, -_FAR, _FAR))
        if width == WINDOWS[-1]:
            apart /= (deviation + TINY)[:, :, None]
            found |= _shapes(apart)
    return found | _sixths(rows.logs) | _runs(x)


def _means(x: np.ndarray, width: int) -> np.ndarray:
    """Of windows, (n, L) -> (n, L // width). numpy's own mean over 16 values takes four times as long as this product."""
    count = x.shape[1] // width
    return x[:, : count * width].reshape(len(x), count, width) @ np.full(width, 1 / width, np.float32)


def _names(width: int) -> list[str]:
    names = [f"{measure}_{width}_{tail}" for measure in _MEASURES for tail in (*(f"p{q}" for q in _LEVELS), *_CHANGES)]
    return names + [f"{what}_p{q}" for what in ("kurtosis", "peak") for q in _SHAPE if width == WINDOWS[-1]]


def _along(name: str, values: np.ndarray) -> Columns:
    """One measure of the windows of each slice, values (n, k)."""
    k = values.shape[1]
    steps = np.abs(np.diff(values, axis=1))
    at = np.round(_LEVELS / 100 * (k - 1)).astype(int)
    changes = np.stack([values.std(1), steps.mean(1), steps.max(1), steps.argmax(1) / k], 1)
    return spread(f"{name}_p", _LEVELS, np.sort(values, axis=1)[:, at]) | spread(f"{name}_", _CHANGES, changes)


def _shapes(z: np.ndarray) -> Columns:
    """Standardised windows (n, k, width): tails of the distribution within one, where a uniform differs from a normal one."""
    square = z * z
    kurtosis = np.sort(np.einsum("nkw,nkw->nk", square, square) / z.shape[2], axis=1)
    peak = np.sort(np.sqrt(square.max(2)), axis=1)
    at = np.round(np.array(_SHAPE) / 100 * (z.shape[1] - 1)).astype(int)
    return spread("kurtosis_p", _SHAPE, kurtosis[:, at]) | spread("peak_p", _SHAPE, peak[:, at])


def _sixths(logs: np.ndarray) -> Columns:
    edges = np.linspace(0, logs.shape[1], _SIXTHS + 1).astype(int)
    means = [logs[:, a:b].mean(1) if b > a else np.full(len(logs), np.nan) for a, b in pairwise(edges)]
    return {f"log_sixth_{k}": mean for k, mean in enumerate(means)}


def _runs(x: np.ndarray) -> Columns:
    """Longest runs of one kind of weight: a moving variance is a run of positive ones, gamma of ones near 1."""
    size = np.abs(x)
    kinds = {"positive": x > 0, "negative": x < 0, "near_1": np.abs(x - 1) < 0.45, "tiny": size < 1e-4, "large": size > 4}
    return {f"run_{name}": np.log2(1 + longest_run(kind)) for name, kind in kinds.items()}


def longest_run(kind: np.ndarray) -> np.ndarray:
    """Of each row (n, L) of booleans the length of its longest run of True, (n,)."""
    begin, end = _ends(kind)
    longest = np.zeros(len(kind), np.int64)
    np.maximum.at(longest, begin // (kind.shape[1] + 1), end - begin)
    return longest


def runs(kind: np.ndarray, least: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The runs of at least so many True in rows (n, L): row, begin and end of each, (m,), in the order of the rows."""
    begin, end = _ends(kind)
    long = end - begin >= least
    row, first = np.divmod(begin[long], kind.shape[1] + 1)
    return row, first, first + (end - begin)[long]


def run_from(kind: np.ndarray, row: np.ndarray, place: np.ndarray) -> np.ndarray:
    """How many True stand in rows (n, L) from each place (row, place) on, (m,)."""
    begin, end = (np.append(at, kind.size + len(kind) + 1) for at in _ends(kind))
    at = row * (kind.shape[1] + 1) + place
    run = np.searchsorted(end, at, side="right")
    return np.where(begin[run] <= at, end[run] - at, 0)


def _ends(kind: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where runs of True begin and end, counted through all rows (n, L) with a place of its own after each row."""
    n, length = kind.shape
    flat = np.zeros(n * (length + 1) + 1, bool)
    flat[1:].reshape(n, length + 1)[:, :length] = kind
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    return changes[::2], changes[1::2]
