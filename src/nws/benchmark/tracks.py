"""What `nws benchmark read` asks: one `Trial` is one target, learned from some nets of one zoo, tested on fresh nets of another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nws.benchmark.zoos import SPACES, Scale
from nws.layout import Layout
from nws.tasks.inputs import Change

SLICES = (1000, 5000)
# Property -> the option that no net to learn from has. Depths, widths, filter sizes: is the rest read as well on those?
UNSEEN: Mapping[str, Any] = {"depth_conv": 5, "width_conv": 12, "filter_size": 7}
# Is a reader less sure of nets of an option that it never saw? The last image set of the scale stands for "dataset".
NONE_OF_THESE: Mapping[str, Any] = {"dataset": None, "optimizer": "momentum", "activation": "tanh"}


@dataclass(frozen=True)
class Trial:
    """One question of the benchmark.

    track     which part of the benchmark it belongs to
    target    what is read
    learn     kind of the zoo that is learned from; `test`: of the fresh one
    part, slice_length, without   as in `nws.Task`; without: never seen, neither in learning nor in tests
    left_out  (property, option) that no net to learn from has
    judged    "all" fresh nets; "unseen": those of the option left out; "none of these": how far the confidence in nets of it
              lies below that in others
    change    a name of `CHANGES`: what happens to the weights of the fresh nets, and to nothing else
    early     of a number: the snapshot that is read, 1 the first, while its value is that of the last one
    """

    track: str
    target: str
    learn: str
    test: str
    part: str = "all"
    slice_length: int | None = None
    without: tuple[str, ...] = ()
    left_out: tuple[str, Any] | None = None
    judged: str = "all"
    change: str = ""
    early: int = 0


def trials(size: Scale, tracks: tuple[str, ...] = ()) -> Iterator[Trial]:
    """Those of a scale, kind by kind; of the tracks whose names begin with one of `tracks` only, if any are named."""
    for trial in _all(size):
        if not tracks or trial.track.startswith(tracks):
            yield trial


def _all(size: Scale) -> Iterator[Trial]:
    for kind in ("fixed", "main"):
        for target in _of(size, kind):
            yield Trial(kind, target, kind, kind)
    varied = [target for target in _of(size, "main") if target not in UNSEEN]
    for name, option in UNSEEN.items():
        for target in varied:
            yield Trial(f"unseen {name}", target, "main", "main", left_out=(name, option), judged="unseen")
    for name, option in NONE_OF_THESE.items():
        if name in _of(size, "main"):
            chosen = option or size.images[-1]
            yield Trial("none of these", name, "main", "main", left_out=(name, chosen), judged="none of these")
    for target in varied:
        if target in SPACES["mlp"].properties or target == "test_accuracy":
            yield Trial("unseen family", target, "main", "mlp")
    for length in SLICES:
        for part in ("all", "conv", "fc"):
            for target in _of(size, "main"):
                name = f"slices of {length:,}" + ("" if part == "all" else f", {part}")
                yield Trial(name, target, "main", "main", part, length)
    for snapshot in sorted({1, max(1, size.snapshots // 4)}):
        yield Trial(f"final accuracy from snapshot {snapshot}", "test_accuracy", "main", "main", early=snapshot)
    for target in varied:
        yield from _ablations(target)


def _ablations(target: str) -> Iterator[Trial]:
    yield Trial("no moving statistics", target, "main", "main", without=("moving",))
    yield Trial("no biases", target, "main", "main", without=("bias",))
    yield Trial("conv only", target, "main", "main", part="conv")
    yield Trial("fc only", target, "main", "main", part="fc")
    for name in CHANGES:
        yield Trial(name, target, "main", "main", change=name)


def _of(size: Scale, kind: str) -> list[str]:
    """The targets that can be told apart there."""
    space = SPACES[kind].with_(dataset=size.images)
    return [t for t in size.targets if t not in space.properties or len(space.options[t]) > 1]


def permuted(theta: np.ndarray, layout: Layout, number: int) -> np.ndarray:
    """The hidden units in another order: the same function."""
    return layout.permute(theta, np.random.default_rng([number, 8]))


def in_float16(theta: np.ndarray, layout: Layout, number: int) -> np.ndarray:
    limit = float(np.finfo(np.float16).max)
    return np.clip(theta, -limit, limit).astype(np.float16).astype(np.float32)


def in_8_bits(theta: np.ndarray, layout: Layout, number: int) -> np.ndarray:
    """255 steps per tensor and snapshot, symmetric around 0, as simple quantisation does it."""
    found = theta.copy()
    for t in layout.tensors:
        values = theta[:, t.start : t.stop]
        step = np.abs(values).max(1, keepdims=True) / 127
        step[step == 0] = 1
        found[:, t.start : t.stop] = np.round(values / step) * step
    return found


def pruned(theta: np.ndarray, layout: Layout, number: int) -> np.ndarray:
    """Half of each kernel and matrix is 0, the smallest weights (magnitude pruning)."""
    found = theta.copy()
    for t in layout.tensors:
        if len(t.shape) > 1:
            values = found[:, t.start : t.stop]
            values[np.abs(values) < np.median(np.abs(values), 1, keepdims=True)] = 0
    return found


CHANGES: Mapping[str, Change] = {
    "permuted units": permuted,
    "float16 copies": in_float16,
    "8-bit copies": in_8_bits,
    "half pruned": pruned,
}
