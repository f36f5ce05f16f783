"""Who trains which net: this process (serial), processes of one thread each, or one GPU with nets side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from nws.errors import NwsError, unknown
from nws.images import ImageSet
from nws.net import Net
from nws.threads import cores
from nws.train import engines
from nws.train.loop import Job, Schedule
from nws.train.runners.base import GivenUp, OnProgress, Runner, Training, blocks
from nws.train.runners.processes import in_processes

_NAMED = 20  # nets in an error's one line


def train(
    jobs: Iterable[Job],
    images: Mapping[str, ImageSet],
    schedule: Schedule = Schedule(),  # noqa: B008 (frozen)
    *,
    engine: str = "auto",
    runner: str = "auto",
    workers: int = 1,
    on_progress: OnProgress = lambda progress: None,
    gave_up: Callable[[GivenUp], None] = lambda net: None,
) -> Iterator[Net]:
    """Train the jobs and yield each net as it is done, in any order; the nets do not depend on `workers` or the order.

    The next job is asked for when there is a worker for it, so that others may train part of a zoo. A list is checked first.
    `workers` are processes of one thread each, but with engine="gpu" nets side by side on the one GPU; see `default_workers`.
    `images` holds the image set of every job by name. `on_progress` receives every record (see `Progress`). Closing the iterator
    ends the workers. A net whose worker dies is tried once more by another worker; then `gave_up` receives it, and the rest go on.

    Raises NwsError when an image set is missing, or at the end, naming the nets that were given up.
    """
    engines.check(engine)
    if isinstance(jobs, Sequence):
        workers = min(workers, len([_checked(job, images, engine) for job in jobs]))
        if engine == "gpu" and jobs and jobs[0].hp.family.train_many is not None:
            runner = "serial"  # it is one program for many nets already
    lost: list[GivenUp] = []
    taken = 0

    def coming() -> Iterator[Job]:
        nonlocal taken
        for job in jobs:
            taken += 1
            yield _checked(job, images, engine)

    for made in _runner(runner, engine, workers)(coming(), images, Training(engine, schedule), workers, on_progress):
        if isinstance(made, GivenUp):
            gave_up(made)
            lost.append(made)
        else:
            yield made
    if lost:
        named = ", ".join(str(net.number) for net in lost[:_NAMED]) + (" ..." if len(lost) > _NAMED else "")
        raise NwsError(
            f"{len(lost)} of {taken} nets could not be trained: net {named} ({lost[0].why}): see that memory suffices, if need "
            "be with fewer --workers; the others are done, and the same command tries these again"
        )


def _checked(job: Job, images: Mapping[str, ImageSet], engine: str) -> Job:
    if job.hp.dataset not in images:
        raise unknown(f"net {job.number} wants an image set that was not given:", job.hp.dataset, images)
    if reason := engines.why_not(engine, job.hp):
        raise NwsError(f"net {job.number}: {reason}")
    return job


def in_this_process(
    jobs: Iterable[Job], images: Mapping[str, ImageSet], training: Training, workers: int, on_progress: OnProgress
) -> Iterator[Net | GivenUp]:
    for block in blocks(jobs):
        try:
            yield from training.block(block, images[block[0].hp.dataset], on_progress)
        except MemoryError:  # nobody else holds any that a second try could have
            yield from [GivenUp(job.number, "memory ran out") for job in block]


def on_gpu(
    jobs: Iterable[Job], images: Mapping[str, ImageSet], training: Training, workers: int, on_progress: OnProgress
) -> Iterator[Net | GivenUp]:
    from nws.device import CudaLane
    from nws.train.runners.side_by_side import side_by_side

    yield from side_by_side(jobs, images, training.schedule, [CudaLane() for _ in range(workers)], on_progress)


RUNNERS: Mapping[str, Runner] = {"serial": in_this_process, "processes": in_processes, "gpu": on_gpu}


def _runner(name: str, engine: str, workers: int) -> Runner:
    """The runner of this name; "auto": what suits the engine and the number of workers."""
    if name == "auto":
        name = "gpu" if engine == "gpu" else "processes" if workers > 1 else "serial"
    if name not in RUNNERS:
        raise unknown("runner", name, ("auto", *RUNNERS))
    return RUNNERS[name]


def default_workers(engine: str) -> int:
    """One per core; as many nets on a GPU as it has queues for."""
    if engine == "gpu":
        from nws.device import LANES

        return LANES
    return cores()
