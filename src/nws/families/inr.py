"""Implicit representations: nets from coordinates to colour, each of which is one picture. What such families have in common.

Net n represents image n of the image set, the training images first, then the test images, and begins anew behind the last one: net
n is view n // images of image n % images. With a limit the set is the subset that was taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from nws.errors import NwsError
from nws.families.base import Family, Record, Trained
from nws.families.cnn2020 import PROPERTIES
from nws.families.space import Config, Property
from nws.fitting import Form, Problem, about, chosen, fit, why_not
from nws.layout import Layout

if TYPE_CHECKING:
    import torch

    from nws.images import ImageSet

COORDINATES = ("xy", "ij")
_QUICK = 1000  # steps: a block of 250 such nets takes 13 s


def table(*own: Property) -> tuple[Property, ...]:
    """The properties of a family: `own` ones between the image set and what all share."""
    return (
        PROPERTIES["dataset"],
        *own,
        Property("width", (32,), "units of each hidden layer", maximum=4096),
        Property("depth", (2,), "hidden layers", maximum=64),
        Property("steps", (1000,), "full-batch steps of Adam, at most", maximum=1 << 24),
        Property("target_psnr", (40.0,), "dB at which a net stops before its last step; 0: never", minimum=0),
        Property(
            "coordinates",
            COORDINATES,
            "what a net reads, each -1 to 1 from edge pixel to edge pixel: xy column, row; ij row, column",
        ),
        Property("view", (0,), "which of the nets of one image, from 0", minimum=0),
        Property("image", (0,), "number of the image: training images first, then test images", continuous=True, minimum=0),
        Property("label", tuple(range(10)), "class of the image", minimum=0),
        Property(
            "side", ("train", "val", "test"), "where the image is from: training, validation (its last tenth, at most 5,000), test"
        ),
        Property("rows", (28,), "pixels of the image", maximum=4096),
        Property("columns", (28,), "pixels of the image", maximum=4096),
        Property("channels", (1,), "1: grey, 3: coloured; the outputs", maximum=3),
    )


class Inr(Family):
    """A family of such nets. Hidden layers are called hidden1, hidden2 ..., the last layer out."""

    measures = ("step", "psnr")
    snapshots = 1
    original = True
    given = ("view", "image", "label", "side", "rows", "columns", "channels")
    sine = True  # hidden units; see `nws.fitting.Form`

    def check(self, config: Config) -> None:
        if config.channels == 2:
            raise NwsError("channels=2: pictures are grey (1) or coloured (3)")

    def for_images(self, config: Config, images: ImageSet) -> Config:
        return self.for_net(config, images, 0)

    def for_net(self, config: Config, images: ImageSet, number: int) -> Config:
        view, image = divmod(number, len(images.y_train) + len(images.y_test))
        _, label, side = images.numbered(image)
        rows, columns, channels = images.shape
        return config.with_(view=view, image=image, label=label, side=side, rows=rows, columns=columns, channels=channels)

    def like(self, config: Any, number: int) -> int:
        """Views of one image are on one side of the split."""
        return int(config.image)

    def form(self, config: Any) -> Form:
        return Form(config.width, config.depth, config.channels, self.sine)

    def layout(self, config: Any) -> Layout:
        return _layout(config.width, config.depth, config.channels)

    def init(self, config: Any, rng: np.random.Generator) -> np.ndarray:
        """In theta's order: each layer's weights, then its biases."""
        shapes = self.form(config).shapes
        parts = [np.zeros(shape, np.float32) for shape in shapes]
        for k, (weight, bias) in enumerate(zip(parts[::2], parts[1::2])):
            self.begin(config, k, weight, bias, rng)
        return np.concatenate([part.reshape(-1) for part in parts])

    def begin(self, config: Any, layer: int, weight: np.ndarray, bias: np.ndarray, rng: np.random.Generator) -> None:
        """Fill a layer's weight (units, inputs) and bias, both 0. Layers count from 0."""
        raise NotImplementedError

    def module(self, config: Any, generator: torch.Generator | None = None) -> torch.nn.Module:
        """The net on coordinates (B, 2), see `points` -> (B, channels) in the unit of `target`."""
        from nws.fitting.module import Module

        return Module(self.form(config), config.get("omega", 1.0), config.get("offset", 0.0))

    def domain(self, config: Any) -> tuple[tuple[int, ...], float, float]:
        return (2,), -1.0, 1.0

    # -- pictures -------------------------------------------------------------------------------------------------------------

    def points(self, config: Any) -> np.ndarray:
        """(rows * columns, 2) float32: the coordinates of each pixel, row by row."""
        return _points(config.rows, config.columns, config.coordinates)

    def target(self, config: Any, picture: np.ndarray) -> np.ndarray:
        """(rows, columns, channels) uint8 -> (rows * columns, channels) float32: what the net is to say."""
        values = picture.reshape(-1, config.channels).astype(np.float32) / 255
        return values * 2 - 1 if config.get("values") == "symmetric" else values

    def peak(self, config: Any) -> float:
        """The range of a target's values, which the PSNR refers to."""
        return 2.0 if config.get("values") == "symmetric" else 1.0

    def render(self, config: Any, theta: np.ndarray, rows: int | None = None, columns: int | None = None) -> np.ndarray:
        """The pictures of nets theta (N, P) of one config: (N, rows, columns, channels) float32, 0 to 1 and not clipped.

        rows, columns: of another size than the net was trained on.
        """
        import torch

        from nws.fitting.batched import forward

        rows, columns = rows or config.rows, columns or config.columns
        points = torch.from_numpy(_points(rows, columns, config.coordinates))
        omega, offset = (torch.full((len(theta), 1, 1), float(config.get(name, 0.0))) for name in ("omega", "offset"))
        with torch.no_grad():
            found = forward(self.form(config), torch.from_numpy(np.ascontiguousarray(theta)), points, omega, offset).numpy()
        if config.get("values") == "symmetric":
            found = (found + 1) / 2
        return found.reshape(len(theta), rows, columns, config.channels)

    # -- training -------------------------------------------------------------------------------------------------------------

    def together(self, config: Any) -> int:
        return 250 if config.steps <= _QUICK else 50  # of a thousand numbers, which share a folder

    def why_no_engine(self, engine: str, config: Any) -> str | None:
        reason = why_not() if engine == "native" else None
        return f"{reason}, or use --engine torch" if reason else None

    def train_many(
        self, configs: Sequence[Any], images: ImageSet, rngs: Sequence[np.random.Generator], snapshots: int, engine: str
    ) -> Iterator[Trained]:
        """Full-batch Adam until the target PSNR or the last step. Snapshots are the end, or evenly spread from the beginning to
        step `steps`; a net that met its target is the same in those that would have followed."""
        engine = chosen(engine)
        alike: dict[Any, list[int]] = {}
        for k, config in enumerate(configs):
            alike.setdefault((self.form(config), config.rows, config.columns, config.coordinates), []).append(k)
        for places in alike.values():
            some = [configs[k] for k in places]
            fitted = fit(self.problem(some, images, [rngs[k] for k in places], snapshots), engine)
            for k, place in enumerate(places):
                peak = self.peak(some[k])
                psnr = [_psnr(loss, peak) for loss in fitted.loss[k].astype(float)]
                rows = zip(fitted.steps[k].tolist(), fitted.theta[k], psnr)
                yield Trained(place, [Record(step, theta, {"psnr": dB}) for step, theta, dB in rows], engine, about(engine))

    def problem(self, configs: Sequence[Any], images: ImageSet, rngs: Sequence[np.random.Generator], snapshots: int) -> Problem:
        targets = [self.target(c, images.numbered(c.image)[0]) for c in configs]
        goals = [self.peak(c) ** 2 * 10 ** (-c.target_psnr / 10) if c.target_psnr else 0.0 for c in configs]
        spread = [[c.steps] if snapshots == 1 else np.round(np.linspace(0, c.steps, snapshots)) for c in configs]
        return Problem(
            form=self.form(configs[0]),
            theta=np.stack([self.init(c, rng) for c, rng in zip(configs, rngs)]),
            points=self.points(configs[0]),
            target=np.stack(targets),
            learning_rate=np.array([c.learning_rate for c in configs]),
            omega=np.array([c.get("omega", 1.0) for c in configs]),
            offset=np.array([c.get("offset", 0.0) for c in configs]),
            goal=np.array(goals),
            records=np.array(spread, np.int64),
        )


