"""Nested training states -> named arrays: finds the state dict inside {"model": ..., "optimizer": ...}."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from nws.errors import NwsError
from nws.recorded import printable
from nws.weights.buffers import is_buffer
from nws.weights.modules import Flat
from nws.weights.nets import WRAPPERS, Net, is_copy, kind, matrices, originals, told_apart, words
from nws.weights.stored import Stored
from nws.weights.unpickling import StandIn

# Where programs put the weights in a whole training state; and words for where other tensors lie.
_PLACES = (
    "state_dict",
    "model_state_dict",
    "model",
    "module",
    "net",
    "network",
    "weights",
    "params",
    "model_state",
    "state",
    "ema",
)
_NOT_WEIGHTS = (
    "optimizer", "optimizers", "optim", "opt", "optimiser", "scheduler", "schedulers", "sched", "scaler", "rng", "amp", "grad",
    "grads",
)  # fmt: skip
_PREFIXES = ("module.", "_orig_mod.", "model.")  # DataParallel, torch.compile, Lightning
_QUANTISED = ("centroids", "codebook", "codebooks", "assignments", "codes")
_FOUND = "the weights were found in"
LEFT_OUT = "left out, no floating-point numbers"  # how the note on them begins


def is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray)


def find(tree: Any) -> tuple[list[Net], tuple[str, ...]]:
    """(the nets, notes) of a state dict, or of a training state with some in it: nested mappings of tensors. NwsError when none."""
    if not isinstance(tree, Mapping):
        return ([Net("", {"weight": tree})] if tree is not None else []), ()
    notes: list[str] = []
    nets = _nets(tree, (), notes)
    nets = [net for net in nets if net.tensors]
    if not nets:
        raise NwsError("holds no state dict: save model.state_dict(), not the model")
    if any(_vector_quantised(net.tensors) for net in nets):
        raise NwsError(
            "is vector-quantised: it holds centroids and, for each block of weights, which centroid stands for it, not the "
            "weights; load it into its model with its author's program and save the state_dict() of that"
        )
    return nets, tuple(sorted(notes, key=lambda note: not note.startswith(_FOUND)))


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


def _nets(node: Mapping[str, Any], place: tuple[str, ...], notes: list[str]) -> list[Net]:
    """Those below one mapping of a training state."""
    if isinstance(node, Flat):
        return _of_state_dict(node, notes)
    here = {name: value for name, value in node.items() if not isinstance(value, Mapping)}
    inner = {name: value for name, value in node.items() if isinstance(value, Mapping) and not _state_like(name)}
    complete = {name: value for name, value in inner.items() if _complete(name, value)}
    if not complete:
        return _of_state_dict(flat({**here, **inner}), notes)
    loose = flat({name: value for name, value in inner.items() if name not in complete})
    if matrices(loose) and not any(_place(name) or isinstance(value, Flat) for name, value in complete.items()):
        return _of_state_dict(flat({**here, **inner}), notes)  # layers beside layers: never a part of them alone
    twins = _twins(complete)
    parts = {n: v for n, v in complete.items() if not (kind(n) or is_copy(n) or _place(n) or n in twins)}
    if len(parts) == len(complete) > 1:  # encoder, decoder: one net in several state dicts
        notes.append(f"the weights were gathered from {', '.join(printable(name) for name in list(parts)[:6])}")
        return _of_state_dict(flat(complete), notes)
    others = [name for name in (*here, *inner) if name not in complete and not _state_like(name)]
    beside = [name for name in others if _floating({name: node[name]}) and getattr(node[name], "size", 2) != 1]
    if beside:
        notes.append(f"left out, beside the weights: {', '.join(printable(name)[:60] for name in beside[:6])}")
    own = [name for name in complete if name not in parts or len(complete) == 1]
    found: list[Net] = []
    for name in own:
        below = _nets(complete[name], (*place, name), notes)
        if len(complete) == 1:
            if not any(note.startswith(_FOUND) for note in notes):
                notes.append(f"{_FOUND} {'/'.join(map(printable, (*place, name)))}")
            return below
        found += [replace(net, name=f"{name}.{net.name}" if net.name else name) for net in below]
    if parts and len(own) < len(complete):
        name, rest = next(iter(parts.items())) if len(parts) == 1 else ("rest", parts)
        found.append(Net(name, flat(rest)))
    return _with_copies(found)


def _with_copies(nets: list[Net]) -> list[Net]:
    """Marks the nets that are copies of another one beside them: moving averages, target networks."""
    held = {net.name: net.tensors for net in nets}
    of = originals(held)
    return [replace(net, aside=f"a copy of {of[net.name]}") if net.name in of and not net.aside else net for net in nets]


def _of_state_dict(tensors: Mapping[str, Any], notes: list[str]) -> list[Net]:
    if not _floating(tensors):
        return []
    plain = _without_prefix(dict(tensors))
    first = next(iter(tensors))
    if first not in plain:
        notes.append(f"the prefix of all names was dropped: {printable(first)} is {printable(next(iter(plain)))}")
    return told_apart(plain)


def _state_like(name: str) -> bool:
    return bool(set(words(name)) & set(_NOT_WEIGHTS)) or name == "param_groups"


def _complete(name: str, value: Mapping[str, Any]) -> bool:
    """Whether a mapping is a net by itself, not one layer of a net: by its name, or because its names have several words."""
    if not _floating(value):
        return False
    if isinstance(value, Flat) or _place(name):
        return True
    if (kind(name) or is_copy(name)) and any(isinstance(v, Mapping) or "." in inner for inner, v in value.items()):
        return True  # but "value" with a kernel and a bias is a layer, of attention
    if any("." in inner and len(getattr(v, "shape", ())) > 1 for inner, v in value.items()):
        return True
    return any(isinstance(v, Mapping) and (isinstance(v, Flat) or (_place(n) and _complete(n, v))) for n, v in value.items())


def _place(name: str) -> bool:
    """Whether a name says no more than that weights follow: state_dict, model, model_2."""
    parts = [word for word in words(name) if not word.isdecimal()]
    return name in _PLACES or (bool(parts) and set(parts) <= set(WRAPPERS))


def _twins(complete: Mapping[str, Any]) -> set[str]:
    """Those with the same layers as another one: nets of one kind, not parts of one net."""
    shapes = {name: matrices(flat(value)) for name, value in complete.items()}
    counts = Counter(shapes.values())
    return {name for name, found in shapes.items() if len(found) > 1 and counts[found] > 1}


def flat(tree: Mapping[str, Any], prefix: str = "", found: dict[str, Any] | None = None) -> dict[str, Any]:
    """Nested mappings as one, names joined by dots."""
    found = {} if found is None else found
    for name, value in tree.items():
        if isinstance(value, Mapping):
            flat(value, f"{prefix}{name}.", found)
        else:
            found[f"{prefix}{name}"] = value
    return found


def _floating(tree: Mapping[str, Any]) -> bool:
    return any(_floating(v) if isinstance(v, Mapping) else _is_floating(v) for v in tree.values())


def _is_floating(tensor: Any) -> bool:
    return tensor.floating if isinstance(tensor, Stored) else is_array(tensor) and tensor.dtype.kind == "f"


def _vector_quantised(tensors: Mapping[str, Any]) -> bool:
    last = {name.rsplit(".", 1)[-1] for name in tensors}
    return len(last & set(_QUANTISED)) > 1


def _without_prefix(arrays: dict[str, Any]) -> dict[str, Any]:
    for prefix in _PREFIXES:
        if arrays and all(name.startswith(prefix) and len(name) > len(prefix) for name in arrays):
            arrays = {name.removeprefix(prefix): array for name, array in arrays.items()}
    return arrays


def metadata(state: Any) -> dict[str, Any]:
    """Numbers and text beside the weights, and of mappings beside them: epoch, configuration, accuracies."""
    found: dict[str, Any] = {}
    for name, value in dict.items(state) if isinstance(state, dict) else ():
        value = value.state if isinstance(value, StandIn) and "_modules" not in value.state else value  # argparse.Namespace
        if isinstance(value, bool | int | float | str):
            found[printable(name)] = value
        elif isinstance(value, Mapping) and not set(words(str(name))) & set(_NOT_WEIGHTS):
            plain = {k: v for k, v in value.items() if isinstance(v, bool | int | float | str)}
            found |= {f"{printable(name)}.{printable(k)}": v for k, v in list(plain.items())[:200]}
    return dict(list(found.items())[:500])
