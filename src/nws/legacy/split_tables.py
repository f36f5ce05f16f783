"""Split tables: a CSV with a row per run, the thirteen columns of the 2020 coding, then weightn_conv, weightn_fc, path."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import index
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nws.atomic import write_whole
from nws.cells import unguarded
from nws.errors import NwsError
from nws.families import cnn2020 as cnn
from nws.families.cnn2020 import PROPERTIES, HyperParameters
from nws.families.space import Property
from nws.legacy.files import Run, csv_text, inside
from nws.recorded import parsed

PROPS: tuple[Property, ...] = tuple(PROPERTIES.values())  # --prop counts these from 0
COLUMNS = tuple(p.column_2020 for p in PROPS)
SIZES, PATH = ("weightn_conv", "weightn_fc"), "path"
HEADER = (*COLUMNS, *SIZES, PATH)
_TEXT = ("dataset", PATH)  # a folder "0001" is not the number 1
_LARGEST_TABLE = 256 << 20  # bytes; 16,000 runs take 2 MB
_MOST_WEIGHTS = 10**8  # of one net; the 2020 program's largest has 388,172

Warn = Callable[[str], None]


@dataclass(frozen=True)
class Row:
    """One run of a table. `conv` and `fc` are the sizes of its parts, `path` and `cells` what the CSV says, numbers as numbers."""

    hp: HyperParameters
    conv: int
    fc: int
    run: Run
    path: str
    cells: tuple[Any, ...]


@dataclass(frozen=True)
class Table:
    """A split table, checked: every row's hyper-parameters make sense, and fit its sizes; its folder is where it may be."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


class Weights(NamedTuple):
    """What `import_weights` returns, in the 2020 program's order. N vectors of C classes; run by run, each in `steps` order.

    X           N vectors, float32, of each net's own length
    Y           (N,) labels: positions in the property's options; float32 values for the learning rate
    err         (N, 2) float32: training and test error in %
    meta        (N, columns) objects: the table's row of each vector
    properties  the table's columns
    """

    X: list[np.ndarray]
    Y: np.ndarray
    err: np.ndarray
    N: int
    C: int
    meta: np.ndarray
    properties: list[str]


def import_weights(
    csv: str | Path,
    prop: int,
    steps: int | Iterable[int],
    uniform: bool = True,
    root: str | Path | None = None,
    warn: Warn = lambda note: None,
) -> Weights:
    """The weights of a table's runs with the labels of property `prop`, as the 2020 program loads them.

    prop     0 dataset, 1 learning rate, 2 batch size ... in column order (see `nws.families.cnn2020.PROPERTIES`)
    steps    snapshots, numbered from 1
    uniform  balance the classes: each gives as many runs as the rarest that has any, in table order
    root     a further folder that the table's paths may lie in
    warn  receives, in plain words, of options without a run

    The labels are positions in the property's list in `PROPERTIES` (C counts it all); options outside it follow in order of
    appearance. NwsError for a table, path or file that is not as it must be.
    """
    property_ = property_at(prop)
    table = read_table(csv, root)
    options = options_of(property_, table.rows)
    values = [getattr(row.hp, property_.name) for row in table.rows]
    chosen = list(table.rows)
    if not property_.continuous:
        if absent := [property_.label(o) for o in options if o not in values]:
            warn(f"{table.path}: no run has {property_.name} {', '.join(absent)}")
        if uniform:
            chosen = [table.rows[k] for k in balanced(values)]
    try:
        numbers = [index(step) for step in (steps if isinstance(steps, Iterable) else [steps])]
    except TypeError:
        numbers = []
    if not numbers:
        raise NwsError(f"steps={steps!r}: name at least one snapshot by its number, such as [20]")
    X: list[np.ndarray] = []
    err, labels, meta = [], [], np.empty((len(chosen) * len(numbers), len(table.columns)), object)
    for row in chosen:
        value = getattr(row.hp, property_.name)
        for step in numbers:
            meta[len(X)] = row.cells
            X.append(row.run.theta(step))
            err.append(row.run.error[step - 1])
            labels.append(value if property_.continuous else options.index(value))
    Y = np.array(labels, np.float32 if property_.continuous else np.int64)
    C = 1 if property_.continuous else len(options)
    return Weights(X, Y, np.array(err, np.float32), len(X), C, meta, list(table.columns))


def property_at(prop: int) -> Property:
    """The property that `--prop` means."""
    if isinstance(prop, bool) or not isinstance(prop, int | np.integer) or not 0 <= prop < len(PROPS):
        listed = ", ".join(f"{k} {p.name}" for k, p in enumerate(PROPS))
        raise NwsError(f"prop {prop!r} is no property: use {listed}")
    return PROPS[prop]


def options_of(property_: Property, rows: Sequence[Row]) -> list[Any]:
    """The property's options in the 2020 program's order, then those outside its list in order of appearance."""
    if property_.continuous:
        return []
    return list(dict.fromkeys([*property_.options, *(getattr(row.hp, property_.name) for row in rows)]))


def balanced(values: Sequence[Any]) -> list[int]:
    """Positions of as many values of each kind as the rarest kind has, in order."""
    smallest, taken, kept = min(Counter(values).values()), Counter[Any](), []
    for k, value in enumerate(values):
        taken[value] += 1
        if taken[value] <= smallest:
            kept.append(k)
    return kept


def read_table(path: str | Path, root: str | Path | None = None) -> Table:
    """Read a split table by the names of its columns. Weights are not read yet.

    A run's path is relative to the table's folder, else to the current one, else to `root`. One that leaves the first two,
    symbolic links followed, is refused unless it lies in `root`.
    """
    bases = [Path(path).absolute().parent, Path.cwd(), *([Path(root).absolute()] if root is not None else [])]
    columns, found = scan_table(path, bases)
    rows = []
    for _, row in found:
        if isinstance(row, NwsError):
            raise row
        rows.append(row)
    return Table(Path(path), columns, tuple(rows))


