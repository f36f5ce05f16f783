"""Meta-classifiers: weights -> the property they were trained with. One contract (scikit-learn's), many kinds.

>>> nws.meta.make("svm-linear-16", C=0.1).fit(features, labels).predict_proba(others)
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from nws.errors import unknown
from nws.meta.boosting import Boosting
from nws.meta.contract import READS, Meta
from nws.meta.dmc import DMC
from nws.meta.edges import EDGE_READERS
from nws.meta.graph import GraphReader
from nws.meta.heads import MultiDMC
from nws.meta.probes import ProbesReader
from nws.meta.reader import Reader, TorchReader, reader
from nws.meta.saved import load, save
from nws.meta.sets import DeepSets, SetTransformer
from nws.meta.slice_boosting import SliceBoosting
from nws.meta.slice_net import SliceNet
from nws.meta.svm import SVM

__all__ = [
    "DMC",
    "EDGE_READERS",
    "METAS",
    "READS",
    "SVM",
    "Boosting",
    "DeepSets",
    "GraphReader",
    "Meta",
    "MultiDMC",
    "ProbesReader",
    "Reader",
    "SetTransformer",
    "TorchReader",
    "load",
    "make",
    "named",
    "reader",
    "save",
]

METAS: dict[str, Callable[..., Meta]] = {
    "svm-linear-16": partial(SVM, kernel="linear", reads="statistics"),
    "svm-rbf-16": partial(SVM, kernel="rbf", reads="statistics"),
    "svm-linear-480": partial(SVM, kernel="linear", reads="layer-statistics"),
    "svm-rbf-480": partial(SVM, kernel="rbf", reads="layer-statistics"),
    "tensors": partial(Boosting, reads="tensors"),
    "slices": SliceBoosting,
    "slice-net": SliceNet,
    "dmc": DMC,
    "graph": GraphReader,
    "probes": ProbesReader,
    "deepsets": DeepSets,
    "set-transformer": SetTransformer,
}


def make(name: str, **arguments: Any) -> Any:
    """A meta-classifier by name, unfitted; NwsError for a name or an argument it does not have. Readers of edges have names too."""
    known: dict[str, Callable[..., Any]] = {**METAS, **EDGE_READERS}
    if name not in known:
        raise unknown("meta-classifier", name, known)
    valid = list(inspect.signature(known[name]).parameters)
    for argument in arguments:
        if argument not in valid:
            raise unknown(f"argument of {name}", argument, valid)
    return known[name](**arguments)


def named(metas: Any, settings: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Any]:
    """name -> meta-classifier, unfitted, of a name of METAS, an estimator, or a list or dict (name -> either) of them.

    settings: constructor arguments by name. Estimators are called by their class; the second of one class gets "-2" behind it.
    """
    if isinstance(metas, Mapping):
        return {name: make(m, **(settings or {}).get(m, {})) if isinstance(m, str) else reader(m) for name, m in metas.items()}
    found: dict[str, Any] = {}
    for meta in metas if isinstance(metas, list | tuple) else [metas]:  # forests and pipelines are sequences themselves
        if isinstance(meta, str):
            found[meta] = make(meta, **(settings or {}).get(meta, {}))
            continue
        made = reader(meta)
        name = type(made.estimator if isinstance(made, Reader) else made).__name__
        alike = sum(known.partition("-")[0] == name for known in found)
        found[f"{name}-{alike + 1}" if alike else name] = made
    return found
