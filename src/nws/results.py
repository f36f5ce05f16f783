"""Results on disk: a row per task and meta-classifier, kept as soon as it is known, so that nothing is computed twice."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from nws import __version__
from nws import meta as meta_classifiers
from nws.atomic import write_whole
from nws.errors import NwsError
from nws.evaluation import evaluate
from nws.inputs import Inputs
from nws.protocol import Result, Round, Task
from nws.zoo import Zoo


def classify(
    zoo: Zoo | Inputs,
    tasks: Sequence[Task],
    metas: Sequence[str],
    *,
    rounds: int = 10,
    seed: int = 0,
    out: str | Path | None = None,
    settings: dict[str, dict[str, Any]] | None = None,
    tell: Callable[[str], None] = lambda doing: None,
) -> list[Result]:
    """Evaluate every named meta-classifier on every task, in `out` (a folder) keeping rows, tables and first-round models.

    zoo       a zoo, or its `Inputs`, which remember what was computed for an earlier call
    settings  constructor arguments by meta-classifier: {"dmc": {"epochs": 50}}
    Rows that `out` already holds for the same zoo, task, meta-classifier, rounds and seed are taken from there.
    """
    store = Store(out) if out else None
    inputs = zoo if isinstance(zoo, Inputs) else Inputs(zoo, seed)
    zoo_state = _digest(sorted(inputs.zoo.index["sha256"].items()))
    rows = []
    for task in tasks:
        for name in metas:
            arguments = (settings or {}).get(name, {})
            key = _digest([asdict(task), name, arguments, rounds, inputs.seed, __version__, zoo_state])
            row = store.find(key) if store else None
            if row is None:
                meta = {name: meta_classifiers.make(name, **arguments)}
                keep = store.keep_model if store else None
                (row,) = evaluate(meta, task, inputs, rounds=rounds, tell=tell, keep=keep)
                row = replace(row, key=key, about={**provenance(), "settings": arguments})
                if store:
                    store.add(row)
            rows.append(row)
    return rows


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

    def add(self, row: Result) -> None:
        """Keep a row, replacing an older one of the same question."""
        self.rows = [r for r in self.rows if _question(r) != _question(row)] + [row]
        write(self.file, json.dumps([r.row() for r in self.rows], indent=1))
        write(self.folder / "results.csv", table(self.rows).to_csv(index=False))

    def keep_model(self, task: Task, name: str, meta: Any, drawn: Round) -> None:
        about = {
            "property": task.property,
            "meta": name,
            "part": task.part,
            "slice_length": task.slice_length,
            "snapshots": task.snapshots,
            "train_nets": drawn.train.tolist(),
            "test_nets": drawn.test.tolist(),
            **provenance(),
        }
        told = {task.part: task.part != "all", str(task.slice_length): task.slice_length, "converged": task.converged}
        seen = [word for word, said in told.items() if said]
        meta_classifiers.save(meta, self.folder / "models" / "-".join([quote(task.property, ""), name, *seen]), about)


def _question(r: Result) -> tuple[Any, ...]:
    """What a row answers; a newer row replaces an older one of the same question."""
    return r.property, r.meta, r.part, r.slice_length, r.snapshots, r.split, str(r.converged)


def load(file: str | Path) -> list[Result]:
    """The rows of a results.json."""
    try:
        return [_result(row) for row in json.loads(Path(file).read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise NwsError(f"{file} cannot be read as results ({error}): move it away, it is made anew") from None


def _result(row: dict[str, Any]) -> Result:
    values: dict[str, Any] = {f.name: row[f.name] for f in fields(Result)}
    for name in ("snapshots", "classes", "per_round", "notes"):
        values[name] = tuple(values[name])
    values["confusion"] = tuple(tuple(line) for line in values["confusion"])
    return Result(**values)


def table(rows: Sequence[Result]) -> Any:
    """The rows as a DataFrame without what only JSON can hold."""
    import pandas as pd

    nested = ("confusion", "about", "per_round", "classes", "notes", "snapshots")
    frame = pd.DataFrame([{k: v for k, v in r.row().items() if k not in nested} for r in rows])
    frame.insert(4, "snapshots", [" ".join(map(str, r.snapshots)) for r in rows])
    return frame


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


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]
