"""Support vector machines on statistics of the weights, one class against the rest (E.1 of the paper)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import torch

from nws import threads
from nws.errors import unknown
from nws.meta.contract import READS, Meta, Progress, Shapes, feature_rows, positive, seed
from nws.meta.linear import least_squares, squared_hinge

KERNELS = ("linear", "rbf")
_CHUNK = 1 << 20  # kernel values held at once
_SHARED = 8000  # samples of which all kernel values are held, 512 MB, while the machines of all classes learn from them


class SVM(Meta):
    """Standardised features -> one machine per class, each against the rest; `kernel` is "linear" or "rbf".

    Linear machines have squared losses (linear.py); RBF machines are libsvm's, of width 1/F. A regression fits one machine: linear
    ones by least squares, RBF ones with libsvm's epsilon-insensitive loss. RBF machines learn from at most `max_samples` rows,
    the same share of each class, None: from all. Libsvm's time grows with their square: on 28,000 slices of 1,400 nets it took 11
    to 25 times as long as on 8,000, and read 1 to 2 points more (docs/benchmarks.md).
    predict_proba is the softmax of the decision values: it ranks, it is not calibrated.

    Fitted: `coefficients_` (outputs, F) of the standardised features, linear only; `importance_` (F,), their norm over classes;
    `notes_`, what whoever reads its results must know, if there is anything.
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
        max_samples: int | None = 8000,
        random_state: int = 0,
        regression: bool = False,
    ):
        self.kernel = kernel
        self.reads = reads
        self.C = C
        self.max_samples = max_samples
        self.random_state = random_state
        self.regression = regression

    @threads.one()
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
        X = self._standardised(X)
        if self.kernel == "linear":
            self._fit_linear(X, targets)
        else:
            learned = self._thinned(target)
            if len(learned) < len(X):
                self.notes_ = (f"RBF SVMs learn from at most {self.max_samples:,} rows",)
            self._fit_rbf(X[learned], targets[:, learned])
        return self

    def _thinned(self, target: np.ndarray) -> np.ndarray:
        """Rows to learn from: `max_samples` of those of target (n,), the same share of each class, none left without."""
        if self.max_samples is None or len(target) <= self.max_samples:
            return np.arange(len(target))
        rng = np.random.default_rng(self.random_state)
        classes = [np.arange(len(target))] if self.regression else [np.flatnonzero(target == c) for c in np.unique(target)]
        share = self.max_samples / len(target)
        return np.concatenate([np.sort(rng.permutation(rows)[: max(1, round(share * len(rows)))]) for rows in classes])

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
        if self.max_samples is not None:
            positive("max_samples", self.max_samples, whole=True)
        seed(self.random_state)

    def _fit_linear(self, X: np.ndarray, targets: np.ndarray) -> None:
        fitted = [(least_squares if self.regression else squared_hinge)(X, target, self.C) for target in targets]
        self.coefficients_ = self._both_sides(np.array([w for w, _ in fitted]))
        self.intercept_ = self._both_sides(np.array([b for _, b in fitted]))

    def _fit_rbf(self, X: np.ndarray, targets: np.ndarray) -> None:
        from sklearn.svm import SVC, SVR

        # libsvm computes every kernel value again for every class, and without BLAS: 4.4 times as long for 4 classes, 480 features
        # and 3,000 samples, 1.8 times for 16 features. The machines are the same.
        given, kernel = (_kernel(X, X), "precomputed") if len(X) <= _SHARED else (X, "rbf")
        dual, intercept = np.zeros((len(targets), len(X))), []
        for row, target in zip(dual, targets, strict=True):
            machine = (SVR if self.regression else SVC)(kernel=kernel, C=self.C, gamma=1 / X.shape[1], cache_size=500)
            machine.fit(given, target)
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

    @threads.one()
    def _scores(self, X: Any) -> np.ndarray:
        X = self._standardised(feature_rows(X, self.n_features_in_, "SVM"))
        if self.kernel == "linear":
            return X @ self.coefficients_.T + self.intercept_
        step = max(1, _CHUNK // max(1, len(self.support_vectors_)))
        machines, vectors = self.dual_coefficients_.T, self.support_vectors_
        parts = [_kernel(X[start : start + step], vectors) @ machines for start in range(0, len(X), step)]
        return np.concatenate([np.empty((0, self._outputs)), *parts]) + self.intercept_

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


def _kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n, F), (m, F) -> exp(-|a - b|^2 / F), (n, m)."""
    F = a.shape[1]
    left = np.column_stack([a * (2 / F), np.einsum("ij,ij->i", a, a) / -F, np.ones(len(a))])
    right = np.column_stack([b, np.ones(len(b)), np.einsum("ij,ij->i", b, b) / -F])
    exponents = left @ right.T  # 2ab - a^2 - b^2, over F, in one product
    np.minimum(exponents, 0, out=exponents)  # rounding makes the distance of a vector from itself a little more or less than 0
    return torch.from_numpy(exponents).exp_().numpy()  # numpy's takes three times as long where there is no AVX-512
