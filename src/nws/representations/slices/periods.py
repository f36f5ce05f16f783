"""What repeats in a slice: kernels, filters and rows of a matrix have lengths, which show without a layout."""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft

from nws.representations.slices.named import Columns, missing, spread
from nws.representations.slices.rows import Rows

LAGS = 64
_FAR_FROM = LAGS + 1
_BANDS = 8
_CLIP = 3  # interquartile ranges: one large weight would rule all lags
_SIDES, _CHANNELS = (3, 5, 7), (3, 4, 8, 12, 16, 24, 32, 48)  # of filters


def _periods() -> list[int]:
    """Lengths of kernels (k k), filters (channels k k) and rows of matrices that are common."""
    filters = {channels * side * side for side in _SIDES for channels in _CHANNELS}
    flattened = {pixels * channels for pixels in (16, 64) for channels in (4, 8, 12, 16, 24, 32, 48)}
    return sorted({*range(2, LAGS + 1), 80, 96, 112, 128, 192, 256, *filters, *flattened})


PERIODS = _periods()


@cache
def _comb(length: int) -> tuple[list[int], np.ndarray]:
    """The periods that occur three times in a slice, and weights (lags, periods) of their multiples: as many pairs as have them."""
    fitting = [p for p in PERIODS if p <= length // 3]
    weights = np.zeros((length // 2 + 1, len(fitting)), np.float32)
    for column, period in enumerate(fitting):
        lags = np.arange(period, length // 2 + 1, period)
        pairs = (length - lags).astype(np.float64)
        weights[lags, column] = pairs / np.sqrt(pairs.sum())
    return fitting, weights


def autocorrelation(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values (n, L) of mean 0 -> correlation at lags 0 to L // 2, (n, L // 2 + 1), and the power spectrum (n, bins)."""
    length = values.shape[1]
    most = length // 2
    size = next_fast_len(length + most, real=True)  # so long that no lag meets the other end
    transformed = rfft(values, size, axis=1)
    power = transformed.real**2 + transformed.imag**2
    found = irfft(power, size, axis=1)[:, : most + 1] / np.arange(length, length - most - 1, -1, dtype=np.float32)
    return found / np.where(found[:, :1] > 1e-20, found[:, :1], 1), power


def periods(rows: Rows) -> Columns:
    """Of the weights, and of their magnitudes."""
    values = np.clip((rows.x - rows.median) / rows.iqr, -_CLIP, _CLIP)
    end = rows.x.shape[1] // 100
    sizes = np.clip(rows.logs, rows.sizes[:, end, None], rows.sizes[:, -1 - end, None])
    found: Columns = {}
    for name, series in (("value", values), ("size", sizes)):
        found |= _of(name, series - series.mean(1, keepdims=True))
    return found


def _of(name: str, series: np.ndarray) -> Columns:
    n, length = series.shape
    fitting, weights = _comb(length)
    correlation, power = autocorrelation(series)
    near = correlation[:, 1 : LAGS + 1]
    found = spread(f"{name}_lag_", range(1, near.shape[1] + 1), near)
    found |= missing([f"{name}_lag_{lag}" for lag in range(near.shape[1] + 1, LAGS + 1)], n)
    combs = correlation @ weights
    found |= spread(f"{name}_period_", fitting, combs)
    found |= missing([f"{name}_period_{p}" for p in PERIODS[len(fitting) :]], n)
    far = correlation[:, _FAR_FROM:]
    long = [k for k, p in enumerate(fitting) if p > LAGS]
    if long:
        strongest = combs[:, long].argmax(1)
        best = np.stack([far.argmax(1) + _FAR_FROM, far.max(1) * np.sqrt(length), np.array(fitting)[long][strongest]], 1)
        found |= spread(f"{name}_far_", ("lag", "strength", "period"), best)
    else:
        found |= missing([f"{name}_far_{what}" for what in ("lag", "strength", "period")], n)
    edges = np.unique(np.geomspace(4, power.shape[1], _BANDS + 1).astype(int))
    if len(edges) <= _BANDS:
        return found | missing([f"{name}_band_{band}" for band in range(_BANDS)], n)
    sums = np.add.reduceat(power, edges[:-1], axis=1) / (power.sum(1, keepdims=True) + 1e-20)
    return found | spread(f"{name}_band_", range(_BANDS), np.log10(sums + 1e-9))
