"""Who trains which net: this process, or a pool of processes with one thread each; on a GPU see side_by_side.py."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import numpy as np

from nws.errors import NwsError, unknown
from nws.images import ImageSet
from nws.net import Net
from nws.space import HyperParameters
from nws.train.loop import Engine, Job, MakeEngine, Progress, Schedule, train_net

ENGINES = ("auto", "native", "torch", "gpu")

Tell = Callable[[Progress], None]


def train(
    jobs: Sequence[Job],
    images: Mapping[str, ImageSet],
    schedule: Schedule = Schedule(),  # noqa: B008 (frozen)
    *,
    engine: str = "auto",
    workers: int = 1,
    tell: Tell = lambda progress: None,
) -> Iterator[Net]:
    """Train the jobs and yield each net as it is done, in any order; the nets do not depend on `workers` or the order.

    `workers` are processes of one thread each, but with engine="gpu" nets side by side on the one GPU; see `default_workers`.
    `images` holds the image set of every job by name. `tell` hears of every record (see `Progress`). Closing the iterator
    ends the workers. Raises NwsError when an image set is missing or a worker dies.
    """
    make_engine(engine)
    for job in jobs:
        if job.hp.dataset not in images:
            raise unknown(f"net {job.number} wants an image set that was not given:", job.hp.dataset, images)
    if engine == "gpu":
        from nws.device import CudaLane
        from nws.train.side_by_side import side_by_side

        yield from side_by_side(jobs, images, schedule, [CudaLane() for _ in range(min(workers, len(jobs)))], tell)
    elif min(workers, len(jobs)) <= 1:
        for job in jobs:
            yield _trained(job, images[job.hp.dataset], engine, schedule, tell)
    else:
        yield from _pool(jobs, images, (engine, schedule), min(workers, len(jobs)), tell)


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


def _torch_engine(hp: HyperParameters, theta: np.ndarray, images: ImageSet, seed: int) -> Engine:
    from nws.train.torch_engine import TorchEngine

    return TorchEngine(hp, theta, images, seed)


def _gpu_engine(hp: HyperParameters, theta: np.ndarray, images: ImageSet, seed: int) -> Engine:
    from nws.device import CudaLane
    from nws.train.gpu_engine import GpuEngine

    return GpuEngine(hp, theta, images, seed, lane=CudaLane())


def _best_engine(hp: HyperParameters, theta: np.ndarray, images: ImageSet, seed: int) -> Engine:
    from nws.train.native_engine import NativeEngine, why_not

    engine = _torch_engine if why_not(hp, images) else NativeEngine
    return engine(hp, theta, images, seed)


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_workers(engine: str) -> int:
    """One per core; as many nets on a GPU as it has queues for."""
    if engine == "gpu":
        from nws.device import LANES

        return LANES
    return cores()


def _trained(job: Job, images: ImageSet, engine: str, schedule: Schedule, tell: Tell) -> Net:
    from nws.train.native_engine import why_not

    # The native engine is one thread by itself, and does without PyTorch: a worker needs 250 MB less.
    native = engine == "native" or (engine == "auto" and not why_not(job.hp, images))
    with contextlib.nullcontext() if native else _one_thread():
        return train_net(job, images, make_engine(engine), schedule, tell)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """One thread per net: several in one small net lose more than they win, and the sums would depend on their number."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # vanishing moments of Adam otherwise cost up to a hundred times an ordinary product
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(False)


def _pool(
    jobs: Sequence[Job], images: Mapping[str, ImageSet], how: tuple[str, Schedule], workers: int, tell: Tell
) -> Iterator[Net]:
    waiting = list(reversed(jobs))
    busy: dict[Connection, tuple[Any, Job | None]] = {}
    context = multiprocessing.get_context("spawn")  # fork would copy a process whose threads hold locks
    folder = tempfile.TemporaryDirectory(prefix="nws-images-", ignore_cleanup_errors=True)
    try:
        shared = _share(images, Path(folder.name))
        for _ in range(workers):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, shared, *how), daemon=True)
            process.start()
            theirs.close()  # so that a dead worker is an end of file here
            busy[ours] = (process, None)
        while busy:
            for connection in wait(list(busy)):
                assert isinstance(connection, Connection)
                process, job = busy[connection]
                message = _receive(connection, process, job)
                if isinstance(message, Progress):
                    tell(message)
                    continue
                if isinstance(message, Exception):
                    raise message
                if isinstance(message, Net):
                    yield message
                if not waiting:
                    connection.close()
                    process.join()
                    del busy[connection]
                    continue
                job = waiting.pop()
                busy[connection] = (process, job)
                connection.send(job)
                if all(job for _, job in busy.values()):  # every worker has mapped the images: the names can go, so that
                    folder.cleanup()  # not even `kill -9` leaves them behind
    finally:
        for process, _ in busy.values():
            process.terminate()
        for process, _ in busy.values():
            process.join()
        folder.cleanup()


def _receive(connection: Connection, process: Any, job: Job | None) -> Any:
    try:
        return connection.recv()
    except (EOFError, ConnectionResetError):
        process.join()
        doing = f"training net {job.number}" if job else "starting"
        raise NwsError(
            f"a worker died while {doing} (exit code {process.exitcode}): was memory short? Finished nets are kept; "
            "the same command goes on from there, if need be with fewer --workers"
        ) from None


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


def _work(connection: Connection, shared: Shared, engine: str, schedule: Schedule) -> None:
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
            connection.send(_trained(job, images[job.hp.dataset], engine, schedule, connection.send))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent is gone or done
    except Exception as error:
        connection.send(error)
