"""What the batch norms of a slice say: their values, the rows of weights before them, and what these layers were shown.

A moving mean is the mean answer of a unit: bias + (sum of its weights) x (mean input), for the first convolution with the mean
training pixel. The answers depend on how long the unit's row of weights is, so that the row's length shows by how well it fits.
"""

from __future__ import annotations

import numpy as np

from nws.representations.slices.blocks import MOST, SURE, Blocks
from nws.representations.slices.named import Columns, missing, spread
from nws.representations.slices.rows import TINY

GROUPS = ("bias", "beta", "gamma", "mean", "variance")
_OF_GROUP = ("mean", "log_deviation", "log_size", "least", "most", "negative", "log_spread")
_TOGETHER = ("mean", "least", "most")  # over the blocks of a slice
_COUNTED = ("blocks", "narrowest", "widest", "begins", "ends", "row_before", "row_between", "square_between", "score")
_PAIRS = (("gamma", "beta"), ("bias", "beta"), ("gamma", "mean"), ("mean", "deviation"), ("gamma", "log_variance"))
SIDES = (3, 5, 7)
_HYPOTHESES = (*(f"first{k}" for k in SIDES), *(f"same{k}" for k in SIDES), *(f"half{k}" for k in SIDES), "matrix2", "matrix1")
_FITS = ("fit", "input", "power_fit", "power")
_EXPLAINED = 0.97


def of_blocks(x: np.ndarray, found: Blocks) -> Columns:
    """What each block of slices x (n, L) says, columns (m,). NaN where a slice does not hold the whole of it."""
    values = _values(x, found)
    return {**_of_groups(values), **_correlations(values), **_rows_before(x, found, values)}


def believed(found: Blocks, each: Columns) -> np.ndarray:
    """Which blocks are some, (m,): by their looks, or because rows of a first convolution before them explain their moving means.

    Four units look like a block by chance. The first layer of narrow nets, which tells most, was missed for that.
    """
    fits = np.stack([each[f"first{side}_fit"] for side in SIDES])
    return (found.score >= SURE) | (np.where(np.isnan(fits), 0, fits).max(0) > _EXPLAINED)


def layers(x: np.ndarray, found: Blocks, each: Columns) -> Columns:
    """What the blocks of each slice say together, columns (n,); each = of_blocks(x, found). NaN where a slice has none."""
    n = len(x)
    if not len(found):
        return missing(_names(), n) | {"block_blocks": np.zeros(n)}
    of_slice = _counted(found, n, x.shape[1])
    for name, combined in _together(np.stack([*each.values()], 1), found, n).items():
        of_slice |= spread(f"block_{name}_", each, combined)
    return of_slice


def _names() -> list[str]:
    columns = [f"{group}_{of}" for group in GROUPS for of in _OF_GROUP] + [f"{a}_by_{b}" for a, b in _PAIRS]
    columns += [f"{hypothesis}_{fit}" for hypothesis in _HYPOTHESES for fit in _FITS]
    return [f"block_{what}" for what in _COUNTED] + [f"block_{together}_{column}" for together in _TOGETHER for column in columns]


def _values(x: np.ndarray, found: Blocks) -> dict[str, np.ndarray]:
    """Group -> (m, most units) float64, NaN beyond a layer's units; all NaN where the slice does not hold the whole group."""
    unit = np.arange(found.width.max())
    values = {}
    for place, group in enumerate(GROUPS):
        begin = found.start + (place - 2) * found.width
        whole = (begin >= 0) & (begin + found.width <= x.shape[1])
        at = begin[:, None] + unit
        held = x[found.row[:, None], np.clip(at, 0, x.shape[1] - 1)].astype(np.float64)
        values[group] = np.where(whole[:, None] & (unit < found.width[:, None]), held, np.nan)
    return values


def _of_groups(values: dict[str, np.ndarray]) -> Columns:
    found: Columns = {}
    for group, v in values.items():
        count = np.maximum(np.isfinite(v).sum(1), 1)
        gone = np.isfinite(v).sum(1) == 0
        size = np.log10(np.abs(v) + TINY)
        mean, log = (np.nansum(of, 1) / count for of in (v, size))
        measured = (
            mean,
            0.5 * np.log10(np.nansum((v - mean[:, None]) ** 2, 1) / count + TINY),
            log,
            np.nanmin(np.where(gone[:, None], 0, v), 1),
            np.nanmax(np.where(gone[:, None], 0, v), 1),
            (v < 0).sum(1) / count,
            np.sqrt(np.nansum((size - log[:, None]) ** 2, 1) / count),
        )
        found |= {f"{group}_{of}": np.where(gone, np.nan, value) for of, value in zip(_OF_GROUP, measured)}
    return found


def _correlations(values: dict[str, np.ndarray]) -> Columns:
    with np.errstate(invalid="ignore"):
        spread_of = np.sqrt(np.maximum(values["variance"], 0))
    known = {**values, "deviation": spread_of, "log_variance": np.log(np.maximum(values["variance"], TINY))}
    return {f"{a}_by_{b}": _correlation(known[a], known[b]) for a, b in _PAIRS}


