"""Random access to theta without loading whole nets.

Two roads, because neither wins everywhere: `pread` reads exactly the bytes asked for, right for files that are not in memory (a
memory map then drags in whole pages around each slice); `memmap` copies from the page cache without a system call per slice.
"""

from __future__ import annotations

import errno
import mmap
import os
import threading
import weakref
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from nws.errors import NwsError, unknown
from nws.zoo.container import read_into
from nws.zoo.netfile import Header, net_path, parse_header

ROADS = ("auto", "pread", "memmap")
_FLOAT = np.dtype("<f4")


class ThetaReader:
    """Reads parts of the nets below `root`, keeping the files used last open. Safe to share between threads."""

    def __init__(self, root: Path):
        self._root = root
        self._headers: dict[int, tuple[tuple[int, ...], Header]] = {}  # with the identity of the file it was read from
        self._files: OrderedDict[int, int] = OrderedDict()
        self._maps: OrderedDict[int, np.ndarray] = OrderedDict()
        self._kept = _files_to_keep()
        self._lock = threading.RLock()  # a descriptor must not be closed by one thread while another reads from it
        self._close = weakref.finalize(self, _close_all, self._files)

    def forget(self) -> None:
        """Close all files: some of them may have been replaced."""
        with self._lock:
            _close_all(self._files)
            self._maps.clear()
            self._headers.clear()

    def header(self, number: int) -> Header:
        """The checked header of a net; NwsError when there is no such net or its file is damaged."""
        with self._lock:
            if number not in self._headers:
                os.close(self._open(number))
            return self._headers[number][1]

    def theta(self, number: int, snapshot: int | None = None) -> np.ndarray:
        """(P,) of one snapshot, numbered from 1, or (S, P) of all; a copy."""
        with self._lock:
            header, descriptor = self.header(number), self._file(number)
            wanted = 1 if snapshot is None else snapshot
            _check_snapshots(number, header, wanted)
            out = np.empty((header.snapshots, header.weights) if snapshot is None else header.weights, _FLOAT)
            read_into(descriptor, out, header.offsets["theta"] + 4 * header.weights * (wanted - 1), net_path(self._root, number))
            return out

    def slices(self, nets: Any, snapshots: Any, starts: Any, length: int, via: str) -> np.ndarray:
        """(n, L): out[i] = theta of net nets[i] at snapshots[i], from starts[i] on."""
        nets, snapshots, starts = np.broadcast_arrays(*(np.atleast_1d(_whole(a)) for a in (nets, snapshots, starts)))
        if length < 1:
            raise NwsError(f"a slice of {length} weights is none: use a length of at least 1")
        out = np.empty((len(nets), length), _FLOAT)
        order = np.argsort(nets, kind="stable")  # a file is looked up once, however the rows are shuffled
        nets, snapshots, starts = nets[order], snapshots[order], starts[order]
        with self._lock:
            first = self._positions(nets, snapshots, starts, length)
            current = -1
            for row, number, begin in zip(order.tolist(), nets.tolist(), first.tolist(), strict=True):
                if via == "memmap":
                    if number != current:
                        values = self._map(number)
                    out[row] = values[begin : begin + length]
                else:
                    if number != current:
                        descriptor, offset = self._file(number), self._headers[number][1].offsets["theta"]
                    if os.preadv(descriptor, [out[row]], offset + 4 * begin) != 4 * length:  # rare: in pieces, or cut short
                        read_into(descriptor, out[row], offset + 4 * begin, net_path(self._root, number))
                current = number
        return out

    def vectors(self, nets: Any, snapshots: Any, part: str) -> list[np.ndarray]:
        """Read-only views (P_part,) into memory maps: nothing is read before it is used."""
        nets, snapshots = np.broadcast_arrays(np.atleast_1d(_whole(nets)), np.atleast_1d(_whole(snapshots)))
        views = []
        with self._lock:
            for number, snapshot in zip(nets.tolist(), snapshots.tolist(), strict=True):
                header = self.header(number)
                _check_snapshots(number, header, snapshot)
                begin = (snapshot - 1) * header.weights
                where = header.layout.part(part)
                views.append(self._map(number)[begin + where.start : begin + where.stop])
        return views

    def _positions(self, nets: np.ndarray, snapshots: np.ndarray, starts: np.ndarray, length: int) -> np.ndarray:
        """Where each slice begins in its net's theta (S * P,), checked. `nets` in rising order."""
        begins = np.flatnonzero(np.diff(nets, prepend=-1))
        headers = [self.header(number) for number in nets[begins].tolist()]
        rows = np.diff(begins, append=len(nets))
        kept = np.repeat(np.array([h.snapshots for h in headers], np.int64), rows)
        weights = np.repeat(np.array([h.weights for h in headers], np.int64), rows)
        wrong = (snapshots < 1) | (snapshots > kept) | (starts < 0) | (starts > weights - length)
        if wrong.any():
            at = int(wrong.argmax())
            header = self.header(int(nets[at]))
            _check_snapshots(int(nets[at]), header, snapshots[at])
            _check_start(int(nets[at]), header, int(starts[at]), length)
        return (snapshots - 1) * weights + starts

    def _file(self, number: int) -> int:
        if number not in self._files:
            self._files[number] = self._open(number)
            if len(self._files) > self._kept:
                os.close(self._files.popitem(last=False)[1])
        self._files.move_to_end(number)
        return self._files[number]

    def _map(self, number: int) -> np.ndarray:
        """All of a net's theta as (S * P,), read-only. The map lives as long as an array that looks into it."""
        if number not in self._maps:
            descriptor = self._open(number)
            try:
                header = self._headers[number][1]
                mapped = _with_more_files(lambda: mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ))
            finally:
                os.close(descriptor)
            self._maps[number] = np.frombuffer(mapped, _FLOAT, header.snapshots * header.weights, header.offsets["theta"])
            if len(self._maps) > self._kept:
                self._maps.popitem(last=False)
        self._maps.move_to_end(number)
        return self._maps[number]

    def _open(self, number: int) -> int:
        """A descriptor of the net's file, whose header is then in `_headers`."""
        path = net_path(self._root, number)
        try:
            descriptor = _with_more_files(lambda: os.open(path, os.O_RDONLY))
        except FileNotFoundError:
            raise NwsError(f"{self._root} has no net {number}: see `nws info {self._root}`") from None
        except OSError as error:
            raise NwsError(f"{path}: cannot be read ({error.strerror}): see that it is readable") from None
        try:
            status = os.fstat(descriptor)
            identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
            if self._headers.get(number, ((),))[0] != identity:
                self._headers[number] = (identity, parse_header(descriptor, path, number)[0])
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor


