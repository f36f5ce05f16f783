"""Random access to theta without loading whole nets.

Two roads, because neither wins everywhere: `pread` reads exactly the bytes asked for, right for files that are not in memory (a
memory map then drags in whole pages around each slice); `memmap` copies from the page cache without a system call per slice.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from nws.errors import NwsError, unknown
from nws.layout import Layout
from nws.net import Net
from nws.zoo.container import read_into
from nws.zoo.files import Files, mapped
from nws.zoo.netfile import Header

ROADS = ("auto", "pread", "memmap")
_FLOAT = np.dtype("<f4")


class ThetaReader:
    """Reads parts of the nets below `root`, wherever they lie. Safe to share between threads."""

    def __init__(self, root: Path):
        self._files = Files(root)

    def forget(self) -> None:
        """Close all files: some of them may have been replaced."""
        self._files.forget()

    def has(self, number: int) -> bool:
        """Whether there is a net of this number, sound or not."""
        return self._files.has(number)

    def header(self, number: int) -> Header:
        """The checked header of a net; NwsError when there is no such net or its file is damaged."""
        return self._files.of(number).header(number)

    def layout(self, number: int) -> Layout:
        return self._files.of(number).layout(number)

    def net(self, number: int) -> Net:
        """The whole net, every byte checked."""
        return self._files.moved(number).net(number)

    def records(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """epoch (S,) and history (T, M), checked."""
        return self._files.moved(number).records(number)

    def numbers(self, path: Path) -> list[int]:
        """The nets of a shard, none of one that cannot be read."""
        try:
            return self._files.shard(path).numbers
        except (NwsError, OSError):
            return []

    def theta(self, number: int, snapshot: int | None = None) -> np.ndarray:
        """(P,) of one snapshot, numbered from 1, or (S, P) of all; a copy."""
        file = self._files.of(number)
        first, snapshots, weights = file.span(number)
        wanted = 1 if snapshot is None else snapshot
        _check_snapshots(number, snapshots, wanted)
        out = np.empty((snapshots, weights) if snapshot is None else weights, _FLOAT)
        read_into(file.descriptor, out, file.offsets["theta"] + 4 * (first + weights * (wanted - 1)), file.path)
        return out

    def slices(self, nets: Any, snapshots: Any, starts: Any, length: int, via: str) -> np.ndarray:
        """(n, L): out[i] = theta of net nets[i] at snapshots[i], from starts[i] on."""
        nets, snapshots, starts = np.broadcast_arrays(*(np.atleast_1d(_whole(a)) for a in (nets, snapshots, starts)))
        if length < 1:
            raise NwsError(f"a slice of {length} weights is none: use a length of at least 1")
        out = np.empty((len(nets), length), _FLOAT)
        order = np.argsort(nets, kind="stable")  # a file is looked up once, however the rows are shuffled
        nets, snapshots, starts = nets[order], snapshots[order], starts[order]
        first = self._positions(nets, snapshots, starts, length)
        current = -1
        for row, number, begin in zip(order.tolist(), nets.tolist(), first.tolist(), strict=True):
            if number != current:
                file = self._files.of(number)
                values, offset = mapped(file) if via == "memmap" else None, file.offsets["theta"]
                current = number
            if values is not None:
                out[row] = values[begin : begin + length]
            elif os.preadv(file.descriptor, [out[row]], offset + 4 * begin) != 4 * length:  # rare: in pieces, or cut short
                read_into(file.descriptor, out[row], offset + 4 * begin, file.path)
        return out

    def vectors(self, nets: Any, snapshots: Any, part: str) -> list[np.ndarray]:
        """Read-only views (P_part,) into memory maps: nothing is read before it is used."""
        nets, snapshots = np.broadcast_arrays(np.atleast_1d(_whole(nets)), np.atleast_1d(_whole(snapshots)))
        views = []
        for number, snapshot in zip(nets.tolist(), snapshots.tolist(), strict=True):
            file = self._files.of(number)
            first, kept, weights = file.span(number)
            _check_snapshots(number, kept, snapshot)
            begin = first + (snapshot - 1) * weights
            where = file.layout(number).part(part)
            views.append(mapped(file)[begin + where.start : begin + where.stop])
        return views

    def _positions(self, nets: np.ndarray, snapshots: np.ndarray, starts: np.ndarray, length: int) -> np.ndarray:
        """Where each slice begins in all theta of its file, checked. `nets` in rising order."""
        begins = np.flatnonzero(np.diff(nets, prepend=-1))
        spans = np.array([self._files.of(number).span(number) for number in nets[begins].tolist()], np.int64).reshape(-1, 3)
        first, kept, weights = np.repeat(spans, np.diff(begins, append=len(nets)), 0).T
        wrong = (snapshots < 1) | (snapshots > kept) | (starts < 0) | (starts > weights - length)
        if wrong.any():
            at = int(wrong.argmax())
            _check_snapshots(int(nets[at]), int(kept[at]), snapshots[at])
            _check_start(int(nets[at]), int(weights[at]), int(starts[at]), length)
        return first + (snapshots - 1) * weights + starts


def _whole(numbers: Any) -> np.ndarray:
    array = np.asarray(numbers)
    if array.size and array.dtype.kind not in "iu":
        raise NwsError(f"nets, snapshots and starts must be whole numbers, got {array.dtype}")
    return array.astype(np.int64)


def _check_snapshots(number: int, kept: int, snapshots: Any) -> None:
    wrong = [s for s in np.atleast_1d(snapshots).tolist() if not 1 <= s <= kept]
    if wrong:
        raise NwsError(f"net {number} has no snapshot {wrong[0]}: use 1 to {kept}")


def _check_start(number: int, weights: int, start: int, length: int) -> None:
    if length > weights:
        raise NwsError(f"slice {length:,} is longer than net {number} ({weights:,} weights): use a shorter slice")
    if not 0 <= start <= weights - length:
        raise NwsError(f"net {number}: slices of {length:,} start at 0 to {weights - length:,}, not at {start}")


def fits_in_memory(total: int) -> bool:
    """Whether `total` bytes are at most half of what the machine has available: then maps are read once and stay."""
    try:
        with open("/proc/meminfo") as file:
            available = next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    return total <= available // 2


def check_road(via: str) -> None:
    if via not in ROADS:
        raise unknown("via", via, ROADS)
