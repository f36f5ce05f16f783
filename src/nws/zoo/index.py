"""The index: a row per net, derived from the nets' headers, in Parquet files of 16,000 numbers each.

A part is read, and made anew, by itself: a net more costs the part that it belongs to, however large the zoo is. A part is stale
when the files it was made from are others now; what is missing, stale or broken is made from the nets.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nws.atomic import write_whole
from nws.errors import NwsError
from nws.zoo.netfile import net_path, read_header
from nws.zoo.rows import Columns, joined, names_of, recorded_names, row, typed
from nws.zoo.scan import Scan, scan
from nws.zoo.shardfile import BLOCK, Shard, span_of

if TYPE_CHECKING:
    import pandas as pd

PART = 16 * BLOCK  # numbers of a part: a net more in a zoo of millions then costs what it costs in one of 16,000
FOLDER = "index"
_NAME = re.compile(r"(\d{3,6})\.parquet")
_SEVERAL = 4  # parts from which on all columns of all nets are more than is read at once
_OUTLINE = ("path", "bytes", "mtime_ns")  # what tells whether a part is stale


@dataclass
class Files:
    """What there is of a part's numbers; as in `Scan`."""

    nets: dict[int, tuple[int, int]] = field(default_factory=dict)
    shards: dict[str, tuple[int, int]] = field(default_factory=dict)


