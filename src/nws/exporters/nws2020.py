"""Runs and split tables in the 2020 program's layout. Only nets of the paper's space fit it."""

from __future__ import annotations

from typing import Any

from nws.atomic import write_whole
from nws.errors import NwsError
from nws.exporters.job import Job
from nws.families.cnn2020 import HyperParameters
from nws.legacy.files import csv_text, write_run
from nws.legacy.split_tables import HEADER, table_row
from nws.zoo.select import SPLITS


def write(job: Job) -> dict[str, Any]:
    """OUT/000123 is net 123, OUT/nws_train.csv and nws_test.csv list the runs of each side, with the numbers in a last column."""
    if job.snapshots:
        raise NwsError("--snapshots: the 2020 format has every snapshot of a run, leave the option out")
    index = job.zoo.index
    tables: dict[str, list[list[object]]] = {side: [[*HEADER, "net"]] for side in SPLITS}
    skipped: list[tuple[str, str]] = []
    for done, number in enumerate(index.index.tolist(), 1):
        folder = job.out / f"{number:06d}"
        net = job.zoo.net(number)
        try:
            if not isinstance(net.hp, HyperParameters) or not len(net.history):
                raise NwsError("it is not of the paper's space, or has no history")
            row = table_row(net.hp, folder.name)
            if not (folder / "meta.csv").exists():
                write_run(net, folder)
            tables[index.loc[number, "split"]].append([*row, number])
        except (NwsError, ValueError) as error:  # ValueError: an option that the 2020 coding has no number for
            skipped.append((f"net {number}", str(error)))
        job.on_progress(done, len(index), folder.name)
    if len(skipped) == len(index):
        raise NwsError(f"{job.zoo.path}: no net fits the 2020 format ({skipped[0][1]}): export to state-dict or numpy")
    for side, rows in tables.items():
        write_whole(job.out / f"nws_{side}.csv", csv_text(rows).encode())
    return {"nets": len(index) - len(skipped), "files": len(index) - len(skipped), "skipped": skipped}
