"""What a runner is: who trains which net, and where."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from nws.images import ImageSet
from nws.net import Net
from nws.threads import chosen_by_user
from nws.train import engines
from nws.train.loop import Job, Progress, Schedule, train_block, train_net

OnProgress = Callable[[Progress], None]
Block = tuple[Job, ...]  # nets that are trained in one go, of one image set


@dataclass(frozen=True)
class Training:
    """How one net, or a block of them, is trained; it can be sent to another process."""

    engine: str
    schedule: Schedule

    def block(self, jobs: Block, images: ImageSet, on_progress: OnProgress) -> list[Net]:
        """The nets of one block (see `blocks`), in its order."""
        if jobs[0].hp.family.train_many is not None:
            return train_block(jobs, images, self.engine, self.schedule)
        return [self(job, images, on_progress) for job in jobs]

    def __call__(self, job: Job, images: ImageSet, on_progress: OnProgress) -> Net:
        if job.hp.family.train_many is not None:
            return train_block((job,), images, self.engine, self.schedule)[0]
        # The native engine is one thread by itself, and does without PyTorch: a worker needs 250 MB less.
        native = engines.chosen(self.engine, job.hp, images) == "native"
        with contextlib.nullcontext() if native else _one_thread():
            return train_net(job, images, partial(engines.make, self.engine), self.schedule, on_progress)


@dataclass(frozen=True)
class GivenUp:
    """A net that could not be trained, and why in a few words."""

    number: int
    why: str


class Runner(Protocol):
    """Jobs in, nets out: each as it is done, in any order; the nets depend neither on the order nor on `workers`.

    The next job is asked for when there is room for it: until then it may be another process's. And no more once there was none.

    `images` holds the image set of every job by name. Closing the iterator ends whatever the runner started.
    """

    def __call__(
        self, jobs: Iterable[Job], images: Mapping[str, ImageSet], training: Training, workers: int, on_progress: OnProgress
    ) -> Iterator[Net | GivenUp]: ...


def blocks(jobs: Iterable[Job]) -> Iterator[Block]:
    """Each job alone; of families that train many nets as one program as many together as they like (`Family.together`)."""
    waiting: dict[str, list[Job]] = {}
    for job in jobs:
        family = job.hp.family
        some = waiting.setdefault(job.hp.dataset, [])
        some.append(job)
        if len(some) >= (family.together(some[0].hp) if family.train_many is not None else 1):
            yield tuple(waiting.pop(job.hp.dataset))
    yield from (tuple(rest) for rest in waiting.values())


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """One thread per net, unless the user chose a number: several in one small net lose more than they win, and the sums depend on
    their number."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(chosen_by_user() or 1)
    torch.set_flush_denormal(True)  # vanishing moments of Adam otherwise cost up to a hundred times an ordinary product
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(False)
