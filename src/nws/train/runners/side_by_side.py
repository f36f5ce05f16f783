"""Many nets at once on one GPU, by turns from one thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch

from nws import device
from nws.device import Lane, Mark, Passed
from nws.errors import NwsError
from nws.families.space import Config
from nws.images import ImageSet
from nws.net import Net
from nws.train.gpu_engine import GpuEngine
from nws.train.loop import Engine, Job, Progress, Schedule, train_in_turns
from nws.train.torch_engine import Resident, resident

PAUSE = 1e-4  # seconds, when every lane has enough to do: a tenth of what it has queued, or less


def side_by_side(
    jobs: Iterable[Job],
    images: Mapping[str, ImageSet],
    schedule: Schedule,
    lanes: Sequence[Lane],
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Iterator[Net]:
    """Train the jobs on the lanes of one device and yield each net as it is done; its lane takes the next job.

    One thread for all, because threads would hand Python's lock around thousands of times a second, and because nothing may come
    between the start and the end of a capture. NwsError when the device's memory is too small.
    """
    if not lanes:
        return
    waiting = iter(jobs)
    shared: dict[str, Resident] = {}
    busy: dict[Lane, tuple[Generator[Mark, None, Net], Mark]] = {}
    with device.exact():
        try:

            def start(job: Job, lane: Lane) -> Generator[Mark, None, Net]:
                if job.hp.dataset not in shared:
                    shared[job.hp.dataset] = resident(images[job.hp.dataset], lane.device)

                def make(hp: Config, theta: np.ndarray, images: ImageSet, seed: int) -> Engine:
                    return GpuEngine(hp, theta, shared[hp.dataset], seed, lane=lane)

                return train_in_turns(job, images[job.hp.dataset], make, schedule, on_progress)

            while True:
                for lane in lanes:
                    if lane not in busy and (job := next(waiting, None)) is not None:
                        busy[lane] = start(job, lane), Passed()
                if not busy:
                    return
                ready = [lane for lane, (_, mark) in busy.items() if mark.query()]
                if not ready:
                    time.sleep(PAUSE)
                for lane in ready:
                    training, _ = busy.pop(lane)
                    try:
                        busy[lane] = training, next(training)
                    except StopIteration as end:
                        yield end.value
        except torch.OutOfMemoryError as error:
            raise NwsError(
                f"the GPU's memory is too small for {len(lanes)} nets at once: use fewer --workers ({str(error).splitlines()[0]})"
            ) from None
        finally:
            device.wait(lanes[0].device)  # what is still queued uses memory that is about to be given back
