"""Worker processes, each training one net after another. A worker may die; what it was at is tried once more."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from nws.errors import NwsError
from nws.images import ImageSet
from nws.net import Net
from nws.train.loop import Job, Progress

TRIES = 2  # of a net whose worker dies: once may be anybody's fault, twice is the net's, or the machine is too small for it
_STARTS = 3  # workers in a row that die before they are ready: then no other will be
_NO_MEMORY = 75  # exit code of a worker that was refused memory

Tell = Callable[[Progress], None]
Train = Callable[[Job, ImageSet, Tell], Net]


@dataclass(frozen=True)
class GivenUp:
    """A net that could not be trained, and why in a few words."""

    number: int
    why: str


def in_processes(
    jobs: Sequence[Job], images: Mapping[str, ImageSet], train: Train, workers: int, tell: Tell
) -> Iterator[Net | GivenUp]:
    """Each job as it is done, in any order. `train` must be picklable. NwsError when no worker can be started.

    An exception of a net itself (a bug) is raised here; lack of memory and signals end a worker, and others go on.
    """
    pool = _Pool(jobs, images, train, tell)
    try:
        for _ in range(workers):
            pool.start()
        while pool.busy:
            for connection in wait(list(pool.busy)):
                assert isinstance(connection, Connection)
                made = pool.answer(connection)
                if made is not None:
                    yield made
    finally:
        pool.end()


class _Pool:
    def __init__(self, jobs: Sequence[Job], images: Mapping[str, ImageSet], train: Train, tell: Tell):
        self.waiting = list(reversed(jobs))
        self.images, self.train, self.tell = images, train, tell
        self.busy: dict[Connection, tuple[Any, Job | None]] = {}  # (process, what it trains; None while it starts)
        self.deaths: Counter[int] = Counter()
        self.failed_starts = 0
        self.context = multiprocessing.get_context("spawn")  # fork would copy a process whose threads hold locks
        self.folder: tempfile.TemporaryDirectory[str] | None = None
        self.shared: Shared = []

    def start(self) -> None:
        if self.folder is None:
            self.folder = tempfile.TemporaryDirectory(prefix="nws-images-", ignore_cleanup_errors=True)
            self.shared = _share(self.images, Path(self.folder.name))
        ours, theirs = self.context.Pipe()
        process = self.context.Process(target=_work, args=(theirs, self.shared, self.train), daemon=True)
        with _script_out_of_sight():
            process.start()
        theirs.close()  # so that a dead worker is an end of file here
        self.busy[ours] = (process, None)

    def answer(self, connection: Connection) -> Net | GivenUp | None:
        """What a worker has to say, or its end."""
        try:
            message = connection.recv()
        except (EOFError, OSError):  # OSError: in the middle of a message
            return self._died(connection)
        if isinstance(message, Progress):
            self.tell(message)
            return None
        if isinstance(message, Exception):
            raise message
        self.failed_starts = 0
        self._next(connection)
        return message if isinstance(message, Net) else None

    def _next(self, connection: Connection) -> None:
        process, _ = self.busy[connection]
        if not self.waiting:
            connection.close()
            process.join()
            del self.busy[connection]
            return
        job = self.waiting.pop()
        self.busy[connection] = (process, job)
        try:
            connection.send(job)
        except OSError:  # it died since: then its connection ends, and that is seen like any other death
            pass
        if self.folder and all(job for _, job in self.busy.values()):
            self.folder.cleanup()  # every worker has mapped the images: without names not even `kill -9` leaves them behind
            self.folder = None

    def _died(self, connection: Connection) -> GivenUp | None:
        process, job = self.busy.pop(connection)
        connection.close()
        process.join()
        why = "memory ran out" if process.exitcode == _NO_MEMORY else f"exit code {process.exitcode}"
        given_up = None
        if job is None:
            self.failed_starts += 1
            if self.failed_starts >= _STARTS:
                raise NwsError(
                    f"{_STARTS} workers died while starting ({why}): was memory short? Finished nets are kept; the same command "
                    "goes on from there, if need be with fewer --workers"
                )
        else:
            self.deaths[job.number] += 1
            if self.deaths[job.number] < TRIES:
                self.waiting.insert(0, job)  # last of all: by then fewer workers share the memory
            else:
                given_up = GivenUp(job.number, f"its worker died {TRIES} times, {why}")
        if len(self.waiting) > sum(job is None for _, job in self.busy.values()):
            self.start()
        return given_up

    def end(self) -> None:
        for process, _ in self.busy.values():
            process.terminate()
        for process, _ in self.busy.values():
            process.join()
        if self.folder:
            self.folder.cleanup()


@contextmanager
def _script_out_of_sight() -> Iterator[None]:
    """A process that is spawned runs its parent's script first, to know what it defines. Ours need nothing of it, and a script
    without `if __name__ == "__main__":` would start workers in every worker; one piped into python has no file to run."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


ARRAYS = ("x_train", "y_train", "x_test", "y_test")
Shared = list[tuple[dict[str, Any], dict[str, str]]]  # per image set: what is small, and array -> file


def _share(images: Mapping[str, ImageSet], folder: Path) -> Shared:
    """Put the pictures in files that every worker maps, so that they are in memory once."""
    shared = []
    for k, s in enumerate(images.values()):
        files = {array: str(folder / f"{k}-{array}.npy") for array in ARRAYS}
        for array, file in files.items():
            np.save(file, getattr(s, array))
        shared.append(({"name": s.name, "classes": s.classes, "about": dict(s.about)}, files))
    return shared


def _work(connection: Connection, shared: Shared, train: Train) -> None:
    """A worker's life: map the images, then train one job after another until the parent hangs up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's affair; it ends us
    try:
        images = {}
        for small, files in shared:
            # "c", copy on write: shared like a read-only map, but PyTorch does not warn of an unwritable array
            images[small["name"]] = ImageSet(**small, **{array: np.load(file, mmap_mode="c") for array, file in files.items()})
        connection.send("ready")
        while True:
            job = connection.recv()
            connection.send(train(job, images[job.hp.dataset], connection.send))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent is gone or done
    except Exception as error:
        if isinstance(error, MemoryError) or "allocate memory" in str(error):  # PyTorch says it with a RuntimeError
            os._exit(_NO_MEMORY)  # at once: without memory nothing more can be relied on
        connection.send(error)
