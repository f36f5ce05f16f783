"""Performance maps (Figs. 5, 20 and 21 of the paper): a table of `nws.analysis.maps` in, Figure out.

Across: position in the net, from its first to its last weights. Down: training, from the initialization to the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nws.families import cnn2020, mlp
from nws.figures import style
from nws.tables import NotForThisZooError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAIN = ("dataset", "optimizer", "initialization")
ARCHITECTURE = (*cnn2020.ARCHITECTURE, *mlp.ARCHITECTURE)  # of a user's family nobody says what is: all counts as training
TITLES = {"all": "all weights", "conv": "conv part", "fc": "FC part"}


def main(table: pd.DataFrame) -> Figure:
    """All weights, three properties side by side, by the meta-classifier that reads them best (Fig. 5; the paper: the DMC)."""
    everywhere = table[table["part"] == "all"]
    if (usual := everywhere["property"].isin(MAIN)).any():
        everywhere = everywhere[usual]
    names = list(dict.fromkeys(everywhere["property"]))[: len(MAIN)]
    everywhere = everywhere[everywhere["property"].isin(names)]
    meta = everywhere.groupby("meta")["accuracy"].mean().idxmax()
    chosen = everywhere[everywhere["meta"] == meta]
    names = list(dict.fromkeys(chosen["property"]))
    figure, axes = style.panels(len(names), 3.6, 2.6)
    for axis, name in zip(axes, names):
        mine = chosen[chosen["property"] == name]
        _colours(figure, [axis], [_map(axis, mine)], mine)
        axis.set_title(style.word(name), fontsize=9)
    _labels(axes, 1)
    _caption(figure, chosen, f"read by {meta}")
    return figure


def training(table: pd.DataFrame) -> Figure:
    """The properties of the training, for all, conv and FC weights (Fig. 20)."""
    return _all_parts(table, [name for name in dict.fromkeys(table["property"]) if name not in ARCHITECTURE])


def architecture(table: pd.DataFrame) -> Figure:
    """The properties of the architecture, for all, conv and FC weights (Fig. 21)."""
    return _all_parts(table, [name for name in dict.fromkeys(table["property"]) if name in ARCHITECTURE])


def _all_parts(table: pd.DataFrame, names: Sequence[str]) -> Figure:
    """A row a property, a column a part and meta-classifier. One scale of colours a row, so that parts compare."""
    chosen = table[table["property"].isin(names)]
    if chosen.empty:
        raise NotForThisZooError("the zoo's nets do not differ in any property of this kind that nws knows")
    columns = list(dict.fromkeys(zip(chosen["meta"], chosen["part"])))
    untitled = list(columns)
    height = 1.6 if len(names) > 1 else 2.4  # a single row is too low for what stands at its side
    figure, axes = style.panels(len(names) * len(columns), 2.3, height, columns=len(columns), sharex=True, sharey=True)
    for row, name in enumerate(names):
        mine = chosen[chosen["property"] == name]
        drawn, images = [], []
        for column, (meta, part) in enumerate(columns):
            axis = axes[row * len(columns) + column]
            rows = mine[(mine["meta"] == meta) & (mine["part"] == part)]
            if rows.empty:
                axis.set_axis_off()
                continue
            drawn.append(axis)
            images.append(_map(axis, rows, mine))
            if (meta, part) in untitled:  # on the first map of its column: the DMC may not have learned the first property
                axis.set_title(f"{meta}\n{TITLES[part]}", fontsize=8)
                untitled.remove((meta, part))
        axes[row * len(columns)].set_ylabel(style.word(name), fontsize=8)
        _colours(figure, drawn, images, mine)
    _labels(axes, len(columns))
    _caption(figure, chosen, "one scale of colours a row, whose foot is chance")
    return figure


def _map(axis: Axes, rows: pd.DataFrame, scale: pd.DataFrame | None = None) -> Any:
    """Draw one map; colours run from chance to the best place of `scale`'s rows, and beyond what chance alone makes bright."""
    scale = rows if scale is None else scale
    grid = rows.pivot_table(index="snapshot", columns="position", values="accuracy")
    snapshots = grid.index.to_numpy(float)
    progress = (snapshots - 1) / max(1.0, snapshots.max() - 1)
    chance = float(rows["chance"].iloc[0])
    high = min(1.0, max(float(scale["accuracy"].max()), chance + 2 * _wobble(rows)))
    x, y = _edges(grid.columns.to_numpy(float)), _edges(progress)
    image = axis.pcolormesh(x, y, grid.to_numpy(), cmap="viridis", vmin=chance, vmax=high, rasterized=True)
    axis.set_xlim(0, 1)
    axis.set_ylim(1, 0)
    return image


def _wobble(rows: pd.DataFrame) -> float:
    """By how much 95% of the places of a map that reads nothing differ from chance: two standard deviations over n nets."""
    chance, n = float(rows["chance"].iloc[0]), int(rows["n"].min())
    return float(2 * np.sqrt(chance * (1 - chance) / n))


def _edges(centres: np.ndarray) -> np.ndarray:
    """Borders of cells around rising centres: midway, the outer ones at the first and the last centre."""
    if len(centres) == 1:
        return np.array([0.0, 1.0])
    return np.concatenate([centres[:1], (centres[1:] + centres[:-1]) / 2, centres[-1:]])


def _colours(figure: Figure, axes: list[Axes], images: list[Any], rows: pd.DataFrame) -> None:
    bar = figure.colorbar(images[0], ax=axes, aspect=12, pad=0.02, extend="min")
    style.percent(bar.ax.yaxis)
    bar.ax.tick_params(labelsize=7)
    bar.ax.set_title(f"chance {rows['chance'].iloc[0]:.0%} ± {_wobble(rows):.0%}", fontsize=6, color=style.GREY)


def _labels(axes: list[Axes], columns: int) -> None:
    for at, axis in enumerate(axes):
        style.percent(axis.xaxis)
        style.percent(axis.yaxis)
        axis.set_xticks([0, 0.5, 1])
        axis.set_yticks([0, 0.5, 1])
        axis.tick_params(labelsize=7)
        if at >= len(axes) - columns or columns == 1:
            axis.set_xlabel("position", fontsize=7)
    axes[0].figure.supylabel("progress of the training", fontsize=8)


def _caption(figure: Figure, table: pd.DataFrame, *says: str) -> None:
    sizes = "; ".join(f"{meta}: {style.span(rows['n'])} test nets" for meta, rows in table.groupby("meta", sort=False))
    effort = table.attrs.get("about", {}).get("settings", {}).get("effort", {})
    shorter = any(note.startswith("slices of ") for note in table.attrs.get("notes", []))
    reads = f"slices of {effort['slice_length']:,} weights" if effort and not shorter else ""
    steps = f"DMC: {effort['dmc_steps']:,} training steps" if effort and "dmc" in set(table["meta"]) else ""
    wobble = (
        "±: where nothing is read, 95% of places are as near to chance; neighbours are read from the same nets, and err together"
    )
    style.caption(figure, table, reads, sizes, steps, *says, wobble)
