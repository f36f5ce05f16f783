"""What a meta-classifier is shown of a net's weights.

base.py        Representation, the three that the paper uses (statistics, layer-statistics, weights), and tensors
tensors.py     whole nets of any architecture -> rows of equal length, by slots
slices/        slices of unknown layout -> rows of equal length
chain.py       a layout as layers that read each other
values.py      what a heap of numbers is like
structure.py   what a matrix or a bank of filters is like
relations.py   what tensors say together
statistics.py  the 16 and 480 statistics
cache.py       what was computed of each net, up to a limit of memory
"""

from nws.representations.base import REPRESENTATIONS, LayerStatistics, Representation, Statistics, Tensors, Weights, named
from nws.representations.cache import Cache
from nws.representations.slices import Slices
from nws.representations.tensors import tensors

REPRESENTATIONS[Slices.name] = Slices()

__all__ = [
    "REPRESENTATIONS",
    "Cache",
    "LayerStatistics",
    "Representation",
    "Slices",
    "Statistics",
    "Tensors",
    "Weights",
    "named",
    "tensors",
]
