"""The fast engine for CPUs: one net in C++ (native/), images of the mini-batch side by side in every vector register.

It works on theta itself, in the layout's order: nothing is converted. Compiled when nws is installed; where that failed, or the
processor is too old, `why_not` says so and the torch engine does the same work. Theta is the same on every processor, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from nws.errors import NwsError
from nws.families import CNN2020
from nws.families import cnn2020 as cnn
from nws.families.space import Config
from nws.images import ImageSet
from nws.processor import native
from nws.train.loop import VALIDATION_SHARE

if TYPE_CHECKING:
    from nws.device import Mark

_native: Any
try:
    _native = native("nws.train._native")
except ImportError as error:
    _native, _failure = None, str(error)

MULTIPLE = 16  # of images in a batch


def why_not(hp: Config | None = None, images: ImageSet | None = None) -> str | None:
    """Why the native engine cannot train (this net, on these images), in one line; None when it can."""
    if _native is None:
        return f"the native engine {_failure}; PyTorch trains as well, which takes three times as long"
    if hp is not None and hp.family is not CNN2020:
        return f"the native engine trains nets of {CNN2020.name}, not of {hp.family.name}"
    if hp is not None and hp.batch_size % MULTIPLE:
        return f"the native engine wants a batch size that is a multiple of {MULTIPLE}, not {hp.batch_size}"
    if hp is not None and images is not None and _images_at_least(images.y_train) < hp.batch_size:
        return f"{images.name} has too few images for one full batch of {hp.batch_size}, and the native engine takes no other"
    return None


def facts() -> dict[str, str]:
    """What `engine="auto"` takes on this machine, for people."""
    if reason := why_not():
        return {"engine": "torch", "native": reason}
    return {
        "engine": "native",
        "instruction_set": _native.INSTRUCTION_SET,
        "vectors": f"{32 * _native.LANES} bits, {_native.LANES} images side by side",
    }


def _images_at_least(labels: np.ndarray) -> int:
    """Images an epoch surely has (see loop.py): the rarest class outside the validation set limits unequal ones."""
    counts = np.unique(labels, return_counts=True)[1]
    if len(set(counts)) == 1:
        return len(labels) - max(1, round(len(labels) * VALIDATION_SHARE))
    # The validation set is drawn at random: that it takes half of a class of 32 happens once in 10^8 trainings.
    return int(len(counts) * counts.min() // 2) if counts.min() >= 32 else 0


class NativeEngine:
    """`Engine` in C++ (see loop.py). Raises NwsError when `why_not(hp)`.

    dropout   share of the hidden FC units left out; 0 in tests that compare engines
    direct    convolutions by the definition instead of Winograd's, for tests: slower, the same up to rounding
    """

    name = "native"
    why_not = staticmethod(why_not)

    def __init__(
        self,
        hp: Config,
        theta: np.ndarray,
        images: ImageSet,
        seed: int,
        *,
        dropout: float = cnn.DROPOUT,
        direct: bool = False,
    ):
        if reason := why_not(hp, images):
            raise NwsError(f"{reason}, or use --engine torch")
        self.instruction_set: str = _native.INSTRUCTION_SET
        blocks = cnn.blocks(hp.depth_conv)
        self._images = {
            "train": _native.ImageSet(images.x_train, images.y_train.astype(np.int32)),
            "test": _native.ImageSet(images.x_test, images.y_test.astype(np.int32)),
        }
        self._batch = hp.batch_size
        self._size = {"train": len(images.y_train), "test": len(images.y_test)}
        self._net = _native.Engine(
            filter=hp.filter_size,
            batch=hp.batch_size,
            conv_widths=[hp.width_conv << block for block, count in enumerate(blocks) for _ in range(count)],
            pools=[i == count - 1 for count in blocks for i in range(count)],
            fc_widths=[*(hp.width_fc >> c for c in range(hp.depth_fc)), cnn.OUTPUTS],
            batch_norm=hp.batch_norm,
            augmentation=hp.augmentation,
            dropout=dropout,
            activation=hp.activation,
            optimizer=hp.optimizer,
            ranges=list(cnn.AUGMENTATION.values()),
            theta=np.ascontiguousarray(theta, np.float32),
            seed=seed,
            direct=direct,
        )

    def train(self, batches: np.ndarray, learning_rate: float) -> float:
        if batches.shape[1] != self._batch:
            raise NwsError(f"the epoch has {batches.shape[1]} images, fewer than a batch of {self._batch}: use --engine torch")
        return float(self._net.train(self._images["train"], np.ascontiguousarray(batches, np.int64), learning_rate))

    def accuracy(self, images: str, index: np.ndarray | None = None) -> float:
        rows = np.arange(self._size[images]) if index is None else np.ascontiguousarray(index, np.int64)
        return float(self._net.correct(self._images[images], rows) / len(rows))

    def theta(self) -> np.ndarray:
        return np.asarray(self._net.theta())

    def finish(self) -> Iterable[Mark]:
        return ()

    # For tests and benchmarks.

    def gradient(self, x: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
        """Loss and its gradient (P,) for one batch of pictures x (B, 3, 32, 32) in [0, 1], without a step."""
        loss, gradient = self._net.gradient(np.ascontiguousarray(x, np.float32), np.ascontiguousarray(y, np.int32))
        return float(loss), np.asarray(gradient)

    def augmented(self, index: np.ndarray, changes: Any = None, noise: Any = None) -> np.ndarray:
        """Training images `index` (LANES,) changed, (LANES, 3, 32, 32): by given changes (LANES, 11) and noise, or drawn ones."""
        return np.asarray(self._net.augmented(self._images["train"], np.asarray(index, np.int64), changes, noise))
