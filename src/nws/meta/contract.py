"""The contract of every meta-classifier: scikit-learn's, with the checks and the arithmetic that all of them share.

The constructor only stores its arguments, `fit(X, y)` learns, fitted state ends in `_`. `reads` says what X must be:
"statistics" (n, 16) or "layer-statistics" (n, F) from nws.representations.statistics, or "weights", a sequence of n weight vectors.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import DataConversionWarning
from sklearn.metrics import r2_score
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from nws.errors import NwsError
from nws.representations import Representation, named

READS = ("statistics", "layer-statistics", "weights")
Progress = Callable[[int, int, float], None]  # step, steps, loss
Shapes = dict[str, tuple[int, ...]]


class Meta(ClassifierMixin, BaseEstimator):
    """A meta-classifier: weights -> property. With `regression` y is a number and there is no predict_proba.

    A kind of meta-classifier writes `fit`, which calls `_begin`, and `_check`, `_scores`, `_arrays`, `_shapes`, `_restore`.
    """

    reads: str  # the name of its representation
    regression: bool
    _learned: str  # the attribute that `fit` sets last
    n_features_in_: int  # statistics per net, or weights per slice
    classes_: np.ndarray
    target_: np.ndarray  # of a regression: mean and scale of y, so that what is learned has mean 0 and scale 1

    @property
    def representation(self) -> Representation:
        """What X must be."""
        return named(self.reads)

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each row of X, or its number; (n,)."""
        check_is_fitted(self)
        scores = self._scores(X)
        if self.regression:
            return scores[:, 0] * self.target_[1] + self.target_[0]
        return self.classes_[softmax(scores, axis=1).argmax(axis=1)]

    @available_if(lambda self: not self.regression)
    def predict_proba(self, X: Any) -> np.ndarray:
        """(n, C), columns in the order of `classes_`, rows sum to 1: the softmax of the scores. Not calibrated."""
        check_is_fitted(self)
        return softmax(self._scores(X), axis=1)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy, or R^2 of a regression."""
        if self.regression:
            return float(r2_score(y, self.predict(X), sample_weight=sample_weight))
        return float(super().score(X, y, sample_weight))

    def _check(self) -> None:
        """NwsError when an argument of the constructor makes no sense."""
        raise NotImplementedError

    def _scores(self, X: Any) -> np.ndarray:
        """(n, outputs) float64: one per class, or the standardised number of a regression. Refuses X it was not fitted for."""
        raise NotImplementedError

    def _arrays(self) -> dict[str, np.ndarray]:
        """What was learned, by name."""
        raise NotImplementedError

    def _shapes(self, found: Mapping[str, tuple[int, ...]]) -> Shapes:
        """The shapes `_arrays` must have, given those found in a file (some sizes follow from the data). Allocates nothing."""
        raise NotImplementedError

    def _restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """The inverse of `_arrays`."""
        raise NotImplementedError

    @property
    def _outputs(self) -> int:
        return 1 if self.regression else len(self.classes_)

    def _begin(self, n: int, y: Any) -> np.ndarray:
        """Check the arguments, forget an earlier fit, learn what the targets are.

        Returns the targets (n,): int64 positions in `classes_`, or float64 of mean 0 and scale 1.
        """
        self._check()
        for name in [name for name in vars(self) if name.endswith("_")]:
            delattr(self, name)
        if y is None:
            raise NwsError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        y = np.asarray(y)
        if y.shape == (n, 1):
            warnings.warn("A column-vector y was passed when a 1d array was expected", DataConversionWarning, stacklevel=3)
            y = y[:, 0]
        if y.dtype.kind == "c":
            raise NwsError("Complex data not supported: y must be labels or numbers")
        if y.shape != (n,):
            raise NwsError(f"X has {n:,} rows, y has shape {y.shape}: give one label per row")
        return self._begin_regression(y) if self.regression else self._begin_classes(y)

    def _begin_regression(self, y: np.ndarray) -> np.ndarray:
        if y.dtype.kind not in "iuf" or not np.isfinite(y).all():
            raise NwsError("y must be finite numbers for a regression: for classes make the meta-classifier with regression=False")
        if len(y) < 2:
            raise NwsError(f"a regression needs at least two rows, got {len(y)}")
        y = y.astype(np.float64)
        self.target_ = np.array([y.mean(), y.std() or 1.0])
        return (y - self.target_[0]) / self.target_[1]

    def _begin_classes(self, y: np.ndarray) -> np.ndarray:
        if y.dtype == object:  # a column of strings, most likely
            y = np.array(y.tolist())
        if y.dtype.kind not in "biuUf" or (y.dtype.kind == "f" and not np.isfinite(y).all()):
            raise NwsError("y must be strings, whole numbers or booleans, and none may be missing")
        if y.dtype.kind == "f" and np.any(y != np.round(y)):
            raise NwsError("y is continuous: give classes, or make the meta-classifier with regression=True")
        self.classes_, target = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise NwsError(
                f"y has one class only ({', '.join(map(str, self.classes_)) or 'no rows'}): there is nothing to tell apart"
            )
        return target.astype(np.int64)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, self._learned)  # an interrupted fit is none

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import RegressorTags

        tags = super().__sklearn_tags__()
        if self.regression:
            tags.estimator_type, tags.classifier_tags, tags.regressor_tags = "regressor", None, RegressorTags()
        return tags


def positive(what: str, value: Any, *, whole: bool = False, least: float = 0) -> None:
    """NwsError unless value is a finite number above 0, and at least `least`."""
    kinds = (int, np.integer) if whole else (int, float, np.integer, np.floating)
    if isinstance(value, bool) or not isinstance(value, kinds) or not (max(least, 0) <= value < float("inf")) or value == 0:
        kind = "whole number" if whole else "number"
        raise NwsError(f"{what}={value!r}: must be a {kind} " + (f"of at least {least:g}" if least else "above 0"))


def seed(value: Any) -> None:
    """NwsError unless value can seed a generator."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not 0 <= value < 2**32:
        raise NwsError(f"random_state={value!r}: must be a whole number from 0 to 2^32 - 1")


