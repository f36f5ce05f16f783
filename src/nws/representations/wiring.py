"""A layout as the wires between groups of units, in the order in which a net computes: for graphs, and a row per neuron.

Everything follows from the axes of the layout (`nws.layout.Axis`): whatever is made of it can be indifferent to the order of
hidden units, in chains and in nets with residual connections.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from nws.errors import NwsError
from nws.layout import ROLES, Axis, Layout, Tensor

# Where a step stands: reads the inputs, gives the outputs, both, between convolutions, from a picture to units, between units, or
# has no wires (the norm of a group whose weights lie elsewhere).
SLOTS = ("first", "conv", "flat", "fc", "last", "only", "nodes")
PLACE = 6  # numbers of `place`
NODE_ROLES = ROLES[1:]  # numbers that each unit has one of
ORDERED = 16  # numbers of an edge that are shown one by one; more than that, and kernels and pixels, by their moments
MOMENTS = 3  # of a kernel: mean, deviation, and its middle


@dataclass(frozen=True)
class Piece:
    """A tensor as numbers on the edges from `inputs` to `units`: `of` gives (..., units, inputs, W)."""

    start: int
    stop: int
    expanded: tuple[int, ...]
    order: tuple[int, ...]
    shape: tuple[int, int, int]
    ordered: bool

    @property
    def channels(self) -> int:
        """Numbers that an edge is shown by."""
        window = self.shape[2]
        return window if window == 1 or (self.ordered and window <= ORDERED) else MOMENTS

    def of(self, theta: Any) -> Any:
        """theta (..., P) of numpy or torch -> (..., units, inputs, W)."""
        lead = tuple(theta.shape[:-1])
        found = theta[..., self.start : self.stop].reshape(*lead, *self.expanded)
        axes = (*range(len(lead)), *(len(lead) + k for k in self.order))
        found = found.permute(*axes) if hasattr(found, "permute") else found.transpose(axes)
        return found.reshape(*lead, *self.shape)


@dataclass(frozen=True)
class Step:
    """Units of `group` hear from units of `source` through `pieces`, and have numbers of their own, `nodes` (role -> where).

    source is None of a step without wires. window: weights per edge
    """

    slot: str
    group: str
    source: str | None
    units: int
    inputs: int
    window: int
    pieces: tuple[Piece, ...]
    nodes: Mapping[str, slice]

    @property
    def channels(self) -> int:
        return sum(piece.channels for piece in self.pieces)


def why_not(layout: Layout) -> str | None:
    """Why no wires are known, in half a line; None where they are."""
    if unknown := next((t.name for t in layout.tensors if not t.axes), None):
        return f"which units the axes of {unknown} belong to is not known (nws.layout.Axis)"
    if not any(_ends(t) for t in layout.tensors):
        return "no tensor leads from one group of units to another"
    return None


def wiring(layout: Layout) -> tuple[Step, ...]:
    """The steps of a net in theta's order, the same object for the same axes. NwsError where axes are not known."""
    if reason := why_not(layout):
        raise NwsError(f"these nets cannot be seen as graphs: {reason}")
    # Layouts are equal whatever is known of their axes, so that these are part of the key.
    return _wiring(layout, tuple(t.axes for t in layout.tensors))


@lru_cache(maxsize=4096)
def _wiring(layout: Layout, axes: tuple[tuple[Axis, ...], ...]) -> tuple[Step, ...]:
    drafts: list[tuple[str, str | None, list[Tensor], dict[str, Tensor]]] = []
    for t in layout.tensors:
        ends = _ends(t)
        if ends:
            before = drafts[-1] if drafts else None
            # Tensors of one layer, such as a KAN's three, are numbers of the same edges.
            if before and before[:2] == ends and before[2] and _layer(before[2][-1]) == _layer(t):
                before[2].append(t)
            else:
                drafts.append((*ends, [t], {}))
        elif group := next((axis.group for axis in t.axes if axis.group), None):
            role = t.role if t.role in NODE_ROLES else "bias"
            home = next((d for d in reversed(drafts) if d[0] == group), None)
            if home is None or role in home[3]:
                home = (group, None, [], {})
                drafts.append(home)
            home[3][role] = t
    return tuple(_step(layout, *draft) for draft in drafts)


def _layer(t: Tensor) -> str:
    """ "kan1" of "kan1.base" and "kan1.spline"; else the layer itself."""
    return t.layer.rpartition(".")[0] or t.layer


def _ends(t: Tensor) -> tuple[str, str] | None:
    """The groups that a tensor leads to and from; None of one that leads nowhere."""
    groups = [axis.group for axis in t.axes if axis.group]
    if len(groups) < 2:
        return None
    to, source = groups[:2]
    return (source, to) if to == "input" or source == "output" else (to, source)


def _step(layout: Layout, group: str, source: str | None, edges: list[Tensor], nodes: dict[str, Tensor]) -> Step:
    pieces = tuple(_piece(t, group, str(source)) for t in edges)
    part = edges[0].part if edges else ""
    flat = part == "fc" and any(axis.inner * axis.outer > 1 for t in edges for axis in t.axes)
    slot = "conv" if part == "conv" else "flat" if flat else "fc"
    if source is None:
        slot = "nodes"
    elif source == "input" and group == "output":
        slot = "only"
    elif source == "input" or group == "output":
        slot = "first" if source == "input" else "last"
    inputs = pieces[0].shape[1] if pieces else 0
    window = sum(piece.shape[2] for piece in pieces)
    where = {role: slice(t.start, t.stop) for role, t in nodes.items() if prod(t.shape) == layout.groups[group]}
    return Step(slot, group, source, layout.groups[group], inputs, window, pieces, where)


def _piece(t: Tensor, group: str, source: str) -> Piece:
    names = [axis.group for axis in t.axes]
    at = names.index(group)
    other = next(k for k, name in enumerate(names) if name == source and k != at)
    expanded: list[int] = []
    places = {}
    for k, (axis, size) in enumerate(zip(t.axes, t.shape)):
        units = size // (axis.outer * axis.inner)
        places[k] = len(expanded) + 1
        expanded += [axis.outer, units, axis.inner]
    first = [places[at], places[other]]
    order = (*first, *(k for k in range(len(expanded)) if k not in first))
    shape = expanded[first[0]], expanded[first[1]], prod(t.shape) // (expanded[first[0]] * expanded[first[1]])
    loose = [k for k in range(len(t.shape)) if k not in (at, other)]
    pixels = any(t.axes[k].outer * t.axes[k].inner > 1 for k in (at, other))
    return Piece(t.start, t.stop, tuple(expanded), order, shape, len(loose) == 1 and not pixels)


def place(step: Step, number: int, steps: int) -> np.ndarray:
    """Where a step stands in its net, and how wide it is: (PLACE,) float32, numbers around 1."""
    wide = np.log2([step.units, max(step.inputs, 1), max(step.window, 1)])
    return np.array([number / steps, (steps - number) / steps, steps / 8, *wide / 8], np.float32)
