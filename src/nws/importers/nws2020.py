"""The data published with the paper, and whatever `python classifier.py` writes: by split table, or by folder of runs."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from nws.errors import NwsError
from nws.families import cnn2020 as cnn
from nws.families.cnn2020 import HyperParameters
from nws.importers.source import Imported, Item, Source, file_fingerprint, fingerprint
from nws.legacy.files import Run
from nws.legacy.split_tables import Row, read_meta, scan_table
from nws.net import Net
from nws.recorded import printable
from nws.weights.checkpoint import shown
from nws.zoo.select import SPLITS

KIND = "nws2020"
NUMBER = "net"  # a column that our own export adds: the net's number in the zoo it came from
_DEEPEST = 3  # folders below the one named

Line = tuple[Path, tuple[str, ...], int, Row | NwsError]  # table, its columns, line number, what stands there


def open_source(path: Path, root: Path | None = None) -> Source:
    """path: a split table; the beginning of two, NAME for NAME_train.csv and NAME_test.csv; or a folder of runs.

    root: a further folder that the tables' paths may lie in.
    """
    pair = [path.with_name(f"{path.name}_{side}.csv") for side in SPLITS]
    if path.is_dir():
        return _folder(path)
    if path.is_file():
        return _tables([path], root)
    if any(table.is_file() for table in pair):
        return _tables([table for table in pair if table.is_file()], root)
    raise NwsError(f"{path} is no table, no folder, and there is no {pair[0].name} beside it: name one of them")


def _tables(tables: list[Path], root: Path | None) -> Source:
    lines: list[Line] = []
    for table in tables:
        places = [table.absolute().parent, *([root.absolute()] if root else [])]
        columns, rows = scan_table(table, places)
        lines += [(table, columns, number, row) for number, row in rows]
    numbers = _numbers(lines)

    def items() -> Iterator[Item]:
        for number, (table, _, line, row) in zip(numbers, lines):
            side = next((s for s in SPLITS if table.stem.endswith(f"_{s}")), None)
            if isinstance(row, NwsError):
                yield Item(number, f"{table}, line {line}", partial(_fail, row))
            else:
                about = {"source": KIND, "table": table.name, "path": printable(row.path)}
                yield Item(number, shown(row.run.folder), partial(load, row.run, row.hp, number, about, side))

    return Source(KIND, file_fingerprint(*tables), len(lines), items)


def _numbers(lines: list[Line]) -> list[int]:
    """Of each line: what the column `net` says where all lines say something else there; else its position."""
    stated = [row.cells[columns.index(NUMBER)] for _, columns, _, row in lines if NUMBER in columns and isinstance(row, Row)]
    usable = (
        len(stated) == len(lines) and all(type(n) is int and 0 <= n < 10**9 for n in stated) and len(set(stated)) == len(stated)
    )
    return stated if usable else list(range(len(lines)))


def _folder(path: Path) -> Source:
    root = path.resolve()
    runs = sorted(_runs(root, 0))
    if not runs:
        raise NwsError(f"{path} holds no runs (folders with meta.csv and weights/): name a split table, or a folder of runs")
    tables = sorted(path.glob("*_train.csv"))
    note = (
        [f"{path} has split tables: name {path / tables[0].name.removesuffix('_train.csv')} to keep their split"] if tables else []
    )

    def items() -> Iterator[Item]:
        for number, run in enumerate(runs):
            yield Item(number, shown(run), partial(_load_folder, run, root, number))

    return Source(KIND, fingerprint(str(run.relative_to(root)) for run in runs), len(runs), items, tuple(note))


def _runs(folder: Path, depth: int) -> Iterator[Path]:
    """Folders with a meta.csv, links not followed: they may lead anywhere, or round in circles."""
    if (folder / "meta.csv").is_file():
        yield folder
    elif depth < _DEEPEST:
        for entry in sorted(folder.iterdir()):
            if entry.is_dir() and not entry.is_symlink() and not entry.name.startswith("."):
                yield from _runs(entry, depth + 1)


def _load_folder(folder: Path, root: Path, number: int) -> Imported:
    if not (folder / "meta.csv").resolve().is_relative_to(root):
        raise NwsError(f"{shown(folder / 'meta.csv')} is a link to a place outside {shown(root)}: refused")
    hp = read_meta(folder)
    run = Run(folder, cnn.layout(hp).size, (root,))
    return load(run, hp, number, {"source": KIND, "path": shown(folder.relative_to(root))}, None)


def load(run: Run, hp: HyperParameters, number: int, about: dict[str, str], side: str | None) -> Imported:
    """One run as a net. Errors in % become accuracies; `difference` is that of float64 weights to float32."""
    layout = cnn.layout(hp)
    theta, difference = np.empty((run.snapshots, layout.size), np.float32), 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        for s in range(run.snapshots):
            exact = run.values(s + 1)
            theta[s] = exact
            finite = np.isfinite(exact) & np.isfinite(theta[s])
            difference = max(difference, float(np.max(np.abs(exact - theta[s]), where=finite, initial=0.0)))
    history = np.column_stack([run.records[:, 0], 1.0 - run.records[:, 1:] / 100.0])
    net = Net(
        number=number,
        hp=hp,
        layout=layout,
        theta=theta,
        epoch=run.kept,
        history=history,
        status="ok" if np.isfinite(theta).all() else "diverged",
        seconds=run.seconds,
        about={**about, "rounding_difference": difference},
    )
    return Imported(net, side, difference)


def _fail(error: NwsError) -> Imported:
    raise error
