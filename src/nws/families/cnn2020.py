"""The paper's family: its hyper-parameters (Table 1), its network (Algorithm 1) and the 2020 program's codes.

Hyper-parameters -> layout, initial theta, and the net itself as a plain PyTorch module.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from nws.errors import NwsError
from nws.families.base import Family
from nws.families.space import Config, Property, Space
from nws.layout import Layout, Tensor

if TYPE_CHECKING:
    import torch

    from nws.images import ImageSet

_TABLE = (
    Property("dataset", ("mnist", "cifar10", "svhn", "stl10", "fashion"), "image set the net was trained on", closed=False),
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

SIDE, CHANNELS = 32, 3  # input pictures are 32 x 32 x 3 in [0, 1]
OUTPUTS = 20  # labels use the first ten
BATCH_NORM_EPS, BATCH_NORM_DECAY = 1e-5, 0.9
DROPOUT = 0.5
# Batch norm's gamma starts at N(1, 0.002), not at 1. With constant initialization this noise is all that tells the channels
# of a layer apart: with gamma exactly 1 every filter of a layer would stay identical for ever.
GAMMA_SPREAD = 0.002


class HyperParameters(Config):
    """Everything that is chosen before one training of the paper's nets (Table 1). Refuses nonsense when built."""

    __slots__ = ()

    def __init__(self, *values: Any, **named: Any):
        super().__init__(CNN2020, {**dict(zip(PROPERTIES, values)), **named})

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> HyperParameters:
        """From any mapping with at least the thirteen names; others are ignored."""
        return cls(**{name: values[name] for name in PROPERTIES if name in values})

    @classmethod
    def from_2020(cls, row: Mapping[str, Any]) -> HyperParameters:
        """From a row of a meta.csv or split table of the 2020 program (see `to_2020`)."""
        missing = [p.column_2020 for p in _TABLE if p.column_2020 not in row]
        if missing:
            raise NwsError(f"the table lacks the column {', '.join(missing)}")
        return cls(**{p.name: _decode(p, row[p.column_2020]) for p in _TABLE})

    def to_2020(self) -> dict[str, Any]:
        """Column -> value as the 2020 program writes them: positions for the coded properties, 0/1 for switches."""
        values = self.to_dict()
        return {
            p.column_2020: p.options.index(values[p.name]) if p.coded else int(values[p.name]) if p.type is bool else values[p.name]
            for p in _TABLE
        }


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


class Cnn2020(Family):
    """Small CNNs with random hyper-parameters on pictures of 32 x 32 x 3 (Table 1 and Algorithm 1 of the paper)."""

    name = "cnn2020"
    properties = _TABLE

    @property
    def spaces(self) -> Mapping[str, Space]:
        return SPACES

    def config(self, values: Mapping[str, Any]) -> HyperParameters:
        return HyperParameters(**values)

    def check(self, config: Config) -> None:
        if config.filter_size % 2 == 0:
            raise NwsError(f"filter_size={config.filter_size}: must be odd, so that 'same' convolutions have a centre")
        if config.width_fc >> (config.depth_fc - 1) < 1:
            raise NwsError(
                f"width_fc={config.width_fc} is halved {config.depth_fc - 1} times (depth_fc={config.depth_fc}): nothing is left"
            )

    def why_not(self, config: Config, images: ImageSet) -> str | None:
        if images.shape != (SIDE, SIDE, CHANNELS):
            return f"the paper's nets read pictures of {SIDE} x {SIDE} x {CHANNELS}, {images.name} has {images.shape}"
        if len(images.classes) > OUTPUTS:
            return f"the paper's nets have {OUTPUTS} outputs, {images.name} has {len(images.classes)} classes"
        return None

    def domain(self, config: Any) -> tuple[tuple[int, ...], float, float]:
        return (CHANNELS, SIDE, SIDE), 0.0, 1.0

    def layout(self, config: Any) -> Layout:
        return layout(config)

    def init(self, config: Any, rng: np.random.Generator) -> np.ndarray:
        return initialize(config, rng)

    def module(self, config: Any, generator: torch.Generator | None = None, dropout: float = DROPOUT) -> torch.nn.Sequential:
        return module(config, generator, dropout)


CNN2020 = Cnn2020()
MAIN = Space({p.name: (True,) if p.name == "batch_norm" else p.options for p in _TABLE}, CNN2020)
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


def blocks(depth_conv: int) -> list[int]:
    """Convolutions in each of the three blocks: 1+1+1, 1+1+2, 1+2+2 for the paper's depths 3, 4, 5."""
    each, rest = divmod(depth_conv, 3)
    return [each + (block >= 3 - rest) for block in range(3)]


