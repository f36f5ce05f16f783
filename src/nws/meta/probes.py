"""Nets told apart by what they answer: learned inputs, the answers, and the responses of hidden units on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from torch import nn

from nws.errors import NwsError
from nws.meta.contract import positive
from nws.meta.deep import Deep, head
from nws.representations import probes as views
from nws.representations.placed import Placed, checked, family_of

_LATENT = 32
_CONTRAST = 3.0  # of the first probes, before the sigmoid: PyTorch's own initialization would make all of them grey
_DEPTHS = 3  # hidden layers are the first, the last, or between


class Asked:
    """Nets of a batch by function: (function, tensors by name (b, ...), positions of the rows (b,))."""

    def __init__(self, groups: Sequence[tuple[views.Function, dict[str, torch.Tensor], np.ndarray]]):
        self.groups = list(groups)

    def to(self, chip: Any) -> Asked:
        for function, _, _ in self.groups:
            function.net.to(chip)  # what its state does not hold, such as the knots of splines
        return Asked([(f, {name: t.to(chip) for name, t in state.items()}, at) for f, state, at in self.groups])


class ProbesNet(nn.Module):
    """Inputs from latents by two linear layers (ProbeGen, arXiv:2410.10811), kept in range by a sigmoid; then what nets make of it.

    Each hidden unit is known by its responses to all inputs; units of a layer are a set, of which mean and largest go on.
    """

    def __init__(self, sizes: Mapping[str, int], width: int, hidden: bool, targets: int, dropout: float):
        super().__init__()
        self.low: torch.Tensor
        self.high: torch.Tensor
        self.register_buffer("low", torch.zeros(1))
        self.register_buffer("high", torch.ones(1))
        self.hidden = hidden
        self.latents = nn.Parameter(torch.randn(sizes["probes"], _LATENT))
        self.inner, self.outer = nn.Linear(_LATENT, 2 * _LATENT), nn.Linear(2 * _LATENT, sizes["numbers"])
        nn.init.normal_(self.outer.weight, std=_CONTRAST / _LATENT**0.5)
        self.answers = nn.Linear(sizes["probes"] * sizes["outputs"], 2 * width)
        if hidden:
            self.unit = nn.Linear(sizes["probes"], width)
            self.depth = nn.Parameter(torch.zeros(_DEPTHS, width))
            self.each = nn.Linear(width, width)
        self.head = head((2 + 2 * _DEPTHS * hidden) * width, 2 * width, targets, dropout)

    def inputs(self) -> torch.Tensor:
        """The probes, flat (K, numbers)."""
        drawn = self.outer(self.inner(self.latents))
        return self.low + (self.high - self.low) * torch.sigmoid(drawn)

    def forward(self, asked: Asked) -> torch.Tensor:
        probes = self.inputs()
        found = []
        for function, state, _ in asked.groups:
            answers, responses = function(state, probes.view(-1, *function.shape))
            seen = [torch.relu(self.answers(_squeezed(answers).flatten(1)))]
            if self.hidden:
                seen += self.profiles(responses, len(answers))
            found.append(self.head(torch.cat(seen, 1)))
        order = np.argsort(np.concatenate([at for _, _, at in asked.groups]), kind="stable")
        return torch.cat(found)[torch.from_numpy(order)]

    def profiles(self, responses: Sequence[torch.Tensor], nets: int) -> list[torch.Tensor]:
        """Responses (B, K, units) of each hidden layer -> per depth mean and largest over units, (B, 2 * width)."""
        at: list[list[torch.Tensor]] = [[] for _ in range(_DEPTHS)]
        for k, layer in enumerate(responses):
            depth = 0 if k == 0 else _DEPTHS - 1 if k == len(responses) - 1 else 1
            units = torch.relu(self.unit(_squeezed(layer).transpose(1, 2)) + self.depth[depth])  # (B, units, width)
            units = torch.relu(self.each(units))
            at[depth].append(torch.cat([units.mean(1), units.amax(1)], 1))
        absent = self.latents.new_zeros(nets, 2 * self.depth.shape[1])
        return [torch.stack(some).mean(0) if some else absent for some in at]


class ProbesReader(Deep):
    """Runs whole nets of one family on `probes` inputs that it learns, and reads the answers, with `hidden` hidden units too.

    Without hidden responses nothing that leaves the function alone can matter; with them the order of hidden units does not. What
    must be known to run a net, such as its activation function, cannot be asked for.
    """

    reads = "probes"

    def __init__(
        self,
        probes: int = 32,
        hidden: bool = True,
        width: int = 64,
        epochs: int = 60,
        batch_size: int = 32,
        learning_rate: float = 2e-3,
        dropout: float = 0.2,
        max_steps: int | None = None,
        random_state: int = 0,
        regression: bool = False,
    ):
        self.probes = probes
        self.hidden = hidden
        self.width = width
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.dropout = dropout
        self.max_steps = max_steps
        self.random_state = random_state
        self.regression = regression

    def _check(self) -> None:
        super()._check()
        positive("probes", self.probes, whole=True)
        positive("width", self.width, whole=True)
        if not isinstance(self.hidden, bool):
            raise NwsError(f"hidden={self.hidden!r}: must be True or False")

    def _rows(self, X: Any) -> list[Placed]:
        rows = checked(X)
        for k, row in enumerate(rows):
            family = family_of(row.config)
            if family is None or family.domain(row.config) is None:
                raise NwsError(f"X[{k}] cannot be run: give Placed(theta, layout, config) of a family that has a domain")
        return rows

    def _learn_sizes(self, rows: list[Placed]) -> dict[str, int]:
        shape, _, _ = self._domain(rows)
        function, state, _ = next(views.batches(rows[:1]))
        with torch.no_grad():
            answer, _ = function({name: torch.from_numpy(value) for name, value in state.items()}, torch.zeros(1, *shape))
        return {"probes": self.probes, "numbers": prod(shape), "outputs": answer.shape[2]}

    def _domain(self, rows: list[Placed]) -> tuple[tuple[int, ...], float, float]:
        """What all of these nets take; NwsError where they differ."""
        found = {family_of(row.config).domain(row.config) for row in rows}
        if len(found) > 1:
            shapes = " and ".join(str(shape) for shape, _, _ in sorted(found, key=str)[:2])
            raise NwsError(f"the nets take inputs of different shapes or ranges, {shapes}: probes are of one shape")
        domain: tuple[tuple[int, ...], float, float] = found.pop()
        return domain

    def _begin_module(self, module: nn.Module, rows: list[Placed]) -> None:
        _, low, high = self._domain(rows)
        limits: Any = module
        limits.low.fill_(low)
        limits.high.fill_(high)

    def _sizes_of(self, found: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
        probes, numbers = found["latents"][0], found["outer.weight"][0]
        return {"probes": probes, "numbers": numbers, "outputs": found["answers.weight"][1] // max(probes, 1)}

    def _make(self, sizes: Mapping[str, int], outputs: int) -> ProbesNet:
        return ProbesNet(sizes, self.width, self.hidden, outputs, self.dropout)

    def _fits(self, rows: list[Placed]) -> None:
        shape, _, _ = self._domain(rows)
        if prod(shape) != self.sizes_["numbers"]:
            raise NwsError(
                f"the nets take inputs of {prod(shape):,} numbers, this model learned probes of {self.sizes_['numbers']:,}"
            )

    def _together(self, rows: Sequence[Placed]) -> Asked:
        groups = views.batches(rows)
        return Asked([(f, {name: torch.from_numpy(value) for name, value in state.items()}, at) for f, state, at in groups])


def _squeezed(x: torch.Tensor) -> torch.Tensor:
    """Answers may be of any size: linear around 0, logarithms beyond."""
    return torch.asinh(x)
