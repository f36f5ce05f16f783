"""Linear machines: at the optimum of what they say they minimise, whatever the data look like."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from nws.meta.linear import least_squares, squared_hinge

SHAPES = {"more samples": (200, 12), "more features": (30, 90), "one feature": (50, 1)}


def data(shape, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_t(2, SHAPES[shape])
    return X, X[:, 0] + rng.normal(size=len(X)) > 0.3


def objective(w, b, X, y, C):
    return (w @ w + b * b) / 2 + C * np.square(np.maximum(1 - np.where(y, 1, -1) * (X @ w + b), 0)).sum()


@pytest.mark.parametrize("C", [1e-3, 1.0, 100.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_hinge_machine_is_at_the_bottom(shape, C):
    """The objective is convex: where its gradient is zero, nothing is lower."""
    X, y = data(shape)
    w, b = squared_hinge(X, y, C)
    sign = np.where(y, 1, -1)
    missing = sign * np.maximum(1 - sign * (X @ w + b), 0)
    scale = C * np.abs(X).sum()
    assert_allclose(w - 2 * C * missing @ X, 0, atol=1e-8 * scale)
    assert_allclose(b - 2 * C * missing.sum(), 0, atol=1e-8 * scale)


@pytest.mark.parametrize("shape", SHAPES)
def test_no_machine_of_liblinear_is_better(shape):
    from sklearn.svm import LinearSVC

    X, y = data(shape, seed=1)
    theirs = LinearSVC(dual=False, tol=1e-10, max_iter=100_000).fit(X, y)
    w, b = squared_hinge(X, y, 1.0)
    best = objective(theirs.coef_[0], theirs.intercept_[0], X, y, 1.0)
    assert objective(w, b, X, y, 1.0) <= best * (1 + 1e-9)
    assert_allclose(w, theirs.coef_[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_least_squares_are_at_the_bottom(shape):
    X, _ = data(shape)
    y, C = X[:, 0] * 3 + 1, 0.7
    w, b = least_squares(X, y, C)
    off = X @ w + b - y
    assert_allclose(w + 2 * C * off @ X, 0, atol=1e-8 * np.abs(X).sum())
    assert_allclose(b + 2 * C * off.sum(), 0, atol=1e-8 * np.abs(X).sum())


def test_the_other_side_is_the_mirror_image():
    X, y = data("more samples")
    w, b = squared_hinge(X, y, 1.0)
    mirrored, offset = squared_hinge(X, ~y, 1.0)
    assert_allclose(mirrored, -w, rtol=1e-7, atol=1e-10)
    assert offset == pytest.approx(-b)