class Index:
    """The rows of a zoo. Parts that are stored and up to date are read when they are asked for."""

    def __init__(self, root: Path, columns: Columns):
        self.root, self.columns = root, columns
        self.damaged: list[tuple[str, str]] = []  # files, and nets in shards, that have no row: (path, why)
        self._parts: dict[int, pd.DataFrame | None] = {}  # None: as it is stored
        self._whole: pd.DataFrame | None = None
        self._files: dict[int, Any] = {}  # parts that columns are read from

    def refresh(self) -> bool:
        """Bring every part up to date, reading only headers of files that are new or changed; whether any part was stale."""
        found = scan(self.root)
        self.damaged = [(_relative(self.root, path), f"{path}: its name is not that of a net") for path in found.misplaced]
        files, stored = by_part(found), stored_parts(self.root)
        parts = sorted({0, *files, *stored, *self._parts})
        beyond: pd.DataFrame | None = None  # older zoos have all rows in the first part
        changed = False
        for part in parts:
            here, before = files.get(part, Files()), self._parts.get(part)
            if before is None and part in stored:
                if len(parts) >= _SEVERAL and is_fresh(self.root, _outline(self.root, part), here):
                    self._parts[part] = None
                    continue
                before = read(self.root, self.columns, part)
            known = before
            if part == 0 and before is not None and len(before) and before.index.max() >= PART:
                beyond = before
            elif before is None and beyond is not None:
                known = beyond.loc[beyond.index // PART == part]
            frame, damaged = update(self.root, known, here, self.columns)
            self.damaged += damaged
            same = before is not None and frame.equals(before)
            changed = changed or not same
            there = same or self._store(frame, part)
            self._parts[part] = None if there and len(parts) >= _SEVERAL and len(frame) else frame
        self._files.clear()
        if changed:
            self._whole = None
        return changed

    def frame(self) -> pd.DataFrame:
        """All rows by number, and every column: also how a file is known again."""
        if self._whole is None:
            loaded = {part: self._loaded(part) for part in sorted(self._parts)}
            self._parts = dict(loaded)
            self._whole = joined(list(loaded.values()), self.columns)
        return self._whole

    def view(self) -> pd.DataFrame | View:
        """All rows; of several parts, a column at a time: one column of a million nets is 8 MB, all of them are 500."""
        return self.frame() if self._whole is not None or len(self._parts) < _SEVERAL else View(self)

    def names(self) -> list[str]:
        """All columns, those that only some parts have at the end."""
        return names_of([self._columns_of(part) for part in sorted(self._parts)], self.columns)

    def column(self, name: str) -> pd.Series:
        """One column of all nets in the order of their numbers, without reading others; numbered from 0, not by net."""
        pieces: list[Any] = []
        for part in sorted(self._parts):
            frame = self._parts[part]
            if frame is None:
                try:
                    table = self._file(part).read(columns=[name], use_threads=False)
                    table.validate(full=True)  # only now pyarrow looks for UTF-8
                    pieces.append(table)
                    continue
                except Exception:  # as in `read`
                    frame = self._parts[part] = self._loaded(part)
            pieces.append(frame.reindex(columns=[name]))
        if alike := _joined_tables(pieces, name):
            return alike[0]
        frames = [piece.to_pandas().reindex(columns=[name]) if hasattr(piece, "to_pandas") else piece for piece in pieces]
        return joined(frames, self.columns, [name])[name].reset_index(drop=True)

    def _columns_of(self, part: int) -> list[str]:
        frame = self._parts[part]
        return list(frame.columns) if frame is not None else [n for n in self._file(part).schema_arrow.names if n != "net"]

    def _file(self, part: int) -> Any:
        import pyarrow.parquet as pq

        if part not in self._files:
            self._files[part] = pq.ParquetFile(path_of(self.root, part))
        return self._files[part]

    def _loaded(self, part: int) -> pd.DataFrame:
        frame = self._parts[part]
        if frame is None:
            frame = read(self.root, self.columns, part)
        if frame is None:  # broken where its outline is not
            files = by_part(scan(self.root)).get(part, Files())
            frame, damaged = update(self.root, None, files, self.columns)
            self.damaged += damaged
            self._store(frame, part)
        return frame

    def _store(self, frame: pd.DataFrame, part: int) -> bool:
        try:
            write(self.root, frame, part)
        except OSError:  # a zoo that one may only read: the index then lives in memory
            return False
        return True


class View:
    """What `Index.frame` has, as far as columns of it are asked for one by one."""

    def __init__(self, index: Index):
        self._index = index
        self.columns = index.names()
        self._rows: int | None = None

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    def __len__(self) -> int:
        if self._rows is None:
            self._rows = len(self["bytes"])
        return self._rows

    @property
    def empty(self) -> bool:
        return not len(self)

    def __getitem__(self, name: str) -> pd.Series:
        return self._index.column(name)


def by_part(found: Scan) -> dict[int, Files]:
    files: dict[int, Files] = {}
    for number, about in found.nets.items():
        files.setdefault(number // PART, Files()).nets[number] = about
    for path, about in found.shards.items():
        first, _ = span_of(Path(path)) or (0, 0)
        files.setdefault(first // PART, Files()).shards[path] = about
    return files


def stored_parts(root: Path) -> set[int]:
    folder = root / FOLDER
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    parts = {int(match[1]) for match in map(_NAME.fullmatch, names) if match and path_of(root, int(match[1])).name == match[0]}
    return parts - {0} | ({0} if path_of(root, 0).is_file() else set())


def path_of(root: Path, part: int) -> Path:
    """The first part lies where all of the index did before there were parts, and where small zoos have all of it."""
    return root / FOLDER / f"{part:03d}.parquet" if part else root / "index.parquet"


def read(root: Path, columns: Columns, part: int = 0) -> pd.DataFrame | None:
    """A stored part, or None when it is missing or not ours."""
    import pandas as pd

    path = path_of(root, part)
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
        frame = typed(frame, columns)
        frame[[name for name, kind in frame.dtypes.items() if kind == "str"]].to_numpy()  # only now pyarrow looks for UTF-8
        return frame
    except Exception:  # derived data: whatever is wrong with it, and pyarrow knows many errors, the nets tell the truth
        return None


def _joined_tables(pieces: list[Any], name: str) -> list[pd.Series]:
    """The column of Parquet tables as one series, where all have it in one type and no type depends on what is missing; or none."""
    if not all(hasattr(piece, "schema") and piece.num_columns == 1 for piece in pieces):
        return []
    columns = [piece.column(0) for piece in pieces]
    kind = columns[0].type
    simple = str(kind) in ("double", "string", "large_string") or not any(column.null_count for column in columns)
    if not simple or any(column.type != kind for column in columns):
        return []
    import pyarrow as pa

    chunks = [chunk for column in columns for chunk in column.chunks]
    return [pa.chunked_array(chunks, kind).to_pandas().rename(name)]


def _outline(root: Path, part: int) -> pd.DataFrame | None:
    """Of a stored part only what tells whether it is stale."""
    import pyarrow.parquet as pq

    try:
        frame = pq.ParquetFile(path_of(root, part)).read(columns=["net", *_OUTLINE], use_threads=False).to_pandas()
        frame.index = frame.index.astype("int64")
        return frame.astype({"path": "str", "bytes": "int64", "mtime_ns": "int64"})
    except Exception:  # as in `read`
        return None


def is_fresh(root: Path, frame: pd.DataFrame | None, here: Files) -> bool:
    """Whether a part describes exactly the files that are there; never while one of them is damaged."""
    if frame is None or not frame.index.is_unique:
        return False
    true, shards = _true(root, frame, here)
    packed = frame["path"].isin(shards).sum() if shards else 0
    return bool(true.all()) and len(frame) - packed == len(here.nets) and len(shards) == len(here.shards)


def update(root: Path, known: pd.DataFrame | None, here: Files, columns: Columns) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    """A part of the files that are there now, reading only headers that `known` lacks; and what is damaged (path, why)."""
    import pandas as pd

    kept, shards = None, set[str]()
    if known is not None:
        true, shards = _true(root, known, here)
        kept = known[true]
        if shards and here.nets:  # of a net that has both, its own file counts
            kept = kept[~(kept["path"].isin(shards) & kept.index.isin(list(here.nets)))]
    rows, damaged = _new_rows(root, here, set() if kept is None else set(kept.index.tolist()), shards, columns)
    names = [*columns.stored, *recorded_names(rows, [] if kept is None else columns.recorded(kept), columns)]
    if kept is not None and not rows:
        frame = kept
    else:
        values = {name: [row.get(name) for row in rows.values()] for name in names}
        fresh = pd.DataFrame(values, index=list(rows), dtype=object)
        # As objects: 3 beside a missing value would become 3.0.
        frame = fresh if kept is None else pd.concat([kept.astype(object), fresh])
    frame = typed(frame.sort_index(), columns)
    frame.index = frame.index.astype("int64").rename("net")
    return frame, damaged


def write(root: Path, frame: pd.DataFrame, part: int) -> None:
    """Raises OSError."""
    path, buffer = path_of(root, part), io.BytesIO()
    if part and frame.empty:
        path.unlink(missing_ok=True)
        return
    frame.to_parquet(buffer)
    path.parent.mkdir(exist_ok=True)
    write_whole(path, buffer.getvalue())


def state(root: Path, found: Scan, columns: Columns) -> tuple[str, set[int]]:
    """How the stored index is, "fresh", "stale" or "missing", and the nets that it lists."""
    files, stored = by_part(found), stored_parts(root)
    if not stored:
        return "missing", set()
    fresh, listed = set(files) <= stored, set[int]()
    for part in stored:
        frame = read(root, columns, part)
        fresh = fresh and is_fresh(root, frame, files.get(part, Files()))
        listed |= set() if frame is None else set(frame.index.tolist())
    return ("fresh" if fresh else "stale"), listed


def single_path(number: int) -> str:
    """`net_path` within the zoo, as the index has it."""
    return f"nets/{number // 1000:03d}/{number:06d}.safetensors"


def _true(root: Path, known: pd.DataFrame, here: Files) -> tuple[np.ndarray, set[str]]:
    """Which rows (n,) are still true, and the shards whose rows are all there and true.

    Never by the stored path alone: a stranger's index must neither lead outside the folder, nor hide or invent nets.
    """
    import pandas as pd

    codes, paths = pd.factorize(known["path"])
    numbers, times = known.index.to_numpy(), known["mtime_ns"].to_numpy()
    packed = np.array([path in here.shards for path in paths], bool)
    order = np.argsort(codes, kind="stable")
    begins = np.searchsorted(codes[order], np.arange(len(paths) + 1))
    true, shards = np.zeros(len(known), bool), set[str]()
    for code in np.flatnonzero(packed).tolist():
        rows = order[begins[code] : begins[code + 1]]
        if (times[rows] == here.shards[paths[code]][1]).all() and _all_there(root, paths[code], numbers[rows]):
            true[rows] = True
            shards.add(paths[code])
    singles = np.flatnonzero(~packed[codes] if len(paths) else true)
    sizes = known["bytes"].to_numpy()
    for at in singles.tolist() if here.nets else ():
        number = int(numbers[at])
        true[at] = here.nets.get(number) == (sizes[at], times[at]) and paths[codes[at]] == single_path(number)
    return true, shards


def _all_there(root: Path, path: str, numbers: np.ndarray) -> bool:
    first, last = span_of(Path(path)) or (0, -1)
    found = np.sort(numbers)
    if found[0] != first or found[-1] != last:
        return False
    if len(found) == last - first + 1:
        return True  # its name says it all: numbers are different
    try:
        return Shard(root / path).numbers == found.tolist()
    except (NwsError, OSError):
        return False


def _new_rows(
    root: Path, here: Files, held: set[int], shards: set[str], columns: Columns
) -> tuple[dict[int, Mapping[str, Any]], list[tuple[str, str]]]:
    """Rows of nets that are not held, and what is damaged. shards: those that need no look."""
    rows: dict[int, Mapping[str, Any]] = {}
    damaged = []
    for number in sorted(set(here.nets) - held):
        path = net_path(root, number)
        try:
            rows[number] = row(read_header(path, number), columns, single_path(number), here.nets[number][1])
        except NwsError as error:
            if path.exists():  # else it was moved away since the scan
                damaged.append((_relative(root, path), str(error)))
    for name in here.shards:
        if name in shards:
            continue
        try:
            shard = Shard(root / name)
        except NwsError as error:
            damaged.append((name, str(error)))
            continue
        except OSError:
            continue  # gone since the scan
        for number in shard.numbers:
            if number in rows or number in held or number in here.nets:
                continue
            try:
                rows[number] = row(shard.header(number), columns, name, here.shards[name][1])
            except NwsError as error:
                damaged.append((name, str(error)))
    return rows, damaged


def _relative(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()
