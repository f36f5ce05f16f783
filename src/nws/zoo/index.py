"""index.parquet: one row per net, derived from the nets' headers, and rebuilt by itself whenever it is missing or stale."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nws.atomic import strays, write_whole
from nws.errors import NwsError
from nws.families.base import Family
from nws.zoo.netfile import ACCURACIES, Header, net_path, read_header

if TYPE_CHECKING:
    import pandas as pd

_DTYPES = {str: "str", float: "float64", int: "int64", bool: "bool"}
_BEFORE = {"split": "str", "status": "str", **dict.fromkeys(("snapshots", "weights", "weights_conv", "epochs"), "int64")}
# `mtime_ns`: beside the file's name and size, what tells that it is still the one whose header we read. Not shown.
_BEHIND = {"seconds": "float64", "path": "str", "bytes": "int64", "sha256": "str", "mtime_ns": "int64"}


@dataclass(frozen=True)
class Columns:
    """The columns of a zoo's index: its family's properties (`own`), then what every net has (`fixed`); name -> type."""

    own: Mapping[str, str]
    measures: tuple[str, ...]  # beyond the three accuracies

    @classmethod
    def of(cls, family: Family) -> Columns:
        known = {"step", "filtered_validation_accuracy", *ACCURACIES}
        own = {p.name: _DTYPES[p.type] for p in family.properties}
        return cls(own, tuple(m for m in family.measures if m not in known))

    @cached_property
    def fixed(self) -> dict[str, str]:
        return {**_BEFORE, **dict.fromkeys([*ACCURACIES, *self.measures], "float64"), **_BEHIND}

    @cached_property
    def stored(self) -> dict[str, str]:
        return {**self.own, **self.fixed}

    def recorded(self, frame: pd.DataFrame) -> list[str]:
        """The columns of properties that are not the family's."""
        return [name for name in frame.columns if name not in self.stored]

    def shown(self, frame: pd.DataFrame) -> list[str]:
        """What users see: all but how a file is known again."""
        return [name for name in [*self.stored, *self.recorded(frame)] if name != "mtime_ns"]


_MOST_RECORDED = 1000  # columns: what more the nets recorded stays in their files
_NAME = re.compile(r"(\d{6,9})\.safetensors")
_RECENT_NS = 2_000_000_000  # the coarsest clock of a file system


@dataclass
class Scan:
    """The files below nets/: number -> (bytes, mtime_ns), and those whose names are not where a net belongs."""

    nets: dict[int, tuple[int, int]] = field(default_factory=dict)
    misplaced: list[Path] = field(default_factory=list)


def scan(root: Path) -> Scan:
    found = Scan()
    for folder in _folders(root):
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.endswith(".safetensors"):
                    continue
                match = _NAME.fullmatch(entry.name)
                if match and entry.is_file() and net_path(root, int(match[1])) == Path(entry.path):
                    status = entry.stat()
                    found.nets[int(match[1])] = (status.st_size, status.st_mtime_ns)
                else:
                    found.misplaced.append(Path(entry.path))
    return found


def abandoned(root: Path) -> list[Path]:
    """Temporary files of killed processes, in the zoo's folder, claims/, failed/, nets/ and nets/*/."""
    return strays((root, root / "claims", root / "failed", *_folders(root)))


def stamp(root: Path) -> tuple[tuple[str, int], ...]:
    """Changes whenever a file appears in or leaves nets/: one `stat` per thousand nets instead of one per net."""
    return tuple((str(folder), folder.stat().st_mtime_ns) for folder in _folders(root))


def settled(taken: tuple[tuple[str, int], ...], now_ns: int) -> bool:
    """Whether a stamp can be trusted: a folder that changed just now may change again without its clock moving on."""
    return all(mtime < now_ns - _RECENT_NS for _, mtime in taken)


def read(root: Path, columns: Columns) -> pd.DataFrame | None:
    """The stored index, or None when it is missing or not ours."""
    import pandas as pd

    path = root / "index.parquet"
    if not path.is_file():
        return None
    try:
        frame = pd.read_parquet(path)
        if (
            list(frame.columns)[: len(columns.stored)] != list(columns.stored)
            or not frame.columns.is_unique
            or not frame.index.is_unique
        ):
            return None
        frame.index = frame.index.astype("int64")
        frame = _typed(frame, columns)
        frame[[name for name, kind in frame.dtypes.items() if kind == "str"]].to_numpy()  # only now pyarrow looks for UTF-8
        return frame
    except Exception:  # derived data: whatever is wrong with it, and pyarrow knows many errors, the nets tell the truth
        return None


def is_fresh(frame: pd.DataFrame, found: Scan) -> bool:
    """Whether the index describes exactly the files that are there (damaged ones are not in it, so leave them out)."""
    sizes, times = frame["bytes"].tolist(), frame["mtime_ns"].tolist()
    return dict(zip(frame.index.tolist(), zip(sizes, times, strict=True), strict=True)) == found.nets


