"""Flax's nested names: {"params": {"Conv_0": {"kernel": ...}}, "batch_stats": {"BatchNorm_0": {"mean": ...}}} -> layer by layer."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from nws.weights.nets import is_copy
from nws.weights.state import natural

_ROLE = {"kernel": "weight", "embedding": "weight", "bias": "bias", "scale": "gamma", "mean": "mean", "var": "var"}
_NOT_WEIGHTS = re.compile(r"opt_state|optimizer.*|opt|tx|rng|key|.*prng.*|ema_state|grad.*|cache", re.IGNORECASE)
_COLLECTIONS = ("params", "batch_stats", "state", "target", "model", "train_state", "variables")
_Place = tuple[str, ...]


def _of_nets(word: str) -> bool:
    """params, batch_stats, and copies of these: ema_params, target_params."""
    return word in ("params", "batch_stats") or (is_copy(word) and word.endswith(("params", "batch_stats")))


def named(found: Mapping[_Place, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, str], tuple[str, ...]]:
    """(name -> array in Flax's order of dimensions, name -> role, notes): a layer's parameters and statistics under one name.

    Where the file has a part called params, only that and batch_stats are the net: the optimizer's state and whatever a
    program saved beside them is not; copies (ema_params) are nets of their own. Flax sorts names as text and norms before
    convolutions: layers then go by their numbers, each norm behind the layer that has its number.
    """
    kept = {place: array for place, array in found.items() if not any(_NOT_WEIGHTS.fullmatch(word) for word in place)}
    inside = {place: array for place, array in kept.items() if any(map(_of_nets, place))}
    groups: dict[_Place, dict[str, np.ndarray]] = {}
    for place, array in (inside or kept).items():
        layer = tuple(word for word in place[:-1] if word not in _COLLECTIONS)
        groups.setdefault(layer, {})[place[-1]] = _flat(layer, place[-1], array)
    notes: list[str] = []
    if inside and len(inside) < len(found):
        notes.append("of the file only params and batch_stats are weights of nets")
    order = list(groups)
    if len(order) > 1 and order == sorted(order):
        order = _behind(sorted(order, key=lambda layer: natural("/".join(layer))), groups)
        notes.append("Flax sorts its layers by name: they are taken by their numbers, a norm behind the layer with its number")
    weights: dict[str, np.ndarray] = {}
    roles: dict[str, str] = {}
    for layer in order:
        norm = "scale" in groups[layer] or "mean" in groups[layer]
        for word, array in groups[layer].items():
            name = "/".join((*layer, word))
            weights[name] = array
            if word in _ROLE:
                roles[name] = "beta" if norm and word == "bias" else _ROLE[word]
    return weights, roles, tuple(notes)


def _behind(order: list[_Place], groups: Mapping[_Place, Mapping[str, np.ndarray]]) -> list[_Place]:
    """The n-th norm of a module goes behind its n-th layer without one that has as many units."""
    norms = [layer for layer in order if "kernel" not in groups[layer] and {"scale", "mean"} & set(groups[layer])]
    result = [layer for layer in order if layer not in norms]
    taken: set[_Place] = set()
    for norm in norms:
        units = next(iter(groups[norm].values())).size
        fits = [
            other for other in result
            if other not in taken and other[:-1] == norm[:-1] and "kernel" in groups[other]
            and groups[other]["kernel"].shape[-1:] == (units,)
        ]  # fmt: skip
        if fits:
            taken.add(fits[0])
            result.insert(result.index(fits[0]) + 1, norm)
        else:  # where the names had it
            result.insert(sum(natural("/".join(other)) < natural("/".join(norm)) for other in result), norm)
    return result


def _flat(layer: _Place, word: str, array: np.ndarray) -> np.ndarray:
    """Attention's kernels (in, heads, size) and (heads, size, out) as the matrices they are."""
    last = layer[-1] if layer else ""
    if last in ("query", "key", "value") and array.ndim == 3:
        return array.reshape(len(array), -1)
    if last == "out" and array.ndim == 3:
        return array.reshape(-1, array.shape[-1])
    return array.reshape(-1) if word == "bias" else array
