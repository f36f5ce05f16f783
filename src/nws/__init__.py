"""nws: a workbench for the weight space of neural networks."""

from nws import cnn
from nws.errors import NwsError
from nws.layout import Layout
from nws.net import Net
from nws.space import FIXED, MAIN, HyperParameters, Space

__version__ = "0.1.0"
__all__ = ["FIXED", "MAIN", "HyperParameters", "Layout", "Net", "NwsError", "Space", "cnn"]
