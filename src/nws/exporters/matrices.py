"""For NumPy: a matrix (snapshots, weights) for each layout of the zoo, that layout, and a table of all rows."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from nws.atomic import flush_folder, temporary, write_whole
from nws.exporters.job import Job, described, table


def write(job: Job) -> dict[str, Any]:
    """OUT/theta-0.npy (n, P) float32 and OUT/layout-0.json of the first layout, and so on; OUT/rows.csv says what each row is."""
    index = job.zoo.index
    available, sides = index["snapshots"].to_dict(), index["split"].to_dict()
    groups: dict[Any, list[int]] = {}
    for number in index.index.tolist():
        groups.setdefault(job.zoo.layout(number), []).append(number)
    rows: list[dict[str, Any]] = []
    done = 0
    for k, (layout, numbers) in enumerate(groups.items()):
        height = sum(len(job.taken(available[n], n)) for n in numbers)
        path = job.out / f"theta-{k}.npy"
        part = temporary(path)
        fresh = not path.exists()
        try:
            matrix = np.lib.format.open_memmap(part, "w+", np.float32, (height, layout.size)) if fresh else None
            position = 0
            for number in numbers:
                net = job.zoo.net(number)
                for snapshot in job.taken(len(net.theta), number):
                    if matrix is not None:
                        matrix[position] = net.theta[snapshot - 1]
                    rows.append({"file": path.name, "row": position, **described(net, snapshot, sides[number])})
                    position += 1
                done += 1
                job.on_progress(done, len(index), path.name)
            if matrix is not None:
                matrix.flush()
                del matrix
                os.replace(part, path)
                flush_folder(job.out)
        finally:
            part.unlink(missing_ok=True)
        write_whole(job.out / f"layout-{k}.json", layout.to_json().encode())
    write_whole(job.out / "rows.csv", table(rows))
    return {"nets": len(index), "files": len(groups), "skipped": []}
