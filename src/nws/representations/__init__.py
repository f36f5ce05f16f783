"""What a meta-classifier is shown of a net's weights.

base.py   Representation, and the three that the paper uses: statistics, layer-statistics, weights
cache.py  what was computed of each net, up to a limit of memory
"""

from nws.representations.base import REPRESENTATIONS, LayerStatistics, Representation, Statistics, Weights, named
from nws.representations.cache import Cache

__all__ = ["REPRESENTATIONS", "Cache", "LayerStatistics", "Representation", "Statistics", "Weights", "named"]
