"""Named arrays of any net -> layout and theta in our order (docs/format.md), as far as names and shapes tell."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isqrt
from typing import Any

import numpy as np

from nws.layout import ROLES, Layout
from nws.recorded import printable
from nws.weights.checkpoint import Checkpoint

_ROLE = {
    "weight": "weight", "kernel": "weight", "bias": "bias", "beta": "beta", "gamma": "gamma", "scale": "gamma",
    "running_mean": "mean", "moving_mean": "mean", "running_var": "var", "moving_variance": "var",
}  # fmt: skip
_NORM_ROLE = {"weight": "gamma", "bias": "beta"}  # PyTorch's names in a normalization


@dataclass(frozen=True, eq=False)
class Ordered:
    """One net's weights in our order.

    layout, theta   (P,) float32
    names           the file's name of each tensor of the layout
    difference      the largest that any weight was changed by, when it was made float32; 0 where that is exact
    notes           what was assumed
    """

    layout: Layout
    theta: np.ndarray
    names: tuple[str, ...]
    difference: float
    notes: tuple[str, ...]


@dataclass
class _Layer:
    """role -> (the file's name, array in our order of dimensions)."""

    name: str
    tensors: dict[str, tuple[str, np.ndarray]] = field(default_factory=dict)
    grid: tuple[int, int] | None = None

    @property
    def weight(self) -> np.ndarray | None:
        return self.tensors["weight"][1] if "weight" in self.tensors else None

    @property
    def convolution(self) -> bool:
        return self.weight is not None and self.weight.ndim > 2


def ordered(checkpoint: Checkpoint) -> Ordered:
    """Layer by layer in the file's order; within a layer weight, bias, then batch norm's beta, gamma, mean, variance.

    A normalization joins the layer before it when it has as many channels. The conv part ends with the last convolution's
    layer. The first matrix behind it reads a flattened picture when its inputs are a square number of pixels per channel; its
    columns then run row, column, channel, as in theta.
    """
    layers = _layers(checkpoint)
    last_convolution = max((k for k, layer in enumerate(layers) if layer.convolution), default=-1)
    notes = _flattened(layers, last_convolution, checkpoint.kernels)
    rows: list[tuple[Any, ...]] = []
    names, values = [], []
    for k, layer in enumerate(layers):
        for role in (role for role in ROLES if role in layer.tensors):
            name, array = layer.tensors[role]
            grid = [layer.grid] if layer.grid and role == "weight" else []
            rows.append((layer.name, role, array.shape, "conv" if k <= last_convolution else "fc", *grid))
            names.append(name)
            values.append(array.reshape(-1))
    with np.errstate(over="ignore"):
        theta = np.concatenate([value.astype(np.float32) for value in values])
    difference = max(_rounding(value) for value in values)
    return Ordered(Layout(rows), theta, tuple(names), difference, (*checkpoint.notes, *notes))


def _layers(checkpoint: Checkpoint) -> list[_Layer]:
    """In the file's order of first appearance, normalizations joined to the layer before."""
    groups: dict[str, dict[str, tuple[str, np.ndarray]]] = {}
    for name in checkpoint.names:
        array = checkpoint.arrays[name]
        prefix, role = _place(name, array, checkpoint.roles.get(name))
        array = _in_our_dimensions(array, role, checkpoint.kernels, checkpoint.kinds.get(name))
        if role in groups.get(prefix, {}):
            prefix, role = printable(name), "weight"
        groups.setdefault(prefix, {})[role] = (name, array if array.ndim else array.reshape(1))
    layers: list[_Layer] = []
    for prefix, tensors in groups.items():
        told = all(name in checkpoint.roles for name, _ in tensors.values())
        if _is_norm(tensors, told):
            if not (told or {"gamma", "beta"} & set(tensors)):  # PyTorch calls them weight and bias
                tensors = {_NORM_ROLE.get(role, role): tensor for role, tensor in tensors.items()}
            if layers and _joins(layers[-1], tensors):
                layers[-1].tensors |= tensors
                continue
        elif set(tensors) == {"bias"} and layers and _joins(layers[-1], tensors):  # where names tell nothing, as in ONNX
            layers[-1].tensors |= tensors
            continue
        layers.append(_Layer(prefix, tensors))
    return layers


def _in_our_dimensions(array: np.ndarray, role: str, kernels: str, kind: str | None) -> np.ndarray:
    """(out, in, rows, columns). A depthwise kernel becomes PyTorch's (in * multiples, 1, rows, columns): one input per output."""
    if kind == "vector":
        return array.reshape(-1)
    if kind == "ours" or role != "weight" or kernels != "keras" or array.ndim < 2:
        return array
    if kind == "heads in":
        return array.reshape(len(array), -1).T
    if kind == "heads out":
        return array.reshape(-1, array.shape[-1]).T
    if kind in ("depthwise", "transposed"):
        array = np.moveaxis(array, (-2, -1), (0, 1))
        return array.reshape(-1, 1, *array.shape[2:]) if kind == "depthwise" else array
    return np.moveaxis(array, (-1, -2), (0, 1))


def _place(name: str, array: np.ndarray, told: str | None) -> tuple[str, str]:
    """(layer, role) as told, or by the last word of a name; a nameless vector is a bias, anything else a weight of its own."""
    plain = printable(name).removesuffix(":0")
    cut = max(plain.rfind("."), plain.rfind("/"))
    role = told or _ROLE.get(plain[cut + 1 :])
    if role is None:
        return plain, "weight" if array.ndim > 1 else "bias"
    return (plain[:cut] if cut > 0 else "net"), role


def _is_norm(tensors: dict[str, tuple[str, np.ndarray]], told: bool) -> bool:
    """Told a vector's role, a weight is one: a slope, say. Else it is taken for a normalization's."""
    vectors = all(array.ndim == 1 for _, array in tensors.values())
    return vectors and bool({"mean", "gamma", "beta", "var"} & set(tensors) or ("weight" in tensors and not told))


def _joins(before: _Layer, norm: dict[str, tuple[str, np.ndarray]]) -> bool:
    free = not set(before.tensors) & set(norm)
    return free and before.weight is not None and all(len(array) == len(before.weight) for _, array in norm.values())


def _flattened(layers: list[_Layer], last_convolution: int, kernels: str) -> list[str]:
    """Marks the matrix that reads a flattened picture, and puts its columns in theta's order."""
    if last_convolution < 0 or last_convolution + 1 >= len(layers):
        return []
    convolution, layer = layers[last_convolution].weight, layers[last_convolution + 1]
    if layer.weight is None or layer.weight.ndim != 2 or convolution is None:
        return []
    pixels, rest = divmod(layer.weight.shape[1], len(convolution))
    side = isqrt(pixels)
    if rest or pixels < 2:
        return []
    if side * side != pixels:
        return [f"{layer.name} reads {pixels} pixels per channel, no square: its columns are left in the file's order"]
    layer.grid = (side, side)
    if kernels == "torch":  # channels first; Keras has them last, as theta has
        name, array = layer.tensors["weight"]
        array = array.reshape(len(array), -1, side, side).transpose(0, 2, 3, 1).reshape(array.shape)
        layer.tensors["weight"] = name, array
    return []


def _rounding(values: np.ndarray) -> float:
    if values.dtype.itemsize < 8:
        return 0.0
    exact = values[np.isfinite(values)].astype(np.float64)
    with np.errstate(over="ignore"):
        return float(np.max(np.abs(exact - exact.astype(np.float32)), initial=0.0))
