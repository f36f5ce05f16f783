"""index.parquet: one row per net, derived from the nets' headers, and rebuilt by itself whenever it is missing or stale."""

from __future__ import annotations

import io
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nws.atomic import strays, write_whole
from nws.errors import NwsError
from nws.space import PROPERTIES
from nws.zoo.netfile import ACCURACIES, Header, net_path, read_header

if TYPE_CHECKING:
    import pandas as pd

_DTYPES = {str: "str", float: "float64", int: "int64", bool: "bool"}
COLUMNS: dict[str, str] = {
    **{p.name: _DTYPES[p.type] for p in PROPERTIES.values()},
    "split": "str",
    "status": "str",
    "snapshots": "int64",
    "weights": "int64",
    "weights_conv": "int64",
    "epochs": "int64",
    **dict.fromkeys(ACCURACIES, "float64"),
    "seconds": "float64",
    "path": "str",
    "bytes": "int64",
    "sha256": "str",
}
# Beside the file name, what tells that a file is still the one whose header we read.
_STORED = {**COLUMNS, "mtime_ns": "int64"}
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
    """Temporary files of killed processes, in the zoo's folder, nets/ and nets/*/."""
    return strays((root, root / "nets", *_folders(root)))


def stamp(root: Path) -> tuple[tuple[str, int], ...]:
    """Changes whenever a file appears in or leaves nets/: one `stat` per thousand nets instead of one per net."""
    return tuple((str(folder), folder.stat().st_mtime_ns) for folder in _folders(root))


def settled(taken: tuple[tuple[str, int], ...], now_ns: int) -> bool:
    """Whether a stamp can be trusted: a folder that changed just now may change again without its clock moving on."""
    return all(mtime < now_ns - _RECENT_NS for _, mtime in taken)


def read(root: Path) -> pd.DataFrame | None:
    """The stored index, or None when it is missing or not ours."""
    import pandas as pd

    path = root / "index.parquet"
    if not path.is_file():
        return None
    try:
        frame = pd.read_parquet(path)
        if list(frame.columns) != list(_STORED) or not frame.index.is_unique:
            return None
        frame.index = frame.index.astype("int64")
        return frame.astype(_STORED)
    except Exception:  # derived data: whatever is wrong with it, and pyarrow knows many errors, the nets tell the truth
        return None


def is_fresh(frame: pd.DataFrame, found: Scan) -> bool:
    """Whether the index describes exactly the files that are there (damaged ones are not in it, so leave them out)."""
    sizes, times = frame["bytes"].tolist(), frame["mtime_ns"].tolist()
    return dict(zip(frame.index.tolist(), zip(sizes, times, strict=True), strict=True)) == found.nets


def update(root: Path, known: pd.DataFrame | None) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
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
            rows[number] = {**_row(read_header(path, number)), "mtime_ns": found.nets[number][1]}
        except NwsError as error:
            if path.exists():  # else it was moved away since the scan
                damaged.append((_relative(root, path), str(error)))
    fresh = pd.DataFrame.from_dict(rows, orient="index", columns=list(_STORED)).astype(_STORED)
    frame = fresh if kept is None or kept.empty else kept if fresh.empty else pd.concat([kept, fresh])
    frame = frame.sort_index()
    frame.index = frame.index.astype("int64").rename("net")
    # Never from the file: a stranger's index must not lead outside the folder.
    frame["path"] = [_relative(root, net_path(root, number)) for number in frame.index.tolist()]
    return frame.astype(_STORED), damaged


def write(root: Path, frame: pd.DataFrame) -> None:
    """Raises OSError."""
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    write_whole(root / "index.parquet", buffer.getvalue())


def _still_true(known: pd.DataFrame, found: Scan) -> pd.DataFrame:
    files = zip(known.index.tolist(), known["bytes"].tolist(), known["mtime_ns"].tolist(), strict=True)
    return known[[found.nets.get(number) == (size, time) for number, size, time in files]]


def _row(header: Header) -> dict[str, Any]:
    return {
        **header.hp.to_dict(),
        "split": header.split,
        "status": header.status,
        "snapshots": header.snapshots,
        "weights": header.weights,
        "weights_conv": header.layout.size_of("conv"),
        "epochs": max(header.records - 1, 0),
        **{name: float("nan") if value is None else value for name, value in header.accuracies.items()},
        "seconds": header.seconds,
        "path": "",
        "bytes": header.bytes,
        "sha256": header.theta_sha256,
    }


def _folders(root: Path) -> list[Path]:
    nets = root / "nets"
    return [nets, *sorted(path for path in nets.iterdir() if path.is_dir())] if nets.is_dir() else []


def _relative(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()
