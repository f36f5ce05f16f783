"""How KANs are trained: in C++ where that was built (kan_native/) and the splines are cubic, else in PyTorch. AdamW both ways."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from nws.families import masks, splines
from nws.families.base import Record
from nws.layout import Layout
from nws.processor import native as compiled

DECAY = 0.8  # of the learning rate, after each pass
WATCHED = 5_000  # training images that tell the training accuracy
SCORED = 10_000  # first training images of the set, over which edges are scored

_native: Any
try:
    _native = compiled("nws.families._kan")
except ImportError:
    _native = None


class Trainer(Protocol):
    """A KAN and its optimizer's state."""

    def theta(self) -> np.ndarray:
        """(P,) float32 in the layout's order."""

    def train_classes(self, pixels: np.ndarray, labels: np.ndarray, batches: np.ndarray, rate: float, decay: float) -> float:
        """A step for each row of `batches` (steps, B), of pixels (N, Q) uint8 with labels (N,) int32: the mean loss."""

    def fit(self, x: np.ndarray, target: np.ndarray, rates: np.ndarray, decay: float, goal: float) -> int:
        """A step for each of `rates` on all places x (N, Q) and values (N, P), until the mean square is at most the goal.

        Returns how many steps were done."""

    def of_bytes(self, pixels: np.ndarray) -> np.ndarray:
        """(N, Q) uint8 -> outputs (N, P)."""

    def of_places(self, x: np.ndarray) -> np.ndarray:
        """(N, Q) float32 -> outputs (N, P)."""


def why_no_engine(engine: str, config: Any) -> str | None:
    """Why this engine cannot train the net, in one line; None when it can."""
    if engine == "gpu":
        return "KANs are trained on a CPU: use --engine auto"
    if engine == "native" and config.order != 3:
        return f"the native trainer knows cubic splines, not those of order {config.order}: use --engine auto"
    if engine == "native" and _native is None:
        return "the native trainer of KANs is not built: install a C++ compiler and reinstall nws, or use --engine torch"
    return None


def native(engine: str, config: Any) -> bool:
    return engine != "torch" and why_no_engine("native", config) is None


def trainer(widths: list[int], config: Any, theta: np.ndarray, engine: str = "auto") -> Trainer:
    if native(engine, config):
        made: Trainer = _native.Net(widths, config.grid, splines.LOW, splines.HIGH, theta)
        return made
    from nws.families.kan_torch import TorchTrainer

    return TorchTrainer(widths, config.grid, config.order, theta)


def classifier(family: Any, config: Any, images: Any, rng: np.random.Generator, epochs: int) -> Iterator[Record]:
    """Records before training and after each pass; the last one with the scores of the edges."""
    beginning, order, noise = rng.spawn(3)
    x_train, x_test = (x.reshape(len(x), -1) for x in (images.x_train, images.x_test))
    used = order.permutation(len(x_train))[: max(1, round(config.share * len(x_train)))]
    labels = images.y_train.astype(np.int32)
    wrong = noise.permutation(used)[: round(config.label_noise * len(used))]
    labels[wrong] = noise.integers(len(images.classes), size=len(wrong))
    theta = family.init(config, beginning)
    net = trainer(family.widths(config), config, theta)
    watched, rate, step, loss = used[-WATCHED:], config.learning_rate, 0, float("nan")
    passes = min(config.passes, epochs)
    for done in range(passes + 1):
        if done:
            batches = _batches(order.permutation(used), config.batch_size)
            loss = net.train_classes(x_train, labels, batches, rate, config.weight_decay)
            step, rate, theta = step + len(batches), rate * DECAY, net.theta()
        measures = {
            "loss": loss,
            "train_accuracy": _accuracy(net, x_train[watched], labels[watched]),
            "test_accuracy": _accuracy(net, x_test, images.y_test),
        }
        about: dict[str, Any] = {}
        if done == passes and np.isfinite(theta).all():
            scored = _scores(net, theta, family.layout(config), x_train[:SCORED], config.grid)
            about = masks.packed(scored)
        yield Record(step, theta, measures, about)


def _batches(order: np.ndarray, size: int) -> np.ndarray:
    size = min(size, len(order))
    steps = len(order) // size
    return order[: steps * size].reshape(steps, size)


def _accuracy(net: Trainer, pixels: np.ndarray, labels: np.ndarray) -> float:
    return float((net.of_bytes(pixels).argmax(1) == labels).mean())


def picture(family: Any, config: Any, image: np.ndarray, rng: np.random.Generator, snapshots: int, fast: bool) -> Iterator[Record]:
    """Records of a net that is to be this picture (rows, columns, channels) uint8: its end, or evenly spread from the beginning."""
    net = trainer(family.widths(config), config, family.init(config, rng), "auto" if fast else "torch")
    places, values = family.points(config), family.target(config, image)
    goal = 10 ** (-config.target_psnr / 10) if config.target_psnr else -1.0
    ends = [config.steps] if snapshots == 1 else np.round(np.linspace(0, config.steps, snapshots)).astype(int).tolist()
    step, met = 0, False
    for end in ends:
        if not met:
            done = net.fit(places, values, np.full(end - step, config.learning_rate, np.float32), 0.0, goal)
            step, met = step + done, step + done < end
        loss = float(((net.of_places(places).astype(float) - values) ** 2).mean())
        psnr = float("inf") if loss == 0 else -10 * np.log10(loss) if loss > 0 else float("nan")
        yield Record(step, net.theta(), {"psnr": float(psnr)})


def _scores(net: Any, theta: np.ndarray, layout: Layout, pixels: np.ndarray, grid: int) -> dict[str, np.ndarray]:
    if hasattr(net, "scores"):
        return dict(zip(("mean", "std"), net.scores(pixels), strict=True))
    return splines.scores(splines.layers(theta.astype(float), layout), pixels, grid)
