"""A task, put to one meta-classifier about one zoo: which nets it may use, what their labels are, which weights it reads."""

from __future__ import annotations

import builtins
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nws.errors import NwsError
from nws.inputs import Where
from nws.protocol import Task
from nws.space import Property
from nws.zoo import Zoo

OWN_SLICE = {"weights": 5000, "statistics": None, "layer-statistics": None}  # when a task leaves the slice to the meta-classifier


@dataclass(frozen=True)
class Question:
    """A task for one meta-classifier on the nets it may use: y (n,) are their labels, or floats for a regression."""

    task: Task
    property: Property
    name: str
    meta: Any
    where: Where
    nets: np.ndarray
    y: np.ndarray
    stored: np.ndarray | None
    notes: tuple[str, ...]

    @builtins.property
    def regression(self) -> bool:
        return self.property.continuous

    @builtins.property
    def classes(self) -> list[str]:
        """In the order of the property's options, then the alphabet."""
        if self.regression:
            return []
        labels = [self.property.label(o) for o in self.property.options]
        return sorted(set(self.y.tolist()), key=lambda label: (labels.index(label) if label in labels else len(labels), label))

    @builtins.property
    def learned(self) -> Where:
        """Which weights it learns from; `where` are those it is tested on."""
        return self.where if self.task.without_at == "both" else replace(self.where, without=())

    def labels(self, nets: np.ndarray) -> np.ndarray:
        of = dict(zip(self.nets.tolist(), self.y.tolist()))
        return np.array([of[net] for net in nets.tolist()])


def question(task: Task, name: str, meta: Any, zoo: Zoo) -> Question:
    where = _where(task, meta, zoo)
    table, notes = zoo.select(task.property, part=where.part, slice_length=where.slice_length, converged=task.converged)
    table = _only(table, task, zoo, notes)
    table = _long_enough_stripped(table, where, zoo, notes)
    nets = table.index.to_numpy()
    property_ = zoo.properties[task.property]
    if property_.continuous:
        y = table[task.property].to_numpy(float)
    else:
        y = np.array([property_.label(v) for v in table[task.property]])
        if len(set(y)) == 1:
            raise NwsError(
                f"{task.property} cannot be told apart in {zoo.path}: its {len(y)} usable nets all have {task.property}={y[0]}"
            )
    if meta.reads == "layer-statistics" or (meta.reads == "weights" and where.slice_length is None):
        if where.without and task.without_at == "test":
            raise NwsError(f"{name} reads every weight at its place, it cannot be tested without some: use without_at='both'")
        layouts = {zoo.layout(int(net)) for net in nets}
        if len(layouts) > 1:
            raise NwsError(
                f"{name} needs nets of one architecture, {zoo.path} has {len(layouts)}: use svm-linear-16, or dmc on slices"
            )
    stored = table["split"].to_numpy() if task.split == "stored" else None
    return Question(task, property_, name, meta, where, nets, y, stored, tuple(notes))


def _where(task: Task, meta: Any, zoo: Zoo) -> Where:
    """Which weights this meta-classifier reads in this task."""
    length: Any = OWN_SLICE[meta.reads] if task.slice_length is None else task.slice_length
    if meta.reads == "layer-statistics" or length == "whole":
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
        notes.append(f"only nets with {name}={zoo.properties[name].label(value)}")
        table = table[table[name] == value]
        if table.empty:
            raise NwsError(f"no usable net of {zoo.path} has {name}={zoo.properties[name].label(value)}: see `nws info {zoo.path}`")
    return table


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
