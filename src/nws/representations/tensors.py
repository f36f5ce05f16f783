"""Whole nets of any architecture as rows of equal length: statistics of each tensor and of relations between tensors.

Layers are placed by slots, the first, second and last convolution and matrix and the output, and as mean, smallest and largest over
layers. What a net lacks is 0 there, and `SLOT/present` and `SLOT.ROLE/present` say what it has. Hidden units may be reordered
(`Layout.permute`): the row stays the same, but for the sixth digit of a value now and then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from nws.errors import NwsError, unknown
from nws.layout import PARTS, ROLES, STRIPS, Layout
from nws.representations import relations
from nws.representations.chain import VECTORS, Layer, layers
from nws.representations.relations import CONV_CHAIN, FC_CHAIN, OUTPUT, PIXELS, WITHIN, Arrays
from nws.representations.structure import STRUCTURE, WINDOW, structure, window_structure
from nws.representations.values import VALUES, measured

WITHOUT = ("relations", *STRIPS)  # what can be left out
_AT_ONCE = 1 << 19  # weights worked on together: the passes over them run in the cache
_BITS = 20  # of a feature's mantissa that are kept
_LIMIT = 1e6  # of a feature: a quotient of what is hardly there says no more

_SHAPE = ("present", *(f"{role}/present" for role in VECTORS), "log2 units", "log2 inputs", "window")


def _block(kind: str) -> tuple[str, ...]:
    """Names of the features of a layer of this kind, without its slot."""
    roles = ROLES if kind != "out" else ROLES[:2]
    related = {"conv": (*WITHIN, *CONV_CHAIN), "fc": (*WITHIN, *FC_CHAIN), "out": (*WITHIN[:2], *OUTPUT)}[kind]
    return (
        *(f"{name}" for name in _SHAPE),
        *(f"{role}/{value}" for role in roles for value in VALUES),
        *(f"weight/{name}" for name in (*STRUCTURE, *(WINDOW if kind == "conv" else ()))),
        *(f"relation/{name}" for name in related),
    )


_BLOCKS = {kind: _block(kind) for kind in ("conv", "fc", "out")}
# Slot -> its kind. Means and extremes over layers: the first convolution reads pictures, and is not among them.
_PLACES = {"conv1": "conv", "conv2": "conv", "conv-last": "conv", "fc1": "fc", "fc2": "fc", "fc-last": "fc", "out": "out"}
_POOLED = {f"{kind}-{how}": kind for kind in ("conv", "fc") for how in ("mean", "smallest", "largest")}
SLOTS = ("pixels", *_PLACES, *_POOLED, "net")
_NET = ("convolutions", "matrices", "log2 weights")


def _names() -> tuple[str, ...]:
    found = [f"pixels/{name}" for name in PIXELS]
    for slot, kind in (_PLACES | _POOLED).items():
        found += [f"{slot}{'/' if '/' not in name else '.'}{name}" for name in _BLOCKS[kind]]
    return (*found, *(f"net/{name}" for name in _NET))


NAMES = _names()


def slot(name: str) -> str:
    """Which of the `SLOTS` a feature belongs to."""
    return name.split("/")[0].split(".")[0]


# Slots whose columns are learned from together: those of the first convolution with what it says of the pictures.
_TOGETHER = {"pixels": "conv1", "net": "out", **{name: f"{kind}-all" for name, kind in _POOLED.items()}}
BLOCKS: dict[str, np.ndarray] = {
    block: np.flatnonzero([_TOGETHER.get(slot(name), slot(name)) == block for name in NAMES])
    for block in dict.fromkeys(_TOGETHER.get(name, name) for name in SLOTS)
}


def tensors(
    theta: np.ndarray, layout: Layout, *, without: Iterable[str] = (), part: str = "all"
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Statistics of every tensor, and of relations between them: theta (P,) or (S, P) -> values (F,) or (S, F), and F names.

    F and the names are the same for every layout and all options; values are float64 and finite.
    without  of `WITHOUT`: roles or groups of them that are taken as absent ("moving", "bias" ...), and "relations"
    part     all, or only the layers of the conv or the FC part
    NwsError when theta does not fit the layout or holds NaN or infinite weights.
    """
    theta, without = np.asarray(theta), tuple(without)
    if theta.ndim not in (1, 2) or theta.shape[-1] != layout.size:
        raise NwsError(f"theta has shape {theta.shape}, its layout {layout.size:,} weights")
    for name in without:
        if name not in WITHOUT:
            raise unknown("without", name, WITHOUT)
    if part not in PARTS:
        raise unknown("part", part, PARTS)
    if not np.isfinite(theta).all():
        raise NwsError("theta holds NaN or infinite weights: leave diverged nets out")
    rows = theta.reshape(-1, layout.size).astype(np.float32, copy=False)
    chain = layers(layout, {role for name in without if name in STRIPS for role in STRIPS[name]}, part)
    step = max(1, _AT_ONCE // layout.size)
    found = [_rows(rows[k : k + step], chain, "relations" not in without) for k in range(0, len(rows), step)]
    values = np.concatenate([np.empty((0, len(NAMES))), *found])
    return values.reshape(*theta.shape[:-1], len(NAMES)), NAMES


def _rows(theta: np.ndarray, chain: Sequence[Layer], related: bool) -> np.ndarray:
    S = len(theta)
    blocks: dict[str, list[np.ndarray]] = {kind: [] for kind in _BLOCKS}
    before: Arrays = {}
    pixels = np.zeros((S, len(PIXELS)))
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # huge weights: cut below
        for k, layer in enumerate(chain):
            vectors = {role: theta[:, t.start : t.stop] for role, t in layer.vectors.items()}
            weight = theta[:, layer.weight.start : layer.weight.stop]
            sizes = np.abs(weight)
            exact: Arrays = {role: x.astype(np.float64) for role, x in vectors.items()}
            exact["weight"] = weight.astype(np.float64).reshape(S, layer.units, layer.inputs, -1)
            flat = exact["weight"].reshape(S, layer.units, -1)
            exact["row means"], exact["row squares"] = flat.mean(2), np.einsum("soi,soi->so", flat, flat)
            exact["mean size"] = sizes.mean(1, dtype=np.float64)
            if k == 0 and layer.kind == "conv" and related:
                pixels = relations.pixels(exact, layer.window)
            own = _related(layer, exact, before, chain[k - 1].kind == "conv")
            own = own if related else np.zeros_like(own)
            blocks[layer.kind].append(np.concatenate([*_layer(layer, weight, sizes, vectors, exact), own], 1))
            before = exact
    found = [pixels]
    for place, kind in _PLACES.items():
        found.append(_placed(blocks[kind], place, (S, len(_BLOCKS[kind]))))
    for kind in ("conv", "fc"):
        pooled = blocks[kind][1:] if kind == "conv" else blocks[kind]
        stack = np.stack(pooled) if pooled else np.zeros((1, S, len(_BLOCKS[kind])))
        found += [stack.mean(0), stack.min(0), stack.max(0)]
    counts = [len(blocks["conv"]), len(blocks["fc"]) + len(blocks["out"]), np.log2(sum(_size(layer) for layer in chain) or 1)]
    found.append(np.tile(np.array(counts, float), (S, 1)))
    return _rounded(np.clip(np.nan_to_num(np.concatenate(found, 1), posinf=_LIMIT, neginf=-_LIMIT), -_LIMIT, _LIMIT))


def _rounded(values: np.ndarray) -> np.ndarray:
    """To six significant digits, nine decimals: sums of reordered units differ in the last bits, and a tree may cut just there."""
    mantissa, exponent = np.frexp(np.round(values, 9))
    return np.ldexp(np.round(mantissa * 2**_BITS), exponent - _BITS)


def _placed(blocks: Sequence[np.ndarray], place: str, shape: tuple[int, int]) -> np.ndarray:
    at = -1 if place.endswith("last") or place == "out" else int(place[-1]) - 1
    return blocks[at] if at < len(blocks) and blocks else np.zeros(shape)


def _size(layer: Layer) -> int:
    return sum(t.stop - t.start for t in (layer.weight, *layer.vectors.values()))


def _layer(layer: Layer, weight: np.ndarray, sizes: np.ndarray, vectors: Arrays, exact: Arrays) -> list[np.ndarray]:
    """The features of a layer alone, S rows each: weight and its magnitudes (S, n) and vectors (S, units) float32."""
    S = len(weight)
    names = VECTORS if layer.kind != "out" else VECTORS[:1]
    shape = [1.0, *(float(role in vectors) for role in VECTORS), np.log2(layer.units), np.log2(layer.inputs), layer.window[1]]
    heap = measured(weight)
    found = [np.tile(np.array(shape, float), (S, 1)), heap]
    each = dict.fromkeys(names, np.zeros((S, len(VALUES))))
    if has := [role for role in names if role in vectors]:
        # One call for all of them: it costs more than the numbers in it.
        stacked = np.concatenate([vectors[role] - np.float32(role == "gamma") for role in has])
        each |= zip(has, measured(stacked).reshape(len(has), S, -1))
    value = {name: heap[:, k] for k, name in enumerate(VALUES)}
    of_sizes = (10 ** value[k] for k in ("log deviation", "log size p50", "log size p99"))
    largest = np.maximum(-value["p0"], value["p100"])
    found += [*each.values(), structure(exact, sizes, np.column_stack([value["mean"], *of_sizes, largest]))]
    if layer.kind == "conv":
        found.append(window_structure(exact["weight"].reshape(S, layer.units, layer.inputs, *layer.window)))
    return found


def _related(layer: Layer, exact: Arrays, before: Arrays, after_conv: bool) -> np.ndarray:
    own = relations.within(exact)
    if layer.kind == "out":
        return np.concatenate([own[:, :2], relations.output(exact, before)], 1)
    if layer.kind == "conv":
        usual = before if layer.reads == "plain" else {}
        return np.concatenate([own, relations.conv_chain(exact, usual)], 1)
    return np.concatenate([own, relations.fc_chain(exact, before, layer.reads, after_conv)], 1)
