"""Statistics of slices whose layout nobody knows: some 1,000 named numbers of each, whatever its net.

table.py         Slices, the representation, and `slices(x)`
rows.py          slices, sorted and with their logarithms
distribution.py  quantiles, magnitudes, histograms
windows.py       windows of 16, 64 and 256 weights, change points, runs
periods.py       autocorrelation, combs over lengths that rows may have, spectrum
blocks.py        where batch norm's five groups stand
layers.py        what they, and the weights before them, say
named.py         columns with names
"""

from nws.representations.slices.table import Slices, slices

__all__ = ["Slices", "slices"]
