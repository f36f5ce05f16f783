"""An image set as the trainer sees it, and its class-balanced subsets."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np

from nws.errors import NwsError
from nws.images.resize import resized

MAX_CLASSES = 10_000
VALIDATION = 5000  # images at most, of `ImageSet.numbered`
# Which images a limit keeps must not depend on the zoo: two zoos with the same --limit have seen the same images.
_SUBSET_SEED = 2020


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Training and test images with labels. Refuses nonsense when built.

    x_train, x_test  (N, rows, columns, channels) uint8, red-green-blue or grey, row by row from the top left; 32 x 32 x 3 for
                     the paper's nets
    y_train, y_test  (N,) int64, 0 to len(classes) - 1 (uint8 is accepted and converted)
    classes          what the labels mean
    about            provenance (str -> JSON value): source, files (name -> sha256), official (is every file, byte for byte, that
                     of the official distribution?), limit, limit_test; n_train, n_test and sha256 (of the four arrays) are
                     filled in here
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    classes: tuple[str, ...]
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        at = f"image set {self.name}"
        classes = tuple(str(c) for c in self.classes)
        if not 1 <= len(classes) <= MAX_CLASSES:
            raise NwsError(f"{at} has {len(classes)} classes: give 1 to {MAX_CLASSES:,}")

        object.__setattr__(self, "classes", classes)
        object.__setattr__(self, "y_train", _checked(f"{at}, training", self.x_train, self.y_train, len(classes)))
        object.__setattr__(self, "y_test", _checked(f"{at}, test", self.x_test, self.y_test, len(classes)))
        if self.x_train.shape[1:] != self.x_test.shape[1:]:
            raise NwsError(f"{at}: training pictures are {self.x_train.shape[1:]}, test pictures {self.x_test.shape[1:]}")
        start = {"source": "arrays", "files": {}, "official": False, "limit": None, "limit_test": None}
        found = {"n_train": len(self.y_train), "n_test": len(self.y_test), "sha256": self._sha256()}
        object.__setattr__(self, "about", {**start, **self.about, **found})

    @property
    def shape(self) -> tuple[int, int, int]:
        """(rows, columns, channels) of every picture."""
        rows, columns, channels = self.x_train.shape[1:]
        return rows, columns, channels

    def resized(self, side: int, channels: int) -> ImageSet:
        """The same set with pictures of side x side x channels: bilinear, or the mean of pixels when made smaller; grey is the mean
        of the colours. The last few are remembered, since many nets of a zoo ask for the same."""
        return self if self.shape == (side, side, channels) else _resized(self, side, channels)

    def numbered(self, number: int) -> tuple[np.ndarray, int, str]:
        """Image `number` of the set, the training images first, then the test images: (rows, columns, channels) uint8, label, side.

        Sides are "train", "val" and "test": the last tenth of the training images, at most 5,000, are for validation. That is the
        usual division of MNIST (55,000 / 5,000 / 10,000) and CIFAR-10 (45,000 / 5,000 / 10,000) by position.
        """
        n = len(self.y_train)
        if number >= n:
            return self.x_test[number - n], int(self.y_test[number - n]), "test"
        return self.x_train[number], int(self.y_train[number]), "val" if number >= n - min(n // 10, VALIDATION) else "train"

    def labelled(self, y_train: np.ndarray) -> ImageSet:
        """The same set with other training labels (N,); the same object where they are the same array."""
        return self if y_train is self.y_train else replace(self, y_train=y_train)

    def limited(self, limit: int | None = None, limit_test: int | None = None) -> ImageSet:
        """The same set with `limit` training and `limit_test` test images, balanced over the classes; None keeps all.

        Nested: the images of a smaller limit are among those of a larger one. The original order is kept.
        """
        if limit is None and limit_test is None:
            return self
        train, test = self._balanced("training", self.y_train, limit), self._balanced("test", self.y_test, limit_test)
        return replace(
            self,
            x_train=self.x_train[train],
            y_train=self.y_train[train],
            x_test=self.x_test[test],
            y_test=self.y_test[test],
            about={**self.about, "limit": limit, "limit_test": limit_test},
        )

    def _balanced(self, split: str, y: np.ndarray, limit: int | None) -> np.ndarray | slice:
        """Positions of `limit` images: limit // classes of each class, the remainder one each from the first classes."""
        if limit is None:
            return slice(None)
        C = len(self.classes)
        if limit < C:
            raise NwsError(f"image set {self.name}: a limit of {limit} {split} images leaves a class with none: give at least {C}")
        each, rest = divmod(limit, C)
        kept = []
        for c in range(C):
            members, wanted = np.flatnonzero(y == c), each + (c < rest)
            if len(members) < wanted:
                raise NwsError(
                    f"image set {self.name}: {limit} {split} images, balanced, need {wanted} of class {self.classes[c]!r}, "
                    f"which has {len(members)}: give a limit of at most {C * int(np.bincount(y, minlength=C).min())}"
                )
            # The first `wanted` of one fixed shuffle per class: that is what nests the subsets.
            shuffled = np.random.default_rng([_SUBSET_SEED, c]).random(len(members)).argsort(kind="stable")
            kept.append(members[shuffled[:wanted]])
        return np.sort(np.concatenate(kept))

    def _sha256(self) -> str:
        digest = hashlib.sha256()
        for array in (self.x_train, self.y_train, self.x_test, self.y_test):
            digest.update(f"{array.shape} {array.dtype}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


@lru_cache(maxsize=4)
def _resized(images: ImageSet, side: int, channels: int) -> ImageSet:
    x_train, x_test = (resized(x, side, channels) for x in (images.x_train, images.x_test))
    return replace(images, x_train=x_train, x_test=x_test)


def _checked(at: str, x: np.ndarray, y: np.ndarray, classes: int) -> np.ndarray:
    """y as int64; NwsError when x or y is not what the nets take."""
    if not isinstance(x, np.ndarray) or x.dtype != np.uint8 or x.ndim != 4 or 0 in x.shape[1:3] or x.shape[3] not in (1, 3):
        got = f"{x.shape} {x.dtype}" if isinstance(x, np.ndarray) else type(x).__name__
        raise NwsError(
            f"{at}: pictures must be (N, rows, columns, 1 or 3) uint8, got {got}; nws.images.register takes (N, H, W) too"
        )
    if not isinstance(y, np.ndarray) or y.dtype not in (np.uint8, np.int64) or y.ndim != 1:
        got = f"{y.shape} {y.dtype}" if isinstance(y, np.ndarray) else type(y).__name__
        raise NwsError(f"{at}: labels must be (N,) uint8 or int64, got {got}")
    if len(x) != len(y) or not len(x):
        raise NwsError(f"{at}: {len(x)} pictures and {len(y)} labels: give as many labels as pictures, at least one")
    if y.min() < 0 or y.max() >= classes:
        raise NwsError(f"{at}: labels must be 0 to {classes - 1}, one per class, got {y.min()} to {y.max()}")
    return y.astype(np.int64)
