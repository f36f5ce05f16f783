"""The hyper-parameter space (Table 1 of the paper), said once.

Sampling, validation, column order, labels, the codes of the 2020 files and the CLI's help all follow from `PROPERTIES`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Set
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np

from nws.errors import NwsError, unknown


@dataclass(frozen=True)
class Property:
    """One hyper-parameter: a thing that is chosen before a training and may be read back from the weights.

    `options` are the paper's values, or (low, high) when `continuous`. A `closed` property accepts nothing else; an open one
    accepts any value that makes sense (`minimum` to `maximum`), so that users can extend the space.
    """

    name: str
    options: tuple[Any, ...]
    help: str
    column: str = ""  # its name in the 2020 files, where that differs
    continuous: bool = False
    closed: bool = False
    minimum: int = 1
    maximum: int = 1 << 20  # a stranger's file may claim any number, and loops run so often
    coded: bool = False  # the 2020 files write the option's position instead of the option

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
        if self.continuous:
            if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= sys.float_info.max:
                return float(value)
            raise NwsError(f"{self.name}={value!r}: must be a positive number, the paper draws from {self.options}")
        if self.type is str:
            if isinstance(value, str) and value and value.isprintable():
                return value
            raise NwsError(f"{self.name}={value!r}: must be the name of an image set")
        if isinstance(value, int) and not isinstance(value, bool) and self.minimum <= value <= self.maximum:
            return value
        said = f"{self.name}={value!r}" if len(str(value)) < 40 else self.name
        raise NwsError(f"{said}: must be a whole number of {self.minimum} to {self.maximum:,}, the paper's are {self.options}")

    def label(self, value: Any) -> str:
        """How the value is written in tables, figures and as a class: on/off for switches."""
        if self.type is bool:
            return "on" if value else "off"
        return f"{value:g}" if self.continuous else str(value)

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
            return float(low + (high - low) * u)
        return options[int(u * len(options))]


_TABLE = (
    Property("dataset", ("mnist", "cifar10", "svhn", "stl10", "fashion"), "image set the net was trained on"),
    Property("learning_rate", (0.0002, 0.005), "initial learning rate, x0.96 after each epoch", column="lrate", continuous=True),
    Property("batch_size", (32, 64, 128, 256), "images per training step"),
    Property("batch_norm", (False, True), "batch normalization after each layer", closed=True),
    Property("augmentation", (False, True), "random geometry, colour and noise on the training images", closed=True),
    Property("optimizer", ("adam", "rmsprop", "momentum"), "training rule", closed=True, coded=True),
    Property("activation", ("relu", "elu", "sigmoid", "tanh"), "activation function", closed=True, coded=True),
    Property(
        "initialization",
        ("constant", "normal", "glorot_uniform", "glorot_normal"),
        "where filters and matrices start",
        closed=True,
        coded=True,
    ),
    Property("filter_size", (3, 5, 7), "side of the convolutions' windows (odd)"),
    Property("depth_conv", (3, 4, 5), "convolutional layers", minimum=3, maximum=1000),
    Property("depth_fc", (2, 3, 4), "hidden fully connected layers", maximum=1000),
    Property("width_conv", (4, 8, 12), "channels of the first block (the last has four times as many)"),
    Property("width_fc", (64, 128, 192), "units of the first fully connected layer"),
)
PROPERTIES: dict[str, Property] = {p.name: p for p in _TABLE}
ARCHITECTURE = ("filter_size", "depth_conv", "depth_fc", "width_conv", "width_fc")


@dataclass(frozen=True)
class HyperParameters:
    """Everything that is chosen before one training (Table 1). Refuses nonsense when built."""

    dataset: str
    learning_rate: float
    batch_size: int
    batch_norm: bool
    augmentation: bool
    optimizer: str
    activation: str
    initialization: str
    filter_size: int
    depth_conv: int
    depth_fc: int
    width_conv: int
    width_fc: int

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            object.__setattr__(self, name, PROPERTIES[name].check(value))
        if self.filter_size % 2 == 0:
            raise NwsError(f"filter_size={self.filter_size}: must be odd, so that 'same' convolutions have a centre")
        if self.width_fc >> (self.depth_fc - 1) < 1:
            raise NwsError(
                f"width_fc={self.width_fc} is halved {self.depth_fc - 1} times (depth_fc={self.depth_fc}): nothing is left"
            )

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> HyperParameters:
        """From any mapping with at least the thirteen names; others are ignored."""
        missing = [name for name in PROPERTIES if name not in values]
        if missing:
            raise NwsError(f"hyper-parameters lack {', '.join(missing)}")
        return cls(**{name: values[name] for name in PROPERTIES})

    @classmethod
    def from_2020(cls, row: Mapping[str, Any]) -> HyperParameters:
        """From a row of a meta.csv or split table of the 2020 program (see `to_2020`)."""
        missing = [p.column_2020 for p in _TABLE if p.column_2020 not in row]
        if missing:
            raise NwsError(f"the table lacks the column {', '.join(missing)}")
        return cls(**{p.name: _decode(p, row[p.column_2020]) for p in _TABLE})

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def to_2020(self) -> dict[str, Any]:
        """Column -> value as the 2020 program writes them: positions for the coded properties, 0/1 for switches."""
        values = asdict(self)
        return {
            p.column_2020: p.options.index(values[p.name]) if p.coded else int(values[p.name]) if p.type is bool else values[p.name]
            for p in _TABLE
        }

    def with_(self, **changes: Any) -> HyperParameters:
        return replace(self, **changes)


assert tuple(f.name for f in fields(HyperParameters)) == tuple(PROPERTIES)


def _whole(text: str) -> int:
    """3 for "3" and "3.0": a table that passed through pandas may have turned whole numbers into floats."""
    if float(text) != int(float(text)):
        raise ValueError
    return int(float(text))


def _decode(p: Property, cell: Any) -> Any:
    text = str(cell).strip()
    try:
        if p.coded:
            position = _whole(text)
            if position not in range(len(p.options)):
                raise NwsError(f"{p.column_2020}={text}: the code must be 0 to {len(p.options) - 1}")
            return p.options[position]
        if p.type is bool:
            return {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}[text.lower()]
        if p.type is int:
            return _whole(text)
        return p.type(text)
    except (KeyError, ValueError, OverflowError) as error:
        if isinstance(error, NwsError):
            raise
        raise NwsError(f"{p.column_2020}={text!r} cannot be read as {p.name}") from None


@dataclass(frozen=True)
class Space:
    """A set of options per property, from which nets are drawn independently. Net i depends on (seed, i) only."""

    options: Mapping[str, tuple[Any, ...]]

    def __post_init__(self) -> None:
        missing = [name for name in PROPERTIES if name not in self.options]
        if missing:
            raise NwsError(f"the space lacks {', '.join(missing)}: start from MAIN or FIXED and change it with `with_`")
        checked = {}
        for name, property_ in PROPERTIES.items():
            values = tuple(property_.check(v) for v in self.options[name])
            if not values:
                raise NwsError(f"{name}: a space needs at least one option")
            if property_.continuous and (len(values) > 2 or values[0] > values[-1]):
                raise NwsError(f"{name}={values}: give one value, or a range (low, high)")
            checked[name] = values
        object.__setattr__(self, "options", checked)

    def with_(self, **options: Any) -> Space:
        """The same space with some properties narrowed, fixed or extended: a value, or a list of values.

        >>> FIXED.with_(optimizer="adam", dataset=["fashion", "kmnist"]).options["dataset"]
        ('fashion', 'kmnist')
        """
        changed = dict(self.options)
        for name, value in options.items():
            if name not in PROPERTIES:
                raise unknown("property", name, PROPERTIES)
            if isinstance(value, Set):  # its order differs from process to process, and the nets with it
                raise NwsError(f"{name}: give the options as a list, a set has no order")
            changed[name] = tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else (value,)
        return Space(changed)

    def net(self, seed: int, number: int) -> HyperParameters:
        """The hyper-parameters of net `number`: a function of (seed, number).

        One uniform number per property, drawn in column order, so that narrowing one property leaves the others as they were.
        """
        for what, value in (("seed", seed), ("net number", number)):
            if not 0 <= value < 2**32:  # NumPy cuts into 32-bit words: a larger seed would repeat the stream of another net
                raise NwsError(f"{what} {value:,} must be 0 to {2**32 - 1:,}")
        u = np.random.default_rng([seed, number]).random(len(PROPERTIES))
        return HyperParameters(**{p.name: p.draw(float(x), self.options[p.name]) for p, x in zip(_TABLE, u, strict=True)})

    def sample(self, n: int, seed: int = 0) -> list[HyperParameters]:
        """The first n nets of the space with this seed."""
        return [self.net(seed, number) for number in range(n)]


MAIN = Space({p.name: (True,) if p.name == "batch_norm" else p.options for p in _TABLE})
FIXED = MAIN.with_(filter_size=5, depth_conv=3, depth_fc=2, width_conv=8, width_fc=128)
SPACES = {"fixed": FIXED, "main": MAIN}

# What augmentation=True does to an image: each change uniform in [low, high]. Translation in pixels, angles in degrees. Zoom is
# the program's +-10%: the paper prints 3.3%, which the program multiplies by 3, as it does the other geometric ranges.
AUGMENTATION = {
    "shift_x": (-3.0, 3.0),
    "shift_y": (-3.0, 3.0),
    "rotation": (-15.0, 15.0),
    "zoom": (0.9, 1.1),
    "shear_x": (-3.0, 3.0),
    "shear_y": (-3.0, 3.0),
    "brightness": (-0.2, 0.2),
    "contrast": (0.5, 1.5),
    "hue": (-0.08, 0.08),  # in turns of the colour circle
    "saturation": (0.3, 1.5),
    "noise": (0.0, 0.03),  # standard deviation
}
