"""Where and when a property can be read: accuracy by position in the net and by progress of its training (Figs. 5, 20, 21)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from nws.analysis.study import Study
from nws.progress import Doing, within
from nws.representations import Cache, Representation
from nws.tasks.evaluation import fits
from nws.tasks.inputs import Inputs
from nws.tasks.protocol import Task
from nws.tasks.results import Fitted

SVM = "svm-rbf-16"


class Grid:
    """Slices of `length` at evenly spaced positions of a part and snapshots of the training, of one net after the other.

    Every net has the same number of them, so that position k of P is the same share of the way through nets of any size.
    """

    def __init__(self, inputs: Inputs, length: int, positions: int, snapshots: int):
        last = int(inputs.zoo.index["snapshots"].min())
        self.zoo, self.length, self.positions = inputs.zoo, length, positions
        self.snapshots = np.unique(np.linspace(1, last, snapshots).round().astype(int))
        self._shown = Cache()

    def weights(self, net: int, part: str) -> np.ndarray:
        """(P * S, L): position by position, its snapshots in order."""
        where = self.zoo.layout(net).part(part)
        starts = where.start + np.linspace(0, where.stop - where.start - self.length, self.positions).round().astype(np.int64)
        starts, snapshots = np.repeat(starts, len(self.snapshots)), np.tile(self.snapshots, self.positions)
        return self.zoo.slices(net, snapshots, starts, self.length)

    def shown(self, representation: Representation, net: int, part: str) -> np.ndarray:
        """(P * S, F); a table is remembered: the nets of one property's test are tested for another one too."""
        if not representation.table:
            return self.weights(net, part)
        return self._shown.get((representation, net, part), lambda: representation.of_slices(self.weights(net, part)))

    def accuracy(
        self, fitted: Sequence[Fitted], name: str, part: str, on_progress: Callable[[str], None] = lambda doing: None
    ) -> pd.DataFrame:
        """position, snapshot, accuracy, n, chance: the share of test nets read rightly in each place, over all rounds."""
        labels = self.zoo.index[name].map(self.zoo.properties[name].label)
        hits = np.zeros(self.positions * len(self.snapshots))
        tests, nets = 0, set()
        of = sum(len(one.drawn.test) for one in fitted)
        for one in fitted:
            for k, net in enumerate(one.drawn.test.tolist()):
                on_progress(Doing(f"net {tests + k + 1:,} of {of:,} on {self.positions} positions", (tests + k) / of))
                hits += one.meta.predict(self.shown(one.meta.representation, net, part)) == labels[net]
            tests += len(one.drawn.test)
            nets |= set(one.drawn.test.tolist())
        at = np.linspace(0, 1, self.positions)
        return pd.DataFrame(
            {
                "position": np.repeat(at, len(self.snapshots)),
                "snapshot": np.tile(self.snapshots, self.positions),
                "accuracy": hits / tests,
                "n": len(nets),
                "chance": 1 / len(one.meta.classes_),  # test nets are balanced
            }
        )


def maps(
    study: Study,
    grid: tuple[int, int] = (100, 20),
    dmc_grid: tuple[int, int] = (100, 20),
    svm_rounds: int = 4,
) -> pd.DataFrame:
    """property, meta, part, position (0 first slice, 1 last), snapshot, accuracy, n (test nets), chance; RBF SVM and DMC.

    grid, dmc_grid   positions x snapshots
    svm_rounds       the SVM is cheap: more rounds test more nets. The DMC is the one of the first round of `reading.local`.
    """
    length, names = study.slice_length, study.properties()
    grids = {SVM: Grid(study.inputs, length, *grid), "dmc": Grid(study.inputs, length, *dmc_grid)}
    settings: dict[str, dict[str, Any]] = {SVM: {"grid": grid, "rounds": svm_rounds}, "dmc": {"grid": dmc_grid}}
    parts = study.parts()
    read = {SVM: study.asked([study.local(name, part=part) for name in names for part in parts])}
    learned = [study.local(name, part=part) for name in study.for_dmc(names) for part in study.effort.dmc_parts if part in parts]
    read["dmc"] = study.possible(learned)
    fitted: dict[str, Callable[[Study, Task], Iterable[Fitted]]] = {SVM: partial(_svms, svm_rounds), "dmc": _dmc}
    asked = [(meta, task) for meta in (SVM, "dmc") for task in read[meta]]
    pieces = []
    for k, (meta, task) in enumerate(asked):
        mine = replace(
            study, on_progress=within(study.on_progress, f"map {k + 1} of {len(asked)}", k / len(asked), (k + 1) / len(asked))
        )
        make = partial(_map, mine, grids[meta], task, fitted[meta])
        pieces.append(mine.piece(f"map-{task.property}-{meta}-{task.part}", make, **settings[meta]))
    frame = pd.concat(pieces, ignore_index=True)
    frame.attrs["notes"] = (
        [] if length == study.effort.slice_length else [f"slices of {length:,} weights, no net has {study.effort.slice_length:,}"]
    )
    return frame


def _svms(rounds: int, study: Study, task: Task) -> Iterable[Fitted]:
    return fits(SVM, task, study.inputs, rounds=rounds, on_progress=study.on_progress)


def _dmc(study: Study, task: Task) -> Iterable[Fitted]:
    return [study.first_dmc(task)]


def _map(study: Study, grid: Grid, task: Task, fitted: Callable[[Study, Task], Iterable[Fitted]]) -> pd.DataFrame:
    name, part = task.property, task.part
    learning = replace(study, on_progress=within(study.on_progress, "learning", 0, 0.5))
    rounds = list(fitted(learning, task))
    frame = grid.accuracy(rounds, name, part, within(study.on_progress, f"{name}, {part}", 0.5, 1))
    meta = SVM if rounds[0].meta.representation.table else "dmc"
    for column, value in (("part", part), ("meta", meta), ("property", name)):
        frame.insert(0, column, value)
    return frame
