"""annotations.json: columns that a user added to a zoo, numbered by net; beside the index, which is made anew at any time."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nws.atomic import write_whole
from nws.errors import NwsError
from nws.recorded import Recorded, printable

if TYPE_CHECKING:
    import pandas as pd

FILE, FORMAT = "annotations.json", 1
_LARGEST = 256 << 20  # bytes: ten columns of a million nets
_MOST_COLUMNS = 256
_NUMBERS = 10**9


def stamp(root: Path) -> tuple[int, int] | None:
    """Changes whenever the file is written; None where there is none."""
    try:
        status = (root / FILE).stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def read(root: Path) -> pd.DataFrame:
    """The columns by net, None where a net has no value; an empty frame where there are none. NwsError when they cannot be read."""
    import pandas as pd

    path = root / FILE
    if not path.exists():
        return pd.DataFrame(index=pd.Index([], dtype="int64", name="net"))
    try:
        with open(path, "rb") as file:
            text = file.read(_LARGEST + 1)
        if len(text) > _LARGEST:
            raise ValueError(f"it is larger than {_LARGEST >> 20} MB")
        stored = json.loads(text)
        if stored["format"] != FORMAT:
            raise ValueError(f"format {stored['format']!r:.20} is unknown")
        nets, columns = list(stored["nets"]), dict(stored["columns"])
        if any(not isinstance(values, list) or len(values) != len(nets) for values in columns.values()):
            raise ValueError("a column has no value per net")
        frame = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()}, dtype=object)
        frame.index = pd.Index(nets, dtype=object)
        return _checked(frame)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError, NwsError) as error:
        raise NwsError(
            f"{path} cannot be read as annotations ({printable(error)[:200]}): move it away, or put back a copy"
        ) from None


def added(old: pd.DataFrame, new: pd.DataFrame, numbers: Iterable[int], taken: Iterable[str], replace: bool) -> pd.DataFrame:
    """Old columns and new ones, checked. `taken`: names that the zoo's nets have themselves."""
    new = _checked(new.set_index("net") if "net" in new.columns else new)
    if strange := sorted(set(new.index.tolist()) - set(numbers)):
        raise NwsError(
            f"the zoo has no net {strange[0]}: leave out rows of nets that are not there ({len(strange):,} of {len(new):,})"
        )
    for name in new.columns:
        if name in taken:
            raise NwsError(f"column {name!r}: the zoo's nets have it themselves, give it another name")
        if name in old.columns and not replace:
            raise NwsError(f"column {name!r} is there already: give it another name, or replace it (replace=True, --replace)")
    kept = old.drop(columns=[name for name in new.columns if name in old.columns])
    return _checked(kept.join(new, how="outer").sort_index())


def write(root: Path, frame: pd.DataFrame) -> None:
    """Raises OSError."""
    columns = {name: frame[name].tolist() for name in frame.columns}
    whole = {"format": FORMAT, "nets": frame.index.tolist(), "columns": columns}
    write_whole(root / FILE, (json.dumps(whole, separators=(",", ":"), allow_nan=False) + "\n").encode())


def joined(index: pd.DataFrame, own: pd.DataFrame, typed: Any) -> pd.DataFrame:
    """The index with the columns that a user added. One that the nets have themselves by now is called annotated.NAME."""
    if not len(own.columns):
        return index
    named = own.rename(columns={name: f"annotated.{name}" for name in own.columns if name in index.columns})
    return index.join(typed(named.reindex(index.index)))


def _checked(frame: pd.DataFrame) -> pd.DataFrame:
    """As objects: whole numbers as index, plain names, and text, finite numbers, switches or None as values. NwsError otherwise."""
    import pandas as pd

    numbers = frame.index.tolist()
    if any(isinstance(n, bool) or not hasattr(n, "__index__") or not 0 <= n < _NUMBERS for n in numbers):
        raise NwsError("rows must be numbered by net: give a column 'net' of whole numbers, or the numbers as the table's index")
    if not frame.index.is_unique:
        raise NwsError(f"net {frame.index[frame.index.duplicated()][0]} has two rows: give each net one")
    if not frame.columns.is_unique or len(frame.columns) > _MOST_COLUMNS:
        raise NwsError(f"columns must have different names, and be at most {_MOST_COLUMNS}")
    columns = {name: [_plain(value) for value in frame[name].tolist()] for name in frame.columns}
    for name, values in columns.items():
        _check_cell("any", name, 0)
        for number, value in zip(numbers, values, strict=True):
            if value is not None:
                _check_cell(number, name, value)
    return pd.DataFrame(columns, index=pd.Index(numbers, dtype="int64", name="net"), dtype=object)


def _check_cell(number: int | str, name: Any, value: Any) -> None:
    try:
        Recorded({name: value})
    except NwsError as error:
        raise NwsError(f"net {number}: {error}") from None


def _plain(value: Any) -> Any:
    """A value without NumPy's types; None for what is missing."""
    import pandas as pd

    value = value.item() if hasattr(value, "item") and not isinstance(value, str) else value
    missing = value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value))
    return None if missing else value
