"""Tables that `nws figures` left in a folder, read leniently: what is not there, the page does without."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from nws.errors import NwsError
from nws.recorded import printable

if TYPE_CHECKING:
    import pandas as pd


class Tables:
    """The tables of a folder: DIR/NAME.json or DIR/NAME.csv, or the same in DIR/tables. None: no tables at all."""

    def __init__(self, folder: str | Path | None):
        self.folder = None if folder is None else Path(folder)
        if self.folder is None:
            return
        if not self.folder.is_dir():
            raise NwsError(f"{self.folder} is no folder: `nws figures ZOO --out DIR` makes one")
        if (self.folder / "tables").is_dir():
            self.folder = self.folder / "tables"
        if not any(self.folder.glob("*.json")) and not any(self.folder.glob("*.csv")):
            raise NwsError(f"{self.folder} holds no tables: `nws figures ZOO --out DIR` makes them")

    def read(self, name: str, needs: Iterable[str]) -> pd.DataFrame | None:
        """The table with at least these columns, or None when there is none. NwsError when there is one that cannot be read."""
        for suffix in ("json", "csv") if self.folder else ():
            file = self.folder / f"{name}.{suffix}"  # type: ignore[operator]
            if file.is_file():
                frame = _frame(file)
                missing = [column for column in needs if column not in frame]
                if missing:
                    raise NwsError(f"{file} lacks the column {', '.join(missing)}: make it anew with `nws figures`")
                return frame
        return None


def _frame(file: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        if file.suffix == ".csv":
            return pd.read_csv(file)
        whole = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(whole, dict):
            return pd.DataFrame(whole["rows"], columns=whole["columns"])
        return pd.DataFrame(whole)
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        said = printable(error)[:200]
        raise NwsError(f"{file} cannot be read as a table ({said}): move it away, `nws figures` makes it anew") from None
