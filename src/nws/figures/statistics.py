"""Figures of a zoo's statistics (supplement A of the paper)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from nws.families.cnn2020 import PROPERTIES
from nws.families.space import label as written
from nws.figures import style
from nws.tables import NotForThisZooError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIDES = {"train": style.RED, "validation": style.ORANGE, "test": style.BLUE}


def size_time(table: pd.DataFrame) -> Figure:
    """Distribution of model size and of training time (Fig. 6). table: `analysis.statistics.size_time`."""
    from matplotlib.ticker import MaxNLocator

    figure, axes = style.panels(2, 3.6, 2.7)
    what = (("weights", "weights per net (thousands)", 1e3), ("seconds", "training time per net (s)", 1.0))
    beyond = 0
    for axis, (column, text, unit) in zip(axes, what):
        values = table[column].to_numpy(float) / unit
        usual = values <= 2 * np.percentile(values, 99)  # a computer that slept over one net must not hide all others
        beyond += int((~usual).sum())
        axis.hist(values[usual], bins=_bins(values[usual]), color=style.BLUE)
        axis.yaxis.set_major_locator(MaxNLocator(integer=True))
        axis.axvline(np.median(values), color=style.INK, linestyle=":", linewidth=1.2)
        axis.set_xlabel(text, fontsize=8)
        axis.set_ylabel("nets", fontsize=8)
    median = f"dotted: medians, {table['weights'].median():,.0f} weights and {table['seconds'].median():.1f} s"
    total = f"{table['seconds'].sum() / 3600:,.1f} core hours in all"
    style.caption(figure, table, median, total, *([f"{beyond} far beyond the others left out"] if beyond else []))
    return figure


def _bins(values: np.ndarray) -> list[float]:
    """Edges: six nets in a bin on average, 8 to 40 bins; a narrow bin where all nets are alike."""
    low, high = values.min(), values.max()
    if low == high:
        return [0.0, 0.97 * low, 1.03 * low, 2 * low] if low else [-0.5, 0.5]
    return np.linspace(low, high, int(np.clip(len(values) / 6, 8, 40)) + 1).tolist()


def curves(table: pd.DataFrame) -> Figure:
    """Test accuracy of every net against the progress of its training, and the means (Fig. 7). table: `statistics.curves`."""
    from matplotlib.collections import LineCollection
    from matplotlib.lines import Line2D

    sets = style.by_image_set(table[table["test"].notna()])
    if not sets:
        raise NotForThisZooError("no net of this zoo has a history of test accuracies")
    sides = {side: colour for side, colour in SIDES.items() if table[side].notna().any()}
    figure, axes = style.panels(len(sets), sharex=True, sharey=True)
    grid = np.linspace(0, 1, 21)
    for axis, (name, rows) in zip(axes, sets):
        groups = [group for _, group in rows.groupby("net")]
        lines = [group[["progress", "test"]].to_numpy(float) * (100, 1) for group in groups]
        clear = float(np.clip(12 / len(lines), 0.03, 0.35))
        # Thousands of thin lines make a PDF that no reader opens: they are a picture within it.
        axis.add_collection(LineCollection(lines, colors="#666666", linewidths=0.5, alpha=clear, rasterized=True))
        for side, colour in sides.items():
            means = pd.DataFrame([np.interp(grid, group["progress"], group[side]) for group in groups]).mean()
            axis.plot(100 * grid, means, color=colour, linewidth=2)
        axis.set_title(f"{style.label('dataset', name)} ({len(groups):,} nets)", fontsize=9)
        axis.set_xlim(0, 100)
        axis.set_ylim(0, 1)
        style.percent(axis.yaxis)
    style.outer(axes, "progress of the training (%)", "accuracy")
    handles = [Line2D([], [], color=colour, linewidth=2) for colour in sides.values()]
    texts = [f"mean {side} accuracy" for side in sides]
    style.legend(figure, [*handles, Line2D([], [], color="#999999", linewidth=0.8)], [*texts, "test accuracy of a net"])
    style.caption(figure, table, "means over all nets, those that did not learn included")
    return figure


def accuracy(table: pd.DataFrame) -> Figure:
    """Distribution of test accuracy per image set, threshold of convergence and chance (Fig. 8). table: `statistics.accuracy`."""
    from matplotlib.ticker import MaxNLocator

    sets = style.by_image_set(table)
    figure, axes = style.panels(len(sets), sharex=True)
    bins = 40 if len(table) >= 100 * len(sets) else 20
    edges = np.linspace(0, 1, bins + 1)
    for axis, (name, rows) in zip(axes, sets):
        values = rows["test_accuracy"].to_numpy(float)
        axis.hist(values, bins=edges.tolist(), color=style.SKY, zorder=2)
        axis.plot(*_smooth(values, 0.8 / bins, bins), color=style.BLUE, linewidth=1.5, zorder=3)
        axis.axvline(rows["threshold"].iloc[0], color=style.RED, linewidth=1.4, label="threshold of convergence")
        if np.isfinite(rows["chance"].iloc[0]):
            axis.axvline(rows["chance"].iloc[0], color="black", linestyle="--", linewidth=1, label="chance")
        axis.set_title(
            f"{style.label('dataset', name)} ({rows['converged'].mean():.0%} of {len(rows):,} nets converged)", fontsize=9
        )
        axis.set_xlim(0, 1)
        axis.yaxis.set_major_locator(MaxNLocator(integer=True))
        style.percent(axis.xaxis)
    style.outer(axes, "test accuracy", "nets")
    style.legend(figure, *axes[0].get_legend_handles_labels())
    style.caption(
        figure, table, f"bars: nets per {100 / bins:g}% of accuracy; curve: the same, smoothed (Gaussian, {80 / bins:g}%)"
    )
    return figure


def _smooth(values: np.ndarray, width: float, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """(x, nets per bin): a Gaussian around each net, reflected at 0 and 1 so that no net leaks out of the axis."""
    x = np.linspace(0, 1, 401)
    everywhere = np.concatenate([values, -values, 2 - values])
    density = np.exp(-0.5 * ((x[:, None] - everywhere) / width) ** 2).sum(1) / (width * np.sqrt(2 * np.pi))
    return x, density / bins


def pairs(table: pd.DataFrame, figure: str) -> Figure:
    """Mean test accuracy for each pair of options of two properties (Figs. 9 to 12). table: `statistics.pairs`."""
    rows = table[table["figure"] == figure]
    if rows.empty:
        raise NotForThisZooError("one of the two properties is the same in all nets of this zoo")
    a, b = str(rows["a"].iloc[0]), str(rows["b"].iloc[0])
    options = {name: _labels(name, rows[f"option_{side}"]) for name, side in ((a, "a"), (b, "b"))}
    colours = style.colours(b, [style.parsed(b, text) for text in options[b]])
    sets = style.by_image_set(rows)
    drawn, axes = style.panels(len(sets), 3.4, 2.5, columns=2, sharex=True, sharey=True)
    for axis, (name, mine) in zip(axes, sets):
        for k, (text, colour) in enumerate(zip(options[b], colours.values())):
            bars = mine[mine["option_b"] == text].set_index("option_a")
            _bars(axis, bars, options[a], (k - (len(colours) - 1) / 2) * 0.8 / len(colours), 0.8 / len(colours), colour)
        if np.isfinite(mine["chance"].iloc[0]):
            axis.axhline(mine["chance"].iloc[0], color="black", linestyle="--", linewidth=1, zorder=4)
        axis.set_title(f"{style.label('dataset', name)} ({mine['nets'].sum():,} nets)", fontsize=9)
        axis.set_ylim(0, 1)
        style.percent(axis.yaxis)
        axis.grid(axis="y", color=style.FAINT, zorder=0)
        axis.set_xticks(range(len(options[a])), [style.label(a, style.parsed(a, t), short=True) for t in options[a]])
    style.outer(axes, style.word(a), "mean test accuracy")
    handles = [axes[0].bar(0, 0, color=colour) for colour in colours.values()]
    chance = axes[0].plot([], [], color="black", linestyle="--", linewidth=1)
    # "on" or 16 alone says little.
    switch = f"{style.word(b)} " if set(options[b]) <= {"on", "off"} or (b not in PROPERTIES and style.numbers(options[b])) else ""
    texts = [switch + style.label(b, style.parsed(b, text)) for text in options[b]]
    style.legend(drawn, [*handles, *chance], [*texts, "chance"])
    fewest, most = rows["nets"].min(), rows["nets"].max()
    count = (
        f"bars: means of {fewest} to {most} nets, converged or not; whiskers: 95% interval over at least three nets; no bar: no net"
    )
    style.caption(drawn, table, f"colours: {style.word(b)}", count)
    return drawn


def pairs_title(table: pd.DataFrame, figure: str) -> str:
    """What `pairs` shows of this zoo; nothing where it shows nothing."""
    rows = table[table["figure"] == figure]
    return f"mean accuracy by {rows['a'].iloc[0]} and {rows['b'].iloc[0]}".replace("_", " ") if len(rows) else ""


def _bars(axis: Axes, bars: pd.DataFrame, options: list[str], shift: float, width: float, colour: str) -> None:
    at = np.array([options.index(text) for text in bars.index]) + shift
    mean = bars["mean"].to_numpy(float)
    axis.bar(at, mean, width * 0.92, color=colour, zorder=2)
    reach = np.array([mean - bars["low"], bars["high"] - mean], float)
    known = np.isfinite(reach).all(0)
    axis.errorbar(at[known], mean[known], reach[:, known], fmt="none", ecolor=style.INK, elinewidth=0.8, capsize=1.5, zorder=3)


def _labels(name: str, column: Any) -> list[str]:
    return [written(option) for option in style.ordered(name, [style.parsed(name, text) for text in column])]
