"""How fast the engines train, from runs that alternate with each other on one core.

Rates are images per second of CPU time, so that other programs on the machine disturb little; a ratio is the median of paired
rounds. A net's arithmetic is counted as 3 x forward multiply-adds x 2, and compared with the float32 matrix product of
NumPy on the same core: Winograd does fewer multiplications, hence shares above 1.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from nws.bench.subject import FIXED, LARGEST, SMALLEST, operations, random_pictures
from nws.families import cnn2020 as cnn
from nws.families.cnn2020 import HyperParameters
from nws.images import ImageSet
from nws.train.native_engine import NativeEngine, why_not

NETS = {"fixed": FIXED, "smallest": SMALLEST, "largest": LARGEST}
COST = {"fixed": 1.0, "smallest": 0.25, "largest": 7.0}  # of an image, about: how many make a run
PICTURES = 4096
# Aimed at: net -> (without, with augmentation) against the usual loop; against our torch engine; share of the matrix product.
USUAL = {"fixed": (5.0, 9.0), "smallest": (None, 30.0), "largest": (None, 3.5)}
TORCH = {"fixed": 3.0}
SHARE = {"fixed": 1.5, "smallest": 0.95, "largest": 1.5}

Run = Callable[[], float]  # -> work done per CPU second
Comparison = tuple[dict[str, Any], Callable[[], tuple[Run, Run]]]  # the row's words; (ours, theirs), made when it is their turn


def rows(quick: bool = False) -> Iterator[dict[str, Any]]:
    """Training and evaluation by the native engine against the usual loop, our torch engine, and the core's matrix product.

    quick: three paired rounds of a third of the images instead of five of all, and fewer comparisons.
    """
    if reason := why_not():
        yield {"benchmark": "engine", "what": "native engine", "skipped": reason}
        return
    images = random_pictures(PICTURES)
    for name, plain in NETS.items():
        n = min(PICTURES, max(64, int((340 if quick else 1024) / COST[name]) // 64 * 64))
        for words, make in (*_against_others(name, plain, images, n, quick), *_within(name, plain, images, n)):
            value, ratio = _compared(*make(), rounds=3 if quick else 5)
            if (offset := words.pop("cost", None)) is not None:  # time instead of rate, of which ours is the dearer
                ratio = 1 / ratio + offset
            yield {"benchmark": "engine", "unit": "images/s", **words, "value": value, "ratio": ratio}


def _against_others(name: str, plain: HyperParameters, images: ImageSet, n: int, quick: bool) -> Iterator[Comparison]:
    few = min(n, 512)
    for hp, target in zip((plain, plain.with_(augmentation=True)), USUAL[name]):
        what = f"training, {name} net, {'with' if hp.augmentation else 'without'} augmentation"
        words = {"what": what}
        ours = partial(training, NativeEngine, hp, images, n)
        yield words | {"against": "usual loop", "target": target}, partial(_pair, ours, partial(usual, hp, images, few))
        if not quick or name == "fixed":
            yield (
                words | {"against": "our torch engine", "target": TORCH.get(name)},
                partial(_pair, ours, partial(training, _torch_engine, hp, images, few)),
            )


def _within(name: str, plain: HyperParameters, images: ImageSet, n: int) -> Iterator[Comparison]:
    """What is dear: parts of our own engine, and its distance from the machine's limit."""
    ours = partial(training, NativeEngine, plain, images, n)
    yield (
        {"what": f"operations of training, {name} net", "unit": "Gop/s", "against": "matrix product", "target": SHARE[name]},
        lambda: (counted(ours(), operations(plain) / 1e9), matrix_product()),
    )
    augmented = partial(training, NativeEngine, plain.with_(augmentation=True), images, n)
    yield (
        {"what": f"cost of augmentation, {name} net", "against": "training without", "limit": _limit(name, 0.08), "cost": -1.0},
        partial(_pair, augmented, ours),
    )
    yield (
        {"what": f"cost of evaluation, {name} net", "against": "training", "limit": _limit(name, 0.45), "cost": 0.0},
        partial(_pair, partial(evaluating, NativeEngine, plain, images, n), ours),
    )


def _pair(ours: Callable[[], Run], theirs: Callable[[], Run]) -> tuple[Run, Run]:
    return ours(), theirs()


def _limit(name: str, limit: float) -> float | None:
    return limit if name == "fixed" else None


def _compared(ours: Run, theirs: Run, rounds: int) -> tuple[float, float]:
    """(rate of ours, ours / theirs), medians."""
    ours(), theirs()  # warm
    pairs = np.array([(ours(), theirs()) for _ in range(rounds)])
    return float(np.median(pairs[:, 0])), float(np.median(pairs[:, 0] / pairs[:, 1]))


def timed(work: Callable[[], float]) -> Run:
    def run() -> float:
        started = time.process_time()
        done = work()
        return done / (time.process_time() - started)

    return run


def training(make: Any, hp: HyperParameters, images: ImageSet, n: int) -> Run:
    engine = make(hp, cnn.initialize(hp, np.random.default_rng(0)), images, 0)
    rng = np.random.default_rng(1)

    def work() -> int:
        batches = rng.permutation(PICTURES)[: n // hp.batch_size * hp.batch_size].reshape(-1, hp.batch_size)
        engine.train(batches, hp.learning_rate)
        return int(batches.size)

    return timed(work)


def evaluating(make: Any, hp: HyperParameters, images: ImageSet, n: int) -> Run:
    engine = make(hp, cnn.initialize(hp, np.random.default_rng(0)), images, 0)

    def work() -> int:
        engine.accuracy("test", np.arange(n))
        return n

    return timed(work)


def usual(hp: HyperParameters, images: ImageSet, n: int) -> Run:
    from nws.bench.usual import Usual

    peer = Usual(hp, images.x_train, images.y_train)
    return timed(lambda: peer.train(n))


def _torch_engine(*net: Any) -> Any:
    from nws.train.torch_engine import TorchEngine  # imports torch

    return TorchEngine(*net)


def counted(run: Run, operations: float) -> Run:
    return lambda: run() * operations


def matrix_product(size: int = 1024) -> Run:
    a, b = np.random.default_rng(0).random((2, size, size), dtype=np.float32)

    def work() -> float:
        for _ in range(4):
            a @ b
        return 4 * 2 * size**3 / 1e9

    return timed(work)
