"""Random slices out of a zoo: files that are not in memory, and files that are."""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nws.bench.rows import paired, seconds
from nws.errors import NwsError
from nws.families import cnn2020 as cnn
from nws.families.cnn2020 import FIXED
from nws.net import Net
from nws.zoo import Zoo
from nws.zoo.netfile import net_path

LENGTH = 5000
SNAPSHOTS = 20
AT_ONCE = 64

Slices = Callable[[Any, Any, Any], Any]  # nets, snapshots, starts


def rows(quick: bool = False) -> Iterator[dict[str, Any]]:
    """Slices of 5,000 per second from a zoo of 1 GB (quick: 150 MB) on disk: wall time when cold, CPU time when in memory.

    The zoo lies in a temporary folder (`TMPDIR`), which must be on a disk for the cold figure: a file system that keeps its
    files in memory gives no such row.
    """
    nets, rounds = (20, 3) if quick else (135, 5)
    with tempfile.TemporaryDirectory() as folder:
        zoo = fabricate(Path(folder) / "zoo", nets)
        paths = [net_path(zoo.path, number) for number in range(nets)]
        maps = [np.memmap(path, "<f4", "r", _begin_of_theta(path)).reshape(SNAPSHOTS, -1) for path in paths]
        size = sum(path.stat().st_size for path in paths) / 1e9
        if forget(paths):
            yield _cold(zoo, paths, maps, 60 if quick else 500, rounds) | {"gigabytes": size}
        yield from ({**row, "gigabytes": size} for row in _warm(zoo, paths, 1000 if quick else 4000, rounds))
        del maps


def fabricate(path: Path, nets: int) -> Zoo:
    """A zoo of fixed nets whose weights are noise, 7.4 MB each."""
    zoo = Zoo.create(path)
    layout = cnn.layout(FIXED.net(0, 0))
    rng = np.random.default_rng(0)
    net = Net(
        number=0,
        hp=FIXED.net(0, 0),
        layout=layout,
        theta=rng.standard_normal((SNAPSHOTS, layout.size), np.float32),
        epoch=np.arange(SNAPSHOTS),
        history=np.zeros((SNAPSHOTS, 5)),
        seconds=0.0,
    )
    for number in range(nets):
        zoo.append(replace(net, number=number))
    return zoo


def forget(paths: list[Path]) -> bool:
    """Drop the files from the page cache; whether they are gone (they stay on a file system in memory)."""
    for path in paths:
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return sum(map(resident, paths)) < 0.01 * sum(path.stat().st_size for path in paths)


def resident(path: Path) -> int:
    """Bytes of a file that are in the page cache (mincore)."""
    size = path.stat().st_size
    pages = np.zeros(-(-size // mmap.PAGESIZE), np.uint8)
    with path.open("rb") as file, mmap.mmap(file.fileno(), size, access=mmap.ACCESS_COPY) as mapped:  # writable, as ctypes asks
        view = ctypes.c_char.from_buffer(mapped)
        failed = ctypes.CDLL(None).mincore(
            ctypes.c_void_p(ctypes.addressof(view)), ctypes.c_size_t(size), ctypes.c_void_p(pages.ctypes.data)
        )
        del view
    return size if failed else int((pages & 1).sum()) * mmap.PAGESIZE


def _cold(zoo: Zoo, paths: list[Path], maps: list[np.ndarray], n: int, rounds: int) -> dict[str, Any]:
    def from_maps(nets: np.ndarray, snapshots: np.ndarray, starts: np.ndarray) -> list[np.ndarray]:
        return [np.array(maps[i][s - 1, start : start + LENGTH]) for i, s, start in zip(nets, snapshots, starts)]

    def rate(read: Slices, seed: int) -> float:
        for mapped in maps:  # what a process has mapped and touched would stay in memory
            mapped._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]
        if not forget(paths):
            raise NwsError(
                f"{zoo.path}: its files do not leave the page cache: set TMPDIR to a folder on a disk that nobody else reads"
            )
        work = _in_batches(read, *_random(zoo, n, seed))
        return n / seconds(work, time.perf_counter)

    def own(nets: np.ndarray, snapshots: np.ndarray, starts: np.ndarray) -> np.ndarray:
        return zoo.slices(nets, snapshots, starts, LENGTH, via="pread")

    rate(own, 0), rate(from_maps, 0)
    pairs = np.array([(rate(own, seed), rate(from_maps, seed)) for seed in range(1, rounds + 1)])
    return {
        "benchmark": "store",
        "what": "cold slices of 5,000, own reader by pread",
        "value": float(np.median(pairs[:, 0])),
        "unit": "slices per second",
        "ratio": float(np.median(pairs[:, 0] / pairs[:, 1])),
        "against": "np.memmap per file, kept open",
        "target": 5.0,
    }


def _warm(zoo: Zoo, paths: list[Path], n: int, rounds: int) -> Iterator[dict[str, Any]]:
    from safetensors import safe_open

    files = [safe_open(path, "numpy").__enter__() for path in paths]

    def opened_each_time(nets: Any, snapshots: Any, starts: Any) -> None:
        for i, s, start in zip(nets, snapshots, starts):
            with safe_open(paths[i], "numpy") as file:
                file.get_slice("theta")[s - 1, start : start + LENGTH]

    def kept_open(nets: Any, snapshots: Any, starts: Any) -> None:
        for i, s, start in zip(nets, snapshots, starts):
            files[i].get_slice("theta")[s - 1, start : start + LENGTH]

    where = _random(zoo, n, 0)
    for via, against, read, target in (
        ("memmap", "safe_open and get_slice per slice", opened_each_time, 4.0),
        ("memmap", "safe_open of each file kept open, get_slice per slice", kept_open, None),
        ("pread", "safe_open and get_slice per slice", opened_each_time, None),
    ):

        def own(nets: Any, snapshots: Any, starts: Any, via: str = via) -> Any:
            return zoo.slices(nets, snapshots, starts, LENGTH, via=via)

        taken, _, ratio = paired(_in_batches(own, *where), _in_batches(read, *(a.tolist() for a in where)), rounds)
        yield {
            "benchmark": "store",
            "what": f"slices of 5,000 in memory, {AT_ONCE} at a time, own reader by {via}",
            "value": n / taken,
            "unit": "slices per CPU second",
            "ratio": ratio,
            "against": against,
            "target": target,
        }


def _random(zoo: Zoo, n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    last = cnn.layout(FIXED.net(0, 0)).size - LENGTH
    return rng.integers(len(zoo.index), size=n), rng.integers(1, SNAPSHOTS + 1, n), rng.integers(last + 1, size=n)


def _in_batches(read: Slices, nets: Any, snapshots: Any, starts: Any) -> Callable[[], None]:
    def work() -> None:
        for first in range(0, len(nets), AT_ONCE):
            some = slice(first, first + AT_ONCE)
            read(nets[some], snapshots[some], starts[some])

    return work


def _begin_of_theta(path: Path) -> int:
    """Where theta begins in a safetensors file: 8 bytes of length, the header, the tensors."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        return int(8 + length + json.loads(file.read(length))["theta"]["data_offsets"][0])
