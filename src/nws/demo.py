"""The whole story on one small zoo: train it, read four choices back from the weights, draw the finding."""

from __future__ import annotations

from pathlib import Path

from nws import figures, results, sampling, terminal, threads
from nws.families.cnn2020 import FIXED
from nws.inputs import Inputs
from nws.protocol import Result, Task
from nws.train import Schedule
from nws.zoo import Zoo

IMAGES, LIMIT, LIMIT_TEST = "digits", 1000, 250
SCHEDULE = Schedule(seed=0, snapshots=20, epochs=19)  # 19 epochs give 20 records: every one is a snapshot
PROPERTIES = ("optimizer", "activation", "initialization", "augmentation")
METAS = ("svm-linear-16", "svm-rbf-16", "svm-linear-480", "dmc")
ROUNDS, DMC_ROUNDS = 10, 2
DMC_SLICE, DMC_STEPS = 500, 50  # seconds instead of hours


def run(out: str | Path, nets: int = 72, workers: int | None = None) -> list[Result]:
    """Everything below `out`: zoo/, results.json, demo.png. Going on from whatever is there already."""
    out = Path(out)
    space = FIXED.with_(dataset=IMAGES)
    hps = space.sample(nets, seed=0)
    sets = sampling.load_images([IMAGES], None, LIMIT, LIMIT_TEST)
    zoo = sampling.prepare(out / "zoo", hps, sets, SCHEDULE, space)
    done = len(sampling.finished(zoo, nets))
    if done == nets:
        terminal.console.print(f"{zoo.path}: all {nets} nets are done")
    else:
        for note in sampling.cautions(hps, sets, SCHEDULE, "auto"):
            terminal.console.print(f"note: {note}", markup=False)
        with terminal.SamplingBar(nets, done) as bar:
            sampling.fill(zoo, hps, sets, SCHEDULE, workers=workers, tell=bar)
    rows = classify(zoo, out, workers or threads.cores())
    figures.save(figures.meta_classification(results.table(rows)), out / "demo")
    return rows


def classify(zoo: Zoo, out: Path, workers: int = 1) -> list[Result]:
    rows: list[Result] = []
    last = tuple(range(17, 21))
    settings = {"dmc": {"max_steps": DMC_STEPS}}
    with terminal.progress() as tell, Inputs(zoo, workers=workers) as inputs:
        for name in PROPERTIES:
            rows += results.classify(inputs, [Task(name, last)], METAS[:-1], rounds=ROUNDS, out=out, tell=tell)
            local = [Task(name, last, slice_length=DMC_SLICE)]
            rows += results.classify(inputs, local, METAS[-1:], rounds=DMC_ROUNDS, out=out, settings=settings, tell=tell)
    return rows
