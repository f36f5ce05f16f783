"""Linear machines with squared losses, to the last digit of their optimum: Newton's method on the weights themselves.

    minimise  1/2 (|w|^2 + b^2) + C sum of losses

The losses are quadratic wherever a sample counts at all, so each step is exact until the set of samples that count changes. On
480 layer-wise statistics of 2,750 samples liblinear, which solves the same problem by conjugate gradients, took 12 to 40 times
as long and had not arrived after 1,000 rounds: its objective was up to twice the optimum's.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_ROUNDS = 100  # 10 to 35 are usual
_TOLERANCE = 1e-10  # of the gradient, relative to where it began


def squared_hinge(X: np.ndarray, positive: np.ndarray, C: float) -> tuple[np.ndarray, float]:
    """w (F,) and b for X (n, F) and positive (n,) bool: losses max(0, 1 -+ (Xw + b))^2, as LinearSVC has them."""
    return _in_the_span(X, lambda Z: _newton(Z, np.where(positive, 1.0, -1.0), C))


def least_squares(X: np.ndarray, y: np.ndarray, C: float) -> tuple[np.ndarray, float]:
    """w (F,) and b for X (n, F) and y (n,): losses (Xw + b - y)^2, as LinearSVR has them without a margin."""
    return _in_the_span(X, lambda Z: _solved(Z, 2 * C * (y @ Z), C))


def _in_the_span(X: np.ndarray, solve: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, float]:
    """solve(X with a column of ones) -> (w, b). With more features than samples in coordinates of the samples' span, where the
    optimum lies: n dimensions instead of F."""
    from scipy.linalg import qr

    Z = np.column_stack([X, np.ones(len(X))])
    if Z.shape[1] > len(Z):
        basis, coordinates = qr(Z.T, mode="economic", check_finite=False)
        w = basis @ solve(coordinates.T)
    else:
        w = solve(Z)
    return w[:-1], float(w[-1])


def _newton(Z: np.ndarray, sign: np.ndarray, C: float) -> np.ndarray:
    w = np.zeros(Z.shape[1])
    missing = np.ones(len(Z))  # of each sample to its side of the margin; only what is missing counts
    value, begun = C * len(Z), None
    for _ in range(_ROUNDS):
        counts = missing > 0
        gradient = w - 2 * C * (sign * missing * counts) @ Z
        begun = begun or np.linalg.norm(gradient)
        if np.linalg.norm(gradient) <= _TOLERANCE * begun:
            break
        step = -_solved(Z[counts], gradient, C)
        margin = sign * (Z @ step)
        share, slope = 1.0, gradient @ step
        while True:  # halve until it goes down: never more than a few times
            tried = missing - share * margin
            reached = (w + share * step) @ (w + share * step) / 2 + C * np.square(np.maximum(tried, 0)).sum()
            if reached <= value + 1e-4 * share * slope or share < 1e-9:
                break
            share /= 2
        if not reached < value:  # rounding: this is as low as it goes
            break
        w, missing, value = w + share * step, tried, reached
    return w


def _solved(Z: np.ndarray, right: np.ndarray, C: float) -> np.ndarray:
    """(1 + 2 C Z'Z)^-1 right."""
    from scipy.linalg import cho_factor, cho_solve

    hessian = 2 * C * (Z.T @ Z)
    hessian[np.diag_indices_from(hessian)] += 1
    return np.asarray(cho_solve(cho_factor(hessian, overwrite_a=True, check_finite=False), right, check_finite=False))
