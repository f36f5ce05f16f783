"""A learned forward pass over a net's own weights: the graph reader."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from nws.errors import NwsError
from nws.meta.contract import positive
from nws.meta.deep import Deep, head
from nws.representations import graph as views
from nws.representations.graph import Batch
from nws.representations.placed import Placed, checked
from nws.representations.wiring import NODE_ROLES, PLACE, SLOTS, Step, place, wiring

_SHARP = 50.0  # weights are shown as asinh(50 w): linear around 0, logarithms beyond
_SPREAD = 0.5  # deviation of the frequencies in that scale


class Waves(nn.Module):
    """Numbers (B, ...) -> (B, K, ...): themselves on two scales, and sines and cosines of fixed random frequencies."""

    def __init__(self, frequencies: int):
        super().__init__()
        self.frequencies: torch.Tensor
        self.register_buffer("frequencies", _SPREAD * 2 * math.pi * torch.randn(frequencies))
        self.size = 2 + 2 * frequencies

    def forward(self, v: torch.Tensor) -> torch.Tensor:
        u = torch.asinh(_SHARP * v)
        angle = u.unsqueeze(1) * self.frequencies.view(1, -1, *[1] * (v.dim() - 1))
        return torch.cat([(v / (1 + v.abs())).unsqueeze(1), u.unsqueeze(1) / 3, angle.sin(), angle.cos()], 1)


class Sweep(nn.Module):
    """One way through the net: units hear from units through their edges, then remember.

    m_p = sum_q E(waves(W_pq)) * N(h_q), elementwise; h_p = LN(GRU(what the unit itself has, state m_p + what it knew)). E is shared
    by all slots, plus a part of each slot's own that starts at 0: a slot that no training net had is read as the average.
    """

    def __init__(self, width: int, numbers: int):
        super().__init__()
        self.heard = nn.Linear(width, width)
        self.edge = nn.Parameter(torch.randn(numbers, width) / math.sqrt(numbers))
        self.own = nn.Parameter(torch.zeros(len(SLOTS), numbers, width))
        self.message = nn.LayerNorm(width)
        self.cell = nn.GRUCell(width, width)
        self.norm = nn.LayerNorm(width)

    def hear(self, waves: torch.Tensor, h: torch.Tensor, slot: int) -> torch.Tensor:
        """waves (B, K, to, from), h (B, from, d), or (from, d) where it is the same of all nets -> (B, to, d)

        Summed over units before it is weighted by E: the products (B, to, from, d) are never in memory.
        """
        n = self.heard(h)
        B, K, to, source = waves.shape
        summed = waves.reshape(B, K * to, source) @ n  # (B, K * to, d)
        weight = (self.edge + self.own[slot])[:K]
        # Not by einsum, which makes a batch of d tiny products of this.
        return self.message((summed.view(B, K, to, -1) * weight.unsqueeze(1)).sum(1) / math.sqrt(source))

    def remember(self, node: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        shape = state.shape
        return self.norm(self.cell(node.reshape(-1, shape[-1]), state.reshape(-1, shape[-1])).view(shape))


class Encoder(nn.Module):
    """Batch -> (B, outputs). Nets of one wiring are computed together, others one after the other.

    inputs, outputs_  units of the net's own first and last group, each with a vector of its own: their order means something
    channels          numbers of an edge, at most
    """

    def __init__(self, sizes: Mapping[str, int], width: int, frequencies: int, backward: bool, targets: int, dropout: float):
        super().__init__()
        few = max(2, frequencies // 4)
        self.waves, self.further = Waves(frequencies), Waves(few)
        self.numbers = numbers = self.waves.size + (sizes["channels"] - 1) * self.further.size
        self.first = nn.Parameter(torch.randn(sizes["inputs"], width))
        self.last = nn.Parameter(torch.zeros(sizes["outputs"], width))
        self.unseen = nn.Parameter(torch.randn(width))
        self.node = nn.Linear(len(NODE_ROLES) * (self.further.size + 1) + PLACE, width)
        self.slot = nn.Parameter(torch.zeros(len(SLOTS), width))
        self.forth = Sweep(width, numbers)
        self.back = Sweep(width, numbers) if backward else None
        self.head = head(2 * len(SLOTS) * width, 2 * width, targets, dropout)

    def forward(self, batch: Batch) -> torch.Tensor:
        found = [self.head(self.pooled(steps, self.states(steps, theta)[0])) for steps, theta, _ in batch.groups]
        return torch.cat(found)[torch.from_numpy(batch.order)]

    def states(self, steps: Sequence[Step], theta: torch.Tensor) -> tuple[list[torch.Tensor], dict[str, torch.Tensor]]:
        """theta (B, P) -> what the units of each step are at its end (B, units, d), and those of each group at last."""
        B = len(theta)
        waves: list[torch.Tensor | None] = []
        after: list[torch.Tensor] = []
        h: dict[str, torch.Tensor] = {}
        for k, step in enumerate(steps):
            seen = self.shown(theta, step) if step.source else None
            waves.append(seen)
            state = h.get(step.group, theta.new_zeros(B, step.units, self.slot.shape[1]))
            if seen is not None:
                state = state + self.forth.hear(seen, self.source(h, step), SLOTS.index(step.slot))
            h[step.group] = self.forth.remember(self.nodes(theta, step, k, len(steps)), state)
            after.append(h[step.group])
        if self.back is not None:
            for k, step in reversed(list(enumerate(steps))):
                seen = waves[k]
                if step.source in h and seen is not None:
                    heard = self.back.hear(seen.transpose(2, 3), h[step.group], SLOTS.index(step.slot))
                    h[step.source] = self.back.remember(heard, h[step.source])
            after = [h[step.group] for step in steps]
        return after, h

    def source(self, h: dict[str, torch.Tensor], step: Step) -> torch.Tensor:
        """What is known of the units that a step reads: (B, inputs, d), or (inputs, d) of a net's own inputs."""
        if step.source == "input":
            return self.first[: step.inputs]
        return h[str(step.source)] if step.source in h else self.unseen.expand(step.inputs, -1)

    def shown(self, theta: torch.Tensor, step: Step) -> torch.Tensor:
        """(B, K, units, inputs)"""
        with torch.no_grad():
            edges = views.edges(theta, step).unbind(1)
            return torch.cat([self.waves(edges[0]), *[self.further(other) for other in edges[1:]]], 1)

    def nodes(self, theta: torch.Tensor, step: Step, number: int, steps: int) -> torch.Tensor:
        """(B, units, d)"""
        values, there = views.nodes(theta, step)  # (B, R, units)
        B, R, units = values.shape
        present = torch.tensor(there, dtype=values.dtype, device=values.device)
        shown = self.further(values) * present.view(1, 1, R, 1)  # (B, K, R, units)
        where = torch.from_numpy(place(step, number, steps)).to(values.device)
        known = torch.cat([shown.flatten(1, 2).transpose(1, 2), torch.cat([present, where]).expand(B, units, -1)], 2)
        found: torch.Tensor = self.node(known) + self.slot[SLOTS.index(step.slot)]
        return found + self.last[:units] if step.group == "output" else found

    def pooled(self, steps: Sequence[Step], after: Sequence[torch.Tensor]) -> torch.Tensor:
        """(B, 2 * slots * d): mean and deviation over units, averaged over the steps of a slot."""
        B, _, d = after[0].shape
        found = []
        for slot in SLOTS:
            here = [h for step, h in zip(steps, after) if step.slot == slot]
            both = [torch.cat([h.mean(1), (h.var(1, unbiased=False) + 1e-6).sqrt()], 1) for h in here]
            found.append(torch.stack(both).mean(0) if both else after[0].new_zeros(B, 2 * d))
        return torch.cat(found, 1)


