"""Nets trained by the tasks of a Ray cluster (extra `ray`). The zoo is written by the process that asks, as with any runner."""

from __future__ import annotations

import contextlib
import os
import socket
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nws.errors import NwsError
from nws.images import ImageSet
from nws.net import Net
from nws.threads import cores
from nws.train.loop import Job
from nws.train.runners.base import Block, GivenUp, OnProgress, Training, blocks

AHEAD = 2  # tasks for each core: one that runs, and one that is there when it is done
WORTH = 1.0  # seconds of work in a task; handing one out and taking its nets back costs some milliseconds
MOST = 64  # nets in a task
RETRIES = 2  # of a task whose node or worker dies; then its nets are tried one by one, as often
_POLL = 0.5  # seconds after which signals are heard


@dataclass(frozen=True)
class Ray:
    """A runner: `nws sample --runner ray`.

    address  of a cluster that is up: "auto" for the one that this host belongs to, or "ray://HOST:PORT"; None starts one here
    workers  tasks at once; None is one for each core of the cluster
    """

    address: str | None = None
    workers: int | None = None

    def __call__(
        self, jobs: Iterable[Job], images: Mapping[str, ImageSet], training: Training, workers: int, on_progress: OnProgress
    ) -> Iterator[Net | GivenUp]:
        """See `Runner`; of records nobody hears. NwsError when there is no Ray, or no cluster at the address."""
        if training.engine == "gpu":
            raise NwsError("--runner ray trains on CPUs: start `nws sample --engine gpu` on each host that has a GPU")
        ray = _imported()
        with self._connected(ray):
            run = _Run(ray, training, {name: ray.put(images[name]) for name in images})
            coming = blocks(jobs)
            try:
                while run.fill(coming, self.workers or max(1, int(ray.cluster_resources().get("CPU", 1)))) or run.pending:
                    yield from run.done()
            finally:
                run.cancel()

    @contextlib.contextmanager
    def _connected(self, ray: Any) -> Iterator[None]:
        if ray.is_initialized():  # by a program that uses Ray for other work, too
            yield
            return
        _check_answers(self.address)
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody
        here: dict[str, Any] = {} if self.address else {"num_cpus": self.workers or cores(), "include_dashboard": False}
        try:
            ray.init(address=self.address, log_to_driver=False, logging_level="ERROR", **here)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise _no_cluster(self.address, error) from None
        try:
            yield
        finally:
            ray.shutdown()


class _Run:
    """Tasks that were handed out, and nets that go into the next ones."""

    def __init__(self, ray: Any, training: Training, images: Mapping[str, Any]):
        self.ray, self.training, self.images = ray, training, images
        self.task = ray.remote(_train).options(num_cpus=1, max_retries=RETRIES)
        self.pending: dict[Any, list[Block]] = {}
        self.again: list[Job] = []  # of tasks that could not be done: each alone, to find out which net it is
        self.seconds = WORTH  # of a net, so far

    def fill(self, coming: Iterator[Block], workers: int) -> bool:
        """Hand out tasks until there are enough; False when no job is left."""
        while len(self.pending) < AHEAD * workers:
            some: list[Block] = [(self.again.pop(),)] if self.again else self._next(coming)
            if not some:
                return False
            names = {block[0].hp.dataset for block in some}
            reference = self.task.remote(self.training, some, list(names), *(self.images[name] for name in names))
            self.pending[reference] = some
        return True

    def _next(self, coming: Iterator[Block]) -> list[Block]:
        found: list[Block] = []
        most = max(1, min(MOST, int(WORTH / max(self.seconds, 1e-3))))
        while sum(map(len, found)) < most and (block := next(coming, None)):
            found.append(block)
        return found

    def done(self) -> Iterator[Net | GivenUp]:
        """What has come back, waiting for half a second at most."""
        ready, _ = self.ray.wait(list(self.pending), num_returns=1, timeout=_POLL)
        for reference in ready:
            jobs = [job for block in self.pending.pop(reference) for job in block]
            try:
                nets = self.ray.get(reference)
            except self.ray.exceptions.RayTaskError as error:
                if isinstance(error.cause, MemoryError):
                    yield from self._lost(jobs, "memory ran out")
                    continue
                raise error.as_instanceof_cause() from None  # a bug, as in this process
            except self.ray.exceptions.RayError as error:
                yield from self._lost(jobs, f"its worker died {RETRIES + 1} times, {type(error).__name__}")
                continue
            self.seconds = 0.7 * self.seconds + 0.3 * sum(net.seconds for net in nets) / len(nets)
            yield from nets

    def _lost(self, jobs: Sequence[Job], why: str) -> Iterator[GivenUp]:
        if len(jobs) > 1:
            self.again += jobs
        else:
            yield GivenUp(jobs[0].number, why)

    def cancel(self) -> None:
        for reference in self.pending:
            with contextlib.suppress(Exception):  # the cluster may be gone
                self.ray.cancel(reference, force=True)


def _train(training: Training, some: Sequence[Block], names: Sequence[str], *images: ImageSet) -> list[Net]:
    """In a worker of the cluster. Images come from the object store of its node, shared and read-only."""
    sets = dict(zip(names, images))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return [net for block in some for net in training.block(block, sets[block[0].hp.dataset], lambda progress: None)]


def _check_answers(address: str | None) -> None:
    """Ray itself would try for some minutes, and then end this process."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
        except (OSError, OverflowError) as error:
            raise _no_cluster(address, error) from None


def _no_cluster(address: str | None, error: Exception) -> NwsError:
    why = str(error).splitlines()[0] if str(error) else type(error).__name__
    return NwsError(f"--address {address or 'of this machine'}: no Ray cluster there ({why:.200}): start one with `ray start`")


def _imported() -> Any:
    try:
        import ray
    except ImportError:
        raise NwsError("--runner ray needs Ray: pip install 'nws[ray]', or use --runner processes") from None
    return ray