def _correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of the pairs (m, k) that are known, (m,); NaN of fewer than three."""
    known = np.isfinite(a) & np.isfinite(b)
    count = known.sum(1)
    a, b = np.where(known, a, 0), np.where(known, b, 0)
    a, b = (np.where(known, v - (v.sum(1) / np.maximum(count, 1))[:, None], 0) for v in (a, b))
    norm = np.sqrt((a * a).sum(1) * (b * b).sum(1))
    return np.where(count >= 3, (a * b).sum(1) / (norm + 1e-30), np.nan)


def _lengths(width: np.ndarray) -> np.ndarray:
    """How long a row of weights would be by each hypothesis, (m, h)."""
    squares = np.array(SIDES)[:, None] ** 2
    first, same, half = (np.broadcast_to(squares * inputs, (len(SIDES), len(width))) for inputs in (3, width, width // 2))
    return np.concatenate([first, same, half, [2 * width, width]]).T


def _rows_before(x: np.ndarray, found: Blocks, values: dict[str, np.ndarray]) -> Columns:
    """For each length that a row may have: how well sums of the rows before a block explain (moving mean - bias), and by which
    mean input; the same of squares and the moving variance.
    """
    length = _lengths(found.width)
    ends = (found.start - 2 * found.width)[:, None]  # of the weights
    unit = np.arange(found.width.max() + 1)
    # Row j of w begins at ends - (width - j) length; beyond the last unit it is empty.
    at = ends[:, :, None] - np.maximum(found.width[:, None] - unit, 0)[:, None] * length[:, :, None]  # (m, h, units + 1)
    used, row = np.unique(found.row, return_inverse=True)
    inside = at >= 0
    at = np.maximum(at, 0)
    exact = x[used].astype(np.float64)
    sums = []
    for power in (exact, exact * exact):
        total = np.zeros((len(used), x.shape[1] + 1))
        np.cumsum(power, axis=1, out=total[:, 1:])
        sums.append(np.where(inside[..., :-1], np.diff(total[row[:, None, None], at], axis=2), np.nan))  # (m, h, units)
    answer = np.broadcast_to((values["mean"] - values["bias"])[:, None], sums[0].shape)
    variance = np.broadcast_to(np.log10(np.maximum(values["variance"], TINY))[:, None], sums[0].shape)
    norms = np.log10(sums[1] + TINY)
    flat = (-1, sums[0].shape[2])
    fit, slope = _through_zero(sums[0].reshape(flat), answer.reshape(flat))
    power_fit = _correlation(norms.reshape(flat), variance.reshape(flat))
    power = _mean((variance - norms).reshape(flat))
    both = [column.reshape(len(found), -1) for column in (fit, slope, power_fit, power)]
    return {f"{name}_{what}": both[k][:, h] for h, name in enumerate(_HYPOTHESES) for k, what in enumerate(_FITS)}


def _through_zero(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """b = slope a by least squares over known pairs (m, k): the share of b's squares that it explains, and the slope. (m,) each."""
    known = np.isfinite(a) & np.isfinite(b)
    a, b = np.where(known, a, 0), np.where(known, b, 0)
    aa, ab, bb = (a * a).sum(1), (a * b).sum(1), (b * b).sum(1)
    enough = (known.sum(1) >= 3) & (aa > 0) & (bb > 0)
    slope = np.where(enough, ab / np.where(enough, aa, 1), np.nan)
    return np.where(enough, ab * slope / np.where(enough, bb, 1), np.nan), slope


def _mean(a: np.ndarray) -> np.ndarray:
    known = np.isfinite(a)
    return np.where(known.any(1), np.where(known, a, 0).sum(1) / np.maximum(known.sum(1), 1), np.nan)


def _together(table: np.ndarray, found: Blocks, n: int) -> dict[str, np.ndarray]:
    """What blocks say, of all blocks of a slice together: table (m, k) -> (n, k) each."""
    place = np.arange(len(found)) - np.searchsorted(found.row, found.row)
    apart = np.full((n, MOST, table.shape[1]), np.nan)
    apart[found.row, place] = table
    known = np.isfinite(apart)
    gone = ~known.any(1)
    total = np.where(known, apart, 0).sum(1) / np.maximum(known.sum(1), 1)
    least, most = np.where(known, apart, np.inf).min(1), np.where(known, apart, -np.inf).max(1)
    return {name: np.where(gone, np.nan, v) for name, v in zip(_TOGETHER, (total, least, most))}


def _counted(found: Blocks, n: int, length: int) -> Columns:
    """How many blocks, how wide, and what lies before, between and behind them, in rows of so many units."""
    number = np.bincount(found.row, minlength=n)
    begin, end = found.start - 2 * found.width, found.start + 3 * found.width
    first = np.searchsorted(found.row, np.arange(n))
    known = number > 0
    first, last = np.minimum(first, len(found) - 1), np.maximum(first + number - 1, 0)
    narrow, wide = np.full(n, np.inf), np.zeros(n)
    np.minimum.at(narrow, found.row, found.width)
    np.maximum.at(wide, found.row, found.width)
    between = begin[1:] - end[:-1]
    row = np.where(found.row[1:] == found.row[:-1], between / found.width[1:], np.nan)  # weights of a unit between two blocks
    square = row / found.width[:-1]  # and of its inputs that come from the block before
    gap = np.full((2, n), np.nan)
    for at, of in enumerate((row, square)):
        gap[at, found.row[1:][np.isfinite(of)]] = of[np.isfinite(of)]
    best = np.full(n, -np.inf)
    np.maximum.at(best, found.row, found.score)
    columns = (
        number,
        np.where(known, narrow, np.nan),
        np.where(known, wide, np.nan),
        np.where(known, begin[first], np.nan),
        np.where(known, length - end[last], np.nan),
        np.where(known, begin[first] / found.width[first], np.nan),
        *gap,
        np.where(known, best, np.nan),
    )
    return {f"block_{name}": np.asarray(column) for name, column in zip(_COUNTED, columns)}
