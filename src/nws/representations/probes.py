"""What nets answer to inputs, and what their hidden units respond on the way: nets of one function side by side."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from nws.errors import NwsError
from nws.families.space import Config
from nws.layout import Layout
from nws.representations.placed import OfNets, Placed, family_of

if TYPE_CHECKING:
    import torch
    from torch import nn

_OPTIONS = 16  # of a property that are tried when asking whether it changes what a net computes


class Probes(OfNets):
    """Nets that can be run: their family has a `module` and says by `domain` what inputs are."""

    name = "probes"

    def why_not(self, layout: Layout, config: object, target: str) -> str | None:
        family = family_of(config)
        if family is None:
            return "the code that makes them is not here, and probes run the nets"
        if family.domain(config) is None:
            return f"family {family.name} does not say what inputs its nets take (Family.domain)"
        if layout != family.layout(config):
            return "probes run whole nets"
        return f"to run a net its {target} must be known already" if _gives_away(config, target) else None


@dataclass(frozen=True)
class Function:
    """What nets of one layout compute. net: the module; shape: of one input; layers: names of those whose outputs are hidden
    responses, in order."""

    net: nn.Module
    shape: tuple[int, ...]
    layers: tuple[str, ...]

    def __call__(self, state: dict[str, torch.Tensor], inputs: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Tensors by name (B, ...) and inputs (K, ...) -> outputs (B, K, c), and per hidden layer (B, K, units).

        Before the activation function; of a convolution the mean over pixels.
        """
        from torch.func import functional_call, vmap

        def one(tensors: dict[str, torch.Tensor]) -> tuple[torch.Tensor, list[torch.Tensor]]:
            with _listening(self.net, self.layers) as heard:
                answer = functional_call(self.net, tensors, (inputs,))
            return answer.reshape(len(inputs), -1), [_profile(some) for some in heard]

        answers: tuple[torch.Tensor, list[torch.Tensor]] = vmap(one)(state)
        return answers


@contextmanager
def _listening(net: nn.Module, names: Sequence[str]) -> Iterator[list[torch.Tensor]]:
    heard: list[torch.Tensor] = []
    modules = dict(net.named_modules())
    hooks = [modules[name].register_forward_hook(lambda module, given, out: heard.append(out)) for name in names]
    try:
        yield heard
    finally:
        for hook in hooks:
            hook.remove()


def _profile(x: torch.Tensor) -> torch.Tensor:
    """(K, units) or (K, channels, ...) -> (K, units)"""
    return x if x.dim() == 2 else x.flatten(2).mean(2)


def batches(rows: Sequence[Placed]) -> Iterator[tuple[Function, dict[str, Any], np.ndarray]]:
    """Rows as (function, tensors by name (b, ...) of numpy, positions of the rows (b,)), one for each function among them."""
    alike: dict[bytes, list[int]] = {}
    for k, row in enumerate(rows):
        alike.setdefault(fingerprint(row.config, row.layout), []).append(k)
    for at in alike.values():
        first = rows[at[0]]
        states = [first.layout.state_dict(np.asarray(rows[k].theta)) for k in at]
        yield function(first.config), {name: np.stack([s[name] for s in states]) for name in states[0]}, np.array(at)


@lru_cache(maxsize=64)  # modules hold weights of their own
def function(config: Config) -> Function:
    """What the nets of this config compute, in evaluation mode."""
    import torch

    family = family_of(config)
    with torch.random.fork_rng(devices=[]):  # its own initialization must not disturb the reader's random numbers
        net = family.module(config).eval().requires_grad_(False)
    layers = [name for name, m in net.named_modules() if any(p.dim() > 1 for p in m.parameters(recurse=False))]
    return Function(net, family.domain(config)[0], tuple(layers[:-1]))


@lru_cache(maxsize=1 << 16)
def fingerprint(config: Config, layout: Layout) -> bytes:
    """The same for two configs whose nets compute the same from the same weights: their answers, bit for bit, to something."""
    import torch

    family = family_of(config)
    rng = np.random.default_rng(0)
    theta = (0.5 * rng.standard_normal(layout.size)).astype(np.float32)
    for t in layout.tensors:
        if t.role == "var":
            theta[t.start : t.stop] = np.abs(theta[t.start : t.stop]) + 0.1
    shape, low, high = family.domain(config)
    inputs = torch.from_numpy(rng.uniform(low, high, (2, *shape)).astype(np.float32))
    state = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in layout.state_dict(theta).items()}
    with torch.no_grad():
        answer = torch.func.functional_call(function.__wrapped__(config).net, state, (inputs,))
    return hashlib.blake2b(repr(layout.tensors).encode() + answer.numpy().tobytes(), digest_size=16).digest()


def _gives_away(config: Any, target: str) -> bool:
    """Whether another value of the target makes another function of the same weights, so that running a net takes knowing it."""
    family = family_of(config)
    asked = next((p for p in family.properties if p.name == target), None)
    if asked is None:
        return False
    layout = family.layout(config)
    found = {fingerprint(config, layout)}
    for option in asked.options[:_OPTIONS]:
        try:
            other = config.with_(**{target: option})
        except NwsError:  # makes no sense beside the other values
            continue
        if family.layout(other) == layout:  # else it is seen from the file
            found.add(fingerprint(other, layout))
    return len(found) > 1
