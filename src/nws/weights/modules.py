"""Unpickled objects -> nested mappings of tensors: modules by their parameters, other objects by their attributes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nws.errors import NwsError
from nws.recorded import printable
from nws.weights.stored import Stored
from nws.weights.unpickling import Array, StandIn

_MOST_NODES = 1_000_000
_DEEPEST = 100
_STATISTICS = ("running_mean", "running_var")  # buffers that belong to a net's weights
_COUNTER = "num_batches_tracked"
_SCRIPT = "__torch__."
_OPTIMIZERS = ("torch.optim", "torch.cuda.amp", "apex.")
_BY_SOURCE = "persistence._reconstruct_persistent_obj"  # StyleGAN's: an object with its source text


class Flat(dict[str, Any]):
    """The tensors of one whole module, by their names in its state dict."""


@dataclass
class Walk:
    """Makes the nested mappings, and keeps what is worth telling.

    modules      classes of the whole modules that were met, outermost first
    buffers      names of buffers that are no statistics of a normalization, which are left out
    parameters   TorchScript's classes -> names of their parameters, as far as the archive says
    arrays       whether numpy's arrays count beside PyTorch's tensors
    optimizers   states of optimizers that were met, which are no nets
    """

    parameters: Mapping[str, set[str]] = field(default_factory=dict)
    arrays: bool = True
    modules: list[str] = field(default_factory=list)
    buffers: list[str] = field(default_factory=list)
    optimizers: int = 0
    _met: set[int] = field(default_factory=set)
    _nodes: int = 0

    def tree(self, value: Any, depth: int = 0) -> Any:
        """The same as mappings of `Stored` tensors (and numpy's arrays); None where there is none below."""
        self._count(depth)
        if isinstance(value, Stored | np.ndarray):
            return value
        if isinstance(value, Array):
            return value.stored if self.arrays else None
        if isinstance(value, StandIn):
            return self._object(value, depth)
        if isinstance(value, Mapping) and "param_groups" in value:
            self.optimizers += 1
            return None
        if isinstance(value, Mapping):
            return self._mapping(dict.items(value) if isinstance(value, dict) else (), depth)
        if isinstance(value, list | tuple):
            return self._mapping(enumerate(value), depth)
        return None

    def _mapping(self, items: Any, depth: int) -> dict[str, Any] | None:
        found = {}
        for name, value in items:
            inner = self.tree(value, depth + 1)
            if inner is not None:
                found[name if isinstance(name, str) else str(name) if isinstance(name, int | float | tuple) else "?"] = inner
        return found or None

    def _object(self, value: StandIn, depth: int) -> Any:
        if id(value) in self._met or value.name.startswith(_OPTIMIZERS):  # an agent's policy is known by several names
            return None
        self._met.add(id(value))
        state = value.state
        if value.name.endswith(_BY_SOURCE) and value.args and isinstance(value.args[0], Mapping | StandIn):
            inner = (value.args[0].state if isinstance(value.args[0], StandIn) else value.args[0]).get("state")
            state = inner if isinstance(inner, dict) else state
        if isinstance(state.get("_modules"), dict | StandIn) or isinstance(state.get("_parameters"), dict):
            return self._module(value, state, depth)
        if value.name.startswith(_SCRIPT):
            self.modules.append(value.name.removeprefix(_SCRIPT))
            flat = Flat()
            self._script(value, "", flat, depth)
            return flat or None
        arrays, self.arrays = self.arrays, False  # of a foreign object: a buffer of experience, statistics of inputs
        found = self._mapping(
            [*state.items(), *enumerate(value.items), *((f"argument {k}", a) for k, a in enumerate(value.args))], depth
        )
        self.arrays = arrays
        return found

    def _module(self, value: StandIn, state: Mapping[str, Any], depth: int) -> Flat | None:
        flat = Flat()
        self.modules.append(value.name)
        self._gather(state, "", flat, depth)
        return flat or None

    def _gather(self, state: Mapping[str, Any], prefix: str, flat: Flat, depth: int) -> None:
        for kind in ("_parameters", "_buffers"):
            for name, tensor in _pairs(state.get(kind)):
                whole = f"{prefix}{name}"
                tensor = tensor.stored if isinstance(tensor, Array) else tensor
                if not isinstance(tensor, Stored | np.ndarray) or name == _COUNTER:
                    continue
                if kind == "_buffers" and name not in _STATISTICS:
                    self.buffers.append(whole)
                    continue
                flat[whole] = tensor
        for name, inner in _pairs(state.get("_modules")):
            self._count(depth)
            if isinstance(inner, StandIn) and id(inner) not in self._met:
                self._met.add(id(inner))
                self._gather(inner.state, f"{prefix}{name}.", flat, depth + 1)

    def _script(self, value: StandIn, prefix: str, flat: Flat, depth: int) -> None:
        """TorchScript keeps tensors and modules as attributes alike."""
        known = self.parameters.get(value.name)
        for name, inner in value.state.items():
            self._count(depth)
            if isinstance(inner, Stored) and known is not None and name not in known and name not in _STATISTICS:
                self.buffers += [f"{prefix}{name}"] if name != _COUNTER else []
            elif isinstance(inner, Stored):
                flat[f"{prefix}{name}"] = inner
            for number, module in enumerate(inner) if isinstance(inner, list | tuple) else ((None, inner),):
                if isinstance(module, StandIn) and id(module) not in self._met:
                    self._met.add(id(module))
                    self._script(module, f"{prefix}{name}." if number is None else f"{prefix}{name}.{number}.", flat, depth + 1)

    def _count(self, depth: int) -> None:
        self._nodes += 1
        if self._nodes > _MOST_NODES or depth > _DEEPEST:
            raise NwsError("the file's contents are nested without end: it was not written by a training program")


def _pairs(held: Any) -> list[tuple[str, Any]]:
    if isinstance(held, StandIn):
        held = held.state
    return [(printable(name), value) for name, value in dict.items(held)] if isinstance(held, dict) else []
