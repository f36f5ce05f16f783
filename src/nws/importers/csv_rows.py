"""A stranger's table of properties: rows of cells by column."""

from __future__ import annotations

import csv
from pathlib import Path

from nws.cells import unguarded
from nws.errors import NwsError
from nws.weights.checkpoint import shown

_LARGEST = 256 << 20  # bytes


def read(path: Path) -> list[tuple[int, dict[str, str]]]:
    """(line number, column -> cell) of each row. Bytes that are no UTF-8 stay in file names. NwsError when it is no table."""
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST:
            raise NwsError(f"{shown(path)} is no file, or larger than {_LARGEST >> 20} MB: name a table of properties")
        with open(path, newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            reader = csv.reader(file, strict=True)
            header = [unguarded(name.strip()) for name in next(reader, [])]
            rows = [(reader.line_num, cells) for cells in reader if cells]
    except OSError as error:
        raise NwsError(f"{shown(path)}: {error.strerror}") from None
    except (csv.Error, ValueError) as error:
        if isinstance(error, NwsError):
            raise
        raise NwsError(f"{shown(path)} is no table of comma-separated values: {error}") from None
    if len(set(header)) < len(header):
        raise NwsError(f"{shown(path)} has two columns of one name: rename one")
    for line, cells in rows:
        if len(cells) != len(header):
            raise NwsError(f"{shown(path)}, line {line}: {len(cells)} values for {len(header)} columns")
    return [(line, dict(zip(header, map(unguarded, cells)))) for line, cells in rows]
