"""What the slices of one net say together, learned from nets that were held out.

Most slices know little and a few know all: a plain mean lets those that know nothing decide. Each way to count them is one opinion
(slices alike, weighted by confidence, multiplied), and the weights of opinions are learned: a conditional logit (McFadden 1974) on
their logarithms, which calibrates at the same time. Where a slice lies plays no part.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax, softmax

_TINY = 1e-6  # the least probability of which a logarithm is taken
_CONFIDENCE = (2, 4)  # powers of log C - entropy, by which slices are weighted
_RIDGE = 1e-3


def opinions(said: np.ndarray) -> np.ndarray:
    """Probabilities (m, K, C) of K slices -> (opinions, m, C), each of sum 1; of numbers (m, K) -> (opinions, m): mean, median."""
    if said.ndim == 2:
        return np.stack([said.mean(1), np.median(said, axis=1)])
    known = np.log(said.shape[2]) + (said * np.log(np.maximum(said, 1e-12))).sum(2, keepdims=True)  # 0: the slice knows nothing
    found = [said.mean(1), softmax(np.log(np.maximum(said, _TINY)).mean(1), axis=1)]
    for power in _CONFIDENCE:
        weighted = (said * np.maximum(known, _TINY) ** power).sum(1)
        found.append(weighted / weighted.sum(1, keepdims=True))
    return np.stack(found)


@dataclass(frozen=True)
class Votes:
    """weights (opinions,) and offsets (C,) of the logarithms of probabilities, or (1,) of numbers."""

    weights: np.ndarray
    offsets: np.ndarray

    @classmethod
    def learned(cls, said: np.ndarray, target: np.ndarray) -> Votes:
        """From opinions (J, m, C) and the right columns (m,), or of numbers (J, m) and the right values (m,)."""
        start = np.full(len(said), 1 / len(said))
        if said.ndim == 2:
            design = np.column_stack([said.T, np.ones(said.shape[1])])
            ridge = np.diag([*np.full(len(said), _RIDGE * len(design)), 0])
            right = design.T @ target + ridge @ np.append(start, 0)
            solved = np.linalg.solve(design.T @ design + ridge + 1e-12 * np.eye(len(ridge)), right)
            return cls(solved[:-1], solved[-1:])
        return cls(*_logit(np.log(np.maximum(said, _TINY)), target, start))

    def scores(self, said: np.ndarray) -> np.ndarray:
        """Opinions (J, m, C) -> (m, C), logarithms of probabilities but for a constant; of numbers (J, m) -> (m,)."""
        if said.ndim == 2:
            return self.weights @ said + self.offsets[0]
        return np.tensordot(self.weights, np.log(np.maximum(said, _TINY)), 1) + self.offsets

    def decided(self, said: np.ndarray) -> np.ndarray:
        """Probabilities (m, C), or numbers (m,)."""
        scores = self.scores(said)
        return softmax(scores, axis=1) if said.ndim == 3 else scores


def _logit(logs: np.ndarray, target: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights (J,) and offsets (C,) of least cross-entropy, drawn a little to those of the start."""
    from scipy.optimize import minimize

    J, m, C = logs.shape
    true = np.eye(C)[target]
    begin = np.append(start, np.zeros(C))

    def loss(at: np.ndarray) -> tuple[float, np.ndarray]:
        scores = np.tensordot(at[:J], logs, 1) + at[J:]
        missed = softmax(scores, axis=1) - true
        slope = np.append((logs * missed).sum((1, 2)), missed.sum(0)) / m
        away = at - begin
        return float(-(log_softmax(scores, axis=1) * true).sum() / m + _RIDGE * away @ away), slope + 2 * _RIDGE * away

    found = minimize(loss, begin, jac=True, method="L-BFGS-B").x
    return found[:J], found[J:]