def feature_rows(X: Any, width: int | None = None, who: str = "this model") -> np.ndarray:
    """X as (n, F) float64; NwsError when it is not finite or not `width` wide. In words that scikit-learn's own checks look for."""
    if hasattr(X, "toarray"):
        raise NwsError("X is sparse, and sparse input is not supported: give X.toarray()")
    given = np.asarray(X)
    if given.dtype.kind == "c":
        raise NwsError("Complex data not supported: X must be a table of numbers (n, F)")
    try:
        X = given.astype(np.float64)
    except ValueError:
        raise NwsError("X must be a table of numbers (n, F): see nws.representations.statistics") from None
    if X.ndim != 2:
        raise NwsError(f"X must be a table (n, F), got an array of shape {X.shape}. Reshape your data: X.reshape(1, -1) is one row")
    if not X.shape[1] or (width is None and not len(X)):
        what = "sample" if not len(X) else "feature"
        raise NwsError(f"X must be a table (n, F): it has 0 {what}(s) (shape={X.shape}) while a minimum of 1 is required.")
    if width is not None and X.shape[1] != width:
        raise NwsError(f"X has {X.shape[1]} features, but {who} is expecting {width} features as input")
    if not (np.abs(X) < 1e150).all():  # their squares are added
        row, column = np.argwhere(~(np.abs(X) < 1e150))[0]
        raise NwsError(
            f"X holds NaN, infinity or a huge number, {X[row, column]} (row {row}, feature {column}): leave diverged nets out"
        )
    return X


def table_rows(X: Any, width: int | None = None, who: str = "this model") -> np.ndarray:
    """As `feature_rows`, of a table in which NaN says that a net or slice has no such thing. Rows of NaN alone are refused."""
    given = np.asarray(X)
    if given.dtype.kind != "f" or given.ndim != 2:
        return feature_rows(X, width, who)
    unknown = np.isnan(given)
    if given.size and unknown.all(1).any():
        raise NwsError(f"X knows nothing of row {int(unknown.all(1).argmax())}: leave diverged nets out")
    rows = feature_rows(np.where(unknown, 0, given), width, who)
    rows[unknown] = np.nan
    return rows


def weight_vectors(X: Any, length: int | None) -> tuple[list[np.ndarray], int]:
    """X as finite vectors that each hold a slice of `length` weights, and that length (None: whole vectors)."""
    if len(X) == 0:
        raise NwsError("X holds no weight vectors")
    vectors = [np.asarray(vector) for vector in X]
    L = length or int(vectors[0].size)
    for row, vector in enumerate(vectors):
        if vector.ndim != 1 or vector.dtype.kind != "f":
            raise NwsError(f"X[{row}] must be a vector of floats, got an array of shape {vector.shape} {vector.dtype}")
        if length is None and vector.size != L:
            raise NwsError(
                f"X[{row}] has {vector.size:,} weights, X[0] {L:,}: "
                "whole vectors must be equally long, so read slices: --slice 1000 (in Python slice_length)"
            )
        if vector.size < L or not L:
            raise NwsError(f"X[{row}] has {vector.size:,} weights, less than a slice of {L:,}: use a shorter one")
        if not np.isfinite(vector).all():
            raise NwsError(f"X[{row}] holds NaN or infinite weights: leave diverged nets out")
    return vectors, L


def slice_rows(X: Any, length: int) -> np.ndarray:
    """X as slices (n, L) float32, finite; NwsError when they have another length."""
    X = np.asarray(X)
    if X.ndim != 2 or X.shape[1] != length:
        raise NwsError(f"X has shape {X.shape}, this model reads slices (n, {length:,})")
    if X.dtype.kind != "f" or not np.isfinite(X).all():
        raise NwsError("X must be finite floats: leave diverged nets out")
    return X.astype(np.float32, copy=False)
