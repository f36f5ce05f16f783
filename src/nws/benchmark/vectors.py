"""Readers that see a net as one vector of weights, or as the picture that it is: baselines of `nws benchmark related`."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, clone

from nws.layout import Layout
from nws.meta.reader import Reader
from nws.representations import Representation


class WholeVectors(Representation):
    """The weights of a part as a row of a table: nets of one layout only."""

    name = "whole-vectors"
    sliced = False

    def one_layout(self, length: int | None) -> bool:
        return True

    def of_net(self, theta: np.ndarray, layout: Layout, part: str) -> np.ndarray:
        return theta[:, layout.part(part)]


class OfVectors(Reader):
    """An estimator of scikit-learn on whole vectors of weights."""

    @property
    def representation(self) -> Representation:
        return WholeVectors()

    def suited(self, one_layout: bool) -> Reader:
        return self


class Permuted(BaseEstimator):
    """An estimator that learns from each row and from copies of it with hidden units in other orders.

    orders  (copies, P): where each weight of a copy comes from (`Layout.permutation`)
    """

    def __init__(self, estimator: Any, orders: np.ndarray):
        self.estimator = estimator
        self.orders = orders

    def fit(self, X: np.ndarray, y: np.ndarray) -> Self:
        X = np.asarray(X)
        self.estimator_ = clone(self.estimator)
        self.estimator_.fit(np.concatenate([X, *(X[:, order] for order in self.orders)]), np.tile(y, 1 + len(self.orders)))
        return self

    def predict(self, X: np.ndarray) -> Any:
        return self.estimator_.predict(X)

    def predict_proba(self, X: np.ndarray) -> Any:
        return self.estimator_.predict_proba(X)

    def __sklearn_tags__(self) -> Any:
        return self.estimator.__sklearn_tags__()


class Rendering(BaseEstimator):
    """Vectors of weights -> the pixels of the pictures that nets of one config are; a step of a pipeline."""

    def __init__(self, config: Any):
        self.config = config

    def fit(self, X: np.ndarray, y: Any = None) -> Self:
        return self

    def transform(self, X: np.ndarray) -> np.ndarray:
        theta = np.asarray(X, np.float32)
        blocks = [self.config.family.render(self.config, theta[k : k + 256]) for k in range(0, len(theta), 256)]
        return np.concatenate(blocks).reshape(len(theta), -1)
