"""Results on disk: a row per task and meta-classifier, kept as soon as it is known, so that nothing is computed twice."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from nws import __version__
from nws import meta as meta_classifiers
from nws.atomic import write_whole
from nws.cells import csv_of
from nws.errors import NwsError
from nws.families.space import label
from nws.recorded import printable
from nws.tasks.protocol import Result, Results, Round, Task
from nws.zoo import Zoo


@dataclass(frozen=True)
class Fitted:
    """The meta-classifier of one round, the nets it learned from, and those it may be tested on."""

    meta: Any
    drawn: Round


class Store:
    """results.json and results.csv in a folder, and the models of each first round below models/."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.file = self.folder / "results.json"
        try:
            (self.folder / "models").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise NwsError(f"{self.folder}: {error.strerror}: name a folder you may write to") from None
        self.rows = load(self.file) if self.file.exists() else []

    def find(self, key: str) -> Result | None:
        return next((row for row in self.rows if row.key == key), None)

    def add(self, *rows: Result) -> None:
        """Keep rows, each replacing an older one of the same question."""
        asked = {_question(row) for row in rows}
        self.rows = [r for r in self.rows if _question(r) not in asked] + list(rows)
        write(self.file, json.dumps([r.row() for r in self.rows], indent=1))
        write(self.folder / "results.csv", csv_of(table(self.rows)))

    def keep_model(self, trained: str, task: Task, name: str, meta: Any, drawn: Round) -> None:
        """Save the meta-classifier of a first round; `trained` tells all apart that it was made from."""
        about = {
            "trained": trained,
            "property": task.property,
            "meta": name,
            "part": task.part,
            "slice_length": task.slice_length,
            "snapshots": task.snapshots,
            "without": task.without,
            "train_nets": drawn.train.tolist(),
            "test_nets": drawn.test.tolist(),
            **provenance(),
        }
        meta_classifiers.save(meta, self._model(task, name), about)

    def fitted(self, trained: str, task: Task, name: str) -> Fitted | None:
        """The saved meta-classifier, if it was made from `trained`."""
        path = self._model(task.training, name)
        if not path.with_name(f"{path.name}.json").exists():
            return None
        meta = meta_classifiers.load(path)
        about: dict[str, Any] = meta.about_
        if about.get("trained") != trained:
            return None
        return Fitted(meta, Round(np.array(about["train_nets"]), np.array(about["test_nets"])))

    def _model(self, task: Task, name: str) -> Path:
        conditions: dict[str, Any] = {
            task.part: task.part != "all",
            str(task.slice_length): task.slice_length,
            "converged": task.converged,
        }
        conditions |= {f"{name}={label(value)}": True for name, value in task.only.items()}
        conditions["-".join(["without", *task.without])] = bool(task.without)
        seen = [word for word, holds in conditions.items() if holds]
        return self.folder / "models" / "-".join([quote(task.property, ""), name, *seen])


def _question(r: Result) -> tuple[Any, ...]:
    """What a row answers; a newer row replaces an older one of the same question."""
    where = r.part, r.slice_length, r.snapshots, r.without, r.without and r.without_at
    return r.property, r.meta, *where, r.split, str(r.converged), str(r.only)


def load(file: str | Path) -> list[Result]:
    """The rows of a results.json."""
    try:
        return [_result(row) for row in json.loads(Path(file).read_text(encoding="utf-8"))]
    except (NwsError, OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        reason = printable(error)[:200]
        raise NwsError(f"{file} cannot be read as results ({reason}): move it away, it is made anew") from None


# What a field's annotation asks of the value in a file; of a tuple, of each of its members.
_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "None": (type(None),),
    "Mapping[str, float]": (dict,),
    "Mapping[str, Any]": (dict,),
}


def _fits(value: Any, annotation: str) -> bool:
    if isinstance(value, tuple):
        inner = annotation.removeprefix("tuple[").removesuffix(", ...]")
        return inner != annotation and all(_fits(member, inner) for member in value)
    if isinstance(value, str):
        value.encode()  # ValueError for half a character, which no table can hold
    kinds = [kind for word in annotation.split(" | ") for kind in _TYPES.get(word, ())]
    return isinstance(value, tuple(kinds)) and (bool in kinds or not isinstance(value, bool))


def _result(row: dict[str, Any]) -> Result:
    values: dict[str, Any] = {f.name: row[f.name] for f in fields(Result) if f.name in row}  # older rows lack newer fields
    for name in ("snapshots", "classes", "per_round", "notes", "without"):
        values[name] = tuple(values.get(name, ()))
    values["confusion"] = tuple(tuple(line) for line in values["confusion"])
    for f in fields(Result):
        if f.name in values and not _fits(values[f.name], str(f.type)):
            raise ValueError(f"{f.name}={values[f.name]!r}"[:80])
    if not all(isinstance(value, str | int | float) for value in values.get("only", {}).values()):
        raise ValueError(f"only={values['only']!r}"[:80])
    return Result(**values)


def table(rows: Sequence[Result]) -> Any:
    """The rows as a DataFrame; see `Results.frame`."""
    return Results(rows).frame


def provenance() -> dict[str, Any]:
    """Where and with what something was computed."""
    return {"version": __version__, "commit": _commit(), "machine": platform.machine(), "python": platform.python_version()}


def _commit() -> str | None:
    """The commit of the source tree nws runs from; None for an installed wheel."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    asked = subprocess.run(["git", "-C", str(root), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return asked.stdout.strip() or None


def write(path: Path, text: str) -> None:
    """A whole file or none; NwsError when the disk is full or the folder may not be written."""
    try:
        write_whole(path, text.encode())
    except OSError as error:
        raise NwsError(f"{path}: {error.strerror}: free some space or name another folder") from None


def zoo_state(zoo: Zoo) -> str:
    """Changes with any weight of any net of the zoo, and with the columns that a user added."""
    nets, own = sorted(zoo.index["sha256"].items()), zoo.annotations
    return digest([nets, own.reset_index().to_dict("list")] if len(own.columns) else nets)


def digest(value: Any) -> str:
    """Sixteen hexadecimal digits that tell JSON values apart."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]
