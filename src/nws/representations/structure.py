"""What distinguishes a matrix or a bank of filters from a heap of numbers: units, inputs, windows, spectrum."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nws.representations.values import correlation, log, spread

STRUCTURE = (
    *("log deviation / Glorot's", "log median / Glorot's", "log p99 / Glorot's", "largest / Glorot's"),
    *("log distance of the median from 0.1", "log distance from 0.1"),
    *("share beyond Glorot's uniform", "share beyond Glorot's normal"),
    *(f"{what} of log {axis} norms" for axis in ("row", "column") for what in ("mean", "deviation", "smallest", "largest")),
    *("log deviation of row means", "log deviation of column means", "mean / deviation"),
    *("singular 1", "singular 2", "singular 3", "log effective rank", "log median singular", "log smallest singular"),
    *("mean cosine", "deviation of cosines", "largest cosine"),
)
WINDOW = (
    *("constant share", "centre share", "log inner share", "log corner share"),
    *("change along x", "change along y", "log change x / y", "symmetry left right", "symmetry up down"),
    *("mean window share", "mean window along x", "mean window along y", "neighbours along x", "neighbours along y"),
    "common share of inputs",
)
_LARGEST = 1024  # units or inputs: beyond, products of all pairs and their spectrum would take seconds, and are left at 0
_FLOOR = 1e-6  # of quotients: float32 training knows nothing smaller
_TRUNCATED = 0.87962566103423978  # deviation of a normal cut at two


def structure(t: Mapping[str, np.ndarray], sizes: np.ndarray, heap: np.ndarray) -> np.ndarray:
    """The `STRUCTURE` of a tensor (S, 30).

    t      "weight" (S, out, in, window) float64, with "row means" and "row squares" (S, out)
    sizes  (S, n) the magnitudes of its weights
    heap   (S, 5) its mean, deviation, and of its magnitudes the median, 99% quantile and largest
    """
    w, row_means, row_squares = t["weight"], t["row means"], t["row squares"]
    S, units, inputs, window = w.shape
    flat = w.reshape(S, units, -1)
    glorot = np.sqrt(2 / ((inputs + units) * window))
    mean, deviation, median, high, largest = heap.T
    scale = np.where(deviation > 0, deviation, 1.0)
    by_input = w if window == 1 else np.ascontiguousarray(w.transpose(0, 1, 3, 2))
    by_input = by_input.reshape(S, -1, inputs)
    column_means = by_input.mean(1)
    columns = np.sqrt(np.einsum("soi,soi->si", by_input, by_input) / (units * window))
    rows = np.sqrt(row_squares / flat.shape[2])
    norms = []
    for of in (log(rows), log(columns)):
        norms += [of.mean(1), spread(of), of.min(1), of.max(1)]
    middle = np.where(mean < 0, -median, median)
    found = [
        *(log(deviation / glorot), log(median / glorot), log(high / glorot), largest / glorot),
        *(log(middle - 0.1, _FLOOR), log(np.hypot(deviation, mean - 0.1), _FLOOR)),
        *((sizes > bound * glorot).mean(1) for bound in (np.sqrt(3), 2 / _TRUNCATED)),
        *norms,
        log(spread(row_means) / scale * np.sqrt(flat.shape[2]), _FLOOR),
        log(spread(column_means) / scale * np.sqrt(units * window), _FLOOR),
        np.where(deviation > 0, mean / scale, 0.0),
    ]
    return np.column_stack([*found, *_pairs(flat, row_squares)])


def _pairs(flat: np.ndarray, row_squares: np.ndarray) -> list[np.ndarray]:
    """Spectrum and cosines of rows: (S,) each; 0 for those that are too large."""
    S, units, inputs = flat.shape
    found = [np.zeros(S)] * 9
    products = flat @ flat.transpose(0, 2, 1) if units <= _LARGEST else None
    if min(units, inputs) <= _LARGEST:
        smaller = products if products is not None and units <= inputs else flat.transpose(0, 2, 1) @ flat
        found[:6] = _spectrum(smaller)
    if products is not None and units > 1:
        length = np.sqrt(np.maximum(row_squares, 1e-24))
        cosine = products / (length[:, :, None] * length[:, None, :])
        diagonal = np.arange(units)
        cosine[:, diagonal, diagonal] = 0
        pairs = units * (units - 1)
        mean = cosine.sum((1, 2)) / pairs
        deviation = np.sqrt(np.maximum((cosine * cosine).sum((1, 2)) / pairs - mean * mean, 0))
        cosine[:, diagonal, diagonal] = -1
        found[6:] = [mean, np.where(deviation > _FLOOR, deviation, 0.0), cosine.max((1, 2))]
    return found


def _spectrum(products: np.ndarray) -> list[np.ndarray]:
    """Of w'w (S, n, n): shares of the squared singular values."""
    shares = np.linalg.eigvalsh(products)[:, ::-1]
    total = shares.sum(1, keepdims=True)
    shares = np.maximum(shares / np.where(total > 0, total, 1.0), 1e-10)  # below is rounding
    n = shares.shape[1]
    first = [shares[:, k] if k < n else np.zeros(len(shares)) for k in range(3)]
    entropy = -(shares * np.log(shares)).sum(1)
    return [*first, entropy / np.log(10) - np.log10(n), log(np.median(shares, 1) * n), log(shares[:, -1] * n)]


