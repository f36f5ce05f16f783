"""Any folder of checkpoints, with a table of properties: one row per file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from nws.errors import NwsError
from nws.importers import csv_rows
from nws.importers.source import Imported, Item, Moment, Source, file_fingerprint, fingerprint, fraction, net_of, seconds
from nws.recorded import Value, parsed
from nws.weights import SUFFIXES, ordered, sharded
from nws.weights import read as read_checkpoint
from nws.weights.checkpoint import shown
from nws.zoo.select import SPLITS

KIND = "checkpoints"
TABLE = "nets.csv"  # looked for in the folder when no other is named
ACCURACIES = ("train_accuracy", "validation_accuracy", "test_accuracy")
# Columns with a meaning of their own; every other is a property.
COLUMNS = ("path", "net", "snapshot", "epoch", "split", "seconds", *ACCURACIES)
_MOST_FILES = 1_000_000

Row = tuple[Path, dict[str, Value | None]]


def open_source(path: Path, table: Path | None = None, net: str | None = None) -> Source:
    """path: a folder, a glob (models/*.pt), or a table; table: a CSV with a column `path`, relative to the folder.

    net: which net of files that hold several. Rows with the same `net` are snapshots of one net, in the order of `epoch`; without
    that column every file is a net.
    """
    path = path.absolute()
    folder = path.parent if any(c in path.name for c in "*?[") or path.is_file() else path
    if path.is_file() and path.suffix == ".csv":
        table = table or path
    elif table is None and (folder / TABLE).is_file():
        table = folder / TABLE
    if not folder.is_dir():
        raise NwsError(f"{shown(path)} is no folder: name a folder of checkpoints, a glob such as 'models/*.pt', or a table")
    rows = _from_table(table, folder) if table else [(file, {}) for file in _files(path, folder)]
    nets: dict[Any, list[Row]] = {}
    for k, (file, values) in enumerate(rows):
        nets.setdefault(k if values.get("net") is None else ("net", values["net"]), []).append((file, values))
    if not nets:
        raise NwsError(f"{shown(path)} holds no checkpoints: their names must end in {', '.join(SUFFIXES)}")
    keys = [key[1] if isinstance(key, tuple) else None for key in nets]
    numbered = all(type(n) is int and 0 <= n < 10**9 for n in keys)
    numbers: list[Any] = keys if numbered else list(range(len(keys)))
    listed = file_fingerprint(table) if table else fingerprint(str(file.relative_to(folder)) for file, _ in rows)

    if net is not None:
        listed = fingerprint([listed, net])  # the other net of the same files is another source

    def items() -> Iterator[Item]:
        for number, name, group in zip(numbers, keys, nets.values()):
            yield Item(number, shown(group[0][0]), partial(_load, number, name, group, folder, net))

    return Source(KIND, listed, len(nets), items)


def _from_table(table: Path, folder: Path) -> list[Row]:
    rows = []
    for line, cells in csv_rows.read(table):
        if not cells.get("path", "").strip():
            raise NwsError(f"{shown(table)}, line {line}: names no path: give the table a column `path`")
        values = {name: (cell if name == "path" else parsed(cell)) for name, cell in cells.items() if name}
        rows.append((folder / cells["path"], values))
    return rows


def _files(path: Path, folder: Path) -> list[Path]:
    """Below the folder, or those a glob names, in the order of their names; links are not followed.

    A net in several files is one: its index stands for them.
    """
    if path == folder:
        found: Iterable[Path] = (Path(root, name) for root, _, names in os.walk(folder) for name in names)
    else:
        found = folder.glob(path.name)
    kept = []
    for file in found:
        known = file.name.endswith(sharded.INDEX) or (file.suffix.lower() in SUFFIXES and not sharded.is_shard(file))
        if known and not file.is_symlink() and file.is_file():
            kept.append(file)
        if len(kept) > _MOST_FILES:
            raise NwsError(f"{shown(folder)} holds more than {_MOST_FILES:,} checkpoints: import a part of it")
    return sorted(kept)


def _inside(file: Path, folder: Path) -> Path:
    try:
        resolved = file.resolve()
        if not resolved.is_relative_to(folder.resolve()):
            raise NwsError(f"the path {shown(file)} leaves {shown(folder)}: refused")
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, NwsError):
            raise
        raise NwsError(f"{shown(file)} is no path") from None
    return resolved


def _load(number: int, name: Any, rows: Sequence[Row], folder: Path, chosen: str | None) -> Imported:
    moments: list[Moment] = []
    notes: list[str] = []
    metadata: dict[str, Any] = {}
    for file, values in rows:
        checkpoint = read_checkpoint(_inside(file, folder), net=chosen)
        weights = ordered(checkpoint)
        metadata = {key: parsed(v) if isinstance(v, str) else v for key, v in checkpoint.metadata.items()}
        epoch = values.get("epoch", metadata.get("epoch"))
        measured = {key: fraction(values.get(key, metadata.get(key))) for key in ACCURACIES}
        moments.append(Moment(weights, epoch if type(epoch) is int and 0 <= epoch < 1 << 31 else None, **measured))
        notes += weights.notes
    last = rows[-1][1]
    # What the file itself says counts where there is no table.
    values = {key: v for key, v in (last or metadata).items() if key not in COLUMNS}
    about: dict[str, Any] = {"source": KIND, "files": [shown(file.relative_to(folder)) for file, _ in rows]}
    if name is not None and not isinstance(name, int):
        about["net"] = name
    net = net_of(number, values, moments, about, seconds(last.get("seconds")))
    split = last.get("split")
    return Imported(net, split if split in SPLITS else None, max(m.weights.difference for m in moments), tuple(notes))
