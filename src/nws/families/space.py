"""What may be chosen before a training: properties, one choice of them all (a config), and spaces that configs are drawn from.

Each family of nets has a table of properties (`nws.families`). Sampling, validation, the columns of the index, labels and the
help of the command line all follow from that table.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from nws.errors import NwsError, unknown

if TYPE_CHECKING:
    from nws.families.base import Family


@dataclass(frozen=True)
class Property:
    """One hyper-parameter: a thing that is chosen before a training and may be read back from the weights.

    `options` are the values that are drawn, or (low, high) when `continuous`. A `closed` property accepts nothing else; an open one
    accepts any value that makes sense (`minimum` to `maximum`), so that users can extend the space. Text and switches are closed
    unless `closed=False`.
    default  what nets have that were trained before the property was added to their family; None: every net states it.
    """

    name: str
    options: tuple[Any, ...]
    help: str = ""
    column: str = ""  # its name in the 2020 files, where that differs
    continuous: bool = False
    closed: bool | None = None
    minimum: float | None = None  # None: 1 for whole numbers, anything above 0 for others
    maximum: int = 1 << 20  # a stranger's file may claim any number, and loops run so often
    coded: bool = False  # the 2020 files write the option's position instead of the option
    default: Any = None
    log: bool = False  # of a continuous one: drawn evenly in the logarithm

    def __post_init__(self) -> None:
        options = tuple(self.options)
        if not self.name or not options or len({type(o) for o in options}) > 1:
            raise NwsError(f"property {self.name!r}: needs a name and at least one option, all of one type")
        if not isinstance(options[0], str | int | float):
            raise NwsError(f"property {self.name}: options are text, whole numbers, numbers or switches, not {options[0]!r}")
        object.__setattr__(self, "options", options)
        if self.closed is None:
            object.__setattr__(self, "closed", self.type in (str, bool))

    @property
    def column_2020(self) -> str:
        return self.column or self.name

    @property
    def type(self) -> type:
        return type(self.options[0])

    def check(self, value: Any) -> Any:
        """The value in its own type; NwsError when it makes no sense for this property."""
        if isinstance(value, np.generic):
            value = value.item()
        if self.closed:
            for option in self.options:
                if value == option:
                    return option
            raise unknown(self.name, value, self.options)
        if self.type is str:
            if isinstance(value, str) and value and value.isprintable():
                return value
            what = "the name of an image set" if self.name == "dataset" else f"printable text, such as {self.options[0]}"
            raise NwsError(f"{self.name}={value!r}: must be {what}")
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if self.type is float:
            if number and (value > 0 if self.minimum is None else value >= self.minimum) and abs(value) <= sys.float_info.max:
                return float(value)
            what = "a positive number" if self.minimum is None else f"a number of at least {self.minimum:g}"
            raise NwsError(f"{self.name}={value!r}: must be {what}, the usual ones are {self.options}")
        least = 1 if self.minimum is None else int(self.minimum)
        if isinstance(value, int) and number and least <= value <= self.maximum:
            return value
        shown = f"{self.name}={value!r}" if len(str(value)) < 40 else self.name
        raise NwsError(f"{shown}: must be a whole number of {least} to {self.maximum:,}, the usual ones are {self.options}")

    def label(self, value: Any) -> str:
        """How the value is written in tables, figures and as a class: on/off for switches."""
        return label(bool(value) if self.type is bool else float(value) if self.type is float else value)

    def parse(self, text: str) -> Any:
        """The value a user typed; the inverse of `label`."""
        try:
            if self.type is bool:
                return {"on": True, "true": True, "1": True, "off": False, "false": False, "0": False}[text.lower()]
            return self.check(self.type(text))
        except (KeyError, ValueError) as error:
            if isinstance(error, NwsError):
                raise
            raise NwsError(f"{self.name}={text}: write it like {', '.join(self.label(o) for o in self.options)}") from None

    def draw(self, u: float, options: tuple[Any, ...]) -> Any:
        """The value for u, uniform in [0, 1)."""
        if len(options) == 1:
            return options[0]
        if self.continuous:
            low, high = options
            return float(low * (high / low) ** u) if self.log else float(low + (high - low) * u)
        return options[int(u * len(options))]

    def to_dict(self) -> dict[str, Any]:
        """What zoo.json keeps of it, so that a zoo can be read without the code of its family."""
        return {"name": self.name, "options": list(self.options), "help": self.help, "continuous": self.continuous}


def label(value: Any) -> str:
    """How a value is written in tables, figures and as a class: on/off for switches."""
    if isinstance(value, bool | np.bool_):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


class Config:
    """What is chosen before one training: a family of nets, and a value for each of its properties. Immutable, refuses nonsense.

    The values are attributes: config.optimizer. NwsError for an unknown, missing or impossible value.
    """

    __slots__ = ("_values", "family")
    family: Family
    _values: dict[str, Any]

    def __init__(self, family: Family, values: Mapping[str, Any]):
        known = {p.name: p for p in family.properties}
        for name in values:
            if name not in known:
                raise unknown(f"{family.name}: property", name, known)
        if missing := [name for name, p in known.items() if name not in values and p.default is None]:
            raise NwsError(f"hyper-parameters lack {', '.join(missing)}")
        checked = {name: p.check(values.get(name, p.default)) for name, p in known.items()}
        object.__setattr__(self, "family", family)
        object.__setattr__(self, "_values", checked)
        family.check(self)

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and name in self._values:
            return self._values[name]
        raise AttributeError(f"{type(self).__name__} of {self.family.name} has no property {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("a config is immutable: use with_")

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Config) and self.family.name == other.family.name and self._values == other._values

    def __hash__(self) -> int:
        return hash((self.family.name, *self._values.values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self._values.items())})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (self.family, self._values)

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a property, or `default` where the family has no such property."""
        return self._values.get(name, default)

    def to_dict(self) -> dict[str, Any]:
        return dict(self._values)

    def with_(self, **changes: Any) -> Self:
        return self.family.config({**self._values, **changes})  # type: ignore[return-value]  # of the same family


