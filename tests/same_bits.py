"""Twenty nets of the paper's space, trained for three steps by the native engine: here, or by a program that reads a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from native_nets import pictures

from nws.families import cnn2020 as cnn
from nws.families.cnn2020 import MAIN, PROPERTIES
from nws.train import native_engine
from nws.train.native_engine import NativeEngine

NETS, STEPS = 20, 3


class Given(NamedTuple):
    """What the engine of one net is made with, and the batches (STEPS, B) it then trains on."""

    engine: dict[str, Any]
    batches: np.ndarray
    learning_rate: float


def checksum(theta: np.ndarray) -> str:
    """FNV-1a of the bits, as tests/native/replay.cpp computes it."""
    value = 0xCBF29CE484222325
    for bits in theta.view(np.uint32).tolist():
        value = ((value ^ bits) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def jobs() -> Iterator[tuple[Any, np.ndarray, np.ndarray]]:
    """Hyper-parameters, initial theta, batches. Small batches: an emulated processor is a hundred times slower."""
    for number in range(NETS):
        hp = MAIN.net(seed=1, number=number).with_(dataset="noise", batch_size=32 if number % 4 else 64, batch_norm=number % 3 > 0)
        rng = np.random.default_rng(number)
        yield hp, cnn.initialize(hp, rng), rng.integers(0, len(pictures().y_train), (STEPS, hp.batch_size))


def trained_here() -> list[str]:
    """The checksum of every net's theta, from the engine that is installed."""
    sums = []
    for number, (hp, theta, batches) in enumerate(jobs()):
        engine = NativeEngine(hp, theta, pictures(), number)
        engine.train(batches, hp.learning_rate)
        sums.append(checksum(engine.theta()))
    return sums


def write(path: Path, monkeypatch: Any) -> None:
    """The nets as tests/native/replay.cpp reads them: what NativeEngine hands to the C++ engine, number by number."""
    caught: list[dict[str, Any]] = []
    stand_in = type("StandIn", (), {"ImageSet": lambda *arrays: None, "Engine": lambda **given: caught.append(given)})
    with monkeypatch.context() as patch, path.open("wb") as file:
        patch.setattr(native_engine, "_native", stand_in)
        given = []
        for number, (hp, theta, batches) in enumerate(jobs()):
            NativeEngine(hp, theta, pictures(), number)
            given.append(Given(caught[-1], batches, hp.learning_rate))
        file.write(np.array([NETS, len(pictures().y_train)], np.int64).tobytes())
        file.write(pictures().x_train.tobytes() + pictures().y_train.astype(np.int32).tobytes())
        file.write(np.array(caught[0]["ranges"], np.float32).T.tobytes())
        for net in given:
            file.write(_of_one(net))


def _of_one(net: Given) -> bytes:
    e = net.engine
    coded = [PROPERTIES[name].options.index(e[name]) for name in ("activation", "optimizer")]
    sizes = [len(e["conv_widths"]), len(e["fc_widths"]), len(e["theta"]), STEPS, e["seed"]]
    head = [e["filter"], e["batch"], e["batch_norm"], e["augmentation"], *coded, *sizes]
    return b"".join(
        [
            np.array(head, np.int64).tobytes(),
            np.array([e["dropout"], net.learning_rate], np.float32).tobytes(),
            np.array([*e["conv_widths"], *e["pools"], *e["fc_widths"]], np.int32).tobytes(),
            e["theta"].tobytes(),
            net.batches.astype(np.int64).tobytes(),
        ]
    )