def _whole(numbers: Any) -> np.ndarray:
    array = np.asarray(numbers)
    if array.size and array.dtype.kind not in "iu":
        raise NwsError(f"nets, snapshots and starts must be whole numbers, got {array.dtype}")
    return array.astype(np.int64)


def _check_snapshots(number: int, header: Header, snapshots: Any) -> None:
    wrong = [s for s in np.atleast_1d(snapshots).tolist() if not 1 <= s <= header.snapshots]
    if wrong:
        raise NwsError(f"net {number} has no snapshot {wrong[0]}: use 1 to {header.snapshots}")


def _check_start(number: int, header: Header, start: int, length: int) -> None:
    if length > header.weights:
        raise NwsError(f"slice {length:,} is longer than net {number} ({header.weights:,} weights): use a shorter slice")
    if not 0 <= start <= header.weights - length:
        raise NwsError(f"net {number}: slices of {length:,} start at 0 to {header.weights - length:,}, not at {start}")


def _with_more_files(attempt: Any) -> Any:
    """Try again with the process's limit of open files raised: Python's memory maps hold one each, and 1,024 is a common limit."""
    import resource

    try:
        return attempt()
    except OSError as error:
        if error.errno != errno.EMFILE:
            raise
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return attempt()
    except (OSError, ValueError):
        raise NwsError(f"too many open files ({soft:,}): raise the limit with `ulimit -n`, or use fewer nets at a time") from None


def _files_to_keep() -> int:
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(8, min(2048, (1024 if soft == resource.RLIM_INFINITY else soft) // 4))


def _close_all(files: OrderedDict[int, int]) -> None:
    while files:
        os.close(files.popitem()[1])


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
