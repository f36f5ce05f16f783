"""Where each weight lies in theta.

Theta is one net's weights as a single vector, in the order of the 2020 program (section 3 of the paper): layer by layer the
multiplicative weights, bias, then batch norm's beta, gamma, moving mean and moving variance. A convolution is stored
(out, in, row, column), a matrix (out, in): PyTorch's order, but for the first FC layer, whose inputs run row, column, channel
with the channel fastest, where PyTorch's flatten has the channel slowest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from operator import index
from typing import Any

import numpy as np

from nws.errors import NwsError, unknown

ROLES = ("weight", "bias", "beta", "gamma", "mean", "var")  # in theta's order
PARTS = ("all", "conv", "fc")
# What can be taken out of theta, and the roles it stands for.
STRIPS = {"moving": ("mean", "var"), "norm": ("beta", "gamma", "mean", "var"), **{role: (role,) for role in ROLES[1:]}}
# What PyTorch calls them; batch norm is a module of its own there.
TORCH = {
    "weight": ".weight",
    "bias": ".bias",
    "beta": "_norm.bias",
    "gamma": "_norm.weight",
    "mean": "_norm.running_mean",
    "var": "_norm.running_var",
}


@dataclass(frozen=True)
class Tensor:
    """One tensor of theta: theta[start:stop] in C order is its values in `shape`."""

    layer: str
    role: str
    shape: tuple[int, ...]
    part: str
    start: int
    grid: tuple[int, int] = (0, 0)  # rows and columns behind the inputs of a layer that reads a flattened picture

    @property
    def name(self) -> str:
        return f"{self.layer}.{self.role}"

    @property
    def stop(self) -> int:
        return self.start + prod(self.shape)


class Layout:
    """The tensors of theta in order. Immutable; equal layouts describe interchangeable vectors.

    `rows` are (layer, role, shape, part) or (layer, role, shape, part, grid), in theta's order.
    """

    def __init__(self, rows: list[tuple[Any, ...]]):
        tensors: list[Tensor] = []
        start = 0
        for layer, role, shape, part, *grid in rows:
            if role not in ROLES:
                raise unknown(f"layer {layer}: role", role, ROLES)
            if part not in PARTS[1:]:
                raise unknown(f"layer {layer}: part", part, PARTS[1:])
            shape = tuple(index(n) for n in shape)
            if not shape or min(shape) < 1:
                raise NwsError(f"layer {layer}, {role}: shape {shape} holds no weights")
            tensors.append(Tensor(str(layer), role, shape, part, start, _grid(layer, shape, grid[0]) if grid else (0, 0)))
            start = tensors[-1].stop
        self.tensors: tuple[Tensor, ...] = tuple(tensors)
        self.size: int = start
        if not tensors:
            raise NwsError("a layout needs at least one tensor")
        parts = [t.part for t in tensors]
        if parts != sorted(parts):  # "conv" < "fc"
            raise NwsError("the conv part must come before the FC part")
        if len({t.name for t in tensors}) < len(tensors):
            raise NwsError("two tensors of the layout have the same name")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Layout) and self.tensors == other.tensors

    def __hash__(self) -> int:
        return hash(self.tensors)

    def __repr__(self) -> str:
        return f"Layout({len(self.layers)} layers, {self.size:,} weights: {self.size_of('conv'):,} conv, {self.size_of('fc'):,} FC)"

    @cached_property
    def layers(self) -> dict[str, dict[str, Tensor]]:
        """layer -> role -> tensor, in order."""
        layers: dict[str, dict[str, Tensor]] = {}
        for t in self.tensors:
            layers.setdefault(t.layer, {})[t.role] = t
        return layers

    def part(self, part: str) -> slice:
        """Where a part (all, conv, fc) lies in theta."""
        if part not in PARTS:
            raise unknown("part", part, PARTS)
        boundary = max((t.stop for t in self.tensors if t.part == "conv"), default=0)
        return {"all": slice(0, self.size), "conv": slice(0, boundary), "fc": slice(boundary, self.size)}[part]

    def size_of(self, part: str) -> int:
        where = self.part(part)
        return int(where.stop - where.start)

    def kept(self, without: tuple[str, ...]) -> np.ndarray:
        """Positions (P',) of theta that stay when these `STRIPS` are taken out, in rising order."""
        return np.concatenate([np.arange(t.start, t.stop) for t in self.tensors if t.role not in _stripped(without)])

    def without(self, without: tuple[str, ...]) -> Layout:
        """The layout of theta[kept(without)]: shorter, the parts meeting elsewhere."""
        rows = [t for t in self.tensors if t.role not in _stripped(without)]
        return Layout([(t.layer, t.role, t.shape, t.part, *([t.grid] if t.grid[0] else [])) for t in rows])

    def unflatten(self, theta: np.ndarray) -> dict[str, np.ndarray]:
        """theta (..., P) -> name -> (..., *shape), as views."""
        self._check(theta)
        return {t.name: theta[..., t.start : t.stop].reshape(*theta.shape[:-1], *t.shape) for t in self.tensors}

    def flatten(self, tensors: Mapping[str, np.ndarray]) -> np.ndarray:
        """name -> (*shape) -> theta (P,) float32."""
        theta = np.empty(self.size, np.float32)
        for t in self.tensors:
            if t.name not in tensors or np.shape(tensors[t.name]) != t.shape:
                raise NwsError(f"{t.name}: expected a tensor of shape {t.shape}, got {np.shape(tensors.get(t.name, ()))}")
            theta[t.start : t.stop] = np.asarray(tensors[t.name]).reshape(-1)
        return theta

    def state_dict(self, theta: np.ndarray) -> dict[str, np.ndarray]:
        """theta (P,) -> what `load_state_dict` of the same net in plain PyTorch takes (nn.Flatten before the first FC layer)."""
        named = self.unflatten(theta)
        return {f"{t.layer}{TORCH[t.role]}": _channels_first(named[t.name], t) for t in self.tensors}

    def from_state_dict(self, state: Mapping[str, Any]) -> np.ndarray:
        """The inverse of `state_dict`; entries that are not in the layout (num_batches_tracked) are ignored."""
        named = {}
        for t in self.tensors:
            key = f"{t.layer}{TORCH[t.role]}"
            if key not in state:
                raise NwsError(f"the state dict lacks {key}")
            named[t.name] = _channels_last(np.asarray(state[key]), t)
        return self.flatten(named)

    def relabel(self, theta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """theta (P,) of the same function: the hidden units (channels, FC units) of every layer in a random order."""
        named = dict(self.unflatten(theta))
        order = None  # of the units that feed this layer
        for i, roles in enumerate(self.layers.values()):
            weight = roles["weight"]
            if order is not None:
                named[weight.name] = _reorder_inputs(named[weight.name], weight, order)
            order = rng.permutation(weight.shape[0]) if i < len(self.layers) - 1 else np.arange(weight.shape[0])
            for t in roles.values():
                named[t.name] = named[t.name][order]
        return self.flatten(named)

    def to_json(self) -> str:
        return json.dumps([[t.layer, t.role, t.shape, t.part, *([t.grid] if t.grid[0] else [])] for t in self.tensors])

    @classmethod
    def from_json(cls, text: str) -> Layout:
        try:
            return cls([tuple(row) for row in json.loads(text)])
        except NwsError:
            raise
        except (TypeError, ValueError, RecursionError) as error:
            raise NwsError(f"this is not a layout: {error}") from None

    def _check(self, theta: np.ndarray) -> None:
        if theta.shape[-1] != self.size:
            raise NwsError(f"theta has {theta.shape[-1]:,} weights, its layout {self.size:,}")


def _stripped(without: tuple[str, ...]) -> set[str]:
    return {role for name in without for role in STRIPS[name]}


def _grid(layer: str, shape: tuple[int, ...], grid: tuple[int, ...]) -> tuple[int, int]:
    if len(shape) != 2 or len(grid) != 2 or min(grid) < 1 or shape[1] % prod(grid):
        raise NwsError(f"layer {layer}: the inputs of a tensor of shape {shape} cannot be a picture of {grid} pixels")
    rows, columns = (index(n) for n in grid)
    return rows, columns


def _channels_first(weight: np.ndarray, t: Tensor) -> np.ndarray:
    if not t.grid[0]:
        return weight
    return weight.reshape(len(weight), *t.grid, -1).transpose(0, 3, 1, 2).reshape(t.shape)


def _channels_last(weight: np.ndarray, t: Tensor) -> np.ndarray:
    if not t.grid[0]:
        return weight
    return weight.reshape(len(weight), -1, *t.grid).transpose(0, 2, 3, 1).reshape(t.shape)


def _reorder_inputs(weight: np.ndarray, t: Tensor, order: np.ndarray) -> np.ndarray:
    if t.grid[0]:  # one channel is a block of rows x columns inputs
        return weight.reshape(len(weight), -1, len(order))[:, :, order].reshape(t.shape)
    return weight[:, order]
