"""What can be read from weights: a property of the net, or a number that was measured at the very snapshot that is read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nws.errors import unknown
from nws.families.space import Property

if TYPE_CHECKING:
    from nws.zoo.zoo import Zoo


@dataclass(frozen=True)
class Measured:
    """A column of the nets' histories whose unit is known. A family's other measures are targets too."""

    name: str
    help: str
    unit: str


_TABLE = (
    Measured("test_accuracy", "share of right answers on the test images at the snapshot that is read", "accuracy"),
    Measured("train_accuracy", "the same on training images", "accuracy"),
    Measured("validation_accuracy", "the same on validation images", "accuracy"),
)
MEASURED: dict[str, Measured] = {m.name: m for m in _TABLE}


@dataclass(frozen=True)
class Target:
    """What is read from the weights of a zoo.

    kind      "classes", "number", or "per_weight": a switch for every edge of a net (`nws.families.masks`)
    unit      of a number: "accuracy" (0 to 1), or the property's own, said by its name; of classes: none
    property  that it is; None for what was measured
    """

    name: str
    kind: str
    unit: str
    property: Property | None = None

    def classes(self, found: Iterable[str]) -> list[str]:
        """The labels that occur, in the order of the property's options, then the alphabet; none for a number."""
        if self.property is None or self.kind != "classes":
            return []
        options = [self.property.label(option) for option in self.property.options]
        return sorted(set(found), key=lambda label: (options.index(label) if label in options else len(options), label))


def names(zoo: Zoo) -> list[str]:
    """All that can be asked of a zoo: its properties, own columns included (`Zoo.annotate`), what was measured, values per edge."""
    return list(dict.fromkeys([*zoo.properties, *_measured(zoo), *zoo.family.per_weight]))


def _measured(zoo: Zoo) -> list[str]:
    """What the nets' histories say beside the steps, or derive from other columns."""
    return [name for name in zoo.family.measures if name not in ("step", "filtered_validation_accuracy")]


def target(zoo: Zoo, name: str) -> Target:
    """The target of this name; NwsError when the zoo has none."""
    known = zoo.properties
    if name in known:
        number = known[name].continuous
        return Target(name, "number" if number else "classes", name.replace("_", " ") if number else "", known[name])
    if name in _measured(zoo):
        return Target(name, "number", MEASURED[name].unit if name in MEASURED else name.replace("_", " "))
    if name in zoo.family.per_weight:
        return Target(name, "per_weight", "")
    raise unknown("property", name, names(zoo))


def values(zoo: Zoo, name: str, nets: np.ndarray, snapshots: Iterable[int]) -> np.ndarray:
    """(n, S): labels (text) of classes, floats of a number; NaN where nobody measured. Snapshots are numbered from 1."""
    asked, at = target(zoo, name), np.array(list(snapshots), int) - 1
    if asked.property is None:
        return np.stack([zoo.measured(int(net))[name][at] for net in nets])
    column = zoo.index.loc[nets, name]
    of_net = (
        column.to_numpy(float, na_value=np.nan) if asked.kind == "number" else np.array([asked.property.label(v) for v in column])
    )
    return np.repeat(of_net[:, None], len(at), 1)
