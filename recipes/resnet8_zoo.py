"""A zoo of small residual nets on CIFAR-10, and how well their test accuracy can be read from the weights.

    python recipes/resnet8_zoo.py zoo/resnet8 results/resnet8 [--full]

Reduced, for a CPU: 300 nets of half the width on 5,000 images, two hours on two quiet cores (docs/kan.md has what was measured).
--full is the published zoo, 10,000 nets on 50,000 images, for a GPU: taken when PyTorch has one, one net at a time.
"""

import sys

import torch

from nws import Task, evaluate, sample, terminal, threads
from nws.families import ResNet8

IMAGES, SEED = "cifar10", 0
NETS, WIDTH, LIMIT, LIMIT_TEST = 300, 8, 5_000, 1_000
PASSES = range(10, 40)
FULL_NETS, FULL_WIDTH = 10_000, 16
SNAPSHOTS = 5  # of each net; the last is read
READERS, ROUNDS = ("svm-linear-480", "svm-rbf-480"), 10


def main(path: str, out: str, *options: str) -> None:
    full = "--full" in options
    space = ResNet8.space.with_(width=FULL_WIDTH if full else WIDTH, passes=PASSES)
    limits = {"limit": None if full else LIMIT, "limit_test": None if full else LIMIT_TEST}
    workers = threads.cores()
    if full and torch.cuda.is_available():
        torch.set_default_device("cuda")
        workers = 1
    nets = FULL_NETS if full else NETS
    zoo = sample(path, space, nets, images=IMAGES, seed=SEED, snapshots=SNAPSHOTS, workers=workers, **limits)
    torch.set_default_device("cpu")
    with terminal.progress() as on_progress:
        task = Task("test_accuracy", snapshots=(SNAPSHOTS,))
        rows = evaluate(READERS, task, zoo, rounds=ROUNDS, workers=threads.cores(), out=out, on_progress=on_progress)
    terminal.out.print(terminal.results(rows))


if __name__ == "__main__":
    main(*sys.argv[1:])
