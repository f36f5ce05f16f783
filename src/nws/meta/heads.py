"""Many properties from one training: the DMC's trunk with a head per property."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import torch
from scipy.special import softmax
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import nn

from nws.errors import NwsError
from nws.meta import dmc
from nws.meta.contract import Progress


class MultiDMC(BaseEstimator):
    """One DMC trunk that reads slices of weights, and a linear layer per property on its last 64 units.

    The contract of the other meta-classifiers, with a property's name in front of what they return: `fit(X, Y)` with Y as
    name -> (n,) labels, `predict` and `predict_proba` as name -> (n,) and (n, C). The loss is the sum of the properties'
    cross-entropies, so that a step costs what a step of one DMC costs. Arguments are those of `DMC`; there is no regression.

    Classes cannot be balanced for all properties at once: give nets as they were drawn, and test by balanced accuracy.

    Fitted: `module_`, (B, L) -> (B, sum of C); `classes_`, name -> (C,); `n_features_in_`, the slice length L.
    """

    reads = "weights"

    def __init__(
        self,
        slice_length: int | None = 5000,
        epochs: int = 500,
        batch_size: int = 64,
        learning_rate: float = 1e-3,
        max_steps: int | None = None,
        random_state: int = 0,
    ):
        self.slice_length = slice_length
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.max_steps = max_steps
        self.random_state = random_state

    def fit(self, X: Any, Y: Mapping[str, Any], progress: Progress | None = None) -> Self:
        """X: n float vectors, of any lengths from a slice up; Y: property -> (n,) labels, at least two classes each."""
        if not Y:
            raise NwsError("Y names no property: give name -> labels")
        trunk = dmc.DMC(**self.get_params())
        self.classes_, codes = {}, []
        for name, labels in Y.items():
            codes.append(trunk._begin(len(X), labels))
            self.classes_[name] = trunk.classes_
        trunk._train(X, torch.from_numpy(np.stack(codes, 1)), sum(map(len, self.classes_.values())), self._loss, progress)
        self.module_, self.n_features_in_ = trunk.module_, trunk.n_features_in_
        return self

    def predict_proba(self, X: Any) -> dict[str, np.ndarray]:
        """Property -> (n, C), columns in the order of its `classes_`. Not calibrated."""
        check_is_fitted(self)
        scores = dmc.scores(self.module_, X, self.n_features_in_)
        return {name: softmax(some, axis=1) for name, some in zip(self.classes_, np.split(scores, self._ends(), axis=1))}

    def predict(self, X: Any) -> dict[str, np.ndarray]:
        """Property -> (n,) the most probable class of each row."""
        return {name: self.classes_[name][share.argmax(axis=1)] for name, share in self.predict_proba(X).items()}

    def _ends(self) -> np.ndarray:
        """Where one property's scores end and the next one's begin."""
        return np.cumsum([len(classes) for classes in self.classes_.values()])[:-1]

    def _loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        heads = torch.tensor_split(output, self._ends().tolist(), dim=1)
        return torch.stack([nn.functional.cross_entropy(head, target[:, k]) for k, head in enumerate(heads)]).sum()
