"""A layout as a chain of layers: which weights belong together, and what reads what. For any layout, a stranger's too."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from math import prod

from nws.layout import ROLES, Layout, Tensor

VECTORS = ROLES[1:]  # bias, beta, gamma, mean, var: a number per unit


@dataclass(frozen=True)
class Layer:
    """A tensor of weights, and the vectors that have one number per unit of it.

    kind     conv, fc, or out: the last layer of the net, if it is a matrix
    vectors  role -> tensor; which norm a layer has, and whether it keeps moving statistics, is seen by what is there
    reads    units of the layer before, and how the inputs are divided into them: "first", "last" (of a flattened picture the
             channel is the slowest or the fastest axis), "plain" (one input per unit), or "" where they do not fit together
    """

    kind: str
    part: str
    weight: Tensor
    vectors: Mapping[str, Tensor]
    reads: str = ""

    @property
    def units(self) -> int:
        return self.weight.shape[0]

    @property
    def inputs(self) -> int:
        return self.weight.shape[1]

    @property
    def window(self) -> tuple[int, int]:
        """Rows and columns of a convolution's windows; those of one dimension have a single row, (1, 1) of a matrix."""
        *others, last = (*self.weight.shape[2:], 1) if len(self.weight.shape) == 2 else self.weight.shape[2:]
        return prod(others), last


def layers(layout: Layout, without: Set[str] = frozenset(), part: str = "all") -> list[Layer]:
    """The layers that have weights of at least two dimensions, in theta's order; none where there are none.

    Vectors in a layer of their own, as a PyTorch norm is one, belong to the weights before them if they have as many units.
    without: roles that are taken as absent.
    """
    found: list[tuple[Tensor, dict[str, Tensor]]] = []
    for roles in layout.layers.values():
        weight = roles.get("weight")
        if weight is not None and len(weight.shape) > 1:
            found.append((weight, {}))
        if not found:
            continue
        units, vectors = found[-1][0].shape[0], found[-1][1]
        for role in VECTORS:
            if role in roles and role not in without and roles[role].shape == (units,):
                vectors.setdefault(role, roles[role])
    chain: list[Layer] = []
    before = 0
    for k, (weight, vectors) in enumerate(found):
        kind = "conv" if len(weight.shape) > 2 else "out" if k == len(found) - 1 else "fc"
        chain.append(Layer(kind, weight.part, weight, vectors, _reads(weight, before)))
        before = weight.shape[0]
    if part == "all":
        return chain
    chosen = [layer for layer in chain if layer.part == part]
    # What the first layer of a part reads lies in the other part.
    return [Layer(o.kind, o.part, o.weight, o.vectors, o.reads if k else "") for k, o in enumerate(chosen)]


def _reads(weight: Tensor, units: int) -> str:
    """How the inputs of a tensor are divided into the units of the layer before."""
    inputs = weight.shape[1]
    if not units or inputs % units:
        return ""
    if inputs == units:
        return "plain"
    if len(weight.shape) > 2:
        return ""
    axis = weight.axes[1] if weight.axes else None
    if axis and axis.outer == axis.inner == 1:
        return ""
    return "last" if weight.grid[0] or (axis and axis.outer > 1) else "first"  # PyTorch's own flatten has the channel slowest