def window_structure(w: np.ndarray) -> np.ndarray:
    """The `WINDOW` features of filters w (S, out, in, rows, columns) -> (S, 15): how energy lies in the windows."""
    S, units, inputs, rows, columns = w.shape
    energy = np.einsum("soixy,soixy->sxy", w, w)  # by place
    total = energy.sum((1, 2))
    whole = np.where(total > 0, total, 1.0)
    each = rows * columns

    def share(part: np.ndarray, count: int) -> np.ndarray:
        return log(part.sum((1, 2)) / whole * each / max(count, 1), _FLOOR)

    along_x, along_y = np.diff(w, axis=4), np.diff(w, axis=3)
    dx = np.einsum("soixy,soixy->s", along_x, along_x) / whole * columns / max(columns - 1, 1)
    dy = np.einsum("soixy,soixy->s", along_y, along_y) / whole * rows / max(rows - 1, 1)
    sums = w.sum((3, 4))
    mean = w.mean((1, 2))
    centred = w - w.mean((3, 4), keepdims=True)
    rest = np.einsum("soixy,soixy->s", centred, centred)
    rest = np.where(rest > 0, rest, 1.0)
    over_inputs = w.sum(2)
    corners = energy[:, [0, 0, -1, -1], [0, -1, 0, -1]][:, None]
    inner = energy[:, 1:-1, 1:-1]
    found = [
        *(np.einsum("soi,soi->s", sums, sums) / each / whole, energy[:, rows // 2, columns // 2] * each / whole),
        *(share(inner, inner.shape[1] * inner.shape[2]), share(corners, 4)),
        *(dx, dy, log(dx, 1e-9) - log(dy, 1e-9)),
        *(np.einsum("soixy,soixy->s", w, turned) / whole for turned in (w[..., ::-1], w[:, :, :, ::-1])),
        (mean * mean).sum((1, 2)) * units * inputs / whole,
        correlation(mean.reshape(S, -1), np.tile(np.arange(columns, dtype=float), rows)),
        correlation(mean.reshape(S, -1), np.repeat(np.arange(rows, dtype=float), columns)),
        np.einsum("soixy,soixy->s", centred[..., 1:], centred[..., :-1]) / rest * columns / max(columns - 1, 1),
        np.einsum("soixy,soixy->s", centred[:, :, :, 1:], centred[:, :, :, :-1]) / rest * rows / max(rows - 1, 1),
        (over_inputs * over_inputs).sum((1, 2, 3)) / whole / inputs,
    ]
    return np.column_stack(found)
