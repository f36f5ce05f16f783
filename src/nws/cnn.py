"""Algorithm 1 of the paper: hyper-parameters -> layout, initial theta, and the net itself as a plain PyTorch module."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np

from nws.layout import Layout, Tensor
from nws.space import HyperParameters

if TYPE_CHECKING:
    import torch

SIDE, CHANNELS = 32, 3  # input pictures are 32 x 32 x 3 in [0, 1]
OUTPUTS = 20  # labels use the first ten
BATCH_NORM_EPS, BATCH_NORM_DECAY = 1e-5, 0.9
DROPOUT = 0.5
# Batch norm's gamma starts at N(1, 0.002), not at 1. With constant initialization this noise is all that tells the channels
# of a layer apart: with gamma exactly 1 every filter of a layer would stay identical for ever.
GAMMA_SPREAD = 0.002


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
    return Layout(rows)


def initialize(hp: HyperParameters, rng: np.random.Generator) -> np.ndarray:
    """Initial theta (P,) float32: filters and matrices by `hp.initialization`, biases 0, batch norm at rest (A.1)."""
    start = {"bias": 0.0, "beta": 0.0, "mean": 0.0, "var": 1.0}
    where = layout(hp)
    theta = np.empty(where.size, np.float32)
    for t in where.tensors:
        values: Any = start.get(t.role)
        if t.role == "weight":
            values = _initial_weight(hp.initialization, t, rng)
        elif t.role == "gamma":
            values = rng.normal(1.0, GAMMA_SPREAD, t.shape)
        theta[t.start : t.stop] = np.reshape(values, -1)
    return theta


def _initial_weight(rule: str, t: Tensor, rng: np.random.Generator) -> np.ndarray | float:
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
