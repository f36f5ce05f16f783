"""What can be read from weights: a property of the net, or a number that was measured at the very snapshot that is read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from nws.errors import unknown
from nws.net import HISTORY, at_snapshots
from nws.space import Property
from nws.zoo import Zoo


@dataclass(frozen=True)
class Measured:
    """A column of the nets' histories."""

    name: str
    help: str
    unit: str


_TABLE = (
    Measured("test_accuracy", "share of right answers on the test images at the snapshot that is read", "accuracy"),
    Measured("train_accuracy", "the same on training images", "accuracy"),
    Measured("validation_accuracy", "the same on validation images", "accuracy"),
)
MEASURED: dict[str, Measured] = {m.name: m for m in _TABLE}
assert set(MEASURED) <= set(HISTORY)


@dataclass(frozen=True)
class Target:
    """What is read from the weights of a zoo.

    kind      "classes" or "number"
    unit      of a number: "accuracy" (0 to 1), or the property's own, said by its name; of classes: none
    property  that it is; None for what was measured
    """

    name: str
    kind: str
    unit: str
    property: Property | None = None

    def classes(self, found: Iterable[str]) -> list[str]:
        """The labels that occur, in the order of the property's options, then the alphabet; none for a number."""
        if self.property is None or self.kind == "number":
            return []
        options = [self.property.label(option) for option in self.property.options]
        return sorted(set(found), key=lambda label: (options.index(label) if label in options else len(options), label))


def names(zoo: Zoo) -> list[str]:
    """All that can be asked of a zoo: its properties, own columns included (`Zoo.annotate`), then what was measured."""
    known = list(zoo.properties)
    return [*known, *(name for name in MEASURED if name not in known)]


def target(zoo: Zoo, name: str) -> Target:
    """The target of this name; NwsError when the zoo has none."""
    known = zoo.properties
    if name in known:
        number = known[name].continuous
        return Target(name, "number" if number else "classes", name.replace("_", " ") if number else "", known[name])
    if name in MEASURED:
        return Target(name, "number", MEASURED[name].unit)
    raise unknown("property", name, names(zoo))


def values(zoo: Zoo, name: str, nets: np.ndarray, snapshots: Iterable[int]) -> np.ndarray:
    """(n, S): labels (text) of classes, floats of a number; NaN where nobody measured. Snapshots are numbered from 1."""
    asked, at = target(zoo, name), np.array(list(snapshots), int) - 1
    if asked.property is None:
        column = HISTORY.index(name)
        return np.stack([at_snapshots(*zoo.records(int(net)))[at, column] for net in nets])
    column = zoo.index.loc[nets, name]
    of_net = (
        column.to_numpy(float, na_value=np.nan) if asked.kind == "number" else np.array([asked.property.label(v) for v in column])
    )
    return np.repeat(of_net[:, None], len(at), 1)
