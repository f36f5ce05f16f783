"""What every export is given, and how it claims its folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nws.atomic import strays, write_whole
from nws.cells import guarded
from nws.errors import NwsError
from nws.net import Net, at_snapshots
from nws.zoo import Zoo

OnProgress = Callable[[int, int, str], None]
_MARK = "export.json"  # tells what a folder is, so that the same export goes on and no other does


@dataclass(frozen=True, eq=False)
class Job:
    """Nets of a zoo for a folder; `snapshots` are numbers from 1, none for all."""

    zoo: Zoo
    out: Path
    snapshots: tuple[int, ...]
    on_progress: OnProgress

    def claim(self, kind: str) -> None:
        """Make the folder, or go on with one of the same export. NwsError when it holds anything else."""
        wanted = {"format": kind, "zoo": self.zoo.path.name, "seed": self.zoo.seed, "snapshots": list(self.snapshots)}
        self.out.mkdir(parents=True, exist_ok=True)
        mark = self.out / _MARK
        if mark.is_file():
            try:
                found = json.loads(mark.read_bytes())
            except ValueError:
                found = None
            if found != wanted:
                raise NwsError(f"{self.out} holds another export ({mark} says which): name another folder")
            for path in strays((self.out, *(entry for entry in self.out.iterdir() if entry.is_dir()))):
                path.unlink(missing_ok=True)
        elif any(self.out.iterdir()):
            raise NwsError(f"{self.out} is not empty and no export: name an empty or a new folder")
        else:
            write_whole(mark, json.dumps(wanted, indent=1).encode())

    def taken(self, available: int, number: int) -> tuple[int, ...]:
        """The snapshots to write of a net that has `available`."""
        if self.snapshots and self.snapshots[-1] > available:
            raise NwsError(f"net {number} has snapshots 1 to {available}, not {self.snapshots[-1]}: name others")
        return self.snapshots or tuple(range(1, available + 1))


def described(net: Net, snapshot: int, split: str) -> dict[str, Any]:
    """What a table says of a snapshot: the columns that `nws import checkpoints` knows, then the net's properties."""
    record = _record(net, snapshot - 1)
    row = {"net": net.number, "snapshot": snapshot, "epoch": int(net.epoch[snapshot - 1]), "split": split, "seconds": net.seconds}
    return {**row, **record, **{name: v for name, v in net.hp.to_dict().items() if name not in (*row, *record, "path")}}


def _record(net: Net, position: int) -> dict[str, float]:
    """Accuracies at a snapshot."""
    values = dict(zip(net.measures, at_snapshots(net.epoch, net.history)[position].tolist(), strict=True))
    return {name: values[name] for name in net.measures if name not in ("step", "filtered_validation_accuracy")}


def table(rows: Iterable[dict[str, Any]]) -> bytes:
    """A CSV of rows that may have different columns; what is absent or NaN is an empty cell, what could be a formula guarded."""
    import csv
    import io

    rows = list(rows)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([guarded(name) for name in columns])
    for row in rows:
        cells = (row.get(name) for name in columns)
        writer.writerow(["" if c is None or c != c else repr(c) if isinstance(c, float) else guarded(c) for c in cells])
    return text.getvalue().encode("utf-8", "surrogateescape")


def torch_names(net: Net) -> list[str]:
    """PyTorch's name of each tensor of the layout: the file's own where the net came from one, else that of its family's module."""
    names = net.about.get("names")
    if isinstance(names, list) and len(names) == len(net.layout.tensors) == len(set(map(str, names))):
        return [str(name) for name in names]
    return [t.torch_name for t in net.layout.tensors]
