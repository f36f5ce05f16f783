"""Meta-classifiers: weights -> the property they were trained with. One contract (scikit-learn's), many kinds.

>>> nws.meta.make("svm-linear-16", C=0.1).fit(features, labels).predict_proba(others)
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from nws.errors import unknown
from nws.meta.contract import READS, Meta
from nws.meta.dmc import DMC
from nws.meta.heads import MultiDMC
from nws.meta.saved import load, save
from nws.meta.svm import SVM

__all__ = ["DMC", "METAS", "READS", "SVM", "Meta", "MultiDMC", "load", "make", "save"]

METAS: dict[str, Callable[..., Meta]] = {
    "svm-linear-16": partial(SVM, kernel="linear", reads="statistics"),
    "svm-rbf-16": partial(SVM, kernel="rbf", reads="statistics"),
    "svm-linear-480": partial(SVM, kernel="linear", reads="layer-statistics"),
    "svm-rbf-480": partial(SVM, kernel="rbf", reads="layer-statistics"),
    "dmc": DMC,
}


def make(name: str, **arguments: Any) -> Meta:
    """A meta-classifier by name, unfitted; NwsError for a name or an argument it does not have."""
    if name not in METAS:
        raise unknown("meta-classifier", name, METAS)
    valid = list(inspect.signature(METAS[name]).parameters)
    for argument in arguments:
        if argument not in valid:
            raise unknown(f"argument of {name}", argument, valid)
    return METAS[name](**arguments)
