"""Scores -> probabilities that mean what they say: one temperature, fitted and measured over nets that were held out.

After Guo et al. 2017, "On calibration of modern neural networks"; what is calibrated here is the vote over a net's slices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from nws.errors import NwsError
from nws.protocol import interval

BINS = 10
_HOTTEST = 20.0
_TINY = 1e-12


@dataclass(frozen=True)
class Calibration:
    """What held-out nets say about a meta-classifier's votes. Refuses nonsense when built.

    temperature   of the votes; 1 leaves them as they are
    accuracy      of the votes on held-out nets, low to high its 95% interval over nets
    ece_before, ece_after   expected calibration error of the votes, without and with a temperature; the latter with
                            temperatures fitted on other folds than they are measured on
    """

    temperature: float
    nets: int
    accuracy: float
    low: float
    high: float
    ece_before: float
    ece_after: float

    def __post_init__(self) -> None:
        values = asdict(self)
        if not all(type(v) in (int, float) and np.isfinite(v) for v in values.values()) or not 0 < self.temperature <= 1e3:
            raise NwsError(f"a calibration needs finite numbers and a temperature above 0, got {values}")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Calibration:
        try:
            return cls(**said)
        except TypeError:
            raise NwsError(f"a calibration has other entries than {', '.join(cls.__dataclass_fields__)}") from None


def calibrate(probability: np.ndarray, truth: np.ndarray, fold: np.ndarray) -> Calibration:
    """probability (n, S, K, C): of the slices of S snapshots of n held-out nets; truth (n,) their columns; fold (n,)."""
    n, S, _, C = probability.shape
    votes = probability.mean(2).reshape(n * S, C)
    y, of = np.repeat(truth, S), np.repeat(fold, S)
    after = np.empty_like(votes)
    for k in np.unique(of):
        after[of == k] = tempered(votes[of == k], temperature(votes[of != k], y[of != k]))
    hits = (votes.argmax(1) == y).reshape(n, S).mean(1)
    return Calibration(
        temperature(votes, y),
        n,
        float(hits.mean()),
        *interval(hits),
        expected_calibration_error(votes, y),
        expected_calibration_error(after, y),
    )


def tempered(votes: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities (..., C) to the power 1 / temperature, anew with sum 1: softmax(scores / temperature) of softmax(scores)."""
    logarithm = np.log(np.maximum(votes, _TINY)) / temperature
    exponential = np.exp(logarithm - logarithm.max(-1, keepdims=True))
    return np.asarray(exponential / exponential.sum(-1, keepdims=True))


def temperature(votes: np.ndarray, truth: np.ndarray) -> float:
    """The temperature of least Brier score: votes (n, C), true columns (n,).

    Not of least logarithmic loss, as usual: that one is ruled by the few nets that are surely wrong, and leaves all others unsure.
    """
    from scipy.optimize import minimize_scalar

    right = np.eye(votes.shape[1])[truth]

    def score(logarithm: float) -> float:
        return float(((tempered(votes, np.exp(logarithm)) - right) ** 2).sum(1).mean())

    grid = np.linspace(-np.log(_HOTTEST), np.log(_HOTTEST), 25)  # it may have more than one valley: a coarse look first
    best = int(np.argmin([score(x) for x in grid]))
    around = grid[max(0, best - 1)], grid[min(len(grid) - 1, best + 1)]
    return float(np.exp(minimize_scalar(score, bounds=around, method="bounded", options={"xatol": 1e-3}).x))


def expected_calibration_error(probability: np.ndarray, truth: np.ndarray, bins: int = BINS) -> float:
    """The mean difference between confidence and accuracy, over bins of equal width: probability (n, C), truth (n,)."""
    confidence, hit = probability.max(1), probability.argmax(1) == truth
    at = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = np.bincount(at, weights=confidence - hit, minlength=bins)
    return float(np.abs(gaps).sum() / len(truth))
