"""Meta-classifiers for `nws audit` from one zoo: an SVM on slices per property, and a layer-wise one if all nets are alike.

    python recipes/audit_models.py zoo/reference_fixed models [--workers N] [PROPERTY ...]
    nws audit model.safetensors --with models

Minutes and expected values: docs/audit.md.
"""

import argparse
import sys
from pathlib import Path

from nws import Task, Zoo, auditing, terminal, threads
from nws.tasks.inputs import Inputs

SNAPSHOTS = tuple(range(17, 21))  # the last four, as the paper does for whole nets
SLICE = 5000  # the paper's; shorter where the zoo's smallest nets are


def main(path: str, out: str, *more: str) -> None:
    words = argparse.ArgumentParser(description="Processes: one per core, unless --workers says otherwise.")
    words.add_argument("--workers", type=int, default=threads.cores())
    words.add_argument("properties", nargs="*")
    said = words.parse_args(more)
    zoo = Zoo(path)
    reference = auditing.Reference.of_zoo(zoo)
    length = min(SLICE, int(zoo.index["weights"].min()))
    kinds = {"svm-rbf-16": length, **({"svm-linear-480": None} if reference.architecture else {})}
    guessed = [name for name in zoo.varying() if not zoo.properties[name].continuous and name not in auditing.READ]
    asked = said.properties or guessed  # the others are read from the file
    rows = []
    shared = Inputs(zoo, test_slices=auditing.SLICES, workers=said.workers)  # the same models as with one, sooner
    with terminal.progress() as on_progress, shared as inputs:
        for name in asked:
            for meta, slice_length in kinds.items():
                task = Task(name, SNAPSHOTS, slice_length=slice_length)
                made = auditing.learn(meta, task, inputs, reference=reference, on_progress=on_progress)
                made.save(Path(out) / f"{name}-{meta}")
                rows.append((f"{name}, {meta}", terminal.calibration(made.calibration)))
    terminal.out.print(terminal.facts(rows, f"On held-out nets of {path}"))


if __name__ == "__main__":
    main(*sys.argv[1:])
