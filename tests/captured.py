"""A stand-in for CUDA graphs on the CPU: a lane whose `capture` records every operation, and afterwards only repeats those.

As with a graph, Python runs once, memory stays where it was, and numbers that are not in tensors are frozen. What a capture forbids
(waiting for the device, bringing numbers over from the host, shapes that depend on values) is an error here too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nws.device import Lane

FORBIDDEN = {
    "aten::_local_scalar_dense": "waits for the device",
    "aten::lift_fresh": "brings numbers over from the host",
    "aten::nonzero": "has a shape that depends on values",
    "aten::masked_select": "has a shape that depends on values",
    "aten::_to_copy": "",  # to another device only
}


class Recording(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.tape: list[tuple[Any, tuple, dict, list[torch.Tensor]]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name
        if name in FORBIDDEN and (name != "aten::_to_copy" or "device" in (kwargs or {})):
            raise AssertionError(f"{name} in a captured step {FORBIDDEN[name]}")
        result = func(*args, **(kwargs or {}))
        self.tape.append((func, args, kwargs or {}, [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]))
        return result

    @torch.no_grad()
    def replay(self) -> None:
        for func, args, kwargs, places in self.tape:
            again = [leaf for leaf in tree_leaves(func(*args, **kwargs)) if isinstance(leaf, torch.Tensor)]
            for place, value in zip(places, again, strict=True):
                if place.data_ptr() != value.data_ptr():  # neither a view nor in place: the result goes where it went before
                    place.copy_(value)


class RecordedLane(Lane):
    """The CPU with captured steps. Recording does the first step, which a GPU would leave to the first replay."""

    def __init__(self) -> None:
        self.captures = self.replays = 0

    def capture(self, work: Callable[[], None], random: torch.Generator) -> Callable[[], None]:
        self.captures += 1
        recording, done = Recording(), [True]
        with recording:
            work()

        def replay() -> None:
            self.replays += 1
            if done:
                done.clear()
            else:
                recording.replay()

        return replay
