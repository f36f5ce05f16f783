"""Nested training states -> named arrays: finds the state dict inside {"model": ..., "optimizer": ...}."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from nws.errors import NwsError
from nws.recorded import printable
from nws.weights.buffers import is_buffer

# Where programs put the weights in a whole training state, the likeliest first; and where other tensors lie.
_PLACES = ("state_dict", "model_state_dict", "model", "module", "net", "network", "weights", "params", "model_state", "ema")
_NOT_WEIGHTS = ("optimizer", "optim", "scheduler", "lr_scheduler", "scaler", "rng", "amp", "grad")
_PREFIXES = ("module.", "_orig_mod.", "model.")  # DataParallel, torch.compile, Lightning
_DEEPEST = 4
LEFT_OUT = "left out, no floating-point numbers"  # how the note on them begins


def is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray)


def find(state: Any) -> tuple[dict[str, np.ndarray], tuple[str, ...], dict[str, Any]]:
    """(name -> array, notes, metadata) of a state dict or of a training state with one in it. NwsError when there is none."""
    if is_array(state):
        return {"weight": state}, (), {}
    place, weights = _search(state, ())
    if not weights:
        raise NwsError("holds no state dict: save model.state_dict(), not the model")
    notes = [f"the weights were found in {'/'.join(map(str, place))}"] if place else []
    arrays, left_out = numbers_only(weights)
    stripped = _without_prefix(arrays)
    if next(iter(stripped), None) != next(iter(arrays), None):
        notes.append(f"the prefix of all names was dropped: {printable(next(iter(arrays)))} is {printable(next(iter(stripped)))}")
    return stripped, (*notes, *left_out), _metadata(state) if place else {}


def numbers_only(weights: Mapping[str, Any]) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """The floating-point arrays, in order, and a note on what else there was: counters, masks, whole-number (quantised) weights."""
    arrays = {str(name): a for name, a in weights.items() if is_array(a) and a.dtype.kind == "f" and a.size}
    others = [str(n) for n, a in weights.items() if str(n) not in arrays and not is_buffer(str(n), a.shape if is_array(a) else ())]
    notes = []
    if others:
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        notes.append(f"{LEFT_OUT}: {', '.join(printable(name)[:60] for name in others[:3])}{more}")
    return arrays, tuple(notes)


def natural(name: str) -> tuple[Any, ...]:
    """A key that sorts conv2 before conv10."""
    return tuple((0, int(word), "") if word.isdecimal() and len(word) < 10 else (1, 0, word) for word in re.split(r"(\d+)", name))


def _search(state: Any, place: tuple[Any, ...]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Where the state dict is: here when this mapping holds arrays, else at the likeliest name below."""
    if not isinstance(state, Mapping) or len(place) > _DEEPEST:
        return place, {}
    here = {name: value for name, value in state.items() if is_array(value)}
    inner = [name for name, value in state.items() if isinstance(value, Mapping) and not str(name).lower().startswith(_NOT_WEIGHTS)]
    inner.sort(key=lambda name: _PLACES.index(name) if name in _PLACES else len(_PLACES))
    known = [name for name in inner if name in _PLACES]
    if here and not known:
        return place, here
    for name in inner:
        where, weights = _search(state[name], (*place, name))
        if weights:
            return where, weights
    return place, here


def _without_prefix(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    for prefix in _PREFIXES:
        if arrays and all(name.startswith(prefix) and len(name) > len(prefix) for name in arrays):
            arrays = {name.removeprefix(prefix): array for name, array in arrays.items()}
    return arrays


def _metadata(state: Mapping[Any, Any]) -> dict[str, Any]:
    """Numbers and text beside the weights, and of mappings beside them: epoch, configuration, accuracies."""
    found: dict[str, Any] = {}
    for name, value in state.items():
        if isinstance(value, bool | int | float | str):
            found[printable(name)] = value
        elif isinstance(value, Mapping) and not str(name).lower().startswith(_NOT_WEIGHTS):
            plain = {k: v for k, v in value.items() if isinstance(v, bool | int | float | str)}
            found |= {f"{printable(name)}.{printable(k)}": v for k, v in list(plain.items())[:200]}
    return dict(list(found.items())[:500])
