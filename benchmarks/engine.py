"""How fast the engines train: one JSON row per comparison, from runs that alternate with each other on one core.

    python benchmarks/engine.py [--rounds 5] > rows.json      about 2 minutes

Rates are images per second of CPU time, so that other programs on the machine disturb little; the ratio is the median of the
paired rounds. The net's arithmetic is counted as 3 x forward multiply-adds x 2, and compared with the float32 matrix product of
NumPy on the same core: Winograd does fewer multiplications, hence shares above 1.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
# One core for all: a second thread of the matrix product would go on spinning while ours is timed, and be counted.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

import numpy as np
import torch
from peers.usual import Usual
from subject import FIXED, operations, random_pictures

from nws import cnn
from nws.images import ImageSet
from nws.space import HyperParameters
from nws.train.native_engine import NativeEngine, why_not
from nws.train.torch_engine import TorchEngine

NETS = {
    "fixed": FIXED,
    "smallest": FIXED.with_(filter_size=3, depth_conv=3, depth_fc=2, width_conv=4, width_fc=64),
    "largest": FIXED.with_(filter_size=7, depth_conv=5, depth_fc=4, width_conv=12, width_fc=192),
}
COST = {"fixed": 1.0, "smallest": 0.25, "largest": 7.0}  # of an image, about: how many make a run
PICTURES = 4096

Run = Callable[[], float]  # -> images per CPU second


def timed(work: Callable[[], int]) -> Run:
    def run() -> float:
        started = time.process_time()
        done = work()
        return done / (time.process_time() - started)

    return run


def training(make: type, hp: HyperParameters, images: ImageSet, n: int) -> Run:
    engine = make(hp, cnn.initialize(hp, np.random.default_rng(0)), images, 0)
    rng = np.random.default_rng(1)

    def work() -> int:
        batches = rng.permutation(PICTURES)[: n // hp.batch_size * hp.batch_size].reshape(-1, hp.batch_size)
        engine.train(batches, hp.learning_rate)
        return int(batches.size)

    return timed(work)


def evaluating(make: type, hp: HyperParameters, images: ImageSet, n: int) -> Run:
    engine = make(hp, cnn.initialize(hp, np.random.default_rng(0)), images, 0)

    def work() -> int:
        engine.accuracy("test", np.arange(n))
        return n

    return timed(work)


def usual(hp: HyperParameters, images: ImageSet, n: int) -> Run:
    peer = Usual(hp, images.x_train, images.y_train)
    return timed(lambda: peer.train(n))


def counted(run: Run, operations: float) -> Run:
    return lambda: run() * operations


def matrix_product(size: int = 1024) -> Run:
    a, b = np.random.default_rng(0).random((2, size, size), dtype=np.float32)

    def work() -> int:
        for _ in range(4):
            a @ b
        return 4 * 2 * size**3

    return timed(work)


def compare(ours: Run, theirs: Run, rounds: int) -> dict[str, float]:
    ours(), theirs()  # warm
    pairs = np.array([(ours(), theirs()) for _ in range(rounds)])
    return {
        "ours": round(float(np.median(pairs[:, 0])), 1),
        "theirs": round(float(np.median(pairs[:, 1])), 1),
        "ratio": round(float(np.median(pairs[:, 0] / pairs[:, 1])), 3),
    }


def machine() -> dict[str, str]:
    cpu = platform.processor() or platform.machine()
    if (info := Path("/proc/cpuinfo")).exists():
        cpu = next((line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")), cpu)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent)
    return {"machine": cpu, "commit": commit.stdout.strip(), "torch": torch.__version__, "numpy": np.__version__}


def comparisons(images: ImageSet) -> dict[str, Callable[[], tuple[Run, Run]]]:
    """what -> (ours, theirs), to be made when it is their turn."""
    rows: dict[str, Callable[[], tuple[Run, Run]]] = {}
    for name, plain in NETS.items():
        n = min(PICTURES, int(1024 / COST[name]) // 64 * 64)
        augmented = plain.with_(augmentation=True)

        def ours(hp: HyperParameters, n: int = n) -> Run:
            return training(NativeEngine, hp, images, n)

        for hp in (plain, augmented):
            what = f"training, {name} net, {'with' if hp.augmentation else 'without'} augmentation: native / "
            rows[what + "usual loop"] = lambda hp=hp, n=n, ours=ours: (ours(hp), usual(hp, images, min(n, 512)))
            rows[what + "torch engine"] = lambda hp=hp, n=n, ours=ours: (ours(hp), training(TorchEngine, hp, images, min(n, 512)))
        rows[f"training, {name} net: with / without augmentation"] = lambda a=augmented, p=plain, ours=ours: (ours(a), ours(p))
        rows[f"evaluation / training, {name} net"] = lambda p=plain, n=n, ours=ours: (
            evaluating(NativeEngine, p, images, n),
            ours(p),
        )
        rows[f"operations/s of training / of the matrix product, {name} net"] = lambda p=plain, ours=ours: (
            counted(ours(p), operations(p)),
            matrix_product(),
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="rows whose name contains this")
    options = parser.parse_args()
    if reason := why_not():
        sys.exit(reason)
    torch.set_num_threads(1)
    about = machine()
    for what, make in comparisons(random_pictures(PICTURES)).items():
        if options.only in what:
            print(json.dumps({"what": what, **compare(*make(), options.rounds), **about}), flush=True)


if __name__ == "__main__":
    main()
