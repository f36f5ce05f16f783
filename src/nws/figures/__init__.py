"""One function per figure of the paper: tables (DataFrames) in, matplotlib Figure out; `save` writes PNG and PDF."""

from nws.figures.reading import meta_classification
from nws.figures.style import save

__all__ = ["meta_classification", "save"]
