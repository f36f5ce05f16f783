"""Figures of what meta-classifiers read (Figs. 2, 4, 18 and 19 of the paper): a table of `nws.analysis.reading` in, Figure out.

Two error bars stand for two questions. Thin with caps: the 95% interval over nets, how sure the figure is for nets never seen.
Thick: the standard deviation over rounds, which is what the paper's error bars show.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from nws.analysis.reading import SUBSET
from nws.figures import style

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {
    "svm-linear-16": style.SKY,
    "svm-rbf-16": style.BLUE,
    "svm-linear-480": "#F0C04A",
    "svm-rbf-480": style.ORANGE,
    "tensors": style.GREEN,
    "dmc": style.RED,
}
HATCHES = {"all": "", "conv": "////", "fc": "...."}
DARK = (style.BLUE, style.RED, style.GREEN)  # a number on them is written in white
LEAST_R2 = -1.0  # shown; a bad guess has no lower end
IN_A_ROW = 6  # properties
PROPERTY_COLOURS = dict(zip(SUBSET, (style.BLUE, style.ORANGE, style.GREEN, style.RED, style.PURPLE)))
MARKERS = dict(zip(SUBSET, "osD^v"))
NORM = {  # (batch norm, stripped) -> colour, name
    ("on", False): (style.BLUE, "batch norm"),
    ("on", True): (style.SKY, "batch norm, tested without its values and biases"),
    ("off", False): (style.RED, "no batch norm"),
    ("off", True): (style.ORANGE, "no batch norm, tested without biases"),
}
BARS = "thin bars: 95% intervals over nets; thick: standard deviation over rounds"


def meta_classification(table: pd.DataFrame) -> Figure:
    """Accuracy by property and meta-classifier, and chance (Figs. 2 and 4)."""
    table = table[table["accuracy"].notna()]
    properties, series = _unique(table["property"]), _unique(zip(table["meta"], table["part"]))
    groups = [properties[at : at + IN_A_ROW] for at in range(0, len(properties), IN_A_ROW)]
    width = max(5.5, 1.5 + max(1.45, 0.24 * len(series)) * len(groups[0]))
    figure, axes = style.panels(len(groups), width, 3.6, columns=1)
    for axis, group in zip(axes, groups):
        for k, (meta, part) in enumerate(series):
            mine = table[(table["meta"] == meta) & (table["part"] == part)]
            colour = COLOURS.get(meta, style.PALETTE[k % len(style.PALETTE)])
            look = {"color": colour, "hatch": HATCHES[part], "label": _name(meta, part, mine["slice_length"])}
            _bars(axis, mine[mine["property"].isin(group)], group, (k, len(series)), look)
        _by_property(axis, table, group)
        axis.set_xlim(-0.55, len(groups[0]) - 0.45)  # bars as wide in every row
    style.legend(figure, *axes[0].get_legend_handles_labels())
    style.caption(figure, table, _nets(table), BARS, effort(table))
    return figure


def numbers(table: pd.DataFrame) -> Figure:
    """R2 by number and meta-classifier, with 95% intervals over nets (beyond the paper). table: `analysis.reading.numbers`."""
    names, metas = _unique(table["property"]), _unique(table["meta"])
    figure, axes = style.panels(1, 6.0, 0.8 + 0.5 * len(names), columns=1)
    axis = axes[0]
    for k, meta in enumerate(metas):
        mine = table[(table["meta"] == meta) & table["r2"].notna()]
        at = np.array([names.index(name) for name in mine["property"]]) + (k - (len(metas) - 1) / 2) * 0.3
        r2 = mine["r2"].to_numpy(float)
        reach = np.nan_to_num(np.array([r2 - mine["r2_low"], mine["r2_high"] - r2], float)).clip(0)
        axis.errorbar(r2, at, xerr=reach, fmt="o", color=COLOURS.get(meta, style.GREY), capsize=2, markersize=5, label=meta)
        for y, value in zip(at[r2 < LEAST_R2], r2[r2 < LEAST_R2]):
            axis.text(LEAST_R2 + 0.02, y, f"← {value:.1f}", fontsize=7, va="center", color=style.GREY)
    axis.axvline(0, color="black", linestyle="--", linewidth=1.2, label="always the mean")
    axis.set_yticks(range(len(names)), [style.word(name) for name in names])
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.set_xlim(LEAST_R2, 1)
    axis.set_xlabel("R² on nets never seen", fontsize=8)
    axis.grid(axis="x", color=style.FAINT, zorder=0)
    style.legend(figure, *axis.get_legend_handles_labels())
    style.caption(figure, table, _nets(table), "bars: 95% intervals over nets")
    return figure


def subset_size(table: pd.DataFrame) -> Figure:
    """Accuracy against the length of slices, the DMC beside the RBF SVM; dotted: chance (Fig. 18)."""
    metas = [m for m in ("dmc", "svm-rbf-16") if m in set(table["meta"])]
    figure, axes = style.panels(len(metas), 4.0, 3.4, sharey=True)
    names = _unique(table["property"])
    colours, markers = _each(names, PROPERTY_COLOURS), _each(names, MARKERS)
    for axis, meta in zip(axes, metas):
        for name in names:
            mine = table[(table["meta"] == meta) & (table["property"] == name)].sort_values("slice_length")
            if mine.empty:  # a quick DMC learns some properties only
                continue
            colour = colours[name]
            y, reach = mine["accuracy"], _reach(mine)
            look: dict[str, Any] = {"label": style.word(name), "marker": markers[name], "markersize": 4}
            axis.errorbar(mine["slice_length"], y, reach, color=colour, linewidth=1.4, elinewidth=0.8, capsize=2, **look)
            axis.axhline(mine["chance"].iloc[0], color=colour, linestyle=":", linewidth=0.9, zorder=0)
        axis.set_xscale("log")
        axis.set_xlim(0.8 * table["slice_length"].min(), 1.25 * table["slice_length"].max())  # the same in both panels
        axis.xaxis.set_major_formatter(lambda v, _: f"{v:,.0f}")
        axis.xaxis.set_minor_formatter(lambda v, _: "")  # within one power of ten matplotlib would write all
        axis.set_title(_name(meta, "all"), fontsize=9)
        axis.set_xlabel("weights in a slice", fontsize=8)
        axis.set_ylim(0, 1)
        axis.grid(color=style.FAINT)
    style.percent(axes[0].yaxis)
    axes[0].set_ylabel("accuracy on slices of nets never seen", fontsize=8)
    style.legend(figure, *axes[-1].get_legend_handles_labels())  # the RBF SVM reads all of them
    style.caption(figure, table, _nets(table), "bars: 95% intervals over nets; dotted: chance", effort(table))
    return figure


def batch_norm(table: pd.DataFrame) -> Figure:
    """Nets with and without batch norm, tested whole and without norm's values and biases; a panel a meta-classifier (Fig. 19)."""
    metas, properties = _unique(table["meta"]), _unique(table["property"])
    figure, axes = style.panels(len(metas), max(5.5, 1.5 + 1.3 * len(properties)), 3.2, columns=1)
    normed = table["only"].str.removeprefix("batch_norm=")
    for axis, meta in zip(axes, metas):
        for k, ((norm, stripped), (colour, text)) in enumerate(NORM.items()):
            mine = table[(table["meta"] == meta) & (normed == norm) & ((table["without"] != "") == stripped)]
            _bars(axis, mine, properties, (k, len(NORM)), {"color": colour, "label": text})
        _by_property(axis, table, properties)
        axis.set_title(_name(meta, "all", table.loc[table["meta"] == meta, "slice_length"]), fontsize=9, loc="left")
    style.legend(figure, *axes[0].get_legend_handles_labels())
    style.caption(figure, table, _nets(table), BARS, effort(table))
    return figure


