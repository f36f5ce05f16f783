"""What an importer yields: the items of a source one by one, each a net once it is loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nws.errors import NwsError
from nws.families import Family
from nws.families.cnn2020 import HyperParameters
from nws.net import HISTORY, Net
from nws.recorded import Recorded
from nws.weights import Ordered


@dataclass(frozen=True, eq=False)
class Imported:
    """A net, its side where the source fixes one ("train", "test"), and the largest change of a weight by rounding to float32."""

    net: Net
    split: str | None = None
    difference: float = 0.0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Item:
    """One net of a source: its number in the zoo, where it lies, and how to read it (NwsError when it is damaged)."""

    number: int
    where: str
    load: Callable[[], Imported]


@dataclass(frozen=True)
class Source:
    """A source, looked through but not read.

    fingerprint  of the list of its nets: a zoo goes on being filled from the same list only
    items        starts the list anew at each call; `count` long
    family       whose properties the nets have, for a family that is ours
    """

    kind: str
    fingerprint: str
    count: int
    items: Callable[[], Iterator[Item]]
    notes: tuple[str, ...] = ()
    family: Family | None = None


def fingerprint(parts: Iterable[str | bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update((part.encode("utf-8", "surrogateescape") if isinstance(part, str) else part) + b"\0")
    return digest.hexdigest()


def file_fingerprint(*paths: Path) -> str:
    """Of what the files hold."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            with open(path, "rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        except OSError as error:
            raise NwsError(f"{path}: {error.strerror}: see that it is there and readable") from None
    return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class Moment:
    """A snapshot as it was found, with what was measured at it: accuracies as fractions, NaN where not."""

    weights: Ordered
    epoch: int | None
    train_accuracy: float = float("nan")
    validation_accuracy: float = float("nan")
    test_accuracy: float = float("nan")


def net_of(
    number: int, values: Mapping[str, Any], moments: Sequence[Moment], about: Mapping[str, Any], seconds: float = 0.0
) -> Net:
    """A net from its snapshots, in the order of their epochs. NwsError when their layouts differ.

    It is one of our space when all our hyper-parameters are recorded, nothing else is, and its tensors are theirs.
    """
    if any(m.epoch is None for m in moments):  # nobody recorded when: the order is all there is
        epochs, about = list(range(len(moments))), {**about, "epochs": "not recorded"}
    else:
        moments = sorted(moments, key=lambda m: m.epoch or 0)
        epochs = [m.epoch or 0 for m in moments]
    first = moments[0].weights
    for moment in moments:
        if moment.weights.layout != first.layout or moment.weights.names != first.names:
            raise NwsError("its snapshots have different tensors: they are not of one net")
    theta = np.stack([m.weights.theta for m in moments])
    history = np.full((len(moments), len(HISTORY)), np.nan)
    history[:, 0] = epochs
    for name in ("train_accuracy", "validation_accuracy", "test_accuracy"):
        history[:, HISTORY.index(name)] = [getattr(m, name) for m in moments]
    return Net(
        number=number,
        hp=_hyper_parameters(Recorded.of(values), first),
        layout=first.layout,
        theta=theta,
        epoch=np.array(epochs, np.int64),
        history=history,
        status="ok" if np.isfinite(theta).all() else "diverged",
        seconds=seconds,
        about={**about, "names": list(first.names), "rounding_difference": max(m.weights.difference for m in moments)},
    )


def _hyper_parameters(recorded: Recorded, weights: Ordered) -> HyperParameters | Recorded:
    from nws.families import cnn2020 as cnn
    from nws.families.cnn2020 import PROPERTIES

    if set(recorded.values) != set(PROPERTIES):
        return recorded
    try:
        hp = HyperParameters.from_mapping(recorded.values)
        return hp if cnn.layout(hp) == weights.layout else recorded
    except NwsError:
        return recorded


def seconds(value: Any) -> float:
    """A duration as recorded, or 0."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e12
    return float(value) if good else 0.0


def fraction(value: Any) -> float:
    """An accuracy as recorded, or NaN: what is no number from 0 to 1 was measured in another unit and is not guessed at."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
    return float(value) if good else float("nan")
