"""Whole processes: what `nws sample` adds to the bare engine, what a second worker brings, and what a worker takes."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from nws import images
from nws.bench.subject import LARGEST
from nws.bench.whole import nws_sample
from nws.errors import NwsError
from nws.families import cnn2020 as cnn
from nws.families.cnn2020 import FIXED, HyperParameters
from nws.images import ImageSet
from nws.threads import cores
from nws.train.loop import DECAY, Job, Progress, Schedule, epoch_batches, split_validation
from nws.train.native_engine import NativeEngine, why_not
from nws.train.runners import train
from nws.zoo import Zoo

IMAGES, LIMIT, LIMIT_TEST, EPOCHS, SEED = "digits", 800, 200, 20, 0


def rows(quick: bool = False) -> Iterator[dict[str, Any]]:
    """60 nets (quick: 6) of the fixed space, 20 epochs of 720 embedded digits each; and the memory of a worker.

    Aims are for 60 nets: with 6, the start weighs as much as the training.
    """
    if reason := why_not():
        yield {"benchmark": "sampling", "what": "nws sample", "skipped": reason}
        return
    n = 6 if quick else 60
    with tempfile.TemporaryDirectory() as folder:
        one = nws_sample(Path(folder) / "one", *_options(n, 1))
        engine = bare(Zoo(Path(folder) / "one"), n)
        yield {
            "benchmark": "sampling",
            "what": f"nws sample whole, {n} nets, one worker",
            "value": 3600 * n / one.wall,
            "unit": "nets/h",
            "ratio": engine / one.cpu,
            "against": "engine.train and engine.accuracy alone, same nets and batches: no start, snapshots, writing; CPU time",
            "target": None if quick else 0.85,
            "seconds": one.wall,
            "cpu_seconds": one.cpu,
            "engine_cpu_seconds": engine,
        }
        yield _two_workers(Path(folder) / "two", n, one.wall, quick)
    yield _memory(1 if quick else 3)


def _options(n: int, workers: int) -> list[str]:
    given = {"nets": n, "seed": SEED, "limit": LIMIT, "limit-test": LIMIT_TEST, "epochs": EPOCHS, "workers": workers}
    return ["--space", "fixed", "--images", IMAGES, *(word for name, value in given.items() for word in (f"--{name}", str(value)))]


def bare(zoo: Zoo, n: int) -> float:
    """CPU seconds of the engine's training and evaluation of the zoo's nets. NwsError should it arrive at other weights."""
    pictures = images.load(IMAGES, limit=LIMIT, limit_test=LIMIT_TEST)
    spent, epochs = 0.0, zoo.index["epochs"]
    for number, hp in enumerate(FIXED.with_(dataset=IMAGES).sample(n, SEED)):
        seconds, theta = _trained(number, hp, pictures, int(epochs[number]))
        if not np.array_equal(theta, zoo.theta(number)[-1], equal_nan=True):
            raise NwsError(f"net {number}: the bare engine did other work than nws sample, so they cannot be compared")
        spent += seconds
    return spent


def _trained(number: int, hp: HyperParameters, pictures: ImageSet, epochs: int) -> tuple[float, np.ndarray]:
    """What `train_net` asks of the engine, and nothing else: (CPU seconds, theta)."""
    order, initial, stream = (np.random.default_rng([SEED, number, purpose]) for purpose in (1, 2, 3))
    engine = NativeEngine(hp, cnn.initialize(hp, initial), pictures, int(stream.integers(2**63)))
    validation, training = split_validation(len(pictures.y_train), order)
    every = [epoch_batches(pictures.y_train, training, hp.batch_size, order) for _ in range(epochs)]
    rate = hp.learning_rate
    started = time.process_time()
    for batches in (None, *every):
        if batches is not None:
            engine.train(batches, rate)
            rate *= DECAY
        engine.accuracy("train", validation)
        engine.accuracy("train", training[: len(validation)])
        engine.accuracy("test")
    return time.process_time() - started, engine.theta()


def _two_workers(zoo: Path, n: int, alone: float, quick: bool) -> dict[str, Any]:
    row = {"benchmark": "sampling", "what": f"nws sample, {n} nets, two workers"}
    if cores() < 2:
        return row | {"skipped": "this process may use one core only"}
    load = os.getloadavg()[0] - 1  # beside our own single worker
    two = nws_sample(zoo, *_options(n, 2))
    return row | {
        "value": 3600 * n / two.wall,
        "unit": "nets/h",
        "ratio": alone / two.wall,
        "against": "one worker, wall time: needs a quiet machine",
        "target": None if quick else 1.85,
        "seconds": two.wall,
        "cpu_seconds": two.cpu,
        "load_of_others": round(max(load, 0.0), 1),
    }


def _memory(epochs: int) -> dict[str, Any]:
    row = {"benchmark": "sampling", "what": "memory of a worker, largest net, batch 256, without the shared images"}
    pictures = images.load(IMAGES)
    peaks: list[int] = []

    def on_progress(progress: Progress) -> None:
        peaks.extend(_peak(process.pid) for process in multiprocessing.active_children())

    if not Path("/proc/self/status").exists():
        return row | {"skipped": "only Linux tells the peak of another process"}
    hp = LARGEST.with_(dataset=IMAGES, batch_size=256, augmentation=True)
    for _ in train([Job(0, hp), Job(1, hp)], {IMAGES: pictures}, Schedule(epochs=epochs), workers=2, on_progress=on_progress):
        pass
    return row | {"value": (max(peaks) - pictures.x_train.nbytes - pictures.x_test.nbytes) / 1e6, "unit": "MB", "limit": 300.0}


def _peak(process: int | None) -> int:
    """Bytes of the largest resident set so far; 0 when the process has just ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")), 0)
