"""Batch norm in a slice: where [bias, beta, gamma, mean, variance] of equal lengths stand, found by what they look like.

Gamma stays near 1, variances are positive, beta and biases are small. Where a block stands says how wide its layer is; the weights
before it belong to that layer, so that what its statistics say of its inputs can be computed (`nws.representations.slices.layers`).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from nws.representations.slices.windows import run_from, runs

WIDTHS = np.array([*range(4, 64, 4), *range(64, 128, 8), *range(128, 257, 16)])
MOST = 8  # blocks of one slice
_GAMMA = (0.3, 2.2)
_BETA = 0.8  # nearly all are smaller
_CLIP = 20.0  # moving variances of 1e6 would take the digits of what stands beside them
_STEP = 0.3  # between groups that differ by chance
_SHORT = 4  # values of a run that may be a gamma
_COMPARED = 48  # candidates of one slice, the best ones
SURE, _LEAST = 7.5, 5.5  # scores: of what is one by its looks, and of what may be one


@dataclass(frozen=True)
class Blocks:
    """m blocks, ordered by slice and place: in which slice (row), where its gamma begins, how many units, how sure (score)."""

    row: np.ndarray
    start: np.ndarray
    width: np.ndarray
    score: np.ndarray

    def __len__(self) -> int:
        return len(self.row)

    def some(self, chosen: np.ndarray) -> Blocks:
        return Blocks(*(getattr(self, f.name)[chosen] for f in fields(self)))


def find(x: np.ndarray) -> Blocks:
    """What may be blocks in slices x (n, L), at most `MOST` in each, that do not overlap. Either side of gamma may be cut off.

    Those of less than `SURE` points need another reason to be believed (`layers.believed`).
    """
    candidates = _candidates(x)
    if not len(candidates):
        return candidates
    candidates = candidates.some(candidates.score >= _LEAST)
    candidates = candidates.some(np.lexsort((candidates.start, -candidates.score, candidates.row)))
    rank = np.arange(len(candidates)) - np.searchsorted(candidates.row, candidates.row)
    candidates = candidates.some(rank < _COMPARED)
    kept: list[int] = []
    of_row: list[tuple[int, int]] = []
    last = -1
    for k, (row, start, width) in enumerate(zip(candidates.row.tolist(), candidates.start.tolist(), candidates.width.tolist())):
        if row != last:
            last, of_row = row, []
        begin, end = start - 2 * width, start + 3 * width
        if len(of_row) < MOST and all(end <= a or begin >= b for a, b in of_row):
            of_row.append((begin, end))
            kept.append(k)
    found = candidates.some(np.array(kept, int))
    return found.some(np.lexsort((found.start, found.row)))


def _candidates(x: np.ndarray) -> Blocks:
    """Every run of values that may be a gamma, with every width and place that gamma may have in it, scored."""
    length = x.shape[1]
    row, first, last = runs((x > _GAMMA[0]) & (x < _GAMMA[1]), _SHORT)  # [first, last)
    size = (last - first)[:, None]
    fits = (size + 2 >= WIDTHS) & (size <= 5 * WIDTHS) & ((WIDTHS >= 8) | (size <= 20))
    at, which = np.nonzero(fits)
    width = WIDTHS[which]
    # Beta before it, or the moving mean behind it, may look like it.
    start = np.stack([first[at], last[at] - width, first[at] + width, last[at] - 2 * width], 1)
    new = np.ones(start.shape, bool)
    for k in range(1, start.shape[1]):
        new[:, k] = (start[:, k, None] != start[:, :k]).all(1)
    inside = new & (start >= 0) & (start + width[:, None] <= length)
    inside &= (start >= width[:, None]) | (start + 3 * width[:, None] <= length)
    one, anchor = np.nonzero(inside)
    row, start, width = row[at][one], start[one, anchor], width[one]
    share = np.minimum(last[at][one], start + width) - np.maximum(first[at][one], start)
    # Nearly all runs are chance, among weights drawn from N(0, 1): no run of variances follows, and they need no sums.
    seen = start + 3 * width <= length
    kept = ~seen | (run_from(x > 0, row, np.minimum(start + 2 * width, length)) >= width)
    row, start, width, share, seen = (v[kept] for v in (row, start, width, share, seen))
    points = 3 * share / width - 2 + np.where(seen, 1, 0)
    used, row_of = np.unique(row, return_inverse=True)
    return Blocks(row, start, width, (points + _points(x[used], row_of, start, width)) * np.sqrt(width))


def _points(x: np.ndarray, row: np.ndarray, start: np.ndarray, width: np.ndarray) -> np.ndarray:
    """How much each candidate (m,) looks like a block, for each unit: gamma's spread, beta's size, groups that differ."""
    length = x.shape[1]

    def counted(values: np.ndarray, kind: type) -> np.ndarray:
        sums = np.zeros((len(x), length + 1), kind)
        np.cumsum(values, axis=1, out=sums[:, 1:])
        return sums

    def within(sums: np.ndarray, place: int) -> np.ndarray:
        begin = start + place * width
        inside = (begin >= 0) & (begin + width <= length)
        found = sums[row, np.clip(begin + width, 0, length)] - sums[row, np.clip(begin, 0, length)]
        return np.where(inside, found / width, np.nan)

    clipped = np.clip(x, -_CLIP, _CLIP).astype(np.float64)
    first, second = counted(clipped, np.float64), counted(clipped * clipped, np.float64)
    small = within(counted(np.abs(x) < _BETA, np.int32), -1)
    means = [within(first, place) for place in range(-2, 4)]
    deviations = [np.sqrt(np.maximum(within(second, k - 2) - mean * mean, 0)) for k, mean in enumerate(means)]
    points = 0.5 * np.clip(1 - deviations[2] / (0.4 * np.abs(means[2]) + 1e-9), -1, 1)
    points += _known(2 * (small - 0.9) + np.where(np.abs(means[1]) < _BETA / 2, 0.3, -0.3), small)
    for k in range(5):  # neighbouring groups differ, and each is alike within itself
        step = np.abs(means[k + 1] - means[k]) / (deviations[k + 1] + deviations[k] + 1e-9)
        points += _known(np.minimum(step, 3) / 3 - _STEP, step)
    return points


def _known(points: np.ndarray, of: np.ndarray) -> np.ndarray:
    """Points only where there is something to give them for."""
    return np.where(np.isfinite(of), points, 0)
