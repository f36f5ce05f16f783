"""Kolmogorov-Arnold networks: classifiers of pictures whose accuracies spread widely, and nets that are one picture each.

Layers of B-splines (nws.families.splines has the formulas). Noisy labels and the share of the images that are used are among what
is chosen: later papers read accuracies and pruning masks from such nets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from nws.errors import NwsError
from nws.families import kan_training, masks, splines
from nws.families.base import Family, Record, Trained
from nws.families.inr import Inr, spaces, table
from nws.families.mlp import standard
from nws.families.space import Config, Property, Space
from nws.layout import Axis, Layout, Tensor

if TYPE_CHECKING:
    import torch

    from nws.images import ImageSet

_NOISE = 0.1  # of the splines at the start, in grid intervals: they begin nearly flat

_SPLINES = (
    Property("width", (32,), "units of each hidden layer", maximum=1 << 16),
    Property("depth", (1,), "hidden layers", maximum=100),
    Property("grid", (5,), "intervals of the splines' grid", maximum=1 << 10),
    Property("order", (3,), "order of the splines; 3 is cubic", maximum=16),
)


class _Splines(Family):
    """What all nets of spline layers have in common; a family says their widths."""

    def widths(self, config: Any) -> list[int]:
        """Units of each layer, the inputs first."""
        raise NotImplementedError

    def layout(self, config: Any) -> Layout:
        rows, widths = [], self.widths(config)
        before = "input"
        for k, (inputs, outputs) in enumerate(pairwise(widths), 1):
            group = "output" if k == len(widths) - 1 else f"kan{k}"
            axes = (Axis(group), Axis(before))
            for what, name in (("base", "base_weight"), ("scale", "spline_scaler")):
                rows.append(Tensor(f"kan{k}.{what}", "weight", (outputs, inputs), "fc", 0, axes=axes, key=f"kan{k}.{name}"))
            shape = (outputs, inputs, config.grid + config.order)
            rows.append(Tensor(f"kan{k}.spline", "weight", shape, "fc", 0, axes=(*axes, Axis()), key=f"kan{k}.spline_weight"))
            before = group
        return Layout(rows)

    def init(self, config: Any, rng: np.random.Generator) -> np.ndarray:
        """w_b and w_s uniform within 1 / sqrt(inputs); c the smallest with noise of 0.1 / grid on the knots (efficient-kan)."""
        at_knots = splines.bases(np.linspace(splines.LOW, splines.HIGH, config.grid + 1), config.grid, config.order)
        inverse = np.linalg.pinv(at_knots)  # (K, grid + 1)
        edges, widths = [], self.widths(config)
        for inputs, outputs in pairwise(widths):
            bound = 1 / np.sqrt(inputs)
            base, scale = rng.uniform(-bound, bound, (2, outputs, inputs))
            noise = (rng.random((outputs, inputs, config.grid + 1)) - 0.5) * _NOISE / config.grid
            edges.append(splines.Edges(base, scale, noise @ inverse.T))
        return splines.flatten(edges).astype(np.float32)

    # Of theta alone, or with the layout of the net that it is of. --------------------------------------------------------------

    def canonical(self, theta: np.ndarray, layout: Layout | None = None) -> np.ndarray:
        """theta (..., P) of the same function in which nothing is left to choose but the order of hidden units.

        w_s is 1, and the edges from the pictures share the constants of their outputs equally (nws.families.splines.canonical).
        Outputs agree as long as inputs are -1 to 1, which pictures are. NwsError when the layout is not one of a KAN; without one
        the net is of the usual shape of this size.
        """
        return splines.flatten(splines.canonical(self._layers(theta, layout))).astype(np.asarray(theta).dtype)

    def edges(self, theta: np.ndarray, layout: Layout | None = None) -> np.ndarray:
        """theta (..., P) -> (..., E, 1 + K): of each edge w_b and the K numbers w_s c, in canonical form. The order is that of
        `nws.families.splines.scores`: layer after layer, in a layer output by output."""
        return splines.features(self._layers(theta, layout))

    def _layers(self, theta: np.ndarray, layout: Layout | None) -> list[splines.Edges]:
        return splines.layers(np.asarray(theta), layout or self._usual(np.shape(theta)[-1]))

    def _usual(self, size: int) -> Layout:
        for config in self._usual_configs():
            found = self.layout(config)
            if found.size == size:
                return found
        raise NwsError(f"no usual net of {self.name} has {size:,} weights: give its layout (zoo.layout(net))")

    def _usual_configs(self) -> Iterator[Config]:
        yield self.space.net(0, 0)


class Kan(_Splines):
    """Classifiers of grey pictures: side x side -> `width` units -> classes, on a grid of -1 to 1, pixels being -1 to 1.

    Trained by AdamW, the learning rate x0.8 after each pass, batches of images in a fresh order. The last record comes with two
    scores per edge over the first 10,000 training images, from which pruning masks follow (docs/kan.md).
    """

    name = "kan"
    properties = (
        *standard("dataset"),
        Property("learning_rate", (1e-3, 1e-2), "initial learning rate, x0.8 after each pass", continuous=True, log=True),
        Property(
            "weight_decay",
            (1e-4, 1.0),
            "decay of every number, decoupled (AdamW): times the learning rate",
            continuous=True,
            log=True,
            minimum=0,
        ),
        Property(
            "label_noise",
            (0.0, 1.0),
            "share of the training labels that are drawn anew from all classes",
            continuous=True,
            minimum=0,
        ),
        Property("share", (0.005, 0.02, 0.1), "share of the training images that are used"),
        Property("passes", (30, 100), "passes over these images", maximum=100_000),
        Property("batch_size", (64,), "images per training step"),
        *_SPLINES,
        Property("side", (14,), "rows and columns of the pictures", maximum=1024),
        Property("classes", (10,), "outputs; follows from the image set", minimum=1, maximum=10_000),
    )
    measures = ("step", "loss", "train_accuracy", "test_accuracy")
    per_weight = tuple(masks.MASKS)

    def check(self, config: Config) -> None:
        for name in ("label_noise", "share"):
            if config.get(name) > 1:
                raise NwsError(f"{name}={config.get(name)}: must be a share, at most 1")

    def for_images(self, config: Config, images: ImageSet) -> Config:
        return config.with_(classes=len(images.classes))

    def pictures(self, config: Config, images: ImageSet) -> ImageSet:
        return images.resized(config.side, 1)

    def widths(self, config: Any) -> list[int]:
        return [config.side**2, *[config.width] * config.depth, config.classes]

    def domain(self, config: Any) -> tuple[tuple[int, ...], float, float]:
        return (1, config.side, config.side), 0.0, 1.0

    def module(self, config: Any, generator: torch.Generator | None = None) -> torch.nn.Module:
        from nws.families.kan_module import classifier

        return classifier(self.widths(config), config.grid, config.order)

    def train(self, config: Any, images: Any, rng: np.random.Generator, epochs: int) -> Iterator[Record]:
        return kan_training.classifier(self, config, images, rng, epochs)

    def _usual_configs(self) -> Iterator[Config]:
        config = self.space.net(0, 0)
        return (config.with_(side=side) for side in (14, 28))


class KanInr(_Splines, Inr):
    """Nets from coordinates to colour, 2 -> `width` units, `depth` times -> channels, each of which is one picture.

    Full-batch Adam on the mean squared error: 200 steps of 0.01 reach 32 dB on MNIST and 28 dB on Fashion-MNIST (docs/kan.md).
    Targets,
    sides and pictures are those of every family of `nws.families.inr`.
    """

    name = "kan-inr"
    properties = tuple(
        replace(p, options={"steps": (200,), "target_psnr": (0.0,)}.get(p.name, p.options))
        for p in table(Property("learning_rate", (1e-2,), "step size of Adam"), *_SPLINES[2:])
    )

    @property
    def spaces(self) -> Mapping[str, Space]:
        return spaces(self)

    def widths(self, config: Any) -> list[int]:
        return [2, *[config.width] * config.depth, config.channels]

    def module(self, config: Any, generator: torch.Generator | None = None) -> torch.nn.Module:
        """The net on coordinates (B, 2), see `points` -> (B, channels)."""
        from torch import nn

        from nws.families.kan_module import stack

        return nn.Sequential(stack(self.widths(config), config.grid, config.order))

    def render(self, config: Any, theta: np.ndarray, rows: int | None = None, columns: int | None = None) -> np.ndarray:
        rows, columns = rows or config.rows, columns or config.columns
        points = self.points(config.with_(rows=rows, columns=columns))
        widths = self.widths(config)
        found = [kan_training.trainer(widths, config, np.ascontiguousarray(one)).of_places(points) for one in theta]
        return np.stack(found).reshape(len(theta), rows, columns, config.channels)

    def together(self, config: Any) -> int:
        return 32  # 3 s of two hundred steps

    def why_no_engine(self, engine: str, config: Any) -> str | None:
        return kan_training.why_no_engine(engine, config)

    def train_many(
        self, configs: Sequence[Any], images: ImageSet, rngs: Sequence[np.random.Generator], snapshots: int, engine: str
    ) -> Iterator[Trained]:
        """One net after another: the native trainer's lanes are units of a layer, so that a net knows nothing of its company."""
        for place, (config, rng) in enumerate(zip(configs, rngs)):
            records = kan_training.picture(self, config, images.numbered(config.image)[0], rng, snapshots, engine)
            built = kan_training.built(engine, config)
            yield Trained(place, list(records), built["engine"], built)

    def _usual_configs(self) -> Iterator[Config]:
        config = self.space.net(0, 0)
        return (config.with_(channels=channels) for channels in (1, 3))


KAN, KAN_INR = Kan(), KanInr()
