"""Which statistics a linear SVM decides by: the norm over classes of its coefficients (E.2, Figs. 3, 16 and 17 of the paper).

Features are standardised before the machine learns, so that coefficients compare. Mean and spread (standard deviation) are
over rounds, which differ in the nets learned from.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from nws.analysis.study import Study
from nws.representations import statistics as features
from nws.tables import NotForThisZooError
from nws.tasks.evaluation import fits
from nws.tasks.protocol import Task


def importance(study: Study) -> pd.DataFrame:
    """Of the statistics layer by layer: property, layer, type, statistic, mean, spread. Needs nets of one architecture."""
    zoo = study.inputs.zoo
    layouts = zoo.layouts()
    if len(layouts) > 1:
        raise NotForThisZooError(f"layer-wise statistics need nets of one architecture, the zoo has {len(layouts)}")
    names = features.feature_names(layouts.pop())
    if not names:
        raise NotForThisZooError("its nets have a single layer, and that of the outputs has no layer-wise statistics")
    parts = [name.rsplit("/", 1) for name in names]  # the layers of a foreign net may have a / of their own
    columns = pd.DataFrame([[*tensor.rsplit(".", 1), statistic] for tensor, statistic in parts], columns=_WHERE)
    return _by_property(study, "importance", "svm-linear-480", columns)


def importance_local(study: Study) -> pd.DataFrame:
    """Of the 16 statistics of slices: property, statistic, mean, spread."""
    columns = pd.DataFrame({"statistic": features.STATISTICS})
    return _by_property(study, "importance_local", "svm-linear-16", columns)


_WHERE = ["layer", "type", "statistic"]


def _by_property(study: Study, table: str, meta: str, columns: pd.DataFrame) -> pd.DataFrame:
    pieces = []
    names = study.properties()
    for task in study.asked([study.whole(name) if meta.endswith("480") else study.local(name) for name in names]):
        name = task.property

        def make(task: Task = task) -> pd.DataFrame:
            rounds = np.stack([fitted.meta.importance_ for fitted in _fits(study, meta, task)])  # (rounds, F)
            spread = rounds.std(axis=0, ddof=1) if len(rounds) > 1 else np.zeros(rounds.shape[1])
            return columns.assign(mean=rounds.mean(axis=0), spread=spread)

        piece = study.piece(f"{table}-{name}", make)
        piece.insert(0, "property", name)
        pieces.append(piece)
    return pd.concat(pieces, ignore_index=True)


def _fits(study: Study, meta: str, task: Task):  # type: ignore[no-untyped-def]
    return fits(meta, task, study.inputs, rounds=study.effort.rounds, on_progress=study.on_progress)
