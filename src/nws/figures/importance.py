"""Figures of what linear SVMs decide by (Figs. 3, 16 and 17 of the paper): a table of `nws.analysis.importance` in, Figure out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nws.figures import style

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TYPES = {  # role -> colour, name
    "weight": (style.BLUE, "weights"),
    "bias": (style.ORANGE, "bias"),
    "beta": (style.GREEN, "beta"),
    "gamma": (style.PURPLE, "gamma"),
    "mean": (style.RED, "running mean"),
    "var": (style.SKY, "running variance"),
}
COLUMNS = 3  # of Fig. 17
GAP = 6  # between layers, in features


def importance(table: pd.DataFrame) -> Figure:
    """A stem per layer-wise statistic, grouped by layer and weight type, and the mean of each group (Fig. 16)."""
    properties = list(dict.fromkeys(table["property"]))
    figure, axes = style.panels(len(properties), 9.0, 1.75, columns=1, sharex=True)
    for axis, name in zip(axes, properties):
        _stems(axis, table[table["property"] == name])
        axis.set_title(style.word(name), fontsize=9, loc="left", pad=2)
        axis.set_ylim(bottom=0)
    _label(figure, axes)
    style.legend(figure, *axes[0].get_legend_handles_labels())
    rounds = table.attrs.get("about", {}).get("settings", {}).get("effort", {}).get("rounds")
    over = f" over {rounds} rounds" if rounds else " over rounds"
    within = "16 statistics of each weight type of each layer, in the order of nws.representations.statistics.STATISTICS"
    style.caption(figure, table, within, f"grey: standard deviation{over}; black: means of a weight type")
    return figure


def importance_two(table: pd.DataFrame) -> Figure:
    """The same for the image set and the optimizer alone (Fig. 3)."""
    chosen = table[table["property"].isin(("dataset", "optimizer"))]
    return importance(chosen if len(chosen) else table)


def importance_local(table: pd.DataFrame) -> Figure:
    """Bars for the 16 statistics of slices, a panel a property (Fig. 17)."""
    properties = list(dict.fromkeys(table["property"]))
    figure, axes = style.panels(len(properties), 3.2, 2.1 if len(properties) > COLUMNS else 2.6, columns=COLUMNS, sharex=True)
    for at, (axis, name) in enumerate(zip(axes, properties)):
        mine = table[table["property"] == name]
        gradient = mine["statistic"].str.endswith("_d")
        axis.bar(mine["statistic"], mine["mean"], color=np.where(gradient, style.ORANGE, style.BLUE))
        axis.errorbar(mine["statistic"], mine["mean"], mine["spread"], fmt="none", ecolor=style.INK, elinewidth=0.9, capsize=2)
        axis.set_title(style.word(name), fontsize=9, loc="left", pad=2)
        axis.tick_params(axis="x", rotation=90, labelsize=7, labelbottom=at + COLUMNS >= len(axes))
        if at + COLUMNS >= len(axes) > at // COLUMNS * COLUMNS + COLUMNS:  # last of its column, but not in the last row
            for text in axis.get_xticklabels():
                text.set_in_layout(False)
        axis.set_ylim(bottom=0)
    _label(figure, axes)
    colours = "blue: of the weights; orange (_d): of their differences; bars: standard deviation over rounds"
    style.caption(figure, table, colours)
    return figure


def _label(figure: Figure, axes: list[Axes]) -> None:
    """What all panels show upwards; a single one is too low for a line, which would run on over the caption."""
    if len(axes) > 1:
        figure.supylabel("norm of the coefficients over classes", fontsize=8)
    else:
        axes[0].set_ylabel("norm of the coefficients\nover classes", fontsize=8)


def _stems(axis: Axes, rows: pd.DataFrame) -> None:
    layers = list(dict.fromkeys(rows["layer"]))
    x = np.arange(len(rows)) + GAP * rows["layer"].map(layers.index).to_numpy()
    mean, spread = rows["mean"].to_numpy(), rows["spread"].to_numpy()
    axis.vlines(x, np.maximum(mean - spread, 0), mean + spread, color="#BBBBBB", linewidth=0.9, zorder=1)
    for role, (colour, name) in TYPES.items():
        of = rows["type"].to_numpy() == role
        if of.any():
            axis.vlines(x[of], 0, mean[of], color=colour, linewidth=1.1, label=name, zorder=2)
    for _, group in rows.assign(x=x).groupby(["layer", "type"], sort=False):
        level = group["mean"].mean()
        axis.hlines(level, group["x"].min() - 0.5, group["x"].max() + 0.5, color="black", linewidth=1.6, zorder=3)
    middle = [x[(rows["layer"] == layer).to_numpy()].mean() for layer in layers]
    axis.set_xticks(middle, layers, fontsize=8)
    axis.tick_params(axis="x", length=0)
    for layer in layers[1:]:
        axis.axvline(x[(rows["layer"] == layer).to_numpy()].min() - (GAP + 1) / 2, color=style.FAINT, linewidth=1, zorder=0)
    axis.set_xlim(-GAP, x.max() + GAP)
