"""Cells of the CSV files that nws writes: no text that a spreadsheet would take for a formula.

Zoos hold names that strangers chose. Spreadsheets evaluate a cell that begins with = + - @, a tab or a line end; an apostrophe in
front makes it text. Numbers stay numbers, and `unguarded` gives back what was written.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")  # with apostrophes of its own, so that one can be taken away again
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?|[+-]?(inf|nan)", re.IGNORECASE | re.ASCII)


def guarded(value: Any) -> Any:
    """The value of a cell; text that could be a formula with an apostrophe in front."""
    return f"'{value}" if isinstance(value, str) and _is_formula(value) else value


def unguarded(cell: str) -> str:
    """What `guarded` was given."""
    return cell[1:] if cell.startswith("'") and _is_formula(cell[1:]) else cell


def csv_of(frame: pd.DataFrame) -> str:
    """A DataFrame as CSV, without its index."""
    return frame.rename(columns=guarded).map(guarded).to_csv(index=False)


def _is_formula(text: str) -> bool:
    return _FORMULA.match(text) is not None and _NUMBER.fullmatch(text) is None
