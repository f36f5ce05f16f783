"""Readers of one's own: any estimator or pipeline of scikit-learn, and any PyTorch module, behind the contract of our own."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Self

import numpy as np
import torch
from scipy.special import softmax
from sklearn.base import BaseEstimator, clone, is_classifier, is_regressor
from sklearn.utils.metaestimators import available_if
from torch import nn

from nws import threads
from nws.errors import NwsError
from nws.meta.contract import Progress, positive, seed, weight_vectors
from nws.meta.fit import epochs, fit, on_best_device
from nws.representations import Representation, named

_BATCH = 64  # rows of a training step
_AT_ONCE = 4096  # rows that a module predicts together


class Reader(BaseEstimator):
    """An estimator of scikit-learn, or a pipeline, as a reader of weights: `nws.evaluate(Reader(RandomForestClassifier()), ...)`.

    `nws.evaluate` wraps plain estimators by itself; wrap one to choose what it reads.
    reads  name of a representation (`nws.representations`) that is a table; "" is the layer-wise statistics where all nets have one
           layout and whole nets are read, else the 16 statistics

    Fitted: `estimator_`, and for classes `classes_`.
    """

    def __init__(self, estimator: Any, reads: str = "", random_state: int = 0, regression: bool = False):
        self.estimator = estimator
        self.reads = reads
        self.random_state = random_state
        self.regression = regression

    @property
    def representation(self) -> Representation:
        return named(self.reads or "statistics")

    def suited(self, one_layout: bool) -> Reader:
        """The same with a representation chosen where none was. one_layout: whole nets are read, and all have one layout."""
        if self.reads:
            return self
        chosen: Reader = clone(self).set_params(reads="layer-statistics" if one_layout else "statistics")
        return chosen

    def fit(self, X: Any, y: Any) -> Self:
        """X (n, F), y (n,). NwsError when the estimator tells classes and y is a number, or the reverse."""
        wrong = is_classifier(self.estimator) if self.regression else is_regressor(self.estimator)
        kinds = ("classes", "a number", "regressor") if self.regression else ("a number", "classes", "classifier")
        if wrong:
            says, wanted, cure = kinds
            raise NwsError(f"{type(self.estimator).__name__} tells {says}, and what is asked for is {wanted}: give a {cure}")
        self.estimator_ = clone(self.estimator)
        seeds = [name for name in self.estimator_.get_params() if name.rpartition("__")[2] == "random_state"]
        self.estimator_.set_params(**dict.fromkeys(seeds, self.random_state))
        target = np.asarray(y)
        if not self.regression:
            self.classes_, target = np.unique(target, return_inverse=True)
        self.estimator_.fit(X, target)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """(n,) labels or numbers."""
        predicted = np.asarray(self.estimator_.predict(X))
        return predicted if self.regression else self.classes_[predicted.astype(int)]

    @available_if(lambda self: not self.regression)
    def predict_proba(self, X: Any) -> np.ndarray:
        """(n, C), columns as `classes_`: the estimator's own, else the softmax of its decision values, else 0 and 1."""
        if hasattr(self.estimator_, "predict_proba"):
            return np.asarray(self.estimator_.predict_proba(X))
        if hasattr(self.estimator_, "decision_function"):
            scores = np.asarray(self.estimator_.decision_function(X))
            return softmax(np.column_stack([-scores, scores]) if scores.ndim == 1 else scores, axis=1)
        return np.eye(len(self.classes_))[np.asarray(self.estimator_.predict(X)).astype(int)]


