"""Zoos into other people's formats (docs/import.md).

nws2020.py     runs and split tables that the 2020 program reads
state_dicts.py a .safetensors per snapshot with PyTorch's names, and a table
matrices.py    a matrix per layout, and a table of its rows
job.py         one net in memory at a time, files whole or not there, finished ones left alone
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nws.errors import NwsError, unknown
from nws.exporters import matrices, nws2020, state_dicts
from nws.exporters.job import Job, OnProgress
from nws.zoo import Zoo

_WRITERS: dict[str, Callable[[Job], dict[str, Any]]] = {
    "nws2020": nws2020.write,
    "state-dict": state_dicts.write,
    "numpy": matrices.write,
}
KINDS = tuple(_WRITERS)

__all__ = ["KINDS", "export"]


def export(
    zoo: Zoo, kind: str, out: str | Path, snapshots: Sequence[int] = (), on_progress: OnProgress = lambda done, of, where: None
) -> dict[str, Any]:
    """Write the zoo's nets to the folder `out` in a format of `KINDS`; the same call goes on where it stopped.

    snapshots: numbers from 1, all when none is given. Returns what was done: nets, files, skipped. NwsError when `out` holds
    something else, cannot be written, or no net fits the format.
    """
    if kind not in _WRITERS:
        raise unknown("format", kind, KINDS)
    if zoo.index.empty:
        raise NwsError(f"{zoo.path} holds no nets: nothing to export")
    job = Job(zoo, Path(out), tuple(snapshots), on_progress)
    try:
        job.claim(kind)
        return {"zoo": str(zoo.path), "format": kind, "out": str(out), **_WRITERS[kind](job)}
    except OSError as error:
        raise NwsError(f"{error.filename or out}: {error.strerror or error}: free some space or name another folder") from None
