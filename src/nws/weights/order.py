"""Named arrays of any net -> layout and theta in our order (docs/format.md), as far as names and shapes tell."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from math import isqrt
from typing import Any

import numpy as np

from nws.layout import ROLES, Layout
from nws.recorded import printable
from nws.weights import buffers, pairs
from nws.weights.checkpoint import Checkpoint
from nws.weights.places import numbered, place

_NORM_ROLE = {"weight": "gamma", "bias": "beta"}  # PyTorch's names in a normalization
_NORM = re.compile(r"norm|(^|[./_\d])(ln|bn|gn)(_?\d*)($|[./_])|ln_", re.IGNORECASE)  # a layer that is called one
_Groups = dict[str, dict[str, tuple[str, np.ndarray]]]  # layer -> role -> (the file's name, values)


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
    def slopes(self) -> bool:
        """Of a PReLU, one per channel: no layer that a normalization could belong to."""
        return set(self.tensors) == {"weight"} and self.weight is not None and self.weight.ndim == 1

    @property
    def convolution(self) -> bool:
        return self.weight is not None and self.weight.ndim > 2


def ordered(checkpoint: Checkpoint) -> Ordered:
    """Layer by layer in the file's order; within a layer weight, bias, then batch norm's beta, gamma, mean, variance.

    Tensors that only together are a weight (pairs.py) are put together; what is no weight (buffers.py) is left out. A
    normalization joins the layer before it when it has as many channels; the slopes of a PReLU are a layer of their own. The
    conv part ends with the last convolution's layer. The first matrix behind it reads a flattened picture when its inputs are
    a square number of pixels per channel; its columns then run row, column, channel, as in theta.
    """
    arrays, left_out = buffers.without(checkpoint.arrays)
    arrays, notes = pairs.merged(arrays)
    groups = _positions(arrays) if numbered(list(arrays)) else _groups(arrays, checkpoint.roles)
    kernels, turned = _kernels(checkpoint, groups)
    layers = _layers(groups, checkpoint, kernels)
    last_convolution = max((k for k, layer in enumerate(layers) if layer.convolution), default=-1)
    notes += [*left_out, *turned, *_flattened(layers, last_convolution, kernels)]
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


def _groups(arrays: Mapping[str, np.ndarray], roles: Mapping[str, str]) -> _Groups:
    """By the names; a nameless vector is a bias, anything else a weight of its own."""
    groups: _Groups = {}
    for name, array in arrays.items():
        layer, role = place(name, roles.get(name))
        if role is None:
            role = "weight" if array.ndim > 1 else "bias"
        if role in groups.get(layer, {}):
            layer, role = printable(name), "weight"
        groups.setdefault(layer, {})[role] = (name, array if role == "weight" and array.ndim else _vector(array))
    return groups


def _positions(arrays: Mapping[str, np.ndarray]) -> _Groups:
    """Of arrays that are only numbered: the vectors behind a weight, as long as it has units, are its bias and its norm.

    Four are gamma, beta, mean and variance, as in a list of Keras's weights; five are these behind a bias.
    """
    runs: list[list[tuple[str, np.ndarray]]] = []
    for name, array in arrays.items():
        vector = _vector(array)
        fits = (
            runs
            and vector.ndim == 1
            and runs[-1][0][1].ndim > 1
            and len(vector) in (runs[-1][0][1].shape[0], runs[-1][0][1].shape[-1])
        )
        if fits:
            runs[-1].append((name, vector))
        else:
            runs.append([(name, array if array.ndim else vector)])
    norm = ("gamma", "beta", "mean", "var")
    groups: _Groups = {}
    for (name, weight), *behind in runs:
        roles = {1: ("bias",), 4: norm, 5: ("bias", *norm)}.get(len(behind), ("bias",))
        role = "weight" if weight.ndim > 1 else "bias"
        groups[printable(name)] = {role: (name, weight), **dict(zip(roles, behind))}
        groups.update({printable(other): {"bias": (other, array)} for other, array in behind[len(roles) :]})
    return groups


def _kernels(checkpoint: Checkpoint, groups: _Groups) -> tuple[str, list[str]]:
    """The order of dimensions, and a note where it is not the one that the format has: NumPy's archives have none.

    There a weight tells by its bias, or by the matrix behind it, whether it runs (out, in) or (in, out).
    """
    if checkpoint.format != "npz":
        return checkpoint.kernels, []
    biased = [(g["weight"][1], g["bias"][1]) for g in groups.values() if {"weight", "bias"} <= set(g) and g["weight"][1].ndim > 1]
    units = [(w.shape[0], w.shape[-1], len(b)) for w, b in biased]
    matrices = [g["weight"][1].shape for g in groups.values() if "weight" in g and g["weight"][1].ndim == 2]
    if not units:
        units = [(one[0], one[1], two[1] if one[0] == two[1] else two[0]) for one, two in pairwise(matrices)]
    torch = sum(first == n for first, last, n in units if first != last)
    keras = sum(last == n for first, last, n in units if first != last)
    if not keras or torch:
        return checkpoint.kernels, []
    return "keras", ["its matrices are stored (in, out), as their biases or neighbours show"]


def _layers(groups: _Groups, checkpoint: Checkpoint, kernels: str) -> list[_Layer]:
    layers: list[_Layer] = []
    for prefix, found in groups.items():
        by_role = all(name in checkpoint.roles for name, _ in found.values())
        tensors = {
            role: (name, _in_our_dimensions(array, role, kernels, checkpoint.kinds.get(name) or _kind(name)))
            for role, (name, array) in found.items()
        }
        before = next((layer for layer in reversed(layers) if not layer.slopes), None)
        if _is_norm(prefix, tensors, by_role):
            if not (by_role or {"gamma", "beta"} & set(tensors)):  # PyTorch calls them weight and bias
                tensors = {_NORM_ROLE.get(role, role): tensor for role, tensor in tensors.items()}
            if before and _joins(before, tensors):
                before.tensors |= tensors
                continue
        elif set(tensors) == {"bias"} and before and _joins(before, tensors):  # where names tell nothing, as in ONNX
            before.tensors |= tensors
            continue
        layers.append(_Layer(prefix, tensors))
    return layers


def _kind(name: str) -> str | None:
    """An embedding is (words, units) everywhere."""
    return "ours" if name.removesuffix(":0").endswith(("embedding", "embeddings")) else None


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


def _vector(array: np.ndarray) -> np.ndarray:
    """(10, 1), (1, 10), (1, 10, 1, 1), () as vectors; what has two dimensions with more than one value as it is."""
    return array.reshape(-1) if array.size == max(array.shape, default=1) else array


def _is_norm(layer: str, tensors: Mapping[str, tuple[str, np.ndarray]], by_role: bool) -> bool:
    """Vectors of one length: batch norm's, or a weight with a bias. A weight alone: by what the layer is called."""
    if any(array.ndim != 1 for _, array in tensors.values()) or len({len(array) for _, array in tensors.values()}) > 1:
        return False
    if {"mean", "gamma", "beta", "var"} & set(tensors):
        return True
    return "weight" in tensors and not by_role and ("bias" in tensors or bool(_NORM.search(layer)))


def _joins(before: _Layer, norm: dict[str, tuple[str, np.ndarray]]) -> bool:
    free = not set(before.tensors) & set(norm)
    return free and before.weight is not None and all(len(array) == len(before.weight) for _, array in norm.values())


def _flattened(layers: list[_Layer], last_convolution: int, kernels: str) -> list[str]:
    """Marks the matrix that reads a flattened picture, and puts its columns in theta's order."""
    layer = next((layer for layer in layers[last_convolution + 1 :] if not layer.slopes), None)
    convolution = layers[last_convolution].weight if last_convolution >= 0 else None
    if layer is None or layer.weight is None or layer.weight.ndim != 2 or convolution is None:
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