def layout(hp: HyperParameters) -> Layout:
    """The tensors of theta for these hyper-parameters (section 3; `layout(hp).size` weights)."""
    rows: list[tuple[Any, ...]] = []

    def add(layer: str, weight: tuple[int, ...], part: str, norm: bool, *grid: tuple[int, int]) -> None:
        rows.append((layer, "weight", weight, part, *grid))
        for role in ("bias", *(("beta", "gamma", "mean", "var") if norm else ())):
            rows.append((layer, role, weight[:1], part))

    channels, number = CHANNELS, 0
    for block, convolutions in enumerate(blocks(hp.depth_conv)):
        for _ in range(convolutions):
            number += 1
            width = hp.width_conv << block
            add(f"conv{number}", (width, channels, hp.filter_size, hp.filter_size), "conv", hp.batch_norm)
            channels = width
    side = SIDE >> 3
    units, grid = side * side * channels, [(side, side)]
    for c in range(hp.depth_fc):
        width = hp.width_fc >> c
        add(f"fc{c + 1}", (width, units), "fc", hp.batch_norm, *grid)
        units, grid = width, []
    add("out", (OUTPUTS, units), "fc", False)
    return Layout(rows, chain=True)


def initialize(hp: HyperParameters, rng: np.random.Generator) -> np.ndarray:
    """Initial theta (P,) float32: filters and matrices by `hp.initialization`, biases 0, batch norm at rest (A.1)."""
    start = {"bias": 0.0, "beta": 0.0, "mean": 0.0, "var": 1.0}
    where = layout(hp)
    theta = np.empty(where.size, np.float32)
    for t in where.tensors:
        values: Any = start.get(t.role)
        if t.role == "weight":
            values = initial_weight(hp.initialization, t, rng)
        elif t.role == "gamma":
            values = rng.normal(1.0, GAMMA_SPREAD, t.shape)
        theta[t.start : t.stop] = np.reshape(values, -1)
    return theta


def initial_weight(rule: str, t: Tensor, rng: np.random.Generator) -> np.ndarray | float:
    window = int(np.prod(t.shape[2:]))  # of a convolution; 1 for a matrix
    fan_in, fan_out = t.shape[1] * window, t.shape[0] * window
    deviation = np.sqrt(2.0 / (fan_in + fan_out))
    if rule == "constant":
        return 0.1
    if rule == "normal":
        return rng.standard_normal(t.shape)
    if rule == "glorot_uniform":
        return rng.uniform(-np.sqrt(3) * deviation, np.sqrt(3) * deviation, t.shape)
    # TensorFlow's Glorot normal: truncated at two standard deviations, then widened so that the variance is as promised.
    from scipy.special import ndtr, ndtri  # two thirds of the time that `import nws` would take

    truncated = ndtri(rng.uniform(ndtr(-2.0), ndtr(2.0), t.shape))
    return truncated * deviation / 0.87962566103423978


def module(hp: HyperParameters, generator: torch.Generator | None = None, dropout: float = DROPOUT) -> torch.nn.Sequential:
    """The net as a plain `nn.Sequential` on pictures (B, 3, 32, 32), whose state dict is `layout(hp).state_dict(theta)`.

    Convolution -> norm -> activation, but FC -> activation -> norm -> dropout, as in the 2020 program; that is why running means
    of FC layers reveal the activation function (Figs. 3, 16). Dropout draws from `generator`.
    """
    from torch import nn

    from nws.dropout import Dropout

    activation = {"relu": nn.ReLU, "elu": nn.ELU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}[hp.activation]
    norm: dict[str, Any] = {"eps": BATCH_NORM_EPS, "momentum": 1 - BATCH_NORM_DECAY}
    steps: OrderedDict[str, nn.Module] = OrderedDict()
    layers = layout(hp).layers
    number = 0
    for block, convolutions in enumerate(blocks(hp.depth_conv), 1):
        for _ in range(convolutions):
            number += 1
            width, channels, side, _ = layers[f"conv{number}"]["weight"].shape
            steps[f"conv{number}"] = nn.Conv2d(channels, width, side, padding=side // 2)
            if hp.batch_norm:
                steps[f"conv{number}_norm"] = nn.BatchNorm2d(width, **norm)
            steps[f"conv{number}_activation"] = activation()
        steps[f"pool{block}"] = nn.MaxPool2d(2)
    steps["flatten"] = nn.Flatten()
    for c in range(1, hp.depth_fc + 1):
        width, units = layers[f"fc{c}"]["weight"].shape
        steps[f"fc{c}"] = nn.Linear(units, width)
        steps[f"fc{c}_activation"] = activation()
        if hp.batch_norm:
            steps[f"fc{c}_norm"] = nn.BatchNorm1d(width, **norm)
        steps[f"fc{c}_dropout"] = Dropout(dropout, generator)
    steps["out"] = nn.Linear(layers["out"]["weight"].shape[1], OUTPUTS)
    return nn.Sequential(steps)
