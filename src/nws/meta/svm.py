"""Support vector machines on statistics of the weights, one class against the rest (E.1 of the paper)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from nws.errors import unknown
from nws.meta.contract import READS, Meta, Progress, Shapes, feature_rows, positive, seed

KERNELS = ("linear", "rbf")
_CHUNK = 1 << 22  # kernel values held at once


class SVM(Meta):
    """Standardised features -> one machine per class, each against the rest; `kernel` is "linear" or "rbf".

    Linear machines are fitted with squared losses in the primal, which ends in seconds on 480 features; RBF machines with
    libsvm and width 1/F. A regression fits one machine with the same losses' epsilon-insensitive counterparts.
    predict_proba is the softmax of the decision values: it ranks, it is not calibrated.

    Fitted: `coefficients_` (outputs, F) of the standardised features, linear only; `importance_` (F,), their norm over classes.
    """

    _learned = "intercept_"
    mean_: np.ndarray  # of the features (F,), and their scale
    scale_: np.ndarray
    intercept_: np.ndarray  # (outputs,)
    coefficients_: np.ndarray
    support_vectors_: np.ndarray  # (vectors, F), RBF only
    dual_coefficients_: np.ndarray  # (outputs, vectors)

    def __init__(
        self,
        kernel: str = "linear",
        reads: str = "statistics",
        C: float = 1.0,
        random_state: int = 0,
        regression: bool = False,
    ):
        self.kernel = kernel
        self.reads = reads
        self.C = C
        self.random_state = random_state
        self.regression = regression

    def fit(self, X: Any, y: Any, progress: Progress | None = None) -> Self:
        """X (n, F) statistics, y (n,) labels or numbers. `progress` is not called: this takes seconds."""
        X = feature_rows(X)
        target = self._begin(len(X), y)
        self.n_features_in_ = X.shape[1]
        from sklearn.preprocessing import StandardScaler

        scaler = StandardScaler().fit(X)
        self.mean_, self.scale_ = scaler.mean_, scaler.scale_
        targets = target[None] if self.regression else np.arange(len(self.classes_))[:, None] == target  # (outputs, n)
        if len(targets) == 2:  # two classes are one machine, seen from both sides
            targets = targets[1:]
        (self._fit_linear if self.kernel == "linear" else self._fit_rbf)(self._standardised(X), targets)
        return self

    @property
    def importance_(self) -> np.ndarray:
        """How much each feature weighs (F,): the norm of its coefficients over the classes (E.2)."""
        return np.linalg.norm(self.coefficients_, axis=0)

    def _check(self) -> None:
        if self.kernel not in KERNELS:
            raise unknown("kernel", self.kernel, KERNELS)
        if self.reads not in READS[:2]:
            raise unknown("reads", self.reads, READS[:2])
        positive("C", self.C)
        seed(self.random_state)

    def _fit_linear(self, X: np.ndarray, targets: np.ndarray) -> None:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.svm import LinearSVC, LinearSVR

        shared = {"C": self.C, "dual": False, "random_state": int(self.random_state), "max_iter": 1000}
        machines = []
        with warnings.catch_warnings():
            # One feature far out of line can slow the last digits down; the machine is as good without them.
            warnings.simplefilter("ignore", ConvergenceWarning)
            for target in targets:
                machine = LinearSVR(loss="squared_epsilon_insensitive", **shared) if self.regression else LinearSVC(**shared)
                machines.append(machine.fit(X, target))
        self.coefficients_ = self._both_sides(np.array([np.ravel(machine.coef_) for machine in machines]))
        self.intercept_ = self._both_sides(np.array([float(np.ravel(machine.intercept_)[0]) for machine in machines]))

    def _fit_rbf(self, X: np.ndarray, targets: np.ndarray) -> None:
        from sklearn.svm import SVC, SVR

        gamma = 1 / X.shape[1]
        dual, intercept = np.zeros((len(targets), len(X))), []
        for row, target in zip(dual, targets, strict=True):
            machine = (SVR if self.regression else SVC)(kernel="rbf", C=self.C, gamma=gamma, cache_size=500).fit(X, target)
            row[machine.support_] = machine.dual_coef_[0]
            intercept.append(machine.intercept_[0])
        support = dual.any(axis=0)  # one set of vectors for all machines: each kernel value is computed once
        self.support_vectors_ = X[support]
        self.dual_coefficients_ = self._both_sides(np.ascontiguousarray(dual[:, support]))  # as a loaded model has them
        self.intercept_ = self._both_sides(np.array(intercept))

    def _both_sides(self, learned: np.ndarray) -> np.ndarray:
        return np.concatenate([-learned, learned]) if self._outputs == 2 else learned

    def _standardised(self, X: np.ndarray) -> np.ndarray:
        return (X - self.mean_) / self.scale_

    def _scores(self, X: Any) -> np.ndarray:
        X = self._standardised(feature_rows(X, self.n_features_in_))
        if self.kernel == "linear":
            return X @ self.coefficients_.T + self.intercept_
        step = max(1, _CHUNK // max(1, len(self.support_vectors_)))
        parts = [self._kernel(X[start : start + step]) @ self.dual_coefficients_.T for start in range(0, len(X), step)]
        return np.concatenate([np.empty((0, self._outputs)), *parts]) + self.intercept_

    def _kernel(self, X: np.ndarray) -> np.ndarray:
        """(n, F) -> exp(-|x - support vector|^2 / F), (n, support vectors)."""
        from scipy.spatial.distance import cdist

        return np.exp(-cdist(X, self.support_vectors_, "sqeuclidean") / X.shape[1])

    def _arrays(self) -> dict[str, np.ndarray]:
        learned = ("coefficients",) if self.kernel == "linear" else ("support_vectors", "dual_coefficients")
        return {name: getattr(self, f"{name}_") for name in ("mean", "scale", "intercept", *learned)}

    def _shapes(self, found: Mapping[str, tuple[int, ...]]) -> Shapes:
        F, outputs = self.n_features_in_, self._outputs
        shapes: Shapes = {"mean": (F,), "scale": (F,), "intercept": (outputs,)}
        if self.kernel == "linear":
            return {**shapes, "coefficients": (outputs, F)}
        vectors = (found.get("support_vectors") or (0,))[0]
        return {**shapes, "support_vectors": (vectors, F), "dual_coefficients": (outputs, vectors)}

    def _restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        for name, array in arrays.items():
            setattr(self, f"{name}_", array)
