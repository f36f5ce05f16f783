"""failed/000123.json: a net that could not be trained, so that a run goes on without it and people can see why.

A mark is about the past: it holds nothing back. The next run tries the net again, and `Zoo.append` takes the mark away.
"""

from __future__ import annotations

import contextlib
import json
import re
from datetime import UTC, datetime
from pathlib import Path

from nws.atomic import write_whole
from nws.recorded import printable

FOLDER = "failed"
_NAME = re.compile(r"(\d{6,9})\.json")
_LARGEST = 1 << 16  # bytes; ours have 150
_LONGEST = 300  # characters of a reason


def path(root: Path, number: int) -> Path:
    return root / FOLDER / f"{number:06d}.json"


def mark(root: Path, number: int, why: str) -> None:
    """Raises OSError."""
    record = {"number": number, "why": why, "when": datetime.now(UTC).isoformat(timespec="seconds")}
    (root / FOLDER).mkdir(exist_ok=True)
    write_whole(path(root, number), (json.dumps(record) + "\n").encode())


def clear(root: Path, number: int) -> None:
    """Take a mark away. One that stays does no harm: of a number that has both, the net counts."""
    with contextlib.suppress(OSError):
        path(root, number).unlink()


def marks(root: Path) -> dict[int, str]:
    """Net -> why it could not be trained. A mark that cannot be read still marks."""
    folder = root / FOLDER
    found = {}
    for file in sorted(folder.iterdir()) if folder.is_dir() else ():
        match = _NAME.fullmatch(file.name)
        if match and path(root, int(match[1])) == file:
            found[int(match[1])] = _why(file)
    return found


def _why(file: Path) -> str:
    try:
        if not file.is_file() or file.stat().st_size > _LARGEST:
            raise ValueError
        return printable(json.loads(file.read_bytes())["why"])[:_LONGEST]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "its mark cannot be read"
