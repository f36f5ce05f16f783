"""Figures of the regression of test accuracy from hyper-parameters (section 4.2 and supplement D of the paper)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nws.families.cnn2020 import PROPERTIES
from nws.families.space import label as written
from nws.figures import style

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

COLOURS = "PuOr_r"  # diverging, told apart by colour-blind readers: purple lowers, orange raises the accuracy
HEADS = {"learning_rate": "learning\nrate", "initialization": "initiali-\nzation", "augmentation": "augmen-\ntation"}
COLUMN, ROW = 0.82, 0.38  # inches of a cell


def coefficients(table: pd.DataFrame, dataset: str | None = None) -> Figure:
    """Coefficients by property (columns) and option (rows) with a star where p > 5%. table: `analysis.regression.regression`.

    dataset: one image set, or None for all (Fig. 14). Fig. 1 of the paper shows CIFAR-10: see `one`.
    """
    from matplotlib.figure import Figure

    sets = [(name, rows) for name, rows in style.by_image_set(table) if dataset in (None, name)]
    columns = [name for name in dict.fromkeys(("constant", *PROPERTIES, *table["property"])) if (table["property"] == name).any()]
    rows = max(group["option"].nunique() for _, group in table.groupby("property"))
    size = (max(COLUMN * len(columns) + 1.0, 6.0), len(sets) * (ROW * rows + 0.75) + 0.6)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(sets), 1, squeeze=False)[:, 0].tolist()
    reach = float(np.ceil(table.loc[table["property"] != "constant", "coefficient"].abs().max() * 10) / 10)
    for axis, (name, mine) in zip(axes, sets):
        picture = _cells(axis, mine, columns, rows, reach)
        n, r2 = mine["nets"].iloc[0], mine["r2"].iloc[0]
        axis.set_title(f"{style.label('dataset', name)} ({n:,} converged nets, R² = {r2:.2f})", fontsize=9)
    bar = figure.colorbar(picture, ax=axes, aspect=12 * len(sets), pad=0.01, fraction=0.03)
    bar.set_label("coefficient (standard deviations of accuracy)", fontsize=8 if len(sets) > 1 else 6)
    bar.ax.tick_params(labelsize=7)
    whole = [
        style.word(name) for name in columns if name != "constant" and (table.loc[table["property"] == name, "option"] == "").all()
    ]
    per = f"; {', '.join(whole)}: per standard deviation" if whole else ""
    unit = f"effects against the mean of a property's options{per}"
    style.caption(figure, table, unit, "* p > 5%")
    return figure


def one(table: pd.DataFrame) -> Figure:
    """The coefficients of CIFAR-10, the paper's Fig. 1; where the zoo has none, of its first image set."""
    sets = style.ordered("dataset", table["dataset"])
    return coefficients(table, "cifar10" if "cifar10" in sets else sets[0])


def _cells(axis: Axes, mine: pd.DataFrame, columns: list[str], rows: int, reach: float) -> AxesImage:
    values = np.full((rows, len(columns)), np.nan)
    for column, name in enumerate(columns):
        found = mine[mine["property"] == name]
        texts = _options(name, found)
        for row, text in enumerate(texts):
            cell = found[found["option"] == text].iloc[0]
            values[row, column] = cell["coefficient"]
            white = abs(cell["coefficient"]) > 0.65 * reach
            option = style.label(name, style.parsed(name, text), short=True) + "\n" if text else ""
            text = f"{option}{cell['coefficient']:+.2f}{'*' if cell['star'] else ''}"
            axis.text(
                column, row, text, ha="center", va="center", fontsize=7, color="white" if white else "black", linespacing=1.05
            )
    picture = axis.imshow(values, cmap=COLOURS, vmin=-reach, vmax=reach, aspect="auto")
    axis.set_xticks(range(len(columns)), [HEADS.get(name) or style.narrow(name) for name in columns], fontsize=8)
    axis.set_yticks([])
    axis.xaxis.tick_top()
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    return picture


def _options(name: str, found: pd.DataFrame) -> list[str]:
    if name not in PROPERTIES or PROPERTIES[name].continuous:
        return found["option"].tolist()
    return [written(option) for option in style.ordered(name, [style.parsed(name, text) for text in found["option"]])]


def quality(errors: pd.DataFrame, correlations: pd.DataFrame) -> Figure:
    """Error of the linear models against constant ones, and correlations between image sets (Fig. 15a, b).

    errors: `analysis.regression.error`; correlations: `analysis.regression.correlation`.
    """
    figure, (left, right) = style.panels(2, 3.9, 3.2)
    sets = style.ordered("dataset", errors["dataset"])
    for k, (model, colour) in enumerate((("linear", style.BLUE), ("constant", "#999999"))):
        mine = errors[errors["model"] == model].set_index("dataset").loc[sets]
        at, value = np.arange(len(sets)) + (k - 0.5) * 0.4, mine["error"].to_numpy(float)
        left.bar(at, value, 0.37, color=colour, label=f"{model} model", zorder=2)
        reach = np.array([value - mine["low"], mine["high"] - value], float)
        left.errorbar(at, value, reach, fmt="none", ecolor=style.INK, elinewidth=1, capsize=2, zorder=3)
    names = [style.label("dataset", name).replace("-MNIST", "-\nMNIST") for name in sets]
    left.set_xticks(range(len(sets)), names)
    left.set_ylabel("error on nets not fitted\n(RMS, standard deviations of accuracy)", fontsize=8)
    left.grid(axis="y", color=style.FAINT, zorder=0)
    left.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    _matrix(right, correlations)
    picture = right.images[0]
    figure.colorbar(picture, ax=right, shrink=0.8).set_label("Pearson correlation of coefficients", fontsize=8)
    style.caption(
        figure, errors, "left: 10 times 10-fold cross-validation, whiskers: 95% interval over nets; right: without the constant"
    )
    return figure


def _matrix(axis: Axes, table: pd.DataFrame) -> None:
    sets = style.ordered("dataset", table["a"])
    wide = table.pivot(index="a", columns="b", values="correlation").loc[sets, sets].to_numpy(float)
    axis.imshow(wide, cmap=COLOURS, vmin=-1, vmax=1)
    for row, column in np.ndindex(wide.shape):
        white = abs(wide[row, column]) > 0.65
        axis.text(
            column, row, f"{wide[row, column]:.2f}", ha="center", va="center", fontsize=8, color="white" if white else "black"
        )
    names = [style.label("dataset", name).replace("-MNIST", "-\nMNIST") for name in sets]
    axis.set_xticks(range(len(sets)), names)
    axis.set_yticks(range(len(sets)), names)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
