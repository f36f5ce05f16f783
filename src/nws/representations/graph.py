"""A net as neurons and edges with numbers, step by step in the order in which it computes: dense matrices per pair of groups.

An edge between two units carries its weight; between channels its kernel, and between a channel of a flattened picture and a unit
one weight per pixel, both as mean, deviation and middle; of a KAN its numbers one by one. A neuron carries its bias and norm.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nws.layout import Layout
from nws.representations import wiring as wires
from nws.representations.placed import OfNets, Placed
from nws.representations.wiring import NODE_ROLES, Piece, Step, wiring


class Graph(OfNets):
    """Nets whose layout knows its axes."""

    name = "graph"

    def why_not(self, layout: Layout, config: object, target: str) -> str | None:
        return wires.why_not(layout)


def edges(theta: Any, step: Step) -> Any:
    """theta (B, P) of PyTorch -> (B, C, units, inputs), C numbers of each edge (`Step.channels`)."""
    import torch

    found: list[Any] = []
    for piece in step.pieces:
        found += _channels(piece.of(theta), piece)
    return torch.stack(found, 1)


def _channels(w: Any, piece: Piece) -> list[Any]:
    """(B, units, inputs, W) -> C times (B, units, inputs)."""
    if piece.channels == w.shape[-1]:
        return list(w.unbind(-1))
    w = w.contiguous()
    mean = w.mean(-1)
    return [mean, (w - mean.unsqueeze(-1)).square().mean(-1).sqrt(), w[..., w.shape[-1] // 2]]


def nodes(theta: Any, step: Step) -> tuple[Any, list[bool]]:
    """theta (B, P) of PyTorch -> (B, R, units), a number per role of `NODE_ROLES` and unit, and which of them the units have."""
    import torch

    absent = theta.new_zeros(len(theta), step.units)
    found = [theta[:, step.nodes[role]] if role in step.nodes else absent for role in NODE_ROLES]
    return torch.stack(found, 1), [role in step.nodes for role in NODE_ROLES]


class Batch:
    """Nets of any architectures together: a stack of weights per wiring, so that each is computed as one dense program.

    groups  (steps, theta (b, P), positions of the rows (b,))
    """

    def __init__(self, groups: Sequence[tuple[tuple[Step, ...], Any, np.ndarray]]):
        self.groups = list(groups)

    @classmethod
    def of(cls, rows: Sequence[Placed]) -> Batch:
        import torch

        alike: dict[int, list[int]] = {}
        plans = [wiring(row.layout) for row in rows]
        for k, plan in enumerate(plans):
            alike.setdefault(id(plan), []).append(k)
        stacks = [(plans[at[0]], np.stack([rows[k].theta for k in at]), np.array(at)) for at in alike.values()]
        return cls([(plan, torch.from_numpy(theta), at) for plan, theta, at in stacks])

    @property
    def order(self) -> np.ndarray:
        """Where the answers of the groups, one after the other, belong: found[order] is in the order of the rows."""
        return np.argsort(np.concatenate([at for _, _, at in self.groups]), kind="stable")

    def to(self, chip: Any) -> Batch:
        return Batch([(plan, theta.to(chip), at) for plan, theta, at in self.groups])
