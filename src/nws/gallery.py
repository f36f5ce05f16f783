"""All tables and figures of a zoo: what each figure needs, and how it is made, once.

TABLES and FIGURES are the list. A table is a function of the zoo and of its settings; a figure is drawn from tables and from
nothing else, so that whoever has DIR/tables can draw it again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from nws import tables
from nws.analysis import embedding, regression, statistics
from nws.errors import NwsError, unknown
from nws.figures import embedding as embedding_figures
from nws.figures import regression as regression_figures
from nws.figures import statistics as statistics_figures
from nws.figures import style
from nws.zoo import Zoo

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Tell = Callable[[str], None]
BUDGETS = ("quick", "full")


@dataclass(frozen=True)
class Work:
    """What a table is made with. `cache`: a folder for whatever a long table keeps in order to go on after an interruption."""

    zoo: Zoo
    cache: Path
    tell: Tell


@dataclass(frozen=True)
class Table:
    """make(work, **settings) -> DataFrame; NotForThisZooError says in one line why a zoo has no such table.

    quick, full   the settings of each budget: minutes, or what the paper did
    """

    make: Callable[..., pd.DataFrame]
    quick: Mapping[str, Any] = field(default_factory=dict)
    full: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Drawing:
    """draw(*tables) -> Figure, from the named tables in this order. `says`: its title in lists."""

    says: str
    tables: tuple[str, ...]
    draw: Callable[..., Figure]


@dataclass(frozen=True)
class Made:
    """What became of a figure: its files, or why it was skipped. `fresh`: drawn now, not found as it was left."""

    name: str
    says: str
    files: tuple[Path, ...] = ()
    skipped: str = ""
    fresh: bool = False


TABLES: dict[str, Table] = {
    "nets": Table(lambda work: statistics.nets(work.zoo)),
    "size_time": Table(lambda work: statistics.size_time(work.zoo)),
    "curves": Table(lambda work: statistics.curves(work.zoo)),
    "accuracy": Table(lambda work: statistics.accuracy(work.zoo)),
    "pairs": Table(lambda work: statistics.pairs(work.zoo)),
    "regression": Table(lambda work: regression.regression(work.zoo)),
    "regression_error": Table(lambda work: regression.error(work.zoo)),
    "regression_correlation": Table(lambda work: regression.correlation(regression.regression(work.zoo))),
    "embedding": Table(lambda work: embedding.embedding(work.zoo, tell=work.tell)),
}
FIGURES: dict[str, Drawing] = {
    "figure1": Drawing("regression of test accuracy, one image set", ("regression",), regression_figures.one),
    "figure6": Drawing("model size and training time", ("size_time",), statistics_figures.size_time),
    "figure7": Drawing("training curves against progress", ("curves",), statistics_figures.curves),
    "figure8": Drawing("distribution of test accuracy", ("accuracy",), statistics_figures.accuracy),
    **{
        name: Drawing(
            f"mean accuracy by {a.replace('_', ' ')} and {b.replace('_', ' ')}",
            ("pairs",),
            partial(statistics_figures.pairs, figure=name),
        )
        for name, (a, b) in statistics.PAIRS.items()
    },
    "figure13": Drawing("all snapshots in the plane", ("embedding", "nets", "curves"), embedding_figures.embedding),
    "figure14": Drawing("regression of test accuracy, each image set", ("regression",), regression_figures.coefficients),
    "figure15": Drawing(
        "errors and correlations of the regressions", ("regression_error", "regression_correlation"), regression_figures.quality
    ),
}
ALWAYS = ("nets",)  # tables that no figure asks for, and the report shows


def make(
    zoo: Zoo,
    out: str | Path,
    only: Sequence[str] | None = None,
    budget: str = "quick",
    tell: Tell = lambda doing: None,
) -> list[Made]:
    """Every table into out/tables, then every figure into out, as NAME.png and NAME.pdf; in the order of FIGURES.

    only    names of FIGURES; None is all
    budget  "quick": minutes; "full": what the paper did, hours
    What `out` holds already of the same nets and settings is left as it is. A figure that this zoo cannot have is skipped.
    Raises NwsError for an unknown figure or budget, a zoo without nets, a damaged net or a disk that is full.
    """
    if budget not in BUDGETS:
        raise unknown("budget", budget, BUDGETS)
    names = list(FIGURES if only is None else only)
    for name in names:
        if name not in FIGURES:
            raise unknown("figure", name, FIGURES)
    if not len(zoo.index):
        raise NwsError(f"{zoo.path} holds no nets yet: run `nws sample` first")
    out = Path(out)
    wanted = dict.fromkeys([*ALWAYS, *(table for name in names for table in FIGURES[name].tables)])
    why_not = {table: _table(zoo, out, table, budget, tell) for table in wanted}
    return [_figure(out, name, why_not, tell) for name in names]


def _table(zoo: Zoo, out: Path, name: str, budget: str, tell: Tell) -> str:
    """Make a table unless it is there; returns why this zoo has none, or nothing."""
    entry = TABLES[name]
    settings = dict(getattr(entry, budget))
    about = tables.about(zoo, settings)
    if tables.is_current(out / "tables", name, about["key"]):
        return ""
    tell(f"table {name}")
    try:
        frame = entry.make(Work(zoo, out / "cache", lambda doing: tell(f"table {name}: {doing}")), **settings)
    except tables.NotForThisZooError as error:
        return str(error)
    frame.attrs["about"] = about
    tables.save(frame, out / "tables", name)
    return ""


def _figure(out: Path, name: str, why_not: Mapping[str, str], tell: Tell) -> Made:
    entry = FIGURES[name]
    for table in entry.tables:
        if why_not[table]:
            return Made(name, entry.says, skipped=why_not[table])
    files = (out / f"{name}.png", out / f"{name}.pdf")
    sources = [out / "tables" / f"{table}.json" for table in entry.tables]
    if all(file.exists() and file.stat().st_mtime_ns >= max(s.stat().st_mtime_ns for s in sources) for file in files):
        return Made(name, entry.says, files)
    tell(f"drawing {name}")
    try:
        drawn = entry.draw(*(tables.load(out / "tables", table) for table in entry.tables))
    except tables.NotForThisZooError as error:
        return Made(name, entry.says, skipped=str(error))
    return Made(name, entry.says, tuple(style.save(drawn, out / name)), fresh=True)
