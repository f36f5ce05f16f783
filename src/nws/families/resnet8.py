"""Small residual nets for pictures of 32 x 32 x 3, as in the zoos of arXiv:2405.20231: eight layers of weights, group norm.

conv3x3 - norm - relu; three blocks of conv - norm - relu - conv - norm, added to what came in, relu, of w, 2 w and 4 w channels,
the second and third halving the picture; mean over pixels; linear. 78,042 weights in 29 tensors for w = 16.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from nws.errors import NwsError
from nws.families.base import Family, Record
from nws.families.mlp import standard
from nws.families.space import Config, Property
from nws.layout import Axis, Layout, Tensor

if TYPE_CHECKING:
    import torch

    from nws.images import ImageSet

SIDE, CHANNELS = 32, 3
BLOCKS = 3


class Resnet8(Family):
    """Nets of one shape, `width` channels in the first block; trained by AdamW, a learning rate that rises to its peak in the first
    passes and falls to 0, smoothed labels, random flips, shifts and cut-out squares (nws.families.resnet_training).

    They are trained on PyTorch's default device: `torch.set_default_device("cuda")` before `nws.sample(..., workers=1)`.
    """

    name = "resnet8"
    properties = (
        *standard("dataset"),
        Property("learning_rate", (0.005, 0.5), "peak of the learning rate", continuous=True, log=True),
        Property(
            "weight_decay",
            (1e-5, 0.1),
            "decay of every weight, decoupled (AdamW): times the learning rate",
            continuous=True,
            log=True,
        ),
        Property("smoothing", (0.0, 0.2), "share of each label that is spread over all classes", continuous=True, minimum=0),
        Property("passes", tuple(range(10, 40)), "passes over the training images", maximum=100_000),
        Property("batch_size", (512,), "images per training step"),
        Property(
            "width", (16,), "channels of the first block; the second has twice, the third four times as many", maximum=1 << 12
        ),
        Property("classes", (10,), "outputs; follows from the image set", minimum=1, maximum=10_000),
    )
    measures = ("step", "loss", "train_accuracy", "test_accuracy")

    def check(self, config: Config) -> None:
        if config.smoothing >= 1:
            raise NwsError(f"smoothing={config.smoothing}: must be a share from 0 to below 1")

    def for_images(self, config: Config, images: ImageSet) -> Config:
        return config.with_(classes=len(images.classes))

    def pictures(self, config: Config, images: ImageSet) -> ImageSet:
        return images.resized(SIDE, CHANNELS)

    def layout(self, config: Any) -> Layout:
        return _layout(config.width, config.classes)

    def init(self, config: Any, rng: np.random.Generator) -> np.ndarray:
        """Kaiming's normal filters and matrix, gamma 1, beta 0, the last bias within 1 / sqrt(inputs)."""
        where = self.layout(config)
        theta = np.zeros(where.size, np.float32)
        for t in where.tensors:
            inputs = int(np.prod(t.shape[1:]))
            if t.role == "weight":
                theta[t.start : t.stop] = rng.normal(0, np.sqrt(2 / inputs), t.stop - t.start)
            elif t.role == "gamma":
                theta[t.start : t.stop] = 1
            elif t.role == "bias":
                bound = 1 / np.sqrt(4 * config.width)
                theta[t.start : t.stop] = rng.uniform(-bound, bound, t.stop - t.start)
        return theta

    def domain(self, config: Any) -> tuple[tuple[int, ...], float, float]:
        return (3, 32, 32), 0.0, 1.0

    def module(self, config: Any, generator: torch.Generator | None = None) -> torch.nn.Module:
        from nws.families.resnet_module import ResNet

        return ResNet(config.width, config.classes)

    def train(self, config: Any, images: Any, rng: np.random.Generator, epochs: int) -> Iterator[Record]:
        from nws.families import resnet_training

        return resnet_training.records(self, config, images, rng, epochs)


@lru_cache(maxsize=64)
def _layout(width: int, classes: int) -> Layout:
    """Channels that are added to each other are one group: `stream1` to `stream3`; those inside a block are its own."""
    rows: list[Tensor] = []

    def convolution(layer: str, group: str, before: str, sizes: tuple[int, int], window: int) -> None:
        axes = (Axis(group), Axis(before), Axis(), Axis())
        rows.append(Tensor(layer, "weight", (*sizes, window, window), "conv", 0, axes=axes))
        rows.extend(Tensor(layer, role, sizes[:1], "conv", 0, axes=(Axis(group),)) for role in ("beta", "gamma"))

    convolution("stem", "stream1", "input", (width, CHANNELS), 3)
    channels, stream = width, "stream1"
    for block in range(1, BLOCKS + 1):
        wide, group = width << (block - 1), f"stream{block}"
        convolution(f"block{block}.conv1", f"block{block}", stream, (wide, channels), 3)
        convolution(f"block{block}.conv2", group, f"block{block}", (wide, wide), 3)
        if wide != channels:
            convolution(f"block{block}.shortcut", group, stream, (wide, channels), 1)
        channels, stream = wide, group
    rows.append(Tensor("out", "weight", (classes, channels), "fc", 0, axes=(Axis("output"), Axis(stream))))
    rows.append(Tensor("out", "bias", (classes,), "fc", 0, axes=(Axis("output"),)))
    return Layout(rows)


ResNet8 = Resnet8()
