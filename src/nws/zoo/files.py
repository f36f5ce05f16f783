"""Where the nets of a zoo lie: each in a file of its own, or in a shard. Files used last are kept open."""

from __future__ import annotations

import errno
import mmap
import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np

from nws.errors import NwsError
from nws.layout import Layout
from nws.net import Net
from nws.zoo.netfile import Header, net_path, parse_header, read_net, read_records
from nws.zoo.shardfile import Shard, folder_of, span_of

_FLOAT = np.dtype("<f4")
_HEADERS = 20_000  # of nets in files of their own, 5 kB each: parsing one takes longer than opening its file
_T = TypeVar("_T")


class Single:
    """A net's own file, open, its header checked: what `Shard` is to many nets."""

    def __init__(self, path: Path, number: int, known: tuple[tuple[int, ...], Header] | None):
        self.path, self._number = path, number
        self.descriptor = os.open(path, os.O_RDONLY)
        self._close = weakref.finalize(self, os.close, self.descriptor)
        status = os.fstat(self.descriptor)
        self.identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        self._header = known[1] if known and known[0] == self.identity else parse_header(self.descriptor, path, number)[0]
        self.offsets = self._header.offsets

    def __contains__(self, number: int) -> bool:
        return number == self._number

    def span(self, number: int) -> tuple[int, int, int]:
        """Where the net's theta begins in the file's (in weights), its snapshots S, its weights P."""
        return 0, self._header.snapshots, self._header.weights

    @cached_property
    def floats(self) -> np.ndarray:
        """All of theta as (S * P,): a read-only memory map, which lives as long as an array that looks into it."""
        mapped = mmap.mmap(self.descriptor, 0, access=mmap.ACCESS_READ)
        return np.frombuffer(mapped, _FLOAT, self._header.snapshots * self._header.weights, self.offsets["theta"])

    def header(self, number: int) -> Header:
        return self._header

    def layout(self, number: int) -> Layout:
        return self._header.layout

    def net(self, number: int) -> Net:
        return read_net(self.path, number)

    def records(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        return read_records(self.path, number)


File = Single | Shard


class Files:
    """The files of the zoo at `root`, found by net. Safe to share between threads: a file in use is not closed."""

    def __init__(self, root: Path):
        self._root = root
        self._headers: OrderedDict[int, tuple[tuple[int, ...], Header]] = OrderedDict()
        self._open: OrderedDict[int | Path, File] = OrderedDict()
        self._listed: dict[Path, tuple[int, list[Path]]] = {}  # folder of shards -> its time of change, and what it holds
        self._last: File | None = None
        self._kept = _files_to_keep()
        self._lock = threading.RLock()

    def forget(self) -> None:
        """Close all files: some of them may have been replaced."""
        with self._lock:
            self._open.clear()
            self._headers.clear()
            self._listed.clear()
            self._last = None

    def of(self, number: int) -> File:
        """The open file with this net, its own before a shard. NwsError when there is none or it is damaged."""
        with self._lock:
            if self._last is None or number not in self._last:
                self._last = self._single(number) or self._shard(number)
            if self._last is None:
                raise NwsError(f"{self._root} has no net {number}: see `nws info {self._root}`")
            return self._last

    def moved(self, number: int) -> File:
        """As `of`, but of a file that is still there: since it was opened its net may have been packed."""
        with self._lock:
            if isinstance(file := self.of(number), Single) and not file.path.exists():
                self._open.pop(number, None)
                self._headers.pop(number, None)
                self._last = None
            return self.of(number)

    def has(self, number: int) -> bool:
        """Whether a file bears the net's name, or a shard holds it; of a shard that cannot be read nobody knows, so it does not."""
        with self._lock:
            try:
                return net_path(self._root, number).exists() or self._shard(number) is not None
            except NwsError:
                return False

    def shard(self, path: Path) -> Shard:
        """The shard in this file, open. DamagedFileError when it is none, FileNotFoundError when it is gone."""
        with self._lock:
            known = self._open.get(path)
            if isinstance(known, Shard):
                self._open.move_to_end(path)
                return known
            return self._keep(path, _with_more_files(lambda: Shard(path)))

    def _single(self, number: int) -> Single | None:
        known = self._open.get(number)
        if isinstance(known, Single):
            self._open.move_to_end(number)
            return known
        path = net_path(self._root, number)
        try:
            file = self._keep(number, _with_more_files(lambda: Single(path, number, self._headers.get(number))))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise NwsError(f"{path}: cannot be read ({error.strerror}): see that it is readable") from None
        self._headers[number] = (file.identity, file.header(number))
        if len(self._headers) > _HEADERS:
            self._headers.popitem(last=False)
        return file

    def _shard(self, number: int) -> Shard | None:
        broken = None
        for path in self._shards_in(folder_of(self._root, number)):
            first, last = span_of(path) or (0, -1)
            if not first <= number <= last:
                continue
            try:
                shard = self.shard(path)
            except FileNotFoundError:
                continue  # moved aside, or its nets are in a larger one
            except OSError as error:
                broken = NwsError(f"{path}: cannot be read ({error.strerror}): see that it is readable")
            except NwsError as error:
                broken = error
            else:
                if number in shard:
                    return shard
        if broken:
            raise broken
        return None

    def _shards_in(self, folder: Path) -> list[Path]:
        try:
            changed = folder.stat().st_mtime_ns
        except OSError:
            return []
        if self._listed.get(folder, (None,))[0] != changed:
            self._listed[folder] = changed, sorted(path for path in folder.iterdir() if span_of(path))
        return self._listed[folder][1]

    def _keep(self, key: int | Path, file: _T) -> _T:
        assert isinstance(file, Single | Shard)
        self._open[key] = file
        if len(self._open) > self._kept:
            self._open.popitem(last=False)  # closed once nobody reads from it
        return file


def mapped(file: File) -> np.ndarray:
    """`floats` of a file, where need be with more open files: Python's memory maps hold one each."""
    return _with_more_files(lambda: file.floats)


def _with_more_files(attempt: Callable[[], _T]) -> _T:
    """Try again with the process's limit of open files raised: 1,024 is a common limit."""
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
