"""Which nets of a corpus of implicit representations are for training, validation and test: its *splits.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from nws.errors import NwsError
from nws.weights.checkpoint import shown

_LARGEST = 64 << 20  # bytes
_NAMES = {"train": "train", "val": "val", "validation": "val", "test": "test"}


def from_folder(root: Path) -> Mapping[str, str]:
    """Key of a file -> side, from {"train": {"path": [...]}, "val": ..., "test": ...}; empty where there is no such file.

    The key is the end of a path that all copies of a corpus share: the folder of an INR of MNIST, else folder and file.
    """
    found: dict[str, str] = {}
    for path in sorted(root.glob("*split*.json")):
        for name, side in _NAMES.items():
            for text in _paths(_read(path), name, path):
                parts = PurePosixPath(text).parts
                found["/".join(parts[-2:]) if parts[-1:] != ("model_final.pth",) else parts[-3] if len(parts) > 2 else ""] = side
    return found


def _read(path: Path) -> Mapping[str, Any]:
    try:
        if path.is_symlink() or path.stat().st_size > _LARGEST:
            raise NwsError(f"{shown(path)} is a link, or larger than {_LARGEST >> 20} MB: no list of splits is")
        stored = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise NwsError(f"{shown(path)} cannot be read as JSON ({str(error)[:80]}): copy it anew, or move it away") from None
    return stored if isinstance(stored, dict) else {}


def _paths(stored: Mapping[str, Any], name: str, path: Path) -> list[str]:
    rows = stored.get(name, {})
    listed = rows.get("path", []) if isinstance(rows, dict) else []
    if not isinstance(listed, list) or not all(isinstance(text, str) for text in listed):
        raise NwsError(f"{shown(path)}: {name} must hold a list `path`")
    return listed
