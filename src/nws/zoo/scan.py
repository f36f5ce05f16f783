"""Which files a zoo has: nets of their own below nets/, shards below shards/, and what is neither."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from nws.atomic import strays
from nws.zoo.netfile import net_path
from nws.zoo.shardfile import FOLDER, span_of

_NAME = re.compile(r"(\d{6,9})\.safetensors")
_RECENT_NS = 2_000_000_000  # the coarsest clock of a file system

Stamp = tuple[tuple[str, int], ...]


@dataclass
class Scan:
    """The files by their names alone: (bytes, mtime_ns) by a net's number and by a shard's path, and files in no file's place."""

    nets: dict[int, tuple[int, int]] = field(default_factory=dict)
    shards: dict[str, tuple[int, int]] = field(default_factory=dict)  # path in the zoo, "/" between folders, in order
    misplaced: list[Path] = field(default_factory=list)


def scan(root: Path) -> Scan:
    """Nets before shards: a net that is packed meanwhile is then seen twice rather than not at all."""
    found = Scan()
    for folder in _folders(root, "nets"):
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
    for folder in _folders(root, FOLDER):
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if not entry.name.endswith(".safetensors"):
                    continue
                path = Path(entry.path)
                if span_of(path) and path.parent.parent == root / FOLDER and entry.is_file():
                    status = entry.stat()
                    found.shards[path.relative_to(root).as_posix()] = (status.st_size, status.st_mtime_ns)
                else:
                    found.misplaced.append(path)
    return found


def abandoned(root: Path) -> list[Path]:
    """Temporary files of killed processes, in the zoo's folder, claims/, failed/, and where nets and shards lie."""
    return strays((root, root / "claims", root / "failed", root / "index", *_folders(root, "nets"), *_folders(root, FOLDER)))


def stamp(root: Path) -> Stamp:
    """Changes whenever a file appears in or leaves nets/ or shards/: one `stat` per thousand nets instead of one per net."""
    return tuple((str(f), f.stat().st_mtime_ns) for name in ("nets", FOLDER) for f in _folders(root, name))


def settled(taken: Stamp, now_ns: int) -> bool:
    """Whether a stamp can be trusted: a folder that changed just now may change again without its clock moving on."""
    return all(mtime < now_ns - _RECENT_NS for _, mtime in taken)


def _folders(root: Path, name: str) -> list[Path]:
    top = root / name
    return [top, *sorted(path for path in top.iterdir() if path.is_dir())] if top.is_dir() else []
