"""All tables and figures of a zoo: what each figure needs, and how it is made, once.

TABLES and FIGURES are the list. A table is a function of the zoo and of its settings; a figure is drawn from tables and from
nothing else, so that whoever has DIR/tables can draw it again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache, partial
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from nws import __version__, tables, threads
from nws.analysis import embedding, importance, maps, reading, regression, statistics
from nws.analysis.study import FULL, QUICK, Effort, Study
from nws.errors import NwsError, unknown
from nws.figures import embedding as embedding_figures
from nws.figures import importance as importance_figures
from nws.figures import maps as map_figures
from nws.figures import reading as reading_figures
from nws.figures import regression as regression_figures
from nws.figures import statistics as statistics_figures
from nws.figures import style
from nws.progress import within
from nws.tasks.inputs import Inputs
from nws.tasks.results import digest
from nws.zoo import Zoo

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OnProgress = Callable[[str], None]
BUDGETS = ("quick", "full")


@dataclass(frozen=True)
class Work:
    """What a table is made with. `cache`: a folder for whatever a long table keeps in order to go on after an interruption."""

    inputs: Inputs  # of the zoo; they remember statistics from one table to the next
    cache: Path
    on_progress: OnProgress

    @property
    def zoo(self) -> Zoo:
        return self.inputs.zoo

    def study(self, effort: Mapping[str, Any]) -> Study:
        return Study(self.inputs, Effort(**effort), self.cache, self.on_progress)


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
    says_of: Callable[..., str] | None = None  # its title where it depends on the tables


@dataclass(frozen=True)
class Made:
    """What became of a figure: its files, or why it was skipped. `fresh`: drawn now, not found as it was left."""

    name: str
    says: str
    files: tuple[Path, ...] = ()
    skipped: str = ""
    fresh: bool = False


_QUICK, _FULL = {"effort": asdict(QUICK)}, {"effort": asdict(FULL)}
_QUICK_SIZES = {"lengths": (100, 500, 1000, 5000, 20_000), "dmc_lengths": (100, 1000)}
_QUICK_MAPS = {"grid": (50, 10), "dmc_grid": (20, 5), "svm_rounds": 2}


def _read(analysis: Callable[..., pd.DataFrame]) -> Callable[..., pd.DataFrame]:
    return lambda work, effort, **settings: analysis(work.study(effort), **settings)


TABLES: dict[str, Table] = {  # the cheap ones first: so they are made
    "nets": Table(lambda work: statistics.nets(work.zoo)),
    "size_time": Table(lambda work: statistics.size_time(work.zoo)),
    "accuracy": Table(lambda work: statistics.accuracy(work.zoo)),
    "pairs": Table(lambda work: statistics.pairs(work.zoo)),
    "curves": Table(lambda work: statistics.curves(work.zoo)),
    "regression": Table(lambda work: regression.regression(work.zoo)),
    "regression_correlation": Table(lambda work: regression.correlation(regression.regression(work.zoo))),
    "regression_error": Table(lambda work: regression.error(work.zoo)),
    "embedding": Table(lambda work: embedding.embedding(work.zoo, on_progress=work.on_progress)),
    "importance": Table(_read(importance.importance), _QUICK, _FULL),
    "importance_local": Table(_read(importance.importance_local), _QUICK, _FULL),
    "meta_classification": Table(_read(reading.meta_classification), _QUICK, _FULL),
    "numbers": Table(_read(reading.numbers), _QUICK, _FULL),
    "local": Table(_read(reading.local), _QUICK, _FULL),
    "batch_norm": Table(_read(reading.batch_norm), _QUICK, _FULL),
    "subset_size": Table(_read(reading.subset_size), {**_QUICK, **_QUICK_SIZES}, _FULL),
    "maps": Table(_read(maps.maps), {**_QUICK, **_QUICK_MAPS}, _FULL),
}
FIGURES: dict[str, Drawing] = {
    "figure1": Drawing("regression of test accuracy, one image set", ("regression",), regression_figures.one),
    "figure2": Drawing("what whole nets tell", ("meta_classification",), reading_figures.meta_classification),
    "figure3": Drawing("what tells image set and optimizer", ("importance",), importance_figures.importance_two),
    "figure4": Drawing("what slices of weights tell", ("local",), reading_figures.meta_classification),
    "figure5": Drawing("where and when three properties are told", ("maps",), map_figures.main),
    "figure6": Drawing("model size and training time", ("size_time",), statistics_figures.size_time),
    "figure7": Drawing("training curves against progress", ("curves",), statistics_figures.curves),
    "figure8": Drawing("distribution of test accuracy", ("accuracy",), statistics_figures.accuracy),
    **{
        name: Drawing(
            f"mean accuracy by {a} and {b}",
            ("pairs",),
            partial(statistics_figures.pairs, figure=name),
            partial(statistics_figures.pairs_title, figure=name),
        )
        for name, (a, b) in statistics.PAIRS.items()
    },
    "figure13": Drawing("all snapshots in the plane", ("embedding", "nets", "curves"), embedding_figures.embedding),
    "figure14": Drawing("regression of test accuracy, each image set", ("regression",), regression_figures.coefficients),
    "figure15": Drawing(
        "errors and correlations of the regressions", ("regression_error", "regression_correlation"), regression_figures.quality
    ),
    "figure16": Drawing("what tells each property, layer by layer", ("importance",), importance_figures.importance),
    "figure17": Drawing("what tells each property in a slice", ("importance_local",), importance_figures.importance_local),
    "figure18": Drawing("accuracy against the length of slices", ("subset_size",), reading_figures.subset_size),
    "figure19": Drawing("with and without batch norm", ("batch_norm",), reading_figures.batch_norm),
    "figure20": Drawing("where and when the training is told", ("maps",), map_figures.training),
    "figure21": Drawing("where and when the architecture is told", ("maps",), map_figures.architecture),
    "numbers": Drawing("which numbers whole nets tell", ("numbers",), reading_figures.numbers),
}
ALWAYS = ("nets",)  # tables that no figure asks for, and the report shows


def make(
    zoo: Zoo,
    out: str | Path,
    only: Sequence[str] | None = None,
    budget: str = "quick",
    on_progress: OnProgress = lambda doing: None,
    workers: int = 1,
) -> list[Made]:
    """Every table into out/tables and every figure into out, as NAME.png and NAME.pdf, the cheap ones first.

    Each is on disk as soon as it is done. Returned in the order of FIGURES.

    only    names of FIGURES; None is all
    workers processes that share the rounds of a table; figures are the same with any number
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
    cost = {table: at for at, table in enumerate(TABLES)}
    why_not: dict[str, str] = {}
    made: dict[str, Made] = {}
    with Inputs(zoo, workers=workers) as inputs, threads.one():
        for k, table in enumerate(sorted(wanted, key=cost.__getitem__)):
            step = within(on_progress, f"table {k + 1} of {len(wanted)}, {table}", k / len(wanted), (k + 1) / len(wanted))
            why_not[table] = _table(inputs, out, table, budget, step)
            for name in names:
                if name not in made and set(FIGURES[name].tables) <= set(why_not):
                    made[name] = _figure(out, name, why_not, on_progress)
    return [made[name] for name in names]


