"""Training of KANs: milliseconds of one core per net and step, native and PyTorch, as JSON rows.

    python benchmarks/kan.py [--steps 200] [--torch-steps 20] > rows.json

A classifier 196-32-10 on batches of 64 pictures, and a net 2-32-32-1 on the 784 pixels of one; random pictures, half of whose
pixels are black. Times are processor time of this process, so that a busy machine hardly shows; the two ways take turns in one run.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from nws.families import KAN, KAN_INR, kan_training

BATCH = 64
ENGINES = ("native", "torch")


def classifier(engine: str, steps: int) -> float:
    """Processor seconds of `steps` steps."""
    rng = np.random.default_rng(0)
    config = KAN.space.net(0, 0)
    pixels = rng.integers(0, 256, (4096, config.side**2), np.uint8) * (rng.random((4096, config.side**2)) < 0.5).astype(np.uint8)
    labels = rng.integers(0, config.classes, 4096).astype(np.int32)
    batches = rng.integers(0, 4096, (steps, BATCH))
    net = kan_training.trainer(KAN.widths(config), config, KAN.init(config, rng), engine)
    return seconds(lambda: net.train_classes(pixels, labels, batches, 1e-3, 0.0))


def picture(engine: str, steps: int) -> float:
    rng = np.random.default_rng(0)
    config = KAN_INR.spaces["main"].net(0, 0)
    places, values = KAN_INR.points(config), rng.random((784, 1)).astype(np.float32)
    net = kan_training.trainer(KAN_INR.widths(config), config, KAN_INR.init(config, rng), engine)
    return seconds(lambda: net.fit(places, values, np.full(steps, 1e-2, np.float32), 0.0, -1.0))


def seconds(work: Callable[[], Any]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--torch-steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    engines = [e for e in ENGINES if e == "torch" or kan_training.native(e, KAN.space.net(0, 0))]
    for name, measured in (("classifier 196-32-10, 64 pictures", classifier), ("picture 2-32-32-1, 784 pixels", picture)):
        steps = {"native": chosen.steps, "torch": chosen.torch_steps}
        found: dict[str, list[float]] = {engine: [] for engine in engines}
        for _ in range(chosen.rounds):
            for engine in engines:
                found[engine].append(1000 * measured(engine, steps[engine]) / steps[engine])
        for engine in engines:
            best = min(found[engine])
            row = {"net": name, "engine": engine, "ms_per_step": round(best, 4), "all": [round(ms, 4) for ms in found[engine]]}
            print(json.dumps({**row, "torch_takes": round(min(found["torch"]) / best, 1)}))


if __name__ == "__main__":
    main()
