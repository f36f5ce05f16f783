"""What can be read from the weights of nets trained on real images? The six properties of the paper's Fig. 2.

    nws sample zoo/fixed4 --space fixed --images mnist,fashion,kmnist,cifar10 --nets 320 --seed 1 \
        --limit 3000 --limit-test 500 --epochs 24 --data FOLDER
    python recipes/four_image_sets.py zoo/fixed4 results/fixed4 [--dmc]

Expected values and minutes: docs/log.md, 2026-11-20.
"""

import sys
from pathlib import Path

from nws import Task, Zoo, evaluate, figures, terminal, threads
from nws.tasks import results
from nws.tasks.inputs import Inputs

PROPERTIES = ("dataset", "batch_size", "augmentation", "optimizer", "activation", "initialization")
SVMS = ("svm-linear-16", "svm-rbf-16", "svm-linear-480", "svm-rbf-480")
ROUNDS = 10
SNAPSHOTS = tuple(range(17, 21))  # the last four, as the paper does for whole nets
DMC = ("optimizer", "initialization")  # local: slices of 1,000 weights, a quarter of the cost of the paper's 5,000
DMC_ROUNDS, DMC_SLICE, DMC_STEPS = 2, 1000, 350


def main(path: str, out: str, *options: str) -> None:
    zoo = Zoo(path)
    with terminal.progress() as on_progress, Inputs(zoo, workers=threads.cores()) as inputs:
        rows = evaluate(
            SVMS, [Task(name, SNAPSHOTS) for name in PROPERTIES], inputs, rounds=ROUNDS, out=out, on_progress=on_progress
        )
        if "--dmc" in options:
            tasks = [Task(name, SNAPSHOTS, slice_length=DMC_SLICE) for name in DMC]
            local = ("svm-linear-16", "svm-rbf-16", "dmc")
            settings = {"dmc": {"max_steps": DMC_STEPS}}
            rows += evaluate(local, tasks, inputs, rounds=DMC_ROUNDS, out=out, settings=settings, on_progress=on_progress)
    whole = results.table(rows[: len(PROPERTIES) * len(SVMS)])
    figures.save(figures.meta_classification(whole), Path(out) / "figure2")
    terminal.out.print(terminal.results(rows))


if __name__ == "__main__":
    main(*sys.argv[1:])