def _each(names: list[str], usual: dict[str, str]) -> dict[str, str]:
    """Name -> its usual look; others take those that are left."""
    free = [look for name, look in usual.items() if name not in names]
    return {name: usual.get(name) or free.pop(0) for name in names}


def _bars(axis: Axes, rows: pd.DataFrame, properties: list[str], place: tuple[int, int], look: dict[str, Any]) -> None:
    """One series of bars with both error bars and their numbers; place: (k of n)."""
    k, n = place
    width = 0.8 / n
    at = np.array([properties.index(p) for p in rows["property"]]) + (k - (n - 1) / 2) * width
    height = rows["accuracy"].to_numpy(float)
    axis.bar(at, height, width * 0.92, edgecolor="white", linewidth=0, zorder=2, **look)
    axis.errorbar(at, height, _reach(rows), fmt="none", ecolor=style.INK, elinewidth=0.9, capsize=2, zorder=4)
    axis.errorbar(at, height, rows["spread"], fmt="none", ecolor=style.INK, elinewidth=3, zorder=3)
    for x, value in zip(at, height):  # at the foot of the bar, where no error bar reaches
        text: dict[str, Any] = {"color": "white" if look["color"] in DARK else "black", "ha": "center", "fontsize": 7, "zorder": 5}
        if look.get("hatch"):
            text["bbox"] = {"facecolor": look["color"], "edgecolor": "none", "pad": 0.8}
        axis.text(x, 0.012, f"{value:.0%}", rotation=90 if width < 0.155 else 0, va="bottom", **text)


