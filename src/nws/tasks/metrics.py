"""How good answers are: numbers about a set of nets, with intervals by a bootstrap over nets.

A mean over nets (accuracy, absolute error) has the intervals of protocol.py. What only a set of nets has, such as R2 or Kendall's
tau, has none by a formula: here nets are drawn anew, each with all of its snapshots and slices, for those are near-twins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 1000
_STREAM = 6  # random numbers of their own: 1 to 5 are those of the trainer, evaluation.py and inputs.py
_MOST_NETS = 2000  # whose order tau compares: its matrix of pairs would grow beyond 16 MB
_MOST_PAIRS = 30_000_000  # comparisons per round, 0.3 s; beyond, evenly spaced slices and then snapshots stand for all
BINS = 10  # of confidence

Weighted = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Metric:
    """A number about a set of nets.

    direction  which is better: "higher" or "lower"
    unit       "" for none, "accuracy" for a share of right answers, "target" for the unit of what is read
    of         (y (n, S), predicted (n, S, K), weights (R, n)) -> (R,): its value where net i counts weights[r, i] times. Every net
               counts the same however many snapshots or slices it has. NaN where there is none.
    """

    name: str
    direction: str
    unit: str
    of: Weighted

    def __call__(self, y: np.ndarray, predicted: np.ndarray) -> float:
        """Of answers predicted (n, S, K), or (n,), to the truths y (n, S), or (n,)."""
        y, predicted = np.asarray(y, float), np.asarray(predicted, float)
        y = y.reshape(len(y), -1)
        return float(self.of(y, predicted.reshape(*y.shape, -1), np.ones((1, len(y))))[0])


@dataclass(frozen=True)
class Estimate:
    """A value and its 95% interval; NaN where it has none."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Answers:
    """The test nets of one round: nets (n,), the truths y (n, S), and what was predicted (n, S, K) of K slices per snapshot."""

    nets: np.ndarray
    y: np.ndarray
    predicted: np.ndarray


def estimate(metric: Metric, rounds: Sequence[Answers], seed: int = 0, resamples: int = RESAMPLES) -> Estimate:
    """The mean of a metric over rounds, and its 95% interval: percentiles of a bootstrap over all nets that were tested.

    A net that was tested in several rounds is drawn for all of them at once (Field and Welsh 2007, cluster bootstrap).
    """
    tested = np.unique(np.concatenate([r.nets for r in rounds]))
    drawn = np.random.default_rng([seed, _STREAM]).multinomial(len(tested), np.full(len(tested), 1 / len(tested)), size=resamples)
    weights = np.concatenate([np.ones((1, len(tested))), drawn])  # first of all the nets as they are
    values = np.stack(
        [metric.of(r.y, r.predicted, weights[:, np.searchsorted(tested, r.nets)]) for r in rounds]
    )  # (rounds, 1 + resamples)
    known = np.isfinite(values)
    sums, counts = np.where(known, values, 0).sum(0), known.sum(0)
    means = np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)
    if not np.isfinite(means[0]):
        return Estimate(np.nan, np.nan, np.nan)
    low, high = np.nanpercentile(means[1:], [2.5, 97.5]) if np.isfinite(means[1:]).any() else (means[0], means[0])
    return Estimate(float(means[0]), float(min(low, means[0])), float(max(high, means[0])))


