"""What a meta-classifier is shown of a net's weights.

base.py        Representation, the three that the paper uses (statistics, layer-statistics, weights), and tensors
tensors.py     whole nets of any architecture -> rows of equal length, by slots
slices/        slices of unknown layout -> rows of equal length
chain.py       a layout as layers that read each other
values.py      what a heap of numbers is like
structure.py   what a matrix or a bank of filters is like
relations.py   what tensors say together
statistics.py  the 16 and 480 statistics
wiring.py      a layout as wires between groups of units, for tokens, graph and probes
tokens.py      a row per neuron, with masks
graph.py       neurons and edges, as a learned forward pass reads them
probes.py      what a net answers to inputs, and its hidden units on the way
placed.py      nets that know their layout and config
cache.py       what was computed of each net, up to a limit of memory
"""

from collections.abc import Mapping

from nws.errors import unknown
from nws.representations.base import LayerStatistics, Representation, Statistics, Tensors, Weights
from nws.representations.cache import Cache
from nws.representations.graph import Graph
from nws.representations.placed import Placed
from nws.representations.probes import Probes
from nws.representations.slices import Slices
from nws.representations.tensors import tensors
from nws.representations.tokens import Tokens

__all__ = [
    "REPRESENTATIONS",
    "Cache",
    "Graph",
    "LayerStatistics",
    "Placed",
    "Probes",
    "Representation",
    "Slices",
    "Statistics",
    "Tensors",
    "Tokens",
    "Weights",
    "named",
    "tensors",
]

_BUILT_IN = (
    Statistics(),
    LayerStatistics(),
    Tensors(),
    Tensors(without=("relations",)),
    Slices(),
    Weights(),
    Tokens(),
    Graph(),
    Probes(),
)
REPRESENTATIONS: Mapping[str, Representation] = {shown.name: shown for shown in _BUILT_IN}


def named(name: str) -> Representation:
    """The representation of this name; NwsError when there is none."""
    if name not in REPRESENTATIONS:
        raise unknown("representation", name, REPRESENTATIONS)
    return REPRESENTATIONS[name]
