"""Who trains which net: this process, or processes with one thread each (pool.py); on a GPU see side_by_side.py."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np

from nws.errors import NwsError, unknown
from nws.families import CNN2020
from nws.families.space import Config
from nws.images import ImageSet
from nws.net import Net
from nws.threads import chosen_by_user, cores
from nws.train.loop import Engine, Job, MakeEngine, Progress, Schedule, train_net
from nws.train.runners.processes import GivenUp, in_processes

ENGINES = ("auto", "native", "torch", "gpu")

_NAMED = 20  # nets in an error's one line

OnProgress = Callable[[Progress], None]


def train(
    jobs: Sequence[Job],
    images: Mapping[str, ImageSet],
    schedule: Schedule = Schedule(),  # noqa: B008 (frozen)
    *,
    engine: str = "auto",
    workers: int = 1,
    on_progress: OnProgress = lambda progress: None,
    gave_up: Callable[[GivenUp], None] = lambda net: None,
) -> Iterator[Net]:
    """Train the jobs and yield each net as it is done, in any order; the nets do not depend on `workers` or the order.

    `workers` are processes of one thread each, but with engine="gpu" nets side by side on the one GPU; see `default_workers`.
    `images` holds the image set of every job by name. `on_progress` receives every record (see `Progress`). Closing the iterator
    ends the workers. A net whose worker dies is tried once more by another worker; then `gave_up` hears of it, and the rest go on.

    Raises NwsError when an image set is missing, or at the end, naming the nets that were given up.
    """
    make_engine(engine)
    for job in jobs:
        if job.hp.dataset not in images:
            raise unknown(f"net {job.number} wants an image set that was not given:", job.hp.dataset, images)
        if reason := why_not(engine, job.hp):
            raise NwsError(f"net {job.number}: {reason}")
    if engine == "gpu":
        from nws.device import CudaLane
        from nws.train.runners.side_by_side import side_by_side

        yield from side_by_side(jobs, images, schedule, [CudaLane() for _ in range(min(workers, len(jobs)))], on_progress)
        return
    lost: list[GivenUp] = []
    for made in _one_by_one(jobs, images, (engine, schedule), workers, on_progress):
        if isinstance(made, GivenUp):
            gave_up(made)
            lost.append(made)
        else:
            yield made
    if lost:
        named = ", ".join(str(net.number) for net in lost[:_NAMED]) + (" ..." if len(lost) > _NAMED else "")
        raise NwsError(
            f"{len(lost)} of {len(jobs)} nets could not be trained: net {named} ({lost[0].why}): see that memory suffices, if need "
            "be with fewer --workers; the others are done, and the same command tries these again"
        )


def _one_by_one(
    jobs: Sequence[Job], images: Mapping[str, ImageSet], how: tuple[str, Schedule], workers: int, on_progress: OnProgress
) -> Iterator[Net | GivenUp]:
    if min(workers, len(jobs)) > 1:
        yield from in_processes(jobs, images, partial(_trained, *how), min(workers, len(jobs)), on_progress)
        return
    for job in jobs:
        try:
            yield _trained(*how, job, images[job.hp.dataset], on_progress)
        except MemoryError:  # nobody else holds any that a second try could have
            yield GivenUp(job.number, "memory ran out")


def why_not(engine: str, hp: Config) -> str | None:
    """Why an engine cannot train this net on any images, in one line; None when it can."""
    if hp.family.train is not None:
        return None if engine == "auto" else f"nets of {hp.family.name} bring their own training: use --engine auto"
    if missing := [name for name in ("learning_rate", "batch_size") if name not in hp]:
        return f"{hp.family.name} has no {' and no '.join(missing)}, which the built-in loop needs: add them, or write `train`"
    if engine == "native" and hp.family is not CNN2020:
        return f"the native engine trains nets of {CNN2020.name}, not of {hp.family.name}: use --engine auto"
    return None


def make_engine(name: str) -> MakeEngine:
    """What makes the engine of a net. "auto": the native one for every net it can train (`native_engine.why_not`), else torch.

    "auto" never takes the GPU: it cannot know how busy that is, and the engine of a zoo should not depend on where it is resumed.
    """
    if name not in ENGINES:
        raise unknown("engine", name, ENGINES)
    from nws.train import native_engine

    if name == "native":
        if reason := native_engine.why_not():
            raise NwsError(f"{reason}, or use --engine torch")
        return native_engine.NativeEngine
    if name == "torch":
        return _torch_engine
    if name == "gpu":
        from nws import device

        if reason := device.why_no_gpu():
            raise NwsError(f"engine gpu: {reason}, or use --engine auto")
        return _gpu_engine
    return _best_engine


def _torch_engine(hp: Config, theta: np.ndarray, images: ImageSet, seed: int) -> Engine:
    from nws.train.torch_engine import TorchEngine

    return TorchEngine(hp, theta, images, seed)


def _gpu_engine(hp: Config, theta: np.ndarray, images: ImageSet, seed: int) -> Engine:
    from nws.device import CudaLane
    from nws.train.gpu_engine import GpuEngine

    return GpuEngine(hp, theta, images, seed, lane=CudaLane())


def _best_engine(hp: Config, theta: np.ndarray, images: ImageSet, seed: int) -> Engine:
    from nws.train.native_engine import NativeEngine, why_not

    engine = _torch_engine if why_not(hp, images) else NativeEngine
    return engine(hp, theta, images, seed)


def default_workers(engine: str) -> int:
    """One per core; as many nets on a GPU as it has queues for."""
    if engine == "gpu":
        from nws.device import LANES

        return LANES
    return cores()


def _trained(engine: str, schedule: Schedule, job: Job, images: ImageSet, on_progress: OnProgress) -> Net:
    from nws.train.native_engine import why_not

    # The native engine is one thread by itself, and does without PyTorch: a worker needs 250 MB less.
    native = engine == "native" or (engine == "auto" and not why_not(job.hp, images))
    with contextlib.nullcontext() if native else _one_thread():
        return train_net(job, images, make_engine(engine), schedule, on_progress)


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
