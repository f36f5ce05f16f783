"""One function per figure: results in, matplotlib Figure out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nws.protocol import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's palette, told apart by colour-blind readers.
COLOURS = {
    "svm-linear-16": "#56B4E9",
    "svm-rbf-16": "#0072B2",
    "svm-linear-480": "#F0C04A",
    "svm-rbf-480": "#E69F00",
    "dmc": "#D55E00",
}
OTHER = "#009E73"


def meta_classification(rows: Sequence[Result]) -> Figure:
    """Accuracy by property and meta-classifier with 95% intervals over nets and the chance level (Fig. 2 of the paper)."""
    from matplotlib.figure import Figure

    rows = [r for r in rows if r.accuracy is not None]
    properties = list(dict.fromkeys(r.property for r in rows))
    metas = list(dict.fromkeys(r.meta for r in rows))
    figure = Figure(figsize=(max(5.5, 1.5 + 1.45 * len(properties)), 4.2), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / max(len(metas), 1)
    for k, meta in enumerate(metas):
        mine = [r for r in rows if r.meta == meta]
        at = np.array([properties.index(r.property) for r in mine]) + (k - (len(metas) - 1) / 2) * width
        high = np.array([r.accuracy for r in mine], float)
        reach = np.array([[r.accuracy - r.low, r.high - r.accuracy] for r in mine if r.accuracy is not None]).T
        colour = COLOURS.get(meta, OTHER)
        axes.bar(at, high, width * 0.92, color=colour, label=_name(mine[0]), zorder=2)
        axes.errorbar(at, high, reach, fmt="none", ecolor="#333333", elinewidth=1, capsize=2, zorder=3)
        for x, value in zip(at, high):  # at the foot of the bar, where no error bar reaches
            white = colour in ("#0072B2", "#D55E00", OTHER)
            axes.text(x, 0.012, f"{value:.0%}", ha="center", fontsize=7, color="white" if white else "black", zorder=4)
    for x, name in enumerate(properties):
        chance = next(r.chance for r in rows if r.property == name)
        axes.hlines(
            chance, x - 0.45, x + 0.45, colors="black", linestyles="--", linewidth=1.2, label="" if x else "chance", zorder=5
        )
    axes.set_xticks(range(len(properties)), [name.replace("_", "\n").replace("$", r"\$") for name in properties])
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(lambda v, _: f"{v:.0%}")
    axes.set_ylabel("accuracy on nets never seen")
    axes.grid(axis="y", color="#DDDDDD", zorder=0)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(
        loc="outside upper center", ncols=min(len(metas) + 1, 2 if figure.get_figwidth() < 7 else 3), frameon=False, fontsize=8
    )
    figure.supxlabel(_caption(rows), fontsize=7, color="#555555")
    return figure


def _name(r: Result) -> str:
    reads = "whole nets" if r.slice_length is None else f"{r.slice_length:,} weights"
    return f"{r.meta} ({reads})"


def _caption(rows: Sequence[Result]) -> str:
    r = max(rows, key=lambda r: r.n_tested)
    commit = f", commit {r.about['commit']}" if r.about.get("commit") else ""
    return f"{Path(r.zoo).name}: {r.n_tested} nets tested over {r.rounds} rounds, 95% intervals over nets; nws {r.version}{commit}"


def save(figure: Figure, path: str | Path) -> list[Path]:
    """Write path.png and path.pdf; returns both."""
    files = [Path(f"{path}.{kind}") for kind in ("png", "pdf")]
    for file in files:
        figure.savefig(file, dpi=160)
    return files