def _by_property(axis: Axes, table: pd.DataFrame, properties: list[str]) -> None:
    """The axes of bars by property, and the level of chance across each group."""
    for x, name in enumerate(properties):
        chance = table.loc[table["property"] == name, "chance"].iloc[0]
        label = "" if x else "chance"
        axis.hlines(chance, x - 0.45, x + 0.45, colors="black", linestyles="--", linewidth=1.2, label=label, zorder=5)
    axis.set_xticks(range(len(properties)), [style.narrow(name, 14) for name in properties])
    axis.set_ylim(0, 1)
    style.percent(axis.yaxis)
    axis.set_ylabel("accuracy on nets never seen")
    axis.grid(axis="y", color=style.FAINT, zorder=0)
    axis.spines[["top", "right"]].set_visible(False)


def _reach(rows: pd.DataFrame) -> np.ndarray:
    """(2, n): from the accuracy down to `low` and up to `high`."""
    return np.array([rows["accuracy"] - rows["low"], rows["high"] - rows["accuracy"]], float).clip(0)


def _name(meta: str, part: str, lengths: Iterable[float] = ()) -> str:
    """How a series is called: meta-classifier, part, and what it reads at once."""
    found = _unique(None if length != length or length is None else int(length) for length in lengths)  # NaN: whole nets
    whole = {"all": "nets", "conv": "conv parts", "fc": "FC parts"}[part]
    reads = "" if len(found) != 1 else f" ({f'whole {whole}' if found[0] is None else f'{found[0]:,} weights'})"
    of = "" if part == "all" else f" of {'FC' if part == 'fc' else part} weights"
    return meta + of + reads


def _unique(values: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(values))


def _nets(table: pd.DataFrame) -> str:
    return "; ".join(
        f"{'DMC' if deep else 'SVMs'}: {style.span(rows['n_train'])} nets to learn from, {style.span(rows['n_test'])} tested, "
        f"{style.span(rows['rounds'])} round{'s' * int(rows['rounds'].max() > 1)}"
        for deep, rows in table.groupby(table["meta"] == "dmc")
    )


def effort(table: pd.DataFrame) -> str:
    """How long the DMC learned: what a reader must know before comparing it with anything."""
    spent = table.attrs.get("about", {}).get("settings", {}).get("effort", {})
    if not spent or "dmc" not in set(table.get("meta", ())):
        return ""
    steps, paper = spent["dmc_steps"], 125_000
    return f"DMC: {steps:,} training steps" + (f", the paper's local DMC had {paper:,}" if steps < paper else "")