def uniform(shape: tuple[int, ...], bound: float, rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(-bound, bound, shape).astype(np.float32)


def _psnr(loss: float, peak: float) -> float:
    """dB; the values of the net are not clipped."""
    with np.errstate(divide="ignore"):
        return float(10 * np.log10(peak**2 / loss)) if loss > 0 else float("inf") if loss == 0 else float("nan")


@lru_cache(maxsize=64)
def _layout(width: int, depth: int, outputs: int) -> Layout:
    rows: list[tuple[Any, ...]] = []
    units = 2
    for layer, size in [*((f"hidden{k}", width) for k in range(1, depth + 1)), ("out", outputs)]:
        rows += [(layer, "weight", (size, units), "fc"), (layer, "bias", (size,), "fc")]
        units = size
    return Layout(rows, chain=True)


@lru_cache(maxsize=16)
def _points(rows: int, columns: int, coordinates: str) -> np.ndarray:
    down, across = (np.linspace(-1, 1, n, dtype=np.float32) if n > 1 else np.zeros(1, np.float32) for n in (rows, columns))
    x, y = np.meshgrid(across, down)  # (rows, columns)
    return np.stack([x, y] if coordinates == "xy" else [y, x], -1).reshape(-1, 2)


def spaces(family: Family, **named: Mapping[str, Any]) -> Mapping[str, Any]:
    """The family's spaces: "main" with every property's first option, others with these changed."""
    first = family.space.with_(**{p.name: p.options[0] for p in family.properties if p.name != "dataset"})
    return {"main": first, **{name: first.with_(**changes) for name, changes in named.items()}}
