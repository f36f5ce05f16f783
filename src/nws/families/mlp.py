"""Fully connected nets on pictures of any size, with weight decay, dropout and label noise among what is chosen."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nws.errors import NwsError, unknown
from nws.families.base import Family
from nws.families.cnn2020 import PROPERTIES, initial_weight
from nws.families.space import Config, Property
from nws.layout import Layout

if TYPE_CHECKING:
    import torch

    from nws.images import ImageSet

_ADDED = (
    Property("weight_decay", (0.0, 1e-4, 1e-3, 1e-2), "L2 penalty: this times each matrix joins its gradient", minimum=0),
    Property("label_noise", (0.0, 0.1, 0.3), "share of the training labels that are replaced by random other ones", minimum=0),
    Property("dropout", (0.0, 0.2, 0.5), "share of the hidden units left out in training", minimum=0),
)
STANDARD: dict[str, Property] = {**PROPERTIES, **{p.name: p for p in _ADDED}}


def standard(*names: str) -> tuple[Property, ...]:
    """Properties that the built-in loop knows, ready for a family's table: `standard("dataset", "learning_rate", "batch_size")`."""
    for name in names:
        if name not in STANDARD:
            raise unknown("standard property", name, STANDARD)
    return tuple(STANDARD[name] for name in names)


ARCHITECTURE = ("depth", "width", "side", "channels", "classes")


class Mlp(Family):
    """Fully connected nets: pictures of side x side x channels, `depth` hidden layers of `width` units, one output per class.

    Matrices start by `initialization`, biases at 0. Pictures are resized when the side is not theirs (`ImageSet.resized`).
    """

    name = "mlp"
    properties = (
        *standard("dataset", "learning_rate", "batch_size", "optimizer", "activation"),
        replace(PROPERTIES["initialization"], options=("normal", "glorot_uniform", "glorot_normal")),
        Property("depth", (1, 2, 3), "hidden layers", maximum=1000),
        Property("width", (16, 32, 64), "units of each hidden layer"),
        *_ADDED,
        Property("side", (14,), "rows and columns of the pictures", maximum=1024),
        Property("channels", (1,), "1: grey pictures, 3: coloured ones", maximum=3),
        Property("classes", (10,), "outputs; follows from the image set", minimum=1, maximum=10_000),
    )

    def check(self, config: Config) -> None:
        if config.channels == 2:
            raise NwsError("channels=2: pictures are grey (1) or coloured (3)")
        for name in ("label_noise", "dropout"):
            if config.get(name) >= 1:
                raise NwsError(f"{name}={config.get(name)}: must be a share from 0 to below 1")

    def for_images(self, config: Config, images: ImageSet) -> Config:
        return config.with_(classes=len(images.classes))

    def pictures(self, config: Config, images: ImageSet) -> ImageSet:
        return images.resized(config.side, config.channels)

    def domain(self, config: Any) -> tuple[tuple[int, ...], float, float]:
        return (config.channels, config.side, config.side), 0.0, 1.0

    def layout(self, config: Any) -> Layout:
        rows: list[tuple[Any, ...]] = []
        units = config.side**2 * config.channels
        widths = [*[config.width] * config.depth, config.classes]
        for k, width in enumerate(widths, 1):
            layer = "out" if k == len(widths) else f"fc{k}"
            rows += [(layer, "weight", (width, units), "fc"), (layer, "bias", (width,), "fc")]
            units = width
        return Layout(rows, chain=True)

    def init(self, config: Any, rng: np.random.Generator) -> np.ndarray:
        where = self.layout(config)
        theta = np.zeros(where.size, np.float32)
        for t in where.tensors:
            if t.role == "weight":
                theta[t.start : t.stop] = np.reshape(initial_weight(config.initialization, t, rng), -1)
        return theta

    def module(self, config: Any, generator: torch.Generator | None = None, dropout: float | None = None) -> torch.nn.Sequential:
        from torch import nn

        from nws.dropout import Dropout

        activation = {"relu": nn.ReLU, "elu": nn.ELU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}[config.activation]
        share = config.dropout if dropout is None else dropout
        steps: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
        units = config.side**2 * config.channels
        for k in range(1, config.depth + 1):
            steps[f"fc{k}"] = nn.Linear(units, config.width)
            steps[f"fc{k}_activation"] = activation()
            if share:
                steps[f"fc{k}_dropout"] = Dropout(share, generator)
            units = config.width
        steps["out"] = nn.Linear(units, config.classes)
        return nn.Sequential(steps)


MLP = Mlp()
