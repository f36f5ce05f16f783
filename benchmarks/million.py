"""A zoo of a million small nets: what each step costs at 1,000, 10,000, 100,000 and 1,000,000 of them.

    python benchmarks/million.py --nets 1000,10000,100000 --folder FOLDER      about 5 minutes; 0.7 GB of disk
    python benchmarks/million.py --nets 1000000 --folder FOLDER                about 25 minutes; 7 GB of disk
    python benchmarks/million.py --zoo ZOO                                     the same of a zoo that is there, but for writing

A JSON row per zoo and step, each step in a process of its own: seconds by the clock and of the processor (`cpu`), microseconds of
processor per net, and the largest resident set (of which the interpreter and its libraries take 150 MB). Nets are generated: one
snapshot of 1,185 weights (noise), as a SIREN of 2-32-32-1 units has, with the properties of an MLP. Steps:

written     Zoo.append_many
indexed     the index made from the nets, for the first time
opened      Zoo(path)
numbers     len(zoo): from the shards' tables
info        the command `nws info ZOO`
pass        zoo.theta of each net, in order
slices      zoo.slices: all theta of each net, 1,000 nets at a time
cold        zoo.theta of one random net in a zoo just opened, its file not in memory: milliseconds, median and 95 of 100
one more    a net appended, and the index brought up to date: what of the index was written, in bytes

Results: docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nws import Layout, Net, Zoo
from nws.families import MLP

SIREN = Layout(
    [
        ("fc1", "weight", (32, 2), "fc"),
        ("fc1", "bias", (32,), "fc"),
        ("fc2", "weight", (32, 32), "fc"),
        ("fc2", "bias", (32,), "fc"),
        ("out", "weight", (1, 32), "fc"),
        ("out", "bias", (1,), "fc"),
    ],
    chain=True,
)
MEASURES = ("step", "train_accuracy", "validation_accuracy", "test_accuracy", "filtered_validation_accuracy")
STEPS = ("indexed", "opened", "numbers", "info", "pass", "slices", "cold", "one more")


def generated(nets: int) -> Iterator[Net]:
    space = MLP.space.with_(dataset="mnist")
    configs = space.sample(1000, 0)  # drawing a million would take longer than writing them
    rng = np.random.default_rng(0)
    for number in range(nets):
        theta = rng.standard_normal((1, SIREN.size), np.float32)
        history = rng.random((2, 5))
        yield Net(number, configs[number % 1000], SIREN, theta, np.ones(1, int), history, about={"engine": "none"})


def step(name: str, path: Path) -> Any:
    zoo = Zoo(path)
    if name == "indexed":
        shutil.rmtree(path / "index", ignore_errors=True)
        (path / "index.parquet").unlink(missing_ok=True)
        zoo.refresh()
    elif name == "numbers":
        return len(zoo)
    elif name == "pass":
        return float(sum(float(zoo.theta(number, 1)[0]) for number in zoo.numbers()))
    elif name == "slices":
        numbers = zoo.numbers()
        for first in range(0, len(numbers), 1000):
            zoo.slices(numbers[first : first + 1000], 1, 0, SIREN.size)
    elif name == "cold":
        return cold(path)
    elif name == "one more":
        return one_more(path)
    return None


def cold(path: Path) -> dict[str, float]:
    rng, took = np.random.default_rng(1), []
    numbers = Zoo(path).numbers()
    files = sorted(path.glob("shards/*/*.safetensors"))
    for file in files:
        with open(file, "rb") as opened:
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    for number in rng.choice(numbers, 100).tolist():
        zoo = Zoo(path)
        begun = time.perf_counter()
        zoo.theta(number, 1)
        took.append(1000 * (time.perf_counter() - begun))
    return {"median ms": round(float(np.median(took)), 2), "95% ms": round(float(np.quantile(took, 0.95)), 2)}


def one_more(path: Path) -> dict[str, Any]:
    zoo = Zoo(path)
    numbers = zoo.numbers()
    times = {file: file.stat().st_mtime_ns for file in index_files(path)}
    net = replace(zoo.net(numbers[-1]), number=numbers[-1] + 1)
    begun = time.perf_counter()
    zoo.append(net)
    appended = time.perf_counter() - begun
    zoo.refresh()
    took = time.perf_counter() - begun - appended
    written = [file for file in index_files(path) if times.get(file) != file.stat().st_mtime_ns]
    found = {"append ms": round(1000 * appended, 1), "index ms": round(1000 * took), "files": len(written)}
    found["bytes"] = sum(file.stat().st_size for file in written)
    found["of"] = sum(file.stat().st_size for file in index_files(path))
    (path / zoo.index.loc[numbers[-1] + 1, "path"]).unlink()
    Zoo(path).refresh()
    return found


def index_files(path: Path) -> list[Path]:
    return sorted([*path.glob("index.parquet"), *path.glob("index/*.parquet")])


def alone(name: str, path: Path, nets: int) -> None:
    """A step in this process, and what it took."""
    begun, before = time.monotonic(), time.process_time()
    if name == "written":
        found: Any = Zoo.create(path, MLP.space, nets=nets).append_many(generated(nets))
    else:
        found = step(name, path)
    show(name, nets, time.monotonic() - begun, time.process_time() - before, resource.RUSAGE_SELF, found)


def show(name: str, nets: int, seconds: float, cpu: float, who: int, found: Any) -> None:
    row = {"nets": nets, "step": name, "seconds": round(seconds, 3), "cpu": round(cpu, 3)}
    row |= {"us per net": round(1e6 * cpu / nets, 2), "peak MB": resource.getrusage(who).ru_maxrss // 1024, "found": found}
    print(json.dumps(row), flush=True)


def command(path: Path, nets: int) -> None:
    """`nws info`, from start to end."""
    begun = time.monotonic()
    subprocess.run([sys.executable, "-m", "nws", "info", str(path)], check=True, capture_output=True)
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    show("info", nets, time.monotonic() - begun, usage.ru_utime + usage.ru_stime, resource.RUSAGE_CHILDREN, None)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--nets", default="1000,10000,100000", help="sizes, comma between")
    parser.add_argument("--folder", type=Path, help="where the zoos are made, and removed again unless --keep")
    parser.add_argument("--zoo", type=Path, help="a zoo that is there")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--step", help="one step, in this process")
    given = parser.parse_args()
    sizes = [len(Zoo(given.zoo))] if given.zoo else [int(n) for n in given.nets.split(",")]
    if given.step:
        for nets in sizes:
            path = given.zoo or given.folder / f"million-{nets}"
            command(path, nets) if given.step == "info" else alone(given.step, path, nets)
        return
    for nets in sizes:
        path = given.zoo or given.folder / f"million-{nets}"
        for name in STEPS if given.zoo or path.exists() else ("written", *STEPS):
            where = ["--zoo", str(path)] if given.zoo else ["--folder", str(given.folder), "--nets", str(nets)]
            subprocess.run([sys.executable, __file__, "--step", name, *where], check=True)
        if not given.zoo and not given.keep:
            shutil.rmtree(path)


if __name__ == "__main__":
    main()