def scan_table(path: str | Path, places: Sequence[Path]) -> tuple[tuple[str, ...], Iterator[tuple[int, Row | NwsError]]]:
    """The columns of a split table, and (line number, row, or what is wrong with it) one by one.

    places: absolute folders that a run's path is relative to, the first that has it, and may not leave. NwsError when the file
    is no table of runs.
    """
    path = Path(path)
    lines = _lines(path)
    columns = tuple(name.strip() for name in lines[0][1])
    if missing := [name for name in HEADER if name not in columns]:
        raise NwsError(f"{path} lacks the column {', '.join(missing)}")
    if len(set(columns)) < len(columns):
        raise NwsError(f"{path} has two columns of one name: {Counter(columns).most_common(1)[0][0]!r}")
    if len(lines) < 2:
        raise NwsError(f"{path} holds no runs, only a header")

    def rows() -> Iterator[tuple[int, Row | NwsError]]:
        for number, cells in lines[1:]:
            try:
                if len(cells) != len(columns):
                    raise NwsError(f"{len(cells)} values for {len(columns)} columns")
                yield number, _row(dict(zip(columns, cells)), list(places))
            except NwsError as error:
                yield number, NwsError(f"{path}, line {number}: {error}")

    return columns, rows()


def read_meta(folder: Path) -> HyperParameters:
    """The hyper-parameters of a run, from its meta.csv."""
    lines = _lines(folder / "meta.csv")
    if len(lines) != 2:
        raise NwsError(f"{folder / 'meta.csv'} must have a header and one row")
    return HyperParameters.from_2020(dict(zip(lines[0][1], lines[1][1])))


def table_row(hp: HyperParameters, where: str) -> list[object]:
    """A row of a split table: the net's hyper-parameters, the sizes of its parts, the run's path."""
    layout = cnn.layout(hp)
    return [*hp.to_2020().values(), layout.size_of("conv"), layout.size_of("fc"), where]


def write_table(path: str | Path, runs: Iterable[str | Path]) -> None:
    """Write a split table of runs (folders below the table's own) such as `python classifier.py` makes."""
    path = Path(path)
    rows: list[list[object]] = [list(HEADER)]
    for folder in map(Path, runs):
        where = os.path.relpath(folder.resolve(), path.absolute().parent.resolve())
        if where.startswith(os.pardir):
            raise NwsError(f"{folder} is not below the table's folder: write the table above its runs")
        rows.append(table_row(read_meta(folder), where))
    try:
        write_whole(path, csv_text(rows).encode())
    except OSError as error:
        raise NwsError(f"{path}: {error.strerror}: name a file you may write") from None


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    """(line number, cells) of each line that is not empty, at least a header."""
    try:
        if not path.is_file():
            raise NwsError(f"{path} is not there, or not a file: name the table of runs")
        if path.stat().st_size > _LARGEST_TABLE:
            raise NwsError(f"{path} is larger than {_LARGEST_TABLE >> 20} MB: this is no table of runs")
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            lines = [(reader.line_num, list(map(unguarded, cells))) for cells in reader if cells]
    except OSError as error:
        raise NwsError(f"{path}: {error.strerror}") from None
    except (csv.Error, UnicodeDecodeError, ValueError) as error:
        if isinstance(error, NwsError):
            raise
        raise NwsError(f"{path} is not a table of comma-separated values: {error}") from None
    if not lines:
        raise NwsError(f"{path} is empty")
    return lines


def _row(cells: dict[str, str], bases: list[Path]) -> Row:
    hp = HyperParameters.from_2020(cells)
    conv, fc = (_size(name, cells[name]) for name in SIZES)
    layout = cnn.layout(hp)
    if (conv, fc) != (layout.size_of("conv"), layout.size_of("fc")):
        raise NwsError(
            f"{conv:,} + {fc:,} weights, but nets of these hyper-parameters have "
            f"{layout.size_of('conv'):,} + {layout.size_of('fc'):,}: a column is wrong"
        )
    folder, places = _folder(cells[PATH], bases)
    values = tuple(parsed(cell) if name not in _TEXT else cell.strip() for name, cell in cells.items())
    return Row(hp, conv, fc, Run(folder, layout.size, places), cells[PATH], values)


def _size(name: str, text: str) -> int:
    try:
        value = float(text)
        if not 0 < value <= _MOST_WEIGHTS or value != int(value):
            raise ValueError
    except ValueError:
        raise NwsError(f"{name}={text!r} must be a whole number of 1 to {_MOST_WEIGHTS:,}") from None
    return int(value)


def _folder(cell: str, bases: list[Path]) -> tuple[Path, tuple[Path, ...]]:
    """The folder a table's path means, resolved, and the places it may lie in."""
    try:
        places = tuple(base.resolve() for base in bases)
        candidates = [(base / cell).resolve() for base in bases] if cell.strip() else []
        found = [folder for folder in candidates if folder.is_dir()]
    except (OSError, RuntimeError, ValueError):  # circular links, a name too long or with a zero byte
        candidates = []
    if not candidates:
        raise NwsError(f"{cell!r} is no path")
    for folder in found:
        if inside(folder, places):
            return folder, places
    if not all(inside(folder, places) for folder in candidates):
        raise NwsError(f"the path {cell!r} leaves the table's folder: name its place with --root, if you trust it")
    raise NwsError(f"the path {cell!r} is no folder, seen from the table's")