def _rebuilt(family: Family, values: Mapping[str, Any]) -> Config:
    return family.config(values)


class Space:
    """A set of options per property, from which nets are drawn independently. Net i depends on (seed, i) only."""

    def __init__(self, options: Mapping[str, Iterable[Any]], family: Family):
        self.family = family
        self.properties = {p.name: p for p in family.properties}
        missing = [name for name, p in self.properties.items() if name not in options and p.default is None]
        if missing:
            raise NwsError(f"the space lacks {', '.join(missing)}: start from a space of the family and change it with `with_`")
        checked = {}
        for name, property_ in self.properties.items():
            values = tuple(property_.check(v) for v in options.get(name, (property_.default,)))
            if not values:
                raise NwsError(f"{name}: a space needs at least one option")
            if property_.continuous and (len(values) > 2 or values[0] > values[-1]):
                raise NwsError(f"{name}={values}: give one value, or a range (low, high)")
            checked[name] = values
        self.options: Mapping[str, tuple[Any, ...]] = checked

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Space) and self.family.name == other.family.name and self.options == other.options

    def __hash__(self) -> int:
        return hash((self.family.name, *self.options.values()))

    def __repr__(self) -> str:
        return f"Space({dict(self.options)!r}, family={self.family.name})"

    def _repr_html_(self) -> str:
        """A table for notebooks: property, options, what it is."""
        from html import escape

        rows = [
            f"<tr><td>{name}</td><td>{escape(self._said(name))}</td><td>{escape(p.help)}</td></tr>"
            for name, p in self.properties.items()
        ]
        head = "<tr><th>property</th><th>options</th><th></th></tr>"
        return f"<table><caption>space of {escape(self.family.name)}</caption>{head}{''.join(rows)}</table>"

    def _said(self, name: str) -> str:
        labels = [self.properties[name].label(o) for o in self.options[name]]
        return (" to " if self.properties[name].continuous else ", ").join(labels)

    def with_(self, **options: Any) -> Space:
        """The same space with some properties narrowed, fixed or extended: a value, or a list of values.

        >>> import nws
        >>> nws.FIXED.with_(optimizer="adam", dataset=["fashion", "kmnist"]).options["dataset"]
        ('fashion', 'kmnist')
        """
        changed = dict(self.options)
        for name, value in options.items():
            if name not in self.properties:
                raise unknown("property", name, self.properties)
            if isinstance(value, Set):  # its order differs from process to process, and the nets with it
                raise NwsError(f"{name}: give the options as a list, a set has no order")
            changed[name] = tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else (value,)
        return Space(changed, self.family)

    def net(self, seed: int, number: int) -> Any:
        """The config of net `number`: a function of (seed, number).

        One uniform number per property, drawn in column order, so that narrowing one property leaves the others as they were, and
        a property that is added at the end of a table leaves all older ones.
        """
        for what, value in (("seed", seed), ("net number", number)):
            if not 0 <= value < 2**32:  # NumPy cuts into 32-bit words: a larger seed would repeat the stream of another net
                raise NwsError(f"{what} {value:,} must be 0 to {2**32 - 1:,}")
        u = np.random.default_rng([seed, number]).random(len(self.properties))
        drawn = {name: p.draw(float(x), self.options[name]) for (name, p), x in zip(self.properties.items(), u, strict=True)}
        return self.family.config(drawn)

    def sample(self, n: int, seed: int = 0) -> list[Any]:
        """The first n nets of the space with this seed."""
        return [self.net(seed, number) for number in range(n)]