def update(root: Path, known: pd.DataFrame | None, columns: Columns) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    """The index of the files that are there now, reading only headers that `known` lacks; and the damaged files (path, why)."""
    import pandas as pd

    found = scan(root)
    damaged = [(_relative(root, path), f"{path}: its name is not that of a net") for path in found.misplaced]
    kept = _still_true(known, found) if known is not None else None
    held = set() if kept is None else set(kept.index.tolist())
    rows: dict[int, dict[str, Any]] = {}
    for number in sorted(set(found.nets) - held):
        path = net_path(root, number)
        try:
            rows[number] = {**_row(read_header(path, number), columns), "mtime_ns": found.nets[number][1]}
        except NwsError as error:
            if path.exists():  # else it was moved away since the scan
                damaged.append((_relative(root, path), str(error)))
    names = [*columns.stored, *_recorded_names(rows, [] if kept is None else columns.recorded(kept), columns)]
    values = {name: [row.get(name) for row in rows.values()] for name in names}
    fresh = pd.DataFrame(values, index=list(rows), dtype=object)
    known_columns = [] if kept is None else [kept.astype(object)]  # as objects: 3 beside a missing value would become 3.0
    frame = kept if kept is not None and not rows else pd.concat([*known_columns, fresh])
    frame = _typed(frame.sort_index(), columns)
    frame.index = frame.index.astype("int64").rename("net")
    # Never from the file: a stranger's index must not lead outside the folder.
    frame["path"] = [_relative(root, net_path(root, number)) for number in frame.index.tolist()]
    return frame.astype({"path": "str"}), damaged


def write(root: Path, frame: pd.DataFrame) -> None:
    """Raises OSError."""
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    write_whole(root / "index.parquet", buffer.getvalue())


def _still_true(known: pd.DataFrame, found: Scan) -> pd.DataFrame:
    files = zip(known.index.tolist(), known["bytes"].tolist(), known["mtime_ns"].tolist(), strict=True)
    true = [number for number, size, time in files if found.nets.get(number) == (size, time)]
    return known.loc[true]  # by number: an empty mask would select columns


def _row(header: Header, columns: Columns) -> dict[str, Any]:
    measured = {name: header.measured.get(name) for name in (*ACCURACIES, *columns.measures)}
    fixed = {
        "split": header.split,
        "status": header.status,
        "snapshots": header.snapshots,
        "weights": header.weights,
        "weights_conv": header.layout.size_of("conv"),
        "epochs": header.epochs,
        **{name: float("nan") if value is None else value for name, value in measured.items()},
        "seconds": header.seconds,
        "path": "",
        "bytes": header.bytes,
        "sha256": header.theta_sha256,
    }
    # A recorded "status" or "path" is not ours: it gets a column of its own.
    chosen = header.hp.to_dict()
    values = {name if name not in columns.fixed else f"recorded.{name}": value for name, value in chosen.items()}
    return {**values, **fixed}


def _recorded_names(rows: Mapping[int, Mapping[str, Any]], known: list[str], columns: Columns) -> list[str]:
    """Columns beyond ours in order of appearance, those of the stored index first."""
    names = dict.fromkeys(known)
    for row in rows.values():
        names.update(dict.fromkeys(name for name in row if name not in columns.stored))
    return list(names)[:_MOST_RECORDED]


def _typed(frame: pd.DataFrame, columns: Columns) -> pd.DataFrame:
    """Every column in its type; a property's is ours only where every net has it, and in kind."""
    frame = frame.astype(columns.fixed)
    return typed_columns(frame, [*columns.own, *columns.recorded(frame)], columns.own)


def typed_columns(frame: pd.DataFrame, names: Iterable[str] | None = None, own: Mapping[str, str] | None = None) -> pd.DataFrame:
    """These columns of values of any kind, or all, in the type that holds their values. own: name -> the type to keep."""
    own = own or {}
    types = {name: _column_type(frame[name], own.get(name, "")) for name in (frame.columns if names is None else names)}
    frame = frame.copy()
    for name, dtype in types.items():
        if dtype == "text":  # values of several kinds
            frame[name], types[name] = frame[name].map(str, na_action="ignore"), "str"
    return frame.astype(types)


def _column_type(column: pd.Series, own: str) -> str:
    if own in ("int64", "float64", "bool") and column.dtype == own:
        return own
    values = column.dropna().tolist()
    kinds, complete = {type(value) for value in values}, len(values) == len(column)
    if not values:
        return own if complete and own else "float64" if own != "str" else "str"
    if kinds == {int} and own != "float64":
        return "int64" if complete else "Int64"
    if kinds <= {int, float}:
        return "float64"
    if kinds == {bool}:
        return "bool" if complete else "boolean"
    return "str" if kinds == {str} else "text"


def _folders(root: Path) -> list[Path]:
    nets = root / "nets"
    return [nets, *sorted(path for path in nets.iterdir() if path.is_dir())] if nets.is_dir() else []


def _relative(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()
