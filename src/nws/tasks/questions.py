"""A task, put to one meta-classifier about one zoo: which nets it may use, what their labels are, which weights it reads."""

from __future__ import annotations

import builtins
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nws.errors import NwsError, unknown
from nws.layout import Layout
from nws.tasks.inputs import Where
from nws.tasks.protocol import Task
from nws.zoo import Zoo, targets
from nws.zoo.targets import Target


@dataclass(frozen=True)
class Question:
    """A task for one meta-classifier on the nets it may use: y (n, S) are their labels at each snapshot, or floats of a number."""

    task: Task
    target: Target
    name: str
    meta: Any
    where: Where
    nets: np.ndarray
    y: np.ndarray
    stored: np.ndarray | None
    notes: tuple[str, ...]

    @builtins.property
    def regression(self) -> bool:
        return self.target.kind == "number"

    @builtins.property
    def classes(self) -> list[str]:
        return self.target.classes(self.y.ravel().tolist())

    @builtins.property
    def of_net(self) -> np.ndarray:
        """(n,): what nets are drawn by. Classes belong to a net; of a number that each snapshot has its own of, the last."""
        return self.y[:, -1]

    @builtins.property
    def learned(self) -> Where:
        """Which weights it learns from; `where` are those it is tested on."""
        return self.where if self.task.without_at == "both" else replace(self.where, without=())

    def labels(self, nets: np.ndarray) -> np.ndarray:
        """(m, S) of these nets."""
        of = {net: k for k, net in enumerate(self.nets.tolist())}
        return self.y[[of[net] for net in nets.tolist()]]


def question(task: Task, name: str, meta: Any, zoo: Zoo) -> Question:
    target = targets.target(zoo, task.property)
    if hasattr(meta, "suited"):  # an estimator that leaves open what it reads
        placed = task.slice_length in (None, "whole") and not (task.without and task.without_at == "test")
        meta = meta.suited(placed and len(zoo.layouts()) == 1)
    where = _where(task, name, meta, zoo)
    table, notes = zoo.select(
        target.property.name if target.property else None,
        part=where.part,
        slice_length=where.slice_length,
        converged=task.converged,
    )
    table = _only(table, task, zoo, notes)
    table = _long_enough_stripped(table, where, zoo, notes)
    if task.split == "source":
        table = _of_source(table, zoo, notes)
    table, y = _measured(table, targets.values(zoo, task.property, table.index.to_numpy(), where.snapshots), task, zoo, notes)
    nets = table.index.to_numpy()
    if len(set(y.ravel().tolist())) == 1:
        same = f"{task.property}={y[0, 0]}"
        raise NwsError(f"{task.property} cannot be told apart in {zoo.path}: its {len(y)} usable nets all have {same}")
    if meta.representation.one_layout(where.slice_length):
        if where.without and task.without_at == "test":
            cure = "learn without them, too: --without-at both (in Python without_at='both')"
            raise NwsError(f"{name} reads every weight at its place and cannot be tested without some: {cure}")
        layouts = zoo.layouts(nets)
        if len(layouts) > 1:
            raise NwsError(
                f"{name} needs nets of one architecture, {zoo.path} has {len(layouts)}: use svm-linear-16, tensors or dmc on slices"
            )
    _refuse_what_cannot_be(task, name, meta, where, zoo, nets)
    stored = None if task.split == "rounds" else table["split" if task.split == "stored" else "side"].to_numpy()
    return Question(task, target, name, meta, where, nets, y, stored, tuple(notes))


def _of_source(table: Any, zoo: Zoo, notes: list[str]) -> Any:
    """The nets of training and test images."""
    if "side" not in table:
        raise NwsError(f"{zoo.path} does not say from which side of the image set a net's picture is: use --split rounds or stored")
    kept = table[table["side"].isin(["train", "test"])]
    if left := len(table) - len(kept):
        notes.append(f"{left:,} nets left out: their images are for validation")
    return kept


def _refuse_what_cannot_be(task: Task, name: str, meta: Any, where: Where, zoo: Zoo, nets: np.ndarray) -> None:
    """NwsError where the representation cannot be made of these nets, one net of each layout being asked."""
    firsts: dict[Any, int] = {}
    for net in nets.tolist():
        firsts.setdefault(zoo.layout(net), net)
    for layout, net in firsts.items():
        read = layout.without(where.without) if where.without else layout
        if where.part != "all":
            read = Layout([t for t in read.tensors if t.part == where.part])
        if reason := meta.representation.why_not(read, zoo.config(net), task.property):
            raise NwsError(f"{name} cannot read {task.property} of net {net} of {zoo.path}: {reason}; use svm-linear-16")


def _where(task: Task, name: str, meta: Any, zoo: Zoo) -> Where:
    """Which weights this meta-classifier reads in this task."""
    length: Any = meta.representation.own_length if task.slice_length is None else task.slice_length
    if not meta.representation.sliced and isinstance(length, int):
        raise NwsError(
            f"{name} reads whole nets, not slices of {length:,}: leave the slice out, or use svm-linear-16, svm-rbf-16, dmc"
        )
    if length == "whole":
        length = None
    return Where(task.part, length, snapshots(task, zoo), task.without)


def snapshots(task: Task, zoo: Zoo) -> tuple[int, ...]:
    """Numbers of those that are read; NwsError when the nets have no such snapshot, or there are no nets."""
    if zoo.index.empty:
        raise NwsError(f"{zoo.path} holds no nets yet: run `nws sample` first")
    last = int(zoo.index["snapshots"].min())
    numbers = task.snapshots or tuple(range(max(1, last - 3), last + 1))
    if numbers[-1] > last:
        raise NwsError(f"snapshot {numbers[-1]}: the nets of {zoo.path} have snapshots 1 to {last}")
    return numbers


def _only(table: Any, task: Task, zoo: Zoo, notes: list[str]) -> Any:
    for name, value in task.only.items():
        if name not in zoo.properties:
            raise unknown("only: property", name, zoo.properties)
        value = zoo.properties[name].check(value)
        notes.append(f"only nets with {name}={zoo.properties[name].label(value)}")
        table = table[table[name] == value]
        if table.empty:
            raise NwsError(f"no usable net of {zoo.path} has {name}={zoo.properties[name].label(value)}: see `nws info {zoo.path}`")
    return table


def _measured(table: Any, y: np.ndarray, task: Task, zoo: Zoo, notes: list[str]) -> tuple[Any, np.ndarray]:
    """The nets whose y (n, S) is known at each snapshot."""
    if y.dtype.kind != "f":
        return table, y
    known = np.isfinite(y).all(1)
    if not known.any():
        raise NwsError(f"{task.property} was measured of no net of {zoo.path} at these snapshots: name other --snapshots")
    if not known.all():
        notes.append(f"{(~known).sum():,} nets left out: their {task.property} was not measured at each of these snapshots")
    return table[known], y[known]


def _long_enough_stripped(table: Any, where: Where, zoo: Zoo, notes: list[str]) -> Any:
    """The nets that still have a slice once weights are taken out."""
    if not where.without:
        return table
    sizes = [zoo.layout(int(net)).without(where.without).size_of(where.part) for net in table.index]
    long = np.array(sizes) >= (where.slice_length or 1)
    if not long.any():
        raise NwsError(f"no net of {zoo.path} has a slice left without {', '.join(where.without)}: use a shorter slice")
    if not long.all():
        notes.append(f"{(~long).sum():,} nets left out: shorter than a slice without {', '.join(where.without)}")
    return table[long]
