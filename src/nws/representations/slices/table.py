"""All statistics of slices in one table."""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from nws.errors import NwsError
from nws.representations.base import Representation
from nws.representations.slices.blocks import find
from nws.representations.slices.distribution import distribution
from nws.representations.slices.layers import believed, layers, of_blocks
from nws.representations.slices.periods import periods
from nws.representations.slices.pixels import pixels
from nws.representations.slices.rows import Rows
from nws.representations.slices.windows import windows

_AT_ONCE = 1 << 18  # weights: fewer, and calls of numpy rule the time; more, and arrays leave the cache

_LARGEST = 1e28


def slices(x: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Slices x (..., L) of consecutive weights -> (..., F) float32, and the F names, the same for every length and net.

    NaN is what a slice has not: windows or periods longer than it, a batch norm. A slice with weights that are not finite is NaN
    throughout. A slice has the same values in any company. NwsError when L is below 2.
    """
    x = np.asarray(x, np.float32)
    if not x.ndim or x.shape[-1] < 2:
        raise NwsError(f"slices need at least two weights, got an array of shape {x.shape}")
    length, n = x.shape[-1], math.prod(x.shape[:-1])
    rows = x.reshape(n, length)
    step = max(1, _AT_ONCE // length)
    names = _names()
    out = np.empty((n, len(names)), np.float32)
    for start in range(0, n, step):
        some = rows[start : start + step]
        sound = np.isfinite(some).all(1)
        found = out[start : start + step]
        with np.errstate(over="ignore"):
            known = np.stack([*_columns(some[sound]).values()], 1) if sound.any() else 0
            found[sound] = np.clip(known, -_LARGEST, _LARGEST)  # squares of huge weights are infinite in float32
        found[~sound] = np.nan
    return out.reshape(*x.shape[:-1], len(names)), list(names)


@cache
def _names() -> tuple[str, ...]:
    return tuple(_columns(np.zeros((1, 2), np.float32)))


def _columns(x: np.ndarray) -> dict[str, np.ndarray]:
    rows, found = Rows.of(x), find(x)
    each = of_blocks(x, found) if len(found) else {}
    if each:
        some = believed(found, each)
        found, each = found.some(some), {name: column[some] for name, column in each.items()}
    return distribution(rows) | windows(rows) | periods(rows) | layers(x, found, each) | pixels(x, found, each)


class Slices(Representation):
    """`slices`: for readers of slices, and of whole parts as one long slice."""

    name = "slices"
    own_length = 5000
    seconds = 60.0
    ends = True

    def of_slices(self, x: np.ndarray) -> np.ndarray:
        return slices(x)[0]
