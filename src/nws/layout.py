"""Where each weight lies in theta.

Theta is one net's weights as a single vector, in the order of the 2020 program (section 3 of the paper): layer by layer the
multiplicative weights, bias, then batch norm's beta, gamma, moving mean and moving variance. A convolution is stored
(out, in, row, column), a matrix (out, in): PyTorch's order, but for the first FC layer, whose inputs run row, column, channel
with the channel fastest, where PyTorch's flatten has the channel slowest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from operator import index
from typing import TYPE_CHECKING, Any

import numpy as np

from nws.errors import NwsError, unknown

if TYPE_CHECKING:
    import torch

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


# Groups of units whose order means something: a permutation leaves them alone.
IN_ORDER = ("input", "output")


@dataclass(frozen=True)
class Axis:
    """What the positions along one axis of a tensor stand for: units of a group, or nothing that could be reordered.

    Position (o * units + u) * inner + i belongs to unit u: of a flattened picture with the channel fastest, `outer` are the pixels.
    group  name of the group of units, shared by all axes that must be reordered together; None: not known, or no units (a
           filter's rows and columns)
    """

    group: str | None = None
    outer: int = 1
    inner: int = 1

    def to_json(self) -> Any:
        return self.group if self.outer == self.inner == 1 else [self.group, self.outer, self.inner]

    @classmethod
    def from_json(cls, value: Any) -> Axis:
        if isinstance(value, list):
            group, outer, inner = value
            return cls(None if group is None else str(group), index(outer), index(inner))
        return cls(None if value is None else str(value))


@dataclass(frozen=True)
class Tensor:
    """One tensor of theta: theta[start:stop] in C order is its values in `shape`.

    grid  rows and columns behind the inputs of a layer that reads a flattened picture; (0, 0): it reads none
    axes  an `Axis` per axis of `shape`; empty: not known
    key   its name in PyTorch's state dict where that does not follow from layer and role
    """

    layer: str
    role: str
    shape: tuple[int, ...]
    part: str
    start: int
    grid: tuple[int, int] = (0, 0)
    axes: tuple[Axis, ...] = field(default=(), compare=False)
    key: str = field(default="", compare=False)

    @property
    def torch_name(self) -> str:
        return self.key or f"{self.layer}{TORCH[self.role]}"

    @property
    def name(self) -> str:
        return f"{self.layer}.{self.role}"

    @property
    def stop(self) -> int:
        return self.start + prod(self.shape)


class Layout:
    """The tensors of theta in order. Immutable; equal layouts describe interchangeable vectors (what is known of axes aside).

    `rows` are `Tensor`s (their `start` is set here), or (layer, role, shape, part) or (layer, role, shape, part, grid), in theta's
    order.
    chain  each layer reads the one before it and nothing else: the axes follow, if the shapes allow that
    """

    def __init__(self, rows: Sequence[Any], *, chain: bool = False):
        tensors: list[Tensor] = []
        start = 0
        for row in rows:
            t = _checked(row if isinstance(row, Tensor) else _tensor(*row))
            tensors.append(replace(t, start=start))
            start = tensors[-1].stop
        if not tensors:
            raise NwsError("a layout needs at least one tensor")
        self.tensors: tuple[Tensor, ...] = _chain(tensors) if chain else tuple(tensors)
        self.size: int = start
        self.groups: dict[str, int] = _groups(self.tensors)
        parts = [t.part for t in tensors]
        if parts != sorted(parts):  # "conv" < "fc"
            raise NwsError("the conv part must come before the FC part")
        if len({t.name for t in tensors}) < len(tensors):
            raise NwsError("two tensors of the layout have the same name")

    @classmethod
    def of_module(cls, module: torch.nn.Module) -> Layout:
        """The layout of any PyTorch module: a layer per submodule that has weights, in the order of its state dict.

        Norms have beta, gamma, mean and var; of other modules a vector is a bias and everything else a weight. Whatever comes up to
        the last convolution is the conv part. Of a plain nn.Sequential of layers the axes are known, that is a chain; a family
        with any other nets states them itself. NwsError when the module holds no floating-point weights.
        """
        return _of_module(module)

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
        return Layout([t for t in self.tensors if t.role not in _stripped(without)])

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
        return {t.torch_name: _channels_first(named[t.name], t) for t in self.tensors}

    def from_state_dict(self, state: Mapping[str, Any]) -> np.ndarray:
        """The inverse of `state_dict`; entries that are not in the layout (num_batches_tracked) are ignored."""
        named = {}
        for t in self.tensors:
            if t.torch_name not in state:
                raise NwsError(f"the state dict lacks {t.torch_name}")
            values = np.asarray(state[t.torch_name])
            named[t.name] = _channels_last(values if values.ndim else values.reshape(1), t)
        return self.flatten(named)

    def permute(self, theta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """theta (..., P) of the same function: the hidden units of every group in a random order, the same for all rows.

        Exact whatever the net, residual connections included, as long as the axes are right. NwsError when they are not known.
        """
        return theta[..., self.permutation(rng)]

    def permutation(self, rng: np.random.Generator) -> np.ndarray:
        """Where each weight of a permuted theta comes from, (P,): `theta[..., permutation]`. See `permute`."""
        if unknown_axes := next((t.name for t in self.tensors if not t.axes), None):
            raise NwsError(f"{unknown_axes}: which units its axes belong to is not known: give the layout axes (nws.layout.Axis)")
        orders = {
            group: np.arange(size) if group in IN_ORDER else rng.permutation(size) for group, size in sorted(self.groups.items())
        }
        source = np.empty(self.size, np.int64)
        for t in self.tensors:
            where = np.arange(t.start, t.stop).reshape(t.shape)
            for k, axis in enumerate(t.axes):
                if axis.group is not None:
                    units = np.arange(t.shape[k]).reshape(axis.outer, -1, axis.inner)
                    where = where.take(units[:, orders[axis.group]].reshape(-1), axis=k)
            source[t.start : t.stop] = where.reshape(-1)
        return source

    def to_json(self) -> str:
        """Rows as JSON objects (docs/format.md)."""
        return json.dumps([_row(t) for t in self.tensors])

    @classmethod
    def from_json(cls, text: str, *, chain: bool = False) -> Layout:
        """From `to_json`, or from the lists of formats 1 and 2, which have no axes: the paper's nets are a chain."""
        try:
            return cls([_from_row(row) if isinstance(row, dict) else tuple(row) for row in json.loads(text)], chain=chain)
        except NwsError:
            raise
        except (TypeError, ValueError, KeyError, RecursionError) as error:
            raise NwsError(f"this is not a layout: {error}") from None

    def _check(self, theta: np.ndarray) -> None:
        if theta.shape[-1] != self.size:
            raise NwsError(f"theta has {theta.shape[-1]:,} weights, its layout {self.size:,}")


def _stripped(without: tuple[str, ...]) -> set[str]:
    return {role for name in without for role in STRIPS[name]}


def _tensor(layer: Any, role: Any, shape: Any, part: Any, grid: Any = (0, 0)) -> Tensor:
    return Tensor(str(layer), role, tuple(shape), part, 0, tuple(grid))


def _checked(t: Tensor) -> Tensor:
    """The tensor with whole numbers throughout; NwsError when it makes no sense."""
    if t.role not in ROLES:
        raise unknown(f"layer {t.layer}: role", t.role, ROLES)
    if t.part not in PARTS[1:]:
        raise unknown(f"layer {t.layer}: part", t.part, PARTS[1:])
    shape = tuple(index(n) for n in t.shape)
    if not shape or min(shape) < 1:
        raise NwsError(f"layer {t.layer}, {t.role}: shape {shape} holds no weights")
    if t.axes and len(t.axes) != len(shape):
        raise NwsError(f"layer {t.layer}, {t.role}: {len(t.axes)} axes for a shape of {len(shape)} dimensions")
    for axis, size in zip(t.axes, shape):
        if axis.outer < 1 or axis.inner < 1 or size % (axis.outer * axis.inner):
            raise NwsError(f"layer {t.layer}, {t.role}: an axis of {size} is not {axis.outer} x units x {axis.inner}")
    return replace(t, shape=shape, grid=_grid(t.layer, shape, t.grid) if any(t.grid) else (0, 0))


def _groups(tensors: Sequence[Tensor]) -> dict[str, int]:
    """Group -> its units; NwsError when two axes of one group have different numbers of them."""
    sizes: dict[str, int] = {}
    for t in tensors:
        for axis, size in zip(t.axes, t.shape):
            units = size // (axis.outer * axis.inner)
            if axis.group is not None and sizes.setdefault(axis.group, units) != units:
                raise NwsError(f"{t.name}: group {axis.group} has {sizes[axis.group]} units elsewhere, here {units}")
    return sizes


def _chain(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The tensors with the axes of a chain: each layer's units are read by the next layer. As they are where that cannot be."""
    layers: dict[str, list[Tensor]] = {}
    for t in tensors:
        layers.setdefault(t.layer, []).append(t)
    matrices = [name for name, members in layers.items() if any(t.role == "weight" and len(t.shape) > 1 for t in members)]
    found: dict[str, Tensor] = {}
    before, units = "input", 0
    for name, members in layers.items():
        weight = next((t for t in members if t.role == "weight" and len(t.shape) > 1), None)
        group = before if weight is None else "output" if name == matrices[-1] else name
        if weight is not None:
            grid = prod(weight.grid) if weight.grid[0] else 1
            pixels, rest = divmod(weight.shape[1], max(units, 1)) if not weight.grid[0] and len(weight.shape) == 2 else (grid, 0)
            if units and (rest or weight.shape[1] != units * pixels):
                return tuple(tensors)
            # PyTorch's own flatten has the pixels of a channel side by side.
            axis = Axis(before, outer=grid) if weight.grid[0] or not units else Axis(before, inner=pixels)
            found[weight.name] = replace(weight, axes=(Axis(group), axis, *[Axis()] * (len(weight.shape) - 2)))
            before, units = group, weight.shape[0]
        for t in members:
            if t is not weight:
                if t.shape != (units,):
                    return tuple(tensors)
                found[t.name] = replace(t, axes=(Axis(group),))
    return tuple(found[t.name] for t in tensors)


def _row(t: Tensor) -> dict[str, Any]:
    row: dict[str, Any] = {"layer": t.layer, "role": t.role, "shape": t.shape, "part": t.part}
    if t.grid[0]:
        row["grid"] = t.grid
    if t.axes:
        row["axes"] = [axis.to_json() for axis in t.axes]
    if t.key:
        row["key"] = t.key
    return row


def _from_row(row: dict[str, Any]) -> Tensor:
    plain = _tensor(row["layer"], row["role"], row["shape"], row["part"], row.get("grid", (0, 0)))
    return replace(plain, axes=tuple(map(Axis.from_json, row.get("axes", ()))), key=str(row.get("key", "")))


_NORMS = ("BatchNorm", "InstanceNorm", "LayerNorm", "GroupNorm", "RMSNorm")
_NORM_ROLES = {"weight": "gamma", "bias": "beta", "running_mean": "mean", "running_var": "var"}
_OTHER_ROLES = {"weight": "weight", "bias": "bias"}


def _of_module(module: torch.nn.Module) -> Layout:
    kinds = {name: type(child).__name__ for name, child in module.named_modules()}
    values = {key: value for key, value in module.state_dict().items() if value.is_floating_point() and value.numel()}
    if not values:
        raise NwsError(f"{type(module).__name__} holds no floating-point weights: a net needs some")
    kind_of = [kinds.get(key.rpartition(".")[0], "") for key in values]
    conv = max((k + 1 for k, kind in enumerate(kind_of) if "Conv" in kind), default=0)
    while 0 < conv < len(kind_of) and kind_of[conv].startswith(_NORMS):  # the last convolution's norm
        conv += 1
    tensors: list[Tensor] = []
    used: set[tuple[str, str]] = set()
    for k, (key, value) in enumerate(values.items()):
        layer, _, name = key.rpartition(".")
        role = (_NORM_ROLES if kind_of[k].startswith(_NORMS) else _OTHER_ROLES).get(name, "")
        if not layer or not role or (layer, role) in used or (role == "weight" and value.ndim < 2):
            layer, role = key, "weight" if value.ndim > 1 else "bias"
        used.add((layer, role))
        plain = Tensor(layer, role, tuple(value.shape) or (1,), "conv" if k < conv else "fc", 0)
        tensors.append(plain if plain.torch_name == key else replace(plain, key=key))
    chain = type(module).__name__ == "Sequential" and all(not list(child.children()) for child in module.children())
    return Layout(tensors, chain=chain)


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
