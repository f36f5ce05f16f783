"""The figure of all snapshots in the plane (supplement B of the paper)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nws.figures import style

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN = ("dataset", "learning_rate", "augmentation", "optimizer", "activation", "initialization")


def embedding(points: pd.DataFrame, nets: pd.DataFrame, curves: pd.DataFrame) -> Figure:
    """The same points in eight colourings (Fig. 13): up to six properties, progress of the training and test error.

    points: `analysis.embedding.embedding`; nets, curves: `analysis.statistics`.
    """
    shown = _shown(nets)
    table = points.merge(nets[["net", *shown]], on="net").merge(
        curves[["net", "snapshot", "progress", "test"]], on=["net", "snapshot"]
    )
    tested = bool(table["test"].notna().any())
    table = table.sample(frac=1, random_state=0)  # or the last net drawn would hide the others
    figure, axes = style.panels(len(shown) + 1 + tested, 3.0, 2.9, columns=4)
    for axis, name in zip(axes, shown):
        axis.set_title("image set" if name == "dataset" else style.word(name), fontsize=9)
        if name == "learning_rate":
            _continuous(figure, axis, table, table[name] * 1e3, "thousandths")
        elif _is_quantity(table[name]):
            _continuous(figure, axis, table, table[name], "")
        else:
            _categories(axis, table, name)
    axes[len(shown)].set_title("training progress", fontsize=9)
    _continuous(figure, axes[len(shown)], table, 100 * table["progress"], "%")
    if tested:
        axes[-1].set_title("test error", fontsize=9)
        _continuous(figure, axes[-1], table, 100 * (1 - table["test"]), "%")
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])
        axis.spines[:].set_visible(True)
        axis.spines[:].set_color(style.FAINT)
    style.caption(figure, points, f"{len(table):,} snapshots of {table['net'].nunique():,} nets; axes have no unit")
    return figure


def _shown(nets: pd.DataFrame) -> list[str]:
    """The properties to colour by: the paper's six that all nets recorded; a family that lacks some shows others that differ."""
    if set(SHOWN) <= set(nets):
        return [name for name in SHOWN if nets[name].notna().all()]  # a foreign zoo's source may not have recorded all
    own = [name for name in nets.columns[: list(nets).index("split")] if name != "net"]
    differ = [name for name in own if nets[name].notna().all() and nets[name].nunique() > 1]
    shown = [name for name in differ if _is_quantity(nets[name]) or nets[name].nunique() <= len(style.PALETTE)]
    return sorted(shown, key=lambda name: name not in SHOWN)[: len(SHOWN)]


def _is_quantity(column: pd.Series) -> bool:
    """A number with more values than there are colours."""
    return column.dtype.kind in "if" and column.nunique() > len(style.PALETTE)


def _dots(n: int) -> dict[str, Any]:
    """Smaller and clearer dots the more there are; a picture within the PDF, which would else have an object for each."""
    return {"s": float(np.clip(20000 / n, 0.4, 8)), "linewidths": 0, "alpha": 0.8, "rasterized": True}


def _categories(axis: Axes, table: pd.DataFrame, name: str) -> None:
    from matplotlib.lines import Line2D

    colours = style.colours(name, style.ordered(name, sorted(table[name])))
    axis.scatter(table["x"], table["y"], c=[colours[option] for option in table[name]], **_dots(len(table)))
    handles = [Line2D([], [], color=colour, marker="o", linestyle="", markersize=4) for colour in colours.values()]
    texts = [style.label(name, option, short=True) for option in colours]
    # Below the panel: within it every corner has points in some zoo.
    axis.legend(
        handles,
        texts,
        fontsize=7,
        frameon=False,
        ncols=2,
        loc="upper center",
        bbox_to_anchor=(0.5, 0),
        handletextpad=0,
        borderpad=0.2,
    )


def _continuous(figure: Figure, axis: Axes, table: pd.DataFrame, values: pd.Series, unit: str) -> None:
    drawn = axis.scatter(table["x"], table["y"], c=values, cmap="viridis", **_dots(len(table)))
    bar = figure.colorbar(drawn, ax=axis, location="bottom", shrink=0.8, pad=0.02, aspect=25)
    if bar.solids:
        bar.solids.set(alpha=1)
    bar.set_label(unit, fontsize=7)
    bar.ax.tick_params(labelsize=7)
