"""Readers that say something of each edge of a net: a threshold on the edge's norm, and boosting. Tables in, probabilities out.

X (n, F) is a table of nws.representations.edges, rows of many nets after one another; y (n,) says which edges are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

from nws.representations.edges import NAMES

_NORM, _LAYER = NAMES.index("norm"), NAMES.index("layer")
_LEAST = 1e-38  # a threshold below every norm, those of edges that put out nothing included


class NormThreshold(ClassifierMixin, BaseEstimator):
    """The trivial reader, a bar for all others: keep an edge when its norm on a fixed grid, mean |phi| over 33 points of -1 to 1,
    is above a threshold; one threshold per layer, the one that is right most often on the training nets.

    Probabilities are a logistic function of log(norm / threshold): their order is that of the norms, in units of each layer's.
    """

    def fit(self, X: np.ndarray, y: np.ndarray) -> Self:
        y = np.asarray(y, bool)
        self.classes_ = np.array([False, True])
        self.thresholds_ = {}
        for layer in np.unique(X[:, _LAYER]):
            here = X[:, _LAYER] == layer
            self.thresholds_[float(layer)] = _threshold(X[here, _NORM], y[here])
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        above = np.zeros(len(X))
        for layer, threshold in self.thresholds_.items():
            here = X[:, _LAYER] == layer
            above[here] = np.log(np.maximum(X[here, _NORM].astype(float), 1e-30)) - np.log(max(threshold, _LEAST))
        keep = 1 / (1 + np.exp(-np.clip(above, -60, 60)))
        return np.column_stack([1 - keep, keep])

    def predict(self, X: np.ndarray) -> np.ndarray:
        return self.predict_proba(X)[:, 1] > 0.5


def _threshold(norm: np.ndarray, y: np.ndarray) -> float:
    """The middle between two norms, or beyond all, where "above it is kept" is right most often."""
    order = np.argsort(norm, kind="stable")
    norm, y = norm[order].astype(float), y[order]
    right = np.concatenate([[0], np.cumsum(~y)]) + np.concatenate([np.cumsum(y[::-1])[::-1], [0]])  # dropped below, kept above
    possible = np.concatenate([[True], norm[1:] > norm[:-1], [True]])
    k = int(np.argmax(np.where(possible, right, -1)))
    return float(max(norm[0] / 2, _LEAST) if k == 0 else norm[-1] * 2 + 1e-12 if k == len(norm) else (norm[k - 1] + norm[k]) / 2)


class EdgeBoosting(ClassifierMixin, BaseEstimator):
    """scikit-learn's HistGradientBoosting on the whole table, at most `rows` of which it learns from, drawn at random."""

    def __init__(self, rows: int = 200_000, iterations: int = 200, random_state: int = 0):
        self.rows = rows
        self.iterations = iterations
        self.random_state = random_state

    def fit(self, X: np.ndarray, y: np.ndarray) -> Self:
        from sklearn.ensemble import HistGradientBoostingClassifier

        if len(X) > self.rows:
            some = np.sort(np.random.default_rng(self.random_state).permutation(len(X))[: self.rows])
            X, y = X[some], y[some]
        made = HistGradientBoostingClassifier(max_iter=self.iterations, max_leaf_nodes=63, random_state=self.random_state)
        self.boosted_ = made.fit(X, y)
        self.classes_ = self.boosted_.classes_
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        return np.asarray(self.boosted_.predict_proba(X))

    def predict(self, X: np.ndarray) -> np.ndarray:
        return np.asarray(self.boosted_.predict(X))


EDGE_READERS: Mapping[str, Callable[..., Any]] = {"norm-threshold": NormThreshold, "edge-boosting": EdgeBoosting}
