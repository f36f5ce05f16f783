"""Weights -> what a model can read. A representation says itself what it needs: nobody asks for its name."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nws.errors import NwsError
from nws.layout import Layout
from nws.representations import statistics as features
from nws.representations.tensors import BLOCKS, tensors


class Representation:
    """A way to show weights to a meta-classifier.

    name        what it is called in files and by `Meta.reads`
    table       rows of numbers, computed once per net and remembered; else weights, read from the zoo when they are used
    ragged      a row of the table is itself a table (T, F), with another T for each net
    placed      X is nets that know their layout and config (nws.representations.Placed), not bare weights
    sliced      whether it can be made of a slice, without knowing where in the net that lies
    own_length  weights it is made of where a task leaves that open; None: the whole part
    seconds     what a round of learning from it takes, a guess until one was measured
    ends        whether the first and the last weights are among the slices it learns from, as they are among those of a test
    blocks      name -> columns (k,) of a table that belong together, such as those of the first layer; empty: there are none
    """

    name = ""
    table = True
    ragged = False
    placed = False
    sliced = True
    own_length: int | None = None
    seconds = 1.0
    ends = False
    blocks: Mapping[str, np.ndarray] = {}

    def __repr__(self) -> str:
        return f"<representation {self.name}>"

    def __eq__(self, other: object) -> bool:  # in a worker it is another object, and what was computed is known by it
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), self.name))

    def one_layout(self, length: int | None) -> bool:
        """Whether all nets must have the same layout, when slices of `length` weights (None: whole parts) are read."""
        return False

    def why_not(self, layout: Layout, config: object, target: str) -> str | None:
        """Why it cannot be made of such a net, or would give the target away, in half a line; None: it can.

        config: what was chosen for the net; None of foreign nets.
        """
        return None

    def of_slices(self, x: np.ndarray) -> np.ndarray:
        """Slices x (..., L) -> (..., F)."""
        raise NotImplementedError

    def of_net(self, theta: np.ndarray, layout: Layout, part: str) -> np.ndarray:
        """The part of a net at S moments, theta (S, P) -> (S, F)."""
        return self.of_slices(theta[:, layout.part(part)])


class Statistics(Representation):
    """The 16 statistics of a vector and its gradient (E.1 of the paper): any net, any slice."""

    name = "statistics"

    def of_slices(self, x: np.ndarray) -> np.ndarray:
        return features.statistics(x)


class LayerStatistics(Representation):
    """The 16 statistics of each kind of weight of each layer, 480 for the fixed architecture: whole nets of one layout."""

    name = "layer-statistics"
    sliced = False
    seconds = 2.0

    def one_layout(self, length: int | None) -> bool:
        return True

    def of_slices(self, x: np.ndarray) -> np.ndarray:
        raise NwsError("layer-wise statistics are those of whole nets, not of slices")

    def of_net(self, theta: np.ndarray, layout: Layout, part: str) -> np.ndarray:
        found = features.layer_statistics(theta, layout)
        of = {t.name: t.part for t in layout.tensors}
        return found[..., [part in ("all", of[name.rpartition("/")[0]]) for name in features.feature_names(layout)]]


class Tensors(Representation):
    """Statistics of every tensor and of relations between tensors, placed by slots: whole nets of any architecture.

    without: groups of features that are left at 0, as in `nws.representations.tensors`
    """

    sliced = False
    seconds = 30.0
    blocks = BLOCKS

    def __init__(self, without: tuple[str, ...] = ()):
        self.without = without
        self.name = "-without-".join(["tensors", *without])

    def of_slices(self, x: np.ndarray) -> np.ndarray:
        raise NwsError("statistics of tensors are those of whole nets, not of slices")

    def of_net(self, theta: np.ndarray, layout: Layout, part: str) -> np.ndarray:
        return tensors(theta, layout, without=self.without, part=part)[0]


class Weights(Representation):
    """The weights themselves: slices, or whole vectors of equal length."""

    name = "weights"
    table = False
    own_length = 5000
    seconds = 60.0

    def one_layout(self, length: int | None) -> bool:
        return length is None

    def of_slices(self, x: np.ndarray) -> np.ndarray:
        return x
