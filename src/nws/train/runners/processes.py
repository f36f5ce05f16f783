"""Worker processes, each training one net after another. A worker may die; what it was at is tried once more."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nws.images import ImageSet
from nws.net import Net
from nws.processes import Lost, Pool, Task
from nws.train.loop import Job
from nws.train.runners.base import Block, GivenUp, OnProgress, Training, blocks

TRIES = 2  # of a net whose worker dies: once may be anybody's fault, twice is the net's, or the machine is too small for it


def in_processes(
    jobs: Iterable[Job], images: Mapping[str, ImageSet], training: Training, workers: int, on_progress: OnProgress
) -> Iterator[Net | GivenUp]:
    """Each net as it is done, in any order; the next block is asked for when a worker is free.

    NwsError when no worker can be started. An exception of a net itself (a bug) is raised here; lack of memory and signals end a
    worker, and others go on.
    """
    shared = _Shared(images)
    pool = Pool(workers, shared, TRIES)
    taken: list[Block] = []

    def tasks() -> Iterator[Task]:
        for block in blocks(jobs):
            taken.append(block)
            yield Task(_train, (training, block))

    try:
        for at, made in pool.run(tasks(), lambda _, message: on_progress(message), all_ready=shared.unname):
            yield from [GivenUp(job.number, made.why) for job in taken[at]] if isinstance(made, Lost) else made
    finally:
        pool.close()
        shared.unname()


def _train(images: Mapping[str, ImageSet], training: Training, block: Block, on_progress: OnProgress) -> list[Net]:
    return training.block(block, images[block[0].hp.dataset], on_progress)


ARRAYS = ("x_train", "y_train", "x_test", "y_test")


class _Shared:
    """Image sets that are sent to workers as names of files, which every worker maps, so that they are in memory once."""

    def __init__(self, images: Mapping[str, ImageSet]):
        self.images = images
        self.folder: tempfile.TemporaryDirectory[str] | None = None
        self.sent: list[tuple[dict[str, Any], dict[str, str]]] = []  # per image set: what is small, and array -> file

    def __reduce__(self) -> tuple[Any, ...]:
        if self.folder is None:
            self.folder = tempfile.TemporaryDirectory(prefix="nws-images-", ignore_cleanup_errors=True)
            self.sent = [self._saved(k, s) for k, s in enumerate(self.images.values())]
        return partial, (_mapped, self.sent)

    def _saved(self, k: int, s: ImageSet) -> tuple[dict[str, Any], dict[str, str]]:
        assert self.folder
        files = {array: str(Path(self.folder.name) / f"{k}-{array}.npy") for array in ARRAYS}
        for array, file in files.items():
            np.save(file, getattr(s, array))
        return {"name": s.name, "classes": s.classes, "about": dict(s.about)}, files

    def unname(self) -> None:
        """Once every worker has mapped the files, they need no names: then not even `kill -9` leaves them behind."""
        if self.folder:
            self.folder.cleanup()
            self.folder = None

    def __call__(self) -> Mapping[str, ImageSet]:
        return self.images


def _mapped(sent: Sequence[tuple[dict[str, Any], dict[str, str]]]) -> dict[str, ImageSet]:
    # "c", copy on write: shared like a read-only map, but PyTorch does not warn of an unwritable array
    return {
        small["name"]: ImageSet(**small, **{array: np.load(file, mmap_mode="c") for array, file in files.items()})
        for small, files in sent
    }