class GraphReader(Deep):
    """Reads whole nets of any architecture from their weights alone, whatever the order of their hidden units.

    A vector per unit is carried forward through the net's own wires (forward-recurrent, after the DNG encoder, arXiv:2607.02166),
    and with `backward` back again. Where a family has a canonical form, nets are brought to it first, so that signs and phases
    of SIRENs or scales of KANs do not matter either.
    """

    reads = "graph"

    def __init__(
        self,
        width: int = 64,
        frequencies: int = 8,
        backward: bool = False,
        epochs: int = 60,
        batch_size: int = 32,
        learning_rate: float = 2e-3,
        dropout: float = 0.2,
        max_steps: int | None = None,
        random_state: int = 0,
        regression: bool = False,
    ):
        self.width = width
        self.frequencies = frequencies
        self.backward = backward
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.dropout = dropout
        self.max_steps = max_steps
        self.random_state = random_state
        self.regression = regression

    def _check(self) -> None:
        super()._check()
        positive("width", self.width, whole=True)
        positive("frequencies", self.frequencies, whole=True)
        if not isinstance(self.backward, bool):
            raise NwsError(f"backward={self.backward!r}: must be True or False")

    def _rows(self, X: Any) -> list[Placed]:
        return [row.canonical() for row in checked(X)]

    def _learn_sizes(self, rows: list[Placed]) -> dict[str, int]:
        return sizes_of_nets(rows)

    def _sizes_of(self, found: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
        main, few = 2 + 2 * found["waves.frequencies"][0], 2 + 2 * found["further.frequencies"][0]
        channels = 1 + max(0, found["forth.edge"][0] - main) // few
        return {"inputs": found["first"][0], "outputs": found["last"][0], "channels": channels}

    def _make(self, sizes: Mapping[str, int], outputs: int) -> Encoder:
        return Encoder(sizes, self.width, self.frequencies, self.backward, outputs, self.dropout)

    def _fits(self, rows: list[Placed]) -> None:
        for k, row in enumerate(rows):
            for what, size in sizes_of_nets([row]).items():
                if size > self.sizes_[what]:
                    kind = "numbers on an edge" if what == "channels" else what
                    raise NwsError(f"X[{k}] has {size:,} {kind}, this model learned from nets with at most {self.sizes_[what]:,}")

    def _together(self, rows: Sequence[Placed]) -> Batch:
        return Batch.of(rows)


def sizes_of_nets(rows: Sequence[Placed]) -> dict[str, int]:
    """What all of these nets need: units of the first and last group, numbers on an edge."""
    steps = {id(plan): plan for plan in (wiring(row.layout) for row in rows)}
    sizes = {"inputs": 1, "outputs": 1, "channels": 1}
    for plan in steps.values():
        for step in plan:
            sizes["inputs"] = max(sizes["inputs"], step.inputs if step.source == "input" else 1)
            sizes["outputs"] = max(sizes["outputs"], step.units if step.group == "output" else 1)
            sizes["channels"] = max(sizes["channels"], step.channels)
    return sizes
