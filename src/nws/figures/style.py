"""What all figures share: colours, names, captions, panels, files."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nws.errors import NwsError
from nws.families.cnn2020 import PROPERTIES
from nws.families.space import label as written

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, told apart by colour-blind readers; black is kept for chance lines, the light yellow too pale for lines.
BLUE, ORANGE, GREEN, RED, PURPLE, SKY, YELLOW = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442"
PALETTE = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY, YELLOW, "#999999")
STEPS = ("#FDE725", "#7AD151", "#22A884", "#2A788E", "#414487", "#440154")  # viridis, for options that have an order
INK, FAINT, GREY = "#333333", "#DDDDDD", "#555555"

IMAGE_SETS = {
    "mnist": "MNIST",
    "cifar10": "CIFAR-10",
    "svhn": "SVHN",
    "stl10": "STL-10",
    "fashion": "Fashion-MNIST",
    "kmnist": "Kuzushiji-MNIST",
}
SHORT = {"glorot_uniform": "Glorot uni.", "glorot_normal": "Glorot nor."}
KEY = "nws:drawn-from"  # of the text in a PNG
PT_PER_LETTER = 3.75  # of 7-point text on average, to wrap captions to the figure's width


def colours(name: str, options: Iterable[Any]) -> dict[Any, str]:
    """Option -> colour: of the paper's options the same in every figure, foreign ones take what is left. Numbers go from light to
    dark in their order, so that there a foreign one moves the others."""
    known = PROPERTIES[name].options if name in PROPERTIES else ()
    options = list(options)
    everything = [*known, *(option for option in options if option not in known)]
    if numbers(everything):
        everything = sorted(everything, key=float)
        at = np.linspace(1, len(STEPS) - 1, len(everything)).round().astype(int)
        return {option: STEPS[at[everything.index(option)]] for option in options}
    return {option: PALETTE[everything.index(option) % len(PALETTE)] for option in options}


def ordered(name: str, options: Iterable[Any]) -> list[Any]:
    """Options in the order of Table 1, foreign ones after them; of properties that are not in it numbers in their order, else as
    they are given."""
    options = list(dict.fromkeys(options))
    if name not in PROPERTIES:
        return sorted(options, key=float) if numbers(options) else options
    known = list(PROPERTIES[name].options)
    return sorted(options, key=lambda o: (known.index(o), "") if o in known else (len(known), str(o).zfill(9)))


def numbers(options: Iterable[Any]) -> bool:
    """Whether all of them are numbers, as such or as text; switches are none."""
    return all(not isinstance(option, bool) and _is_number(option) for option in options)


def _is_number(option: Any) -> bool:
    try:
        return math.isfinite(float(option))
    except (TypeError, ValueError):
        return False


def parsed(name: str, text: str) -> Any:
    """The option that a table writes as text; of another zoo's, which may be anything, the text."""
    if name not in PROPERTIES:
        return text
    try:
        return PROPERTIES[name].parse(text)
    except NwsError:
        return text


def label(name: str, option: Any, short: bool = False) -> str:
    """How an option is written in a figure. Text from data must not be read as mathematics by matplotlib."""
    if name == "dataset":
        text = IMAGE_SETS.get(option, str(option))
    else:
        text = written(option)
        text = SHORT.get(text, text) if short else text
    return plain(text.replace("_", " ") if name != "dataset" else text)


def word(name: str) -> str:
    """A property in a figure's text."""
    return plain(name.replace("_", " "))


def narrow(name: str, letters: int = 11) -> str:
    """The same in a narrow column: a line per word, longer words broken."""
    pieces = [part[at : at + letters] for part in name.split("_") for at in range(0, len(part), letters)]
    return plain("\n".join(pieces))


def plain(text: str) -> str:
    return text.replace("$", r"\$")


def panels(n: int, width: float = 3.2, height: float = 2.6, columns: int = 3, **shared: Any) -> tuple[Figure, list[Axes]]:
    """A figure of n panels (sizes in inches of one), and their axes."""
    from matplotlib.figure import Figure

    columns = 2 if (n, columns) == (4, 3) else max(1, min(n, columns))
    rows = -(-n // columns)
    figure = Figure(figsize=(max(width * columns, 4.8), height * rows + 0.6), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **shared).ravel().tolist()
    for unused in axes[n:]:
        unused.remove()
    for axis in axes[:n]:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8)
    return figure, axes[:n]


def outer(axes: Sequence[Axes], x: str, y: str) -> None:
    """Label the outer axes of `panels` only: x where nothing stands below, y in the first column."""
    places = [place for axis in axes if (place := axis.get_subplotspec())]
    for axis, place in zip(axes, places, strict=True):
        column, row = place.colspan.start, place.rowspan.start
        if not any(other.colspan.start == column and other.rowspan.start > row for other in places):
            axis.set_xlabel(x, fontsize=8)
            axis.tick_params(labelbottom=True)
        if column == 0:
            axis.set_ylabel(y, fontsize=8)


def percent(axis: Any) -> None:
    """Write fractions on an axis (figure.axes[0].yaxis) as percent."""
    axis.set_major_formatter(lambda v, _: f"{100 * v:.0f}%")


def caption(figure: Figure, table: pd.DataFrame, *says: str) -> None:
    """Zoo, number of nets, what the figure `says`, notes of the table, version and commit, below the figure."""
    about = {"zoo": "zoo", "nets": 0, "version": "", "commit": None, **table.attrs.get("about", {})}
    origin = f"nws {about['version']}" + (f", commit {about['commit']}" if about["commit"] else "")
    sentences = [f"{about['zoo']}: {about['nets']:,} nets", *says, *table.attrs.get("notes", []), origin]
    letters = int(figure.get_figwidth() * 72 / PT_PER_LETTER) - 2
    text = "\n".join(textwrap.wrap(plain("; ".join(filter(None, sentences))), letters))
    figure.supxlabel(text, fontsize=7, color=GREY, x=0.01, ha="left")


def span(values: pd.Series) -> str:
    """ "216", or "120 to 216"."""
    low, high = int(values.min()), int(values.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def by_image_set(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """(image set, its rows) in the order of Table 1."""
    return [(name, table[table["dataset"] == name]) for name in ordered("dataset", table["dataset"])]


def files(path: str | Path) -> tuple[Path, Path]:
    """path.png and path.pdf."""
    return Path(f"{path}.png"), Path(f"{path}.pdf")


def save(figure: Figure, path: str | Path, drawn_from: str = "") -> tuple[Path, Path]:
    """Write path.png and path.pdf; returns both. The PNG says what it was `drawn_from`, and is last: it speaks for both."""
    png, pdf = files(path)
    figure.savefig(pdf, dpi=160)
    figure.savefig(png, dpi=160, metadata={KEY: drawn_from} if drawn_from else None)
    return png, pdf


def drawn_from(path: str | Path) -> str | None:
    """What `save` was told; None when one of the two files is missing or the picture cannot be read."""
    from PIL import Image

    png, pdf = files(path)
    try:
        with Image.open(png) as picture:
            return picture.info.get(KEY) if pdf.exists() else None
    except (OSError, ValueError):
        return None


def legend(figure: Figure, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """One legend above all panels, in as many columns as the figure is wide."""
    letters = max(map(len, labels))
    columns = int(figure.get_figwidth() * 72 / (4.6 * letters + 40))  # points: a letter of 8-point text, and handle and space
    columns = max(1, min(len(labels), columns))
    figure.legend(handles, labels, loc="outside upper center", ncols=columns, frameon=False, fontsize=8)
