"""What a meta-classifier is shown of a net's weights.

base.py    Representation, and the three that the paper uses: statistics, layer-statistics, weights
wiring.py  a layout as wires between groups of units, for all that follow
tokens.py  a row per neuron, with masks
graph.py   neurons and edges, as a learned forward pass reads them
probes.py  what a net answers to inputs, and its hidden units on the way
placed.py  nets that know their layout and config
cache.py   what was computed of each net, up to a limit of memory
"""

from collections.abc import Mapping

from nws.errors import unknown
from nws.representations import base
from nws.representations.base import LayerStatistics, Representation, Statistics, Weights
from nws.representations.cache import Cache
from nws.representations.graph import Graph
from nws.representations.placed import Placed
from nws.representations.probes import Probes
from nws.representations.tokens import Tokens

__all__ = [
    "REPRESENTATIONS",
    "Cache",
    "Graph",
    "LayerStatistics",
    "Placed",
    "Probes",
    "Representation",
    "Statistics",
    "Tokens",
    "Weights",
    "named",
]

REPRESENTATIONS: Mapping[str, Representation] = {**base.REPRESENTATIONS, **{r.name: r for r in (Tokens(), Graph(), Probes())}}


def named(name: str) -> Representation:
    """The representation of this name; NwsError when there is none."""
    if name not in REPRESENTATIONS:
        raise unknown("representation", name, REPRESENTATIONS)
    return REPRESENTATIONS[name]
