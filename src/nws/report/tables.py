"""Tables that `nws figures` left in a folder, read leniently: what is not there, the page does without."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from nws import tables
from nws.errors import NwsError

if TYPE_CHECKING:
    import pandas as pd


class Tables:
    """The tables of a folder of `nws figures`: DIR/tables/NAME.json, or DIR/NAME.json. None: no tables at all."""

    def __init__(self, folder: str | Path | None):
        self.folder = None if folder is None else Path(folder)
        if self.folder is None:
            return
        if not self.folder.is_dir():
            raise NwsError(f"{self.folder} is no folder: `nws figures ZOO --out DIR` makes one")
        if (self.folder / "tables").is_dir():
            self.folder = self.folder / "tables"
        if not any(self.folder.glob("*.json")):
            raise NwsError(f"{self.folder} holds no tables: `nws figures ZOO --out DIR` makes them")

    def read(self, name: str, needs: Iterable[str]) -> pd.DataFrame | None:
        """The table with at least these columns, or None when there is none. NwsError when there is one that cannot be read."""
        if self.folder is None or not (self.folder / f"{name}.json").is_file():
            return None
        frame = tables.load(self.folder, name)
        missing = [column for column in needs if column not in frame]
        if missing:
            raise NwsError(f"{self.folder / name}.json lacks the column {', '.join(missing)}: make it anew with `nws figures`")
        return frame
