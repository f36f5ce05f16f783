"""What meta-classifiers read: the rows behind Figs. 2, 4, 18 and 19 of the paper.

Each table has a row per task and meta-classifier, with the columns of `nws.tasks.results.table`.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from nws.analysis.statistics import usable
from nws.analysis.study import Study
from nws.representations import statistics as features
from nws.tables import NotForThisZooError
from nws.tasks import results
from nws.tasks.protocol import Result
from nws.zoo import targets

GLOBAL = ("dataset", "batch_size", "augmentation", "optimizer", "activation", "initialization")  # Fig. 2
SUBSET = ("dataset", "optimizer", "activation", "initialization", "filter_size")  # Fig. 18 has five, and names two of them
WHOLE_SVMS = ("svm-linear-16", "svm-rbf-16", "svm-linear-480", "svm-rbf-480")
LOCAL_SVMS = ("svm-linear-16", "svm-rbf-16")
LEAST_NETS = 12  # to read a number of
LENGTHS = (100, 200, 500, 1000, 2000, 5000, 10_000, 20_000)
STRIPPED = ("norm", "bias")
UNTOLD = ["zoo", "version", "key"]  # the table's own "about" says it


def meta_classification(study: Study) -> pd.DataFrame:
    """Reading whole nets (Fig. 2). Nets of many architectures are read by what needs no common layout: 16 statistics, slices."""
    names = study.properties(GLOBAL)
    zoo = study.inputs.zoo
    layouts = zoo.layouts()
    alike = len(layouts) == 1 and bool(features.feature_names(next(iter(layouts))))  # of a single layer there are none
    rows = study.svms([study.whole(name) for name in names], WHOLE_SVMS if alike else LOCAL_SVMS)
    if alike and study.effort.global_steps:
        rows += study.dmc([study.whole(name) for name in study.for_dmc(names)], study.effort.global_steps)
    else:
        rows += study.dmc(study.possible([study.local(name) for name in study.for_dmc(names)]))
    return _table(rows, names)


def numbers(study: Study) -> pd.DataFrame:
    """Numbers read from whole nets by 16 statistics (beyond the paper): what was measured, and properties that are numbers."""
    zoo = study.inputs.zoo
    frame, _ = usable(zoo, converged=study.effort.converged)
    asked = [name for name in targets.names(zoo) if targets.target(zoo, name).kind == "number"]
    names = [name for name in asked if frame[name].notna().sum() >= LEAST_NETS and frame[name].nunique() > 2]
    if not names:
        raise NotForThisZooError(f"no number that differs was measured of at least {LEAST_NETS} of its nets")
    return _table(study.svms([study.whole(name) for name in names], LOCAL_SVMS), names)


def local(study: Study) -> pd.DataFrame:
    """Reading slices (Fig. 4): of all weights, and by the DMC and (beyond the paper) the RBF SVM of the conv and FC part alone."""
    names = study.properties()
    rows = study.svms(study.asked([study.local(name) for name in names]), LOCAL_SVMS)
    parts = study.parts(("conv", "fc"))
    rows += study.svms(study.possible([study.local(name, part=part) for part in parts for name in names]), ["svm-rbf-16"])
    learned = [study.local(name, part=part) for part in study.parts(study.effort.dmc_parts) for name in study.for_dmc(names)]
    rows += study.dmc(study.possible(learned))
    return _table(rows, names)


def subset_size(study: Study, lengths: Sequence[int] = LENGTHS, dmc_lengths: Sequence[int] = LENGTHS) -> pd.DataFrame:
    """Accuracy against the length of slices (Fig. 18), of the DMC and, beyond the paper, of the RBF SVM."""
    names = study.properties(SUBSET)
    longest = int(study.inputs.zoo.index["weights"].max())
    tasks = [study.local(name, length) for name in names for length in lengths if length <= longest]
    learned = [study.local(name, length) for name in study.for_dmc(names) for length in dmc_lengths if length <= longest]
    rows = study.svms(study.asked(tasks), ["svm-rbf-16"]) + study.dmc(study.possible(learned))
    return _table(rows, names)


def batch_norm(study: Study) -> pd.DataFrame:
    """Nets with and without batch norm, and the same meta-classifiers tested without biases and norm's values (Fig. 19)."""
    zoo = study.inputs.zoo
    if "batch_norm" not in zoo.properties or zoo.properties["batch_norm"].type is not bool:
        raise NotForThisZooError("its nets have no property batch_norm that is on or off")
    if "batch_norm" not in zoo.varying():
        raise NotForThisZooError("its nets all have batch norm, or none has: sample with --with batch_norm=off,on")
    names = [name for name in study.properties() if name != "batch_norm"]
    tasks = [
        study.local(name, only={"batch_norm": on}, without=without)
        for name in names
        for on in (True, False)
        for without in ((), STRIPPED)
    ]
    tasks = study.asked(tasks)
    learned = [task for task in tasks if task.property in study.for_dmc(names)]
    table = _table(study.svms(tasks, ["svm-rbf-16"]) + study.dmc(learned), names)
    table.attrs["notes"] = [note for note in table.attrs["notes"] if "batch_norm" not in note]  # the column `only` says it
    return table


def _table(rows: Sequence[Result], names: Sequence[str]) -> pd.DataFrame:
    """Rows by property, in the order they were asked in; what a reader must know of them as notes."""
    frame = results.table(sorted(rows, key=lambda row: names.index(row.property))).drop(columns=UNTOLD)
    frame.attrs["notes"] = list(dict.fromkeys(note for row in rows for note in row.notes))
    return frame
