"""What the first convolution tells of its pictures, where a slice holds it.

The moving means of its answers, less the biases, are the sums of its kernels times the mean pixel: least squares give that pixel.
The moving variances follow from how alike neighbouring pixels are: for each distance over which likeness falls, the variance that a
kernel should have is compared with the one it has.
"""

from __future__ import annotations

import numpy as np

from nws.representations.slices.blocks import Blocks
from nws.representations.slices.named import Columns, spread
from nws.representations.slices.rows import TINY

CHANNELS = 3
SIDES = (3, 5, 7)
REACHES = (0.5, 1, 2, 4, 8, 32)  # pixels over which likeness falls to 1 / e
_WIDEST = 48  # units of a first convolution
_LEAST_FIT = 0.5  # share of the squares of (mean - bias) that one grey pixel explains; other layers reach that by chance at times
_LEAST_UNITS = 3
NAMES = (
    *("side", "whole", "fit", "pixel", "red", "green", "blue", "colour_fit", "units"),
    *(f"power_{r:g}" for r in REACHES),
    *(f"unlike_{r:g}" for r in REACHES),
    *("colour_power", "variance"),
)


def pixels(x: np.ndarray, found: Blocks, each: Columns) -> Columns:
    """Of slices x (n, L), their blocks and what these say (`layers.of_blocks`): of the first block of each slice, the side of
    kernels under which a mean pixel explains most. NaN where none explains half.
    """
    table = np.full((len(x), len(NAMES)), np.nan)
    if len(found):
        fits = np.stack([each[f"first{side}_fit"] for side in SIDES])
        first = (
            (np.diff(found.row, prepend=-1) > 0)
            & (found.width <= _WIDEST)
            & (np.where(np.isnan(fits), 0, fits).max(0) > _LEAST_FIT)
        )
        for k in np.flatnonzero(first):
            row, start, width = (int(v[k]) for v in (found.row, found.start, found.width))
            if start + 3 * width <= x.shape[1]:
                table[row] = _best(x[row].astype(np.float64), start, width)
    return spread("pixel_", NAMES, table)


def _best(x: np.ndarray, start: int, width: int) -> np.ndarray:
    bias, mean, variance = (x[start + place * width : start + (place + 1) * width] for place in (-2, 1, 2))
    end, answer = start - 2 * width, mean - bias
    chosen, most = None, _LEAST_FIT
    for side in SIDES:
        length = CHANNELS * side * side
        units = min(width, end // length)
        if units < _LEAST_UNITS:
            continue
        kernels = x[end - units * length : end].reshape(units, CHANNELS, -1)
        of = answer[-units:]
        sums = kernels.sum((1, 2))
        power, squares = sums @ sums, of @ of
        whole = end == width * length
        fit = (sums @ of) ** 2 / (power * squares) if power > 0 and squares > 0 else 0.0
        if fit + whole > most:  # where the slice begins with the net, nothing needs to be guessed
            chosen, most = (side, whole, fit, (sums @ of) / power if power > 0 else 0.0, kernels, of), fit + whole
    if chosen is None:
        return np.full(len(NAMES), np.nan)
    side, whole, fit, pixel, kernels, of = chosen
    colours = np.linalg.lstsq(kernels.sum(2), of, rcond=1e-3)[0]
    missed = of - kernels.sum(2) @ colours
    powers = _powers(kernels, variance[-len(of) :], side)
    return np.array([side, whole, fit, pixel, *colours, 1 - missed @ missed / max(of @ of, 1e-30), len(of), *powers])


def _powers(kernels: np.ndarray, variance: np.ndarray, side: int) -> list[float]:
    """Logarithms of variance by what it should be for each reach: their mean and their deviation over units (u, 3, k k)."""
    grey = kernels.sum(1)
    has = np.log10(np.maximum(variance, TINY))
    compared = has - np.log10(np.maximum(np.einsum("uk,rkl,ul->ru", grey, _likeness(side), grey), TINY))
    colour = np.log10(((kernels - kernels.mean(1, keepdims=True)) ** 2).sum() / max((kernels**2).sum(), 1e-30) + TINY)
    return [*compared.mean(1), *compared.std(1), colour, has.mean()]


def _likeness(side: int) -> np.ndarray:
    """(reaches, k k, k k): exp(- distance / reach) of two pixels of a kernel."""
    y, x = np.divmod(np.arange(side * side), side)
    distance = np.hypot(y[:, None] - y, x[:, None] - x)
    return np.exp(-distance / np.array(REACHES)[:, None, None])
