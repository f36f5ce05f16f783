"""Rows of the index: which columns a zoo's index has, in which types, and what a net's header gives for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from nws.families.base import Family
from nws.zoo.netfile import ACCURACIES, Header

if TYPE_CHECKING:
    import pandas as pd

    from nws.zoo.index import View

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

    def recorded(self, frame: pd.DataFrame | View) -> list[str]:
        """The columns of properties that are not the family's."""
        return [name for name in frame.columns if name not in self.stored]

    def shown(self, frame: pd.DataFrame) -> list[str]:
        """What users see: all but how a file is known again."""
        return [name for name in [*self.stored, *self.recorded(frame)] if name != "mtime_ns"]


_MOST_RECORDED = 1000  # columns: what more the nets recorded stays in their files


def row(header: Header, columns: Columns, path: str, mtime_ns: int) -> dict[str, Any]:
    """path: of the file that the net was read from, within the zoo; mtime_ns: that file's."""
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
        "path": path,
        "bytes": header.bytes,
        "sha256": header.theta_sha256,
        "mtime_ns": mtime_ns,
    }
    # A recorded "status" or "path" is not ours: it gets a column of its own.
    chosen = header.hp.to_dict()
    values = {name if name not in columns.fixed else f"recorded.{name}": value for name, value in chosen.items()}
    return {**values, **fixed}


def recorded_names(rows: Mapping[int, Mapping[str, Any]], known: list[str], columns: Columns) -> list[str]:
    """Columns beyond ours in order of appearance, those of the stored index first."""
    names = dict.fromkeys(known)
    for row in rows.values():
        names.update(dict.fromkeys(name for name in row if name not in columns.stored))
    return list(names)[:_MOST_RECORDED]


def typed(frame: pd.DataFrame, columns: Columns) -> pd.DataFrame:
    """Every column in its type; a property's is ours only where every net has it, and in kind."""
    frame = frame.astype(columns.fixed)
    return typed_columns(frame, [*columns.own, *columns.recorded(frame)], columns.own)


def names_of(parts: Iterable[Iterable[str]], columns: Columns) -> list[str]:
    """The columns of several frames: every zoo's, then the others in order of appearance."""
    names = dict.fromkeys(name for part in parts for name in part)
    return [*columns.stored, *[name for name in names if name not in columns.stored][:_MOST_RECORDED]]


def joined(frames: Sequence[pd.DataFrame], columns: Columns, names: list[str] | None = None) -> pd.DataFrame:
    """Typed frames below one another, typed again: a column that is whole numbers in one may be fractions in another.

    names: of the frames' columns, by default all.
    """
    import pandas as pd

    frames = [frame for frame in frames if len(frame)] or frames[:1]
    if len(frames) == 1:
        return frames[0]
    names = names_of([frame.columns for frame in frames], columns) if names is None else names
    mixed = []
    for name in names:
        kinds = {str(frame[name].dtype) if name in frame else "" for frame in frames}
        if len(kinds) > 1 or not kinds <= {"int64", "float64", "bool", "str"}:
            mixed.append(name)
    frames = [frame.reindex(columns=names).astype(dict.fromkeys(mixed, object)) for frame in frames]
    whole = pd.concat(frames)
    return typed_columns(whole, mixed, columns.own) if mixed else whole


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