def _table(inputs: Inputs, out: Path, name: str, budget: str, on_progress: OnProgress) -> str:
    """Make a table unless it is there; returns why this zoo has none, or nothing."""
    entry = TABLES[name]
    settings = dict(getattr(entry, budget))
    about = tables.about(inputs.zoo, settings)
    if tables.is_current(out / "tables", name, about["key"]):
        return ""
    on_progress("begun")
    try:
        frame = entry.make(Work(inputs, out / "cache", on_progress), **settings)
    except tables.NotForThisZooError as error:
        return str(error)
    frame.attrs["about"] = about
    tables.save(frame, out / "tables", name)
    return ""


def _figure(out: Path, name: str, why_not: Mapping[str, str], on_progress: OnProgress) -> Made:
    entry = FIGURES[name]
    for table in entry.tables:
        if why_not[table]:
            return Made(name, entry.says, skipped=why_not[table])
    sources = [out / "tables" / f"{table}.json" for table in entry.tables]
    drawn_from = digest([*(file.read_text(encoding="utf-8") for file in sources), _drawing_code()])
    loaded = [tables.load(out / "tables", table) for table in entry.tables]
    says = (entry.says_of and entry.says_of(*loaded)) or entry.says
    if style.drawn_from(out / name) == drawn_from:
        return Made(name, says, style.files(out / name))
    on_progress(f"drawing {name}")
    try:
        drawn = entry.draw(*loaded)
    except tables.NotForThisZooError as error:
        return Made(name, says, skipped=str(error))
    return Made(name, says, style.save(drawn, out / name, drawn_from), fresh=True)


@cache
def _drawing_code() -> str:
    """A digest of all that decides how a table is drawn: another nws may draw the same table otherwise."""
    sources = sorted((f.name, f.read_text(encoding="utf-8")) for f in resources.files("nws.figures").iterdir() if f.is_file())
    return digest([__version__, sources])
