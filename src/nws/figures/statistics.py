"""Figures of a zoo's statistics (supplement A of the paper)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nws.figures import style

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def size_time(table: pd.DataFrame) -> Figure:
    """Distribution of model size and of training time (Fig. 6). table: `analysis.statistics.size_time`."""
    figure, axes = style.panels(2, 3.6, 2.7)
    what = (("weights", "weights per net (thousands)", 1e3), ("seconds", "training time per net (s)", 1.0))
    for axis, (column, text, unit) in zip(axes, what):
        values = table[column].to_numpy(float) / unit
        axis.hist(values, bins=_bins(values), color=style.BLUE)
        axis.axvline(np.median(values), color=style.INK, linestyle=":", linewidth=1.2)
        axis.set_xlabel(text, fontsize=8)
        axis.set_ylabel("nets", fontsize=8)
    median = f"dotted: medians, {table['weights'].median():,.0f} weights and {table['seconds'].median():.1f} s"
    total = f"{table['seconds'].sum() / 3600:,.1f} core hours in all"
    style.caption(figure, table, median, total)
    return figure


def _bins(values: np.ndarray) -> list[float]:
    """Edges: six nets in a bin on average, 8 to 40 bins; one bin around a single value."""
    low, high = values.min(), values.max()
    if low == high:
        return [low - max(abs(low), 1.0) / 2, low + max(abs(low), 1.0) / 2]
    return np.linspace(low, high, int(np.clip(len(values) / 6, 8, 40)) + 1).tolist()
