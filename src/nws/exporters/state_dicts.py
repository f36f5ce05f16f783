"""A .safetensors per snapshot with PyTorch's names, and nets.csv: what `nws import checkpoints` reads back."""

from __future__ import annotations

import json
from typing import Any

from nws.atomic import write_whole
from nws.exporters.job import Job, described, table, torch_names
from nws.weights.safetensors_file import ORDER


def write(job: Job) -> dict[str, Any]:
    """OUT/000123/020.safetensors is net 123 at snapshot 20: `load_state_dict` of the same net in PyTorch takes it."""
    from safetensors.numpy import save

    rows, files = [], 0
    index = job.zoo.index
    for done, number in enumerate(index.index.tolist(), 1):
        net = job.zoo.net(number)
        names = dict(zip(net.layout.state_dict(net.theta[0]), torch_names(net)))
        folder = job.out / f"{number:06d}"
        folder.mkdir(exist_ok=True)
        for snapshot in job.taken(len(net.theta), number):
            path = folder / f"{snapshot:03d}.safetensors"
            if not path.exists():
                state = net.layout.state_dict(net.theta[snapshot - 1])
                arrays = {names[name]: array.copy() for name, array in state.items()}  # of its own bytes, in C order
                write_whole(path, save(arrays, {"format": "pt", ORDER: json.dumps(list(arrays))}), new=True)
            rows.append({"path": f"{folder.name}/{path.name}", **described(net, snapshot, index.loc[number, "split"])})
            files += 1
        job.on_progress(done, len(index), path.name)
    write_whole(job.out / "nets.csv", table(rows))
    return {"nets": len(index), "files": files, "skipped": []}
