"""Tables of analyses on disk: a DataFrame as CSV for people and as JSON for programs, with what it was made from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nws.cells import csv_of
from nws.errors import NwsError
from nws.recorded import printable
from nws.tasks import results
from nws.zoo import Zoo

DIGITS = 6  # significant ones of every float: a table is to be read and compared, and half as large as with seventeen


class NotForThisZooError(NwsError):
    """What was asked for has no answer in this zoo, such as the embedding of nets of many architectures. One line: why."""


def about(zoo: Zoo, settings: dict[str, Any]) -> dict[str, Any]:
    """What a table of this zoo was made from: zoo, number of nets, version, commit, settings, and a key that tells it all apart.

    The key changes with any net of the zoo, with the settings and with the version of nws; not with the zoo's folder.
    """
    origin = results.provenance()
    key = results.digest([zoo.seed, results.zoo_state(zoo), settings, origin["version"]])
    return {"zoo": zoo.path.resolve().name, "nets": len(zoo.index), **origin, "settings": settings, "key": key}


def save(frame: pd.DataFrame, folder: str | Path, name: str) -> Path:
    """Write NAME.csv and NAME.json into folder. `frame.attrs` goes into the JSON: "about" (see `about`) and "notes" (lines)."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NwsError(f"{folder}: {error.strerror}: name a folder you may write to") from None
    rounded = pd.DataFrame({column: _rounded(frame[column]) for column in frame})
    rows = rounded.astype(object).where(rounded.notna(), None).to_numpy().tolist()
    whole = {"name": name, "about": {}, "notes": [], **frame.attrs, "columns": list(frame.columns), "rows": rows}
    results.write(folder / f"{name}.csv", csv_of(rounded))
    results.write(folder / f"{name}.json", json.dumps(whole, separators=(",", ":"), allow_nan=False))  # last: it says what is there
    return folder / f"{name}.json"


def load(folder: str | Path, name: str) -> pd.DataFrame:
    """The table NAME of a folder, with "about" and "notes" in its `attrs`. NwsError when it is not there or no table."""
    file = Path(folder) / f"{name}.json"
    try:
        whole = json.loads(file.read_text(encoding="utf-8"))
        if any(len(row) != len(whole["columns"]) for row in whole["rows"]):
            raise ValueError("rows of other lengths than its columns")  # pandas would fill them up
        frame = pd.DataFrame(whole["rows"], columns=whole["columns"])
        frame.attrs = {"about": dict(whole["about"]), "notes": list(whole["notes"])}
        return frame.astype({column: float for column in frame if frame[column].isna().all()})
    except FileNotFoundError:
        raise NwsError(f"{file} is not there: `nws figures` makes it") from None
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise NwsError(f"{file} cannot be read as a table ({printable(error)[:200]}): move it away, it is made anew") from None


def is_current(folder: str | Path, name: str, key: str) -> bool:
    """Whether the folder holds this table with this key (see `about`)."""
    try:
        return load(folder, name).attrs["about"].get("key") == key
    except NwsError:
        return False


def _rounded(column: pd.Series) -> pd.Series:
    if column.dtype.kind != "f":
        return column
    return pd.Series([float(f"{v:.{DIGITS}g}") if np.isfinite(v) else None for v in column.tolist()], column.index, float)
