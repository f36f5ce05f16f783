"""The whole story on one small zoo: train it, read what was chosen back from the weights, draw the finding."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from nws import figures, sampling, terminal, threads
from nws.families.cnn2020 import FIXED
from nws.progress import within
from nws.tasks import results
from nws.tasks.evaluation import evaluate
from nws.tasks.inputs import Inputs
from nws.tasks.protocol import Result, Task
from nws.train import Schedule
from nws.zoo import Zoo

if TYPE_CHECKING:
    import pandas as pd

# Small nets of one architecture: 0.27 s of one core each, so that 300 of them are trained in less than a minute on two quiet cores.
IMAGES, LIMIT, LIMIT_TEST = "digits", 1000, 340
SPACE = FIXED.with_(dataset=IMAGES, batch_size=[32, 256], filter_size=3, width_conv=4, width_fc=64)
SCHEDULE = Schedule(seed=0, snapshots=20, epochs=19)  # 19 epochs give 20 records: every one is a snapshot
LAST = tuple(range(17, 21))
# What can be read from so few nets with any seed of nets; the learning rate cannot be.
PROPERTIES = ("initialization", "activation", "batch_size", "optimizer", "augmentation")
METAS = ("svm-linear-16", "svm-rbf-16", "svm-linear-480")
NUMBER, NUMBER_META = "test_accuracy", "svm-rbf-16"  # linear ones are far off where a net's weights went astray
LOCAL = ("initialization",)  # what the DMC reads after seconds instead of hours
DMC_SLICE, DMC_STEPS = 500, 40
ROUNDS, DMC_ROUNDS = 10, 2


def run(out: str | Path, nets: int = 300, workers: int | None = None) -> list[Result]:
    """Everything below `out`: zoo/, results.json, demo.png. Going on from whatever is there already.

    What so few nets cannot tell is left out, with a note; a dozen nets tell nothing, and then there is no figure.
    """
    out = Path(out)
    hps = SPACE.sample(nets, seed=0)
    sets = sampling.load_images([IMAGES], None, LIMIT, LIMIT_TEST)
    zoo = sampling.prepare(out / "zoo", hps, sets, SCHEDULE, SPACE)
    done = len(sampling.finished(zoo, nets))
    if done == nets:
        terminal.console.print(f"{zoo.path}: all {nets} nets are done")
    else:
        for note in sampling.cautions(hps, sets, SCHEDULE, "auto"):
            terminal.console.print(f"note: {note}", markup=False)
        with terminal.SamplingBar(nets, done) as bar:
            sampling.fill(zoo, hps, sets, SCHEDULE, workers=workers, on_progress=bar)
    readable = [name for name in PROPERTIES if can_be_split(zoo.index, name)]
    if missing := [name for name in PROPERTIES if name not in readable]:
        terminal.console.print(f"note: {nets} nets are too few to read {', '.join(missing)}: more with --nets", markup=False)
    if not readable:
        return []
    rows = classify(zoo, out, readable, workers or threads.cores())
    figures.save(figures.meta_classification(results.table(rows)), out / "demo")
    return rows


def can_be_split(index: pd.DataFrame, name: str) -> bool:
    """Whether each round can have nets of every class that there is, at least two, to learn from and to be tested."""
    counts = index.loc[index["status"] == "ok", name].value_counts()
    return len(counts) > 1 and bool(counts.min() >= 2)


def classify(zoo: Zoo, out: Path, properties: Sequence[str], workers: int = 1) -> list[Result]:
    """The rows of the table, property by property."""
    whole = [Task(name, LAST) for name in properties]
    local = [Task(name, LAST, slice_length=DMC_SLICE) for name in LOCAL if name in properties]
    with terminal.progress() as on_progress, Inputs(zoo, workers=workers) as inputs:
        read = partial(evaluate, zoo=inputs, out=out)
        # A share of the time each, as measured.
        rows = [
            *read(METAS, whole, rounds=ROUNDS, on_progress=within(on_progress, "whole nets", 0, 0.45)),
            *read(NUMBER_META, Task(NUMBER, LAST), rounds=ROUNDS, on_progress=within(on_progress, "whole nets", 0.45, 0.48)),
            *read(
                "dmc",
                local,
                rounds=DMC_ROUNDS,
                settings={"dmc": {"max_steps": DMC_STEPS}},
                on_progress=within(on_progress, f"slices of {DMC_SLICE} weights", 0.48, 1),
            ),
        ]
    return sorted(rows, key=lambda row: (*PROPERTIES, NUMBER).index(row.property))
