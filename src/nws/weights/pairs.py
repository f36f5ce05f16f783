"""Tensors that only together are a layer's weights: recurrent matrices, weight norm, spectral norm, pruning masks."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from nws.recorded import printable

_Made = tuple[str, np.ndarray]  # the name of what two or three tensors make, and its values
RECURRENT = re.compile(r"(?:(.*)[./])?(weight|bias)_(ih|hh)(_l\d+(?:_reverse)?)?")


def merged(arrays: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], list[str]]:
    """The same in the same order with one tensor for each such group, in the place of its first; and a note per kind of group.

    Recurrent    weight_ih_l0 (G, in) and weight_hh_l0 (G, H) become one matrix (G, in + H), the biases one vector (2 G)
    weight norm  weight_g and weight_v, or parametrizations.weight.original0 and 1: weight = g v / |v|
    spectral norm, pruning  weight_orig with weight_u and _v: weight = orig / (u W v); with weight_mask: orig x mask
    """
    left = dict(arrays)
    made: dict[str, _Made] = {}
    notes: dict[str, str] = {}
    taken: set[str] = set()
    for name in arrays:
        for find in (_recurrent, _keras_recurrent, _weight_norm, _spectral, _pruned):
            found = find(name, left) if name in left else None
            if found is None:
                continue
            used, (new, array), note = found
            if (new in left and new not in used) or new in taken:
                continue
            taken.add(new)
            made[name] = new, array
            for other in used:
                left.pop(other, None)
            notes.setdefault(note, f"{note}: {printable(name)[:60]} is one of them")
    result = {}
    for name in arrays:
        if name in made:
            new, array = made[name]
            result[new] = array
        elif name in left:
            result[name] = left[name]
    return result, list(notes.values())


_Found = tuple[tuple[str, ...], _Made, str] | None


def _recurrent(name: str, arrays: Mapping[str, np.ndarray]) -> _Found:
    match = RECURRENT.fullmatch(name)
    if not match:
        return None
    kind, which, rest = match[2], match[3], match[4] or ""
    before = name[: match.start(2)]
    pair = tuple(f"{before}{kind}_{w}{rest}" for w in ("ih", "hh"))
    if which != "ih" or pair[1] not in arrays:
        return None
    one, two = arrays[pair[0]], arrays[pair[1]]
    if one.ndim != two.ndim or one.ndim != (2 if kind == "weight" else 1) or len(one) != len(two):
        return None
    # Both names stay in it: whoever looks for the words of a recurrent net finds them.
    array = np.concatenate([one, two], axis=-1)
    return pair, (f"{pair[0]}/{kind}_hh{rest}", array), "input and hidden weights of a recurrent layer were put into one matrix"


def _keras_recurrent(name: str, arrays: Mapping[str, np.ndarray]) -> _Found:
    """Keras: kernel (in, G) and recurrent_kernel (H, G)."""
    plain = name.removesuffix(":0")
    if not re.fullmatch(r"(.*[./])?kernel", plain):
        return None
    other = plain.removesuffix("kernel") + "recurrent_kernel" + name[len(plain) :]
    if other not in arrays or arrays[name].ndim != 2 or arrays[other].ndim != 2:
        return None
    if arrays[name].shape[1] != arrays[other].shape[1]:
        return None
    array = np.concatenate([arrays[name], arrays[other]], axis=0)
    return (name, other), (name, array), "input and hidden weights of a recurrent layer were put into one matrix"


def _weight_norm(name: str, arrays: Mapping[str, np.ndarray]) -> _Found:
    """g has the shape of v with 1 in all dimensions but one (or is one number): weight = g v / |v| over these."""
    if name.endswith("weight_g"):
        whole, pair = name[:-2], (name, f"{name[:-1]}v")
    elif name.endswith("weight_v") and f"{name[:-1]}g" in arrays:
        whole, pair = name[:-2], (f"{name[:-1]}g", name)
    elif match := re.fullmatch(r"(.*)parametrizations\.(\w+)\.original[01]", name):
        whole, pair = f"{match[1]}{match[2]}", (f"{name[:-1]}0", f"{name[:-1]}1")
    else:
        return None
    if not all(n in arrays for n in pair):
        return None
    g, v = (arrays[n].astype(np.float64) for n in pair)
    if g.ndim not in (0, v.ndim) or (g.ndim and any(n not in (1, m) for n, m in zip(g.shape, v.shape))):
        return None
    axes = tuple(k for k in range(v.ndim) if not g.ndim or g.shape[k] == 1)
    with np.errstate(all="ignore"):
        weight = g * v / np.sqrt((v * v).sum(axis=axes, keepdims=True))
    return (
        pair,
        (whole, weight.astype(arrays[pair[1]].dtype)),
        "weights stored as length and direction (weight norm) were multiplied",
    )


def _spectral(name: str, arrays: Mapping[str, np.ndarray]) -> _Found:
    if name.endswith("weight_orig"):
        whole, trio = name.removesuffix("_orig"), (name, f"{name[:-4]}u", f"{name[:-4]}v")
    elif match := re.fullmatch(r"(.*)parametrizations\.(\w+)\.original", name):
        base = name.removesuffix("original")
        whole, trio = f"{match[1]}{match[2]}", (name, f"{base}0._u", f"{base}0._v")
    else:
        return None
    if not all(n in arrays for n in trio):
        return None
    weight, u, v = (arrays[n].astype(np.float64) for n in trio)
    for axis in range(min(2, weight.ndim)):  # 1: transposed convolutions
        matrix = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)
        if u.shape == matrix.shape[:1] and v.shape == matrix.shape[1:]:
            with np.errstate(all="ignore"):
                scaled = (weight / (u @ matrix @ v)).astype(arrays[name].dtype)
            return trio, (whole, scaled), "weights stored before their spectral norm were divided by it"
    return None


def _pruned(name: str, arrays: Mapping[str, np.ndarray]) -> _Found:
    mask = f"{name.removesuffix('_orig')}_mask"
    if not name.endswith("_orig") or mask not in arrays or arrays[mask].shape != arrays[name].shape:
        return None
    array = arrays[name] * arrays[mask]
    return (name, mask), (name.removesuffix("_orig"), array), "weights stored beside a pruning mask were multiplied by it"
