"""What slices say -> probabilities that mean what they say, fitted and measured over nets that were held out.

Two ways, of which the better is kept: one temperature for the mean over a net's slices (Guo et al. 2017, "On calibration of modern
neural networks"), or a logistic regression on the logarithms of their mean and of the surest slice (after Kull et al. 2019, "Beyond
temperature scaling", who have the mean only).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from nws.errors import NwsError
from nws.tasks.metrics import brier, expected_calibration_error
from nws.tasks.protocol import interval

_HOTTEST = 20.0
_LARGEST = 1e12
# When a meta-classifier is good enough to be trusted. Both must hold; docs/audit.md has the numbers behind them.
# Useful: even by the low end of its interval it goes at least half of the way from chance to always right. Being better than chance
# is not enough: who is right on 46% where chance is 33% is wrong about most nets.
LEAST_SKILL = 0.5
# Honest: its probabilities are off by no more than this on average. Perfectly honest ones measure 4 to 5% with 300 nets.
MOST_ERROR = 0.10
_TINY = 1e-6  # what a class that is ruled out counts: one slice of a million


@dataclass(frozen=True)
class Calibration:
    """What held-out nets say about a meta-classifier's votes. Refuses nonsense when built.

    temperature   of the mean over slices; 1 leaves it as it is
    weights       of the regression (C, 2C + 1): for the means, the surest slices, and a constant. Empty: the temperature is better
    accuracy      on held-out nets, low to high its 95% interval over nets
    ece_before, ece_tempered, ece_after   expected calibration error of the mean, with a temperature, and with the better of the two
                                          ways; each fitted on other folds than it is measured on
    """

    temperature: float
    weights: tuple[tuple[float, ...], ...]
    nets: int
    accuracy: float
    low: float
    high: float
    ece_before: float
    ece_tempered: float
    ece_after: float

    def __post_init__(self) -> None:
        values = {name: value for name, value in asdict(self).items() if name != "weights"}
        if not all(type(v) in (int, float) and np.isfinite(v) for v in values.values()) or not 0 < self.temperature <= 1e3:
            raise NwsError(f"a calibration needs finite numbers and a temperature above 0, got {values}")
        widths = {len(row) for row in self.weights}
        if widths - {2 * len(self.weights) + 1} or not all(type(v) is float and abs(v) < _LARGEST for r in self.weights for v in r):
            raise NwsError("a calibration's weights are C rows of 2 C + 1 numbers")

    def probabilities(self, slices: np.ndarray) -> np.ndarray:
        """(..., C): what K slices say, (..., K, C), as one answer."""
        return _answer(slices, self.temperature, np.array(self.weights))

    def weakness(self, property: str, classes: int) -> str:
        """Why a meta-classifier that did no better on held-out nets is not trusted, in a sentence; empty when it is."""
        chance = 1 / classes
        if self.low <= chance:
            return f"It reads {property} no better than chance ({chance:.0%}): right on {self.accuracy:.0%} of held-out nets."
        needed = chance + LEAST_SKILL * (1 - chance)
        useful, honest = self.low >= needed, self.ece_after <= MOST_ERROR
        if useful and honest:
            return ""
        right = f"It reads {property} right on {self.accuracy:.0%} of held-out nets"
        right += (
            "" if useful else f" (at least {_apart(self.low, needed)}, where {needed:.0%} is needed and {chance:.0%} is chance)"
        )
        off = f"calibration error {_apart(self.ece_after, MOST_ERROR)}" + (
            "" if honest else f" (where {MOST_ERROR:.0%} is allowed)"
        )
        return f"{right}, {off}: too little to be trusted."

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Calibration:
        try:
            return cls(**{**stored, "weights": tuple(tuple(row) for row in stored["weights"])})
        except (TypeError, KeyError):
            raise NwsError(f"a calibration has other entries than {', '.join(cls.__dataclass_fields__)}") from None


def percent(probability: float) -> str:
    """In words for people: 0.876 is 88%. No finding is certain, so that what would be rounded to 100% is >99%."""
    return ">99%" if probability >= 0.995 else f"{probability:.0%}"


def _apart(value: float, limit: float) -> str:
    """In percent, with a decimal where without one the two would look the same."""
    return f"{value:.0%}" if f"{value:.0%}" != f"{limit:.0%}" or value == limit else f"{value:.1%}"


def calibrate(probability: np.ndarray, truth: np.ndarray, fold: np.ndarray) -> Calibration:
    """probability (n, S, K, C): of the slices of S snapshots of n held-out nets; truth (n,) their columns; fold (n,)."""
    n, S, K, C = probability.shape
    slices = probability.reshape(n * S, K, C)
    votes, y, of = slices.mean(1), np.repeat(truth, S), np.repeat(fold, S)
    cooled, weighed = np.empty_like(votes), np.empty_like(votes)
    for k in np.unique(of):
        seen, held = of != k, of == k
        heat = temperature(votes[seen], y[seen])
        cooled[held] = tempered(votes[held], heat)
        weighed[held] = _answer(slices[held], heat, regression(slices[seen], y[seen]))
    better = brier(weighed, y) < brier(cooled, y)
    after = weighed if better else cooled
    hits = (after.argmax(1) == y).reshape(n, S).mean(1)
    return Calibration(
        temperature(votes, y),
        tuple(map(tuple, regression(slices, y).tolist())) if better else (),
        n,
        float(hits.mean()),
        *interval(hits),
        *(expected_calibration_error(p, y) for p in (votes, cooled, after)),
    )


def conformal(probability: np.ndarray, truth: np.ndarray, missed: float = 0.1) -> float:
    """The least probability of a class that is not ruled out, from those of held-out nets (n, C) and their true columns (n,).

    The classes at least as probable hold the truth for a share 1 - `missed` of nets like these, whatever probabilities are worth
    (split conformal prediction: Vovk et al. 2005; Sadinle et al. 2019). With few nets: 0, and nothing is ruled out.
    """
    of_truth = np.sort(probability[np.arange(len(truth)), truth])
    rank = int(np.floor(missed * (len(truth) + 1)))
    return float(of_truth[rank - 1]) if rank else 0.0


def _answer(slices: np.ndarray, heat: float, weights: np.ndarray) -> np.ndarray:
    return _softmax(_features(slices) @ weights.T) if weights.size else tempered(slices.mean(-2), heat)


def _features(slices: np.ndarray) -> np.ndarray:
    """(..., K, C) -> (..., 2 C + 1)"""
    logarithms = np.log(np.maximum(np.concatenate([slices.mean(-2), slices.max(-2)], -1), _TINY))
    return np.concatenate([logarithms, np.ones((*logarithms.shape[:-1], 1))], -1)


def regression(slices: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(C, 2 C + 1) of slices (n, K, C) and true columns (n,); (0, 0) when a class has no net."""
    from sklearn.linear_model import LogisticRegression

    x, C = _features(slices)[:, :-1], slices.shape[-1]
    if len(np.unique(truth)) < C:
        return np.empty((0, 0))
    mean, deviation = x.mean(0), x.std(0)
    deviation[deviation == 0] = 1
    fitted = LogisticRegression(max_iter=2000).fit((x - mean) / deviation, truth)
    slope, offset = fitted.coef_ / deviation, fitted.intercept_
    if C == 2:  # it has one row
        slope, offset = np.concatenate([-slope, slope]) / 2, np.concatenate([-offset, offset]) / 2
    return np.column_stack([slope, offset - slope @ mean])


def tempered(votes: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities (..., C) to the power 1 / temperature, anew with sum 1: softmax(scores / temperature) of softmax(scores)."""
    return _softmax(np.log(np.maximum(votes, _TINY)) / temperature)


def _softmax(scores: np.ndarray) -> np.ndarray:
    exponential = np.exp(scores - scores.max(-1, keepdims=True))
    return np.asarray(exponential / exponential.sum(-1, keepdims=True))


def temperature(votes: np.ndarray, truth: np.ndarray) -> float:
    """The temperature of least Brier score: votes (n, C), true columns (n,).

    Not of least logarithmic loss, as usual: that one is ruled by the few nets that are surely wrong, and leaves all others unsure.
    """
    from scipy.optimize import minimize_scalar

    def score(logarithm: float) -> float:
        return brier(tempered(votes, np.exp(logarithm)), truth)

    grid = np.linspace(-np.log(_HOTTEST), np.log(_HOTTEST), 25)  # it may have more than one valley: a coarse look first
    best = int(np.argmin([score(x) for x in grid]))
    around = grid[max(0, best - 1)], grid[min(len(grid) - 1, best + 1)]
    return float(np.exp(minimize_scalar(score, bounds=around, method="bounded", options={"xatol": 1e-3}).x))
