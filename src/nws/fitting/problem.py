"""What is asked of a fitter, and what comes out."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import prod

import numpy as np


@dataclass(frozen=True)
class Form:
    """The nets' shape: `inputs` numbers -> `depth` hidden layers of `width` units -> `outputs` numbers.

    sine  hidden units are sin(omega (W x + b)) and the output is linear plus the offset; else max(W x + b, 0), the output
          1 / (1 + exp(-y))
    """

    width: int
    depth: int
    outputs: int
    sine: bool = True
    inputs: int = 2

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Weight, bias, weight, bias ... in theta's order; weights are (units, inputs)."""
        widths = [self.inputs, *[self.width] * self.depth, self.outputs]
        return [shape for a, b in pairwise(widths) for shape in ((b, a), (b,))]

    @property
    def size(self) -> int:
        return sum(map(prod, self.shapes))


@dataclass(frozen=True, eq=False)
class Problem:
    """N nets of one form and the signals they are to fit: full-batch Adam (0.9, 0.999, 1e-8) on the mean squared error.

    theta          (N, P) float32, the beginning
    points         (B, inputs) float32
    target         (N, B, outputs) float32
    learning_rate, omega, offset  (N,)
    goal           (N,) mean squared error at which a net stops; 0: never
    records        (N, S) int64, not falling: after which steps the weights are kept; the last ends the training
    """

    form: Form
    theta: np.ndarray
    points: np.ndarray
    target: np.ndarray
    learning_rate: np.ndarray
    omega: np.ndarray
    offset: np.ndarray
    goal: np.ndarray
    records: np.ndarray

    @property
    def how(self) -> np.ndarray:
        """(N, 4) float32 of learning rate, omega, offset and goal."""
        return np.stack([self.learning_rate, self.omega, self.offset, self.goal], 1).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Fitted:
    """theta (N, S, P) float32, loss (N, S) float32: the mean squared error of those very weights, steps (N, S) int64.

    A net that met its goal between records has its end in all that would have followed.
    """

    theta: np.ndarray
    loss: np.ndarray
    steps: np.ndarray
