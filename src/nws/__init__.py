"""nws: a workbench for the weight space of neural networks.

>>> import nws
>>> zoo = nws.sample("zoo/digits", nws.FIXED.sample(100, seed=0), images="digits")  # doctest: +SKIP
>>> nws.evaluate("svm-linear-480", nws.Task("optimizer"), zoo)  # doctest: +SKIP
"""

import importlib
from typing import TYPE_CHECKING, Any

from nws import families
from nws.errors import NwsError
from nws.families import Family, Record
from nws.families import cnn2020 as cnn
from nws.families.cnn2020 import FIXED, MAIN, HyperParameters
from nws.families.space import Config, Property, Space
from nws.layout import Layout
from nws.net import Net
from nws.recorded import Recorded

if TYPE_CHECKING:
    from nws import auditing, exporters, figures, images, importers, legacy, meta, representations, tasks, train, weights
    from nws.auditing import audit
    from nws.images import ImageSet
    from nws.legacy import import_weights
    from nws.sampling import sample
    from nws.tasks.evaluation import evaluate
    from nws.tasks.protocol import Result, Results, Task
    from nws.zoo import Zoo

__version__ = "0.1.0"

# What needs torch, pandas or scikit-learn is imported when it is first asked for: `import nws` stays instant.
_LATER = {
    "ImageSet": "nws.images",
    "Result": "nws.tasks.protocol",
    "Results": "nws.tasks.protocol",
    "Task": "nws.tasks.protocol",
    "Zoo": "nws.zoo",
    "audit": "nws.auditing",
    "evaluate": "nws.tasks.evaluation",
    "import_weights": "nws.legacy",
    "sample": "nws.sampling",
}
_MODULES = (
    *("auditing", "exporters", "figures", "images", "importers", "legacy", "meta", "representations"),
    *("tasks", "train"),
    "weights",
)

__all__ = [
    "FIXED",
    "MAIN",
    "Config",
    "Family",
    "HyperParameters",
    "ImageSet",
    "Layout",
    "Net",
    "NwsError",
    "Property",
    "Record",
    "Recorded",
    "Result",
    "Results",
    "Space",
    "Task",
    "Zoo",
    "audit",
    "auditing",
    "cnn",
    "evaluate",
    "exporters",
    "families",
    "figures",
    "images",
    "import_weights",
    "importers",
    "legacy",
    "meta",
    "representations",
    "sample",
    "tasks",
    "train",
    "weights",
]


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(_LATER[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"nws.{name}")
    raise AttributeError(f"module 'nws' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