def _error(y: np.ndarray, predicted: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return _average(np.abs(predicted - y[..., None]).mean((1, 2)), weights)


def _r2(y: np.ndarray, predicted: np.ndarray, weights: np.ndarray) -> np.ndarray:
    centred = y - y.mean()  # the variance is a difference of moments: without this, digits are lost where y is far from 0
    mean, square = (_average((centred**power).mean(1), weights) for power in (1, 2))
    missed = _average(((predicted - y[..., None]) ** 2).mean((1, 2)), weights)
    variance = square - mean**2
    there_is = variance > 1e-12 * max(float(np.max(centred**2, initial=0)), 1e-300)
    return 1 - np.divide(missed, variance, out=np.full(len(weights), np.nan), where=there_is)


def _tau(y: np.ndarray, predicted: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Tau-b. Of two nets all snapshots of one are compared with all of the other, read at the same slice."""
    y, predicted, weights = _few_enough(y, predicted, weights)
    agree, apart_y, apart_predicted = _pairs(y, predicted)
    agreeing, of_y, of_predicted = (
        np.einsum("rn,rn->r", weights @ pairs, weights, dtype=np.float64) for pairs in (agree, apart_y, apart_predicted)
    )
    norm = np.sqrt(of_y * of_predicted)
    # Where all is said to be alike, no order was told: 0, as sensible as chance. Where all truths are alike, there is none to tell.
    found = np.divide(agreeing, norm, out=np.zeros(len(weights)), where=norm > 0)
    return np.where(of_y > 0, np.clip(found, -1, 1), np.nan)


def _few_enough(y: np.ndarray, predicted: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if len(y) > _MOST_NETS:
        some = np.sort(np.random.default_rng(_STREAM).permutation(len(y))[:_MOST_NETS])
        y, predicted, weights = y[some], predicted[some], weights[:, some]
    n, S, K = predicted.shape
    slices = np.unique(np.linspace(0, K - 1, max(1, min(K, _MOST_PAIRS // (n * S) ** 2))).round().astype(int))
    snapshots = np.unique(np.linspace(S - 1, 0, max(1, min(S, int((_MOST_PAIRS / n**2) ** 0.5)))).round().astype(int))
    return y[:, snapshots], predicted[:, snapshots][:, :, slices], weights.astype(np.float32)


def _pairs(y: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n, n) float32 each, of two nets: comparisons that agree less those that do not, that differ in y, and in what was said."""
    n, S, K = predicted.shape
    found = [np.zeros((n, n), np.float32) for _ in range(3)]
    block = max(1, 4_000_000 // (n * S * S))  # nets at a time
    for k in range(K):
        for first in range(0, n, block):
            rows = slice(first, first + block)
            of_y, of_predicted = (_signs(values[rows], values) for values in (y, predicted[..., k]))
            for pairs, signs in zip(found, (of_y * of_predicted, of_y != 0, of_predicted != 0)):
                pairs[rows] += signs.reshape(-1, S, n, S).sum((1, 3), dtype=np.int32)
    return found[0], found[1], found[2]


def _signs(some: np.ndarray, every: np.ndarray) -> np.ndarray:
    """(b S, n S) int8: which of two snapshots has the larger value."""
    a, b = some.reshape(-1, 1), every.reshape(1, -1)
    return (a > b).view(np.int8) - (a < b).view(np.int8)


def _average(each: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(R,): means of each (n,) by weights (R, n); NaN where these are 0."""
    total = weights.sum(1)
    return np.divide(weights @ each, total, out=np.full(len(weights), np.nan), where=total > 0)


ERROR = Metric("error", "lower", "target", _error)  # mean absolute error
R2 = Metric("r2", "higher", "", _r2)  # share of the variance that is explained; 0 is saying the mean
TAU = Metric(
    "tau", "higher", "", _tau
)  # Kendall's tau-b: agreeing less disagreeing pairs of nets, ties accounted for (Kendall 1945)
NUMBERS = (ERROR, R2, TAU)


# Of classes: probabilities (n, C) of nets whose true classes are the whole numbers truth (n,). Each row counts once.


def skill(probability: np.ndarray, truth: np.ndarray, prior: np.ndarray) -> float:
    """1 - NLL / NLL(prior): 1 for sure and right, 0 for saying the prior (C,), below 0 for worse (log score, Good 1952)."""
    rows = np.arange(len(truth))
    score, before = (np.log(np.maximum(p, 1e-12)).mean() for p in (probability[rows, truth], np.asarray(prior, float)[truth]))
    return float(1 - score / before)


def brier(probability: np.ndarray, truth: np.ndarray) -> float:
    """Mean squared distance from the truth, 0 to 2 (Brier 1950)."""
    return float(((probability - np.eye(probability.shape[1])[truth]) ** 2).sum(1).mean())


def expected_calibration_error(probability: np.ndarray, truth: np.ndarray, bins: int = BINS) -> float:
    """The mean difference between confidence and accuracy, over bins of equal width (Guo et al. 2017)."""
    return _calibration_error(probability.max(1), probability.argmax(1) == truth, bins)


def calibration_floor(probability: np.ndarray, bins: int = BINS, draws: int = 200, seed: int = 0) -> float:
    """The calibration error that so few nets show in the mean when answers are perfectly calibrated (Vaicenavicius et al. 2019).

    Below it, an expected calibration error says nothing.
    """
    confidence, rng = probability.max(1), np.random.default_rng([seed, _STREAM])
    found = [_calibration_error(confidence, rng.random(len(confidence)) < confidence, bins) for _ in range(draws)]
    return float(np.mean(found))


def _calibration_error(confidence: np.ndarray, hit: np.ndarray, bins: int) -> float:
    at = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = np.bincount(at, weights=confidence - hit, minlength=bins)
    return float(np.abs(gaps).sum() / len(hit))


def auc(score: np.ndarray, truth: np.ndarray) -> float:
    """Area under the ROC curve of a score (n,) for switches (n,): how often one that is on has the higher score; ties count half.

    NaN when all are on or all off.
    """
    from scipy.stats import rankdata

    on = np.asarray(truth, bool)
    n, m = int(on.sum()), int((~on).sum())
    return float((rankdata(score)[on].sum() - n * (n + 1) / 2) / (n * m)) if n and m else float("nan")
