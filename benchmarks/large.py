"""Large zoos: seconds and memory of what one does with a zoo, at 2,000 and 20,000 nets, and at 50 GB.

    python benchmarks/large.py nets               about 5 minutes; 150 MB of disk
    python benchmarks/large.py bytes              about 5 minutes; 50 GB of apparent size, 1 MB of disk: theta is a hole in a file
    python benchmarks/large.py bytes --size 5     the same with 5 GB
    python benchmarks/large.py runs               about 10 minutes; 2 GB of disk: import of 13,000 runs of the 2020 program

A JSON row per zoo and step, each step in a process of its own: processor seconds, seconds by the clock, and the largest resident
set (of which the interpreter and its libraries take 100 to 350 MB). `grew`: seconds relative to the row of the smaller zoo; ten
times the nets should take at most ten times as long. Nets are fabricated, 92 weights times 5 snapshots, or
6.25 million zeros times 20; a run has 856 weights times 20 in float64, in as many files
as a real one, which are hard links. Results: docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nws import FIXED, Layout, Net, Task, Zoo, importers
from nws.families import cnn2020 as cnn
from nws.legacy.files import write_run
from nws.legacy.split_tables import write_table
from nws.zoo.netfile import encode, net_path

SMALL = Layout(
    [
        ("conv1", "weight", (2, 3, 3, 3), "conv"),
        ("conv1", "bias", (2,), "conv"),
        ("fc1", "weight", (4, 8), "fc", (2, 2)),
        ("fc1", "bias", (4,), "fc"),
    ]
)
WIDE = Layout([("conv1", "weight", (4, 3, 3, 3), "conv"), ("fc1", "weight", (2500, 2500), "fc")])
SNAPSHOTS = 20
STEPS = {
    "nets": ("index made", "index read", "info", "verify", "slices", "classify"),
    "runs": ("import by folder", "import by table", "import again"),
}
STEPS["bytes"] = STEPS["nets"]


def fabricated(number: int, layout: Layout, snapshots: int) -> Net:
    rng = np.random.default_rng(number)
    theta = rng.standard_normal((snapshots, layout.size)).astype(np.float32)
    return Net(
        number, FIXED.net(0, number), layout, theta, np.arange(snapshots), rng.random((snapshots, 5)), about={"engine": "none"}
    )


def many(path: Path, nets: int) -> None:
    zoo = Zoo.create(path, FIXED, nets=nets)
    for number in range(nets):
        file = net_path(path, number)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encode(fabricated(number, SMALL, 5), zoo.split(number)))  # without `append`'s wait for the disk


def sparse(path: Path, gigabytes: float) -> int:
    """Nets whose theta is a hole in the file, behind everything else. Returns how many."""
    size = SNAPSHOTS * WIDE.size * 4
    nets = max(8, round(gigabytes * 1e9 / size))
    zoo = Zoo.create(path, FIXED, nets=nets)
    digest, block = hashlib.sha256(), bytes(1 << 20)
    for _ in range(size // len(block)):
        digest.update(block)
    digest.update(block[: size % len(block)])
    for number in range(nets):
        whole = encode(fabricated(number, SMALL, SNAPSHOTS), zoo.split(number))
        length = int.from_bytes(whole[:8], "little")
        header = json.loads(whole[8 : 8 + length])
        metadata, body = header["__metadata__"], b""
        for name in ("epoch", "history"):
            begin, end = header[name]["data_offsets"]
            header[name]["data_offsets"] = [len(body), len(body) + end - begin]
            body += whole[8 + length + begin : 8 + length + end]
        header["theta"] = {"dtype": "F32", "shape": [SNAPSHOTS, WIDE.size], "data_offsets": [len(body), len(body) + size]}
        metadata |= {"layout": WIDE.to_json(), "theta_sha256": digest.hexdigest()}
        told = "".join(f"{key}\0{metadata[key]}\0" for key in sorted(metadata) if key != "metadata_sha256")
        metadata["metadata_sha256"] = hashlib.sha256(told.encode()).hexdigest()
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        file = net_path(path, number)
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(file, "wb") as stream:
            stream.write(struct.pack("<Q", len(text)) + text + body)
            stream.truncate(stream.tell() + size)
    return nets


def runs(path: Path, count: int) -> None:
    """A folder of runs/NUMBER, and nws_train.csv, their table."""
    hp = FIXED.net(0, 0).with_(filter_size=3, width_conv=1, width_fc=8)
    first = fabricated(0, cnn.layout(hp), SNAPSHOTS)
    write_run(replace(first, hp=hp), path / "runs" / "000000")
    for number in range(1, count):
        shutil.copytree(path / "runs" / "000000", path / "runs" / f"{number:06d}", copy_function=os.link)
    write_table(path / "nws_train.csv", sorted((path / "runs").iterdir()))


def step(name: str, path: Path) -> Any:
    if name.startswith("import"):
        by = path / "runs" if name.endswith("folder") else path / "nws_train.csv"
        return importers.fill(importers.open_source("nws2020", by), path / f"zoo by {by.stem}").nets
    zoo = Zoo(path)
    if name == "index made":
        (path / "index.parquet").unlink(missing_ok=True)
    if name.startswith("index"):
        return len(zoo.index)
    if name == "info":
        return zoo.summary()["nets"]
    if name == "verify":
        return zoo.verify().ok
    if name == "slices":
        rng, index = np.random.default_rng(0), zoo.index
        nets = rng.choice(index.index.to_numpy(), 20_000)
        length = min(50, int(index["weights"].min()))
        starts = rng.integers(0, int(index["weights"].min()) - length + 1, 20_000)
        return float(zoo.slices(nets, rng.integers(1, int(index["snapshots"].min()) + 1, 20_000), starts, length).sum())
    from nws import evaluate

    (result,) = evaluate("svm-linear-16", Task("optimizer"), zoo, rounds=1)
    return result.accuracy


def measured(name: str, path: Path) -> dict[str, Any]:
    said = subprocess.run([sys.executable, __file__, "step", name, str(path)], capture_output=True, text=True, check=False)
    if said.returncode:
        return {"step": name, "error": said.stderr.strip().splitlines()[-1:]}
    row: dict[str, Any] = json.loads(said.stdout)
    return row


def alone(name: str, path: Path) -> None:
    """A step in this process, and what it took."""
    begun = time.monotonic()
    found = step(name, path)
    row = {"step": name, "cpu seconds": round(time.process_time(), 2), "seconds": round(time.monotonic() - begun, 2)}
    print(json.dumps(row | {"peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, "found": found}, default=str))


def rows(kind: str, size: float, folder: Path) -> Iterator[dict[str, Any]]:
    sizes = {"nets": (2000, 20_000), "runs": (1300, 13_000), "bytes": (size / 10, size)}[kind]
    before: dict[str, float] = {}
    for number, wanted in enumerate(sizes):
        path = folder / f"zoo-{number}"
        nets = int(wanted)
        if kind == "bytes":
            nets = sparse(path, wanted)
        else:
            (many if kind == "nets" else runs)(path, nets)
        files = [file.stat() for file in path.rglob("*.safetensors")]
        about = {
            "nets": nets,
            "GB": round(sum(f.st_size for f in files) / 1e9, 2),
            "MB on disk": sum(f.st_blocks for f in files) // 2048,
        }
        for name in STEPS[kind]:
            row = measured(name, path)
            took = row.get("cpu seconds", 0.0)
            yield {**about, **row, "grew": round(took / before[name], 1) if name in before else None}
            before[name] = took or 1.0


def main() -> None:
    if sys.argv[1:2] == ["step"]:
        alone(sys.argv[2], Path(sys.argv[3]))
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("kind", choices=list(STEPS))
    parser.add_argument("--size", type=float, default=50, help="of `bytes`: apparent gigabytes")
    given = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory(prefix="nws-large-") as folder:
        for row in rows(given.kind, given.size, Path(folder)):
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