class TorchReader(BaseEstimator):
    """A PyTorch module as a reader of weights, trained by Adam on cross-entropy, or on the absolute error of a number.

    module  (inputs, outputs) -> nn.Module from rows (B, inputs) to scores (B, outputs): a class or a function
    reads   name of a representation; of "weights" each step reads a fresh random slice of each vector
    steps   of training, with batches of 64 rows
    Tables are standardised, numbers too. Same arguments, data and machine: the same module.

    Fitted: `module_`, and for classes `classes_`.
    """

    def __init__(
        self,
        module: Callable[[int, int], nn.Module],
        reads: str = "statistics",
        slice_length: int | None = 1000,
        steps: int = 500,
        learning_rate: float = 1e-3,
        random_state: int = 0,
        regression: bool = False,
    ):
        self.module = module
        self.reads = reads
        self.slice_length = slice_length
        self.steps = steps
        self.learning_rate = learning_rate
        self.random_state = random_state
        self.regression = regression

    @property
    def representation(self) -> Representation:
        return named(self.reads)

    @threads.one()
    def fit(self, X: Any, y: Any, progress: Progress | None = None) -> Self:
        """X (n, F), or of "weights" n vectors; y (n,)."""
        positive("steps", self.steps, whole=True)
        positive("learning_rate", self.learning_rate)
        seed(self.random_state)
        rng = np.random.default_rng(self.random_state)
        targets = self._targets(np.asarray(y))
        table = self.representation.table
        vectors: Any
        vectors, width = (np.asarray(X, np.float64), np.shape(X)[1]) if table else weight_vectors(X, self.slice_length)
        self.n_features_in_ = width
        self.scale_ = _scale(vectors) if table else (0.0, 1.0)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(self.random_state))
            module = self.module(width, 1 if self.regression else len(self.classes_))

            def draw(rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
                read = vectors[rows] if table else np.stack([_slice(vectors[row], width, rng) for row in rows])
                return self._shown(read), targets[torch.from_numpy(rows)]

            loss: Any = nn.functional.cross_entropy
            if self.regression:
                loss = lambda output, target: (output[:, 0] - target).abs().mean()  # noqa: E731
            batches = epochs(len(targets), min(_BATCH, len(targets)), rng)
            fit(module, draw, batches, self.steps, loss, lambda step: self.learning_rate, progress)
        self.module_ = module
        return self

    def predict(self, X: Any) -> np.ndarray:
        """(n,) labels or numbers."""
        scores = self._scores(X)
        if self.regression:
            return scores[:, 0] * self.target_[1] + self.target_[0]
        return self.classes_[scores.argmax(1)]

    @available_if(lambda self: not self.regression)
    def predict_proba(self, X: Any) -> np.ndarray:
        """(n, C), columns as `classes_`: the softmax of the scores."""
        return softmax(self._scores(X), axis=1)

    def _targets(self, y: np.ndarray) -> torch.Tensor:
        if self.regression:
            self.target_ = float(y.mean()), float(y.std() or 1.0)
            return torch.from_numpy(((y - self.target_[0]) / self.target_[1]).astype(np.float32))
        self.classes_, codes = np.unique(y, return_inverse=True)
        return torch.from_numpy(codes)

    def _shown(self, rows: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(((rows - self.scale_[0]) / self.scale_[1]).astype(np.float32))

    @threads.one()
    def _scores(self, X: Any) -> np.ndarray:
        X = np.asarray(X)
        with on_best_device(self.module_) as chip, torch.inference_mode():
            parts = [self.module_(self._shown(X[k : k + _AT_ONCE]).to(chip)).cpu().numpy() for k in range(0, len(X), _AT_ONCE)]
        return np.concatenate(parts).astype(np.float64)


def reader(given: Any) -> Any:
    """What a user gave, as a reader: ours as they are, estimators of scikit-learn wrapped. NwsError for anything else."""
    if isinstance(given, type) or (inspect.isfunction(given) and not hasattr(given, "fit")):
        given = given()
    if isinstance(getattr(given, "representation", None), Representation):
        return given
    if not hasattr(given, "fit") or not hasattr(given, "predict") or not hasattr(given, "get_params"):
        raise NwsError(
            f"{type(given).__name__} is no reader: give an estimator of scikit-learn, or a module in nws.meta.TorchReader(module)"
        )
    return Reader(given)


def _scale(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    deviation = table.std(0)
    return table.mean(0), np.where(deviation == 0, 1.0, deviation)


def _slice(vector: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    start = int(rng.integers(0, vector.size - length + 1))
    return np.asarray(vector[start : start + length], np.float32)
