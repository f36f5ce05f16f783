"""The torch engine for a GPU: work is put off, queued in small pieces beside other nets' work, and steps are captured.

A small net's kernels take microseconds each, less than Python needs to launch them, and fill a small part of the chip. So a
step is recorded once, as a graph that is launched whole, and many nets run side by side, each on its lane (nws.device):

    train(), theta(), accuracy()    what is asked for is noted; numbers cross to the device while its lane is idle
    finish()                        piece by piece onto the lane, handing the thread to other nets whenever AHEAD pieces are queued
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch

from nws.device import CudaLane, Lane, Mark, why_no_gpu
from nws.families.space import Config
from nws.images import ImageSet
from nws.train.torch_engine import Resident, TorchEngine

PIECE = 8  # steps queued at a time
# Pieces of one net in its lane. Two keep the lane busy while other nets have their turn. More would only make everyone wait longer
# where one thread waits for the device: at a capture, and where the driver's queue is full.
AHEAD = 2
WARM = 3  # steps before the capture: libraries load kernels and ask for memory when they are first used, which no capture may


class GpuEngine(TorchEngine):
    """`Engine` (see loop.py) whose answers are there after `finish`. On a plain `Lane` it computes what TorchEngine does."""

    name = "gpu"

    @staticmethod
    def why_not(hp: Config | None = None, images: ImageSet | None = None) -> str | None:
        return f"engine gpu: {reason}" if (reason := why_no_gpu()) else None

    evaluated_at_once = 1024
    augmented_at_once = 1 << 20  # the whole batch: fewer, larger kernels

    def __init__(
        self,
        hp: Config,
        theta: np.ndarray,
        images: ImageSet | Resident,
        seed: int,
        *,
        dropout: float | None = None,
        lane: Lane | None = None,
    ):
        self._lane = lane = lane or CudaLane()
        with lane.working():
            super().__init__(hp, theta, images, seed, dropout=dropout, lane=lane)
            # What a captured step reads and writes besides the net: which batch is next, the learning rate, the sum of the losses.
            self._batches = torch.empty((0, 0), dtype=torch.int64, device=lane.device)
            self._next = torch.zeros(1, dtype=torch.int64, device=lane.device)
            self._rate = torch.zeros((), dtype=torch.float64, device=lane.device)
            self._total = torch.zeros((), device=lane.device)
            self._landing = lane.landing(len(self._values))
        self._warm = 0  # steps done uncaptured
        self._replay: Callable[[], None] | None = None
        self._asked: deque[Callable[[], None]] = deque()  # pieces of work for the lane, a few milliseconds each
        self._answers: list[Callable[[], None]] = []  # to be read when all of it is done

    def train(self, batches: np.ndarray, learning_rate: float) -> np.ndarray:  # type: ignore[override]  # filled in later
        with self._lane.working():
            if self._batches.shape != batches.shape:
                self._batches, self._replay = torch.from_numpy(batches).to(self._lane.device), None
            else:
                self._batches.copy_(torch.from_numpy(batches))
            self._next.zero_()
            self._total.zero_()
            self._rate.fill_(learning_rate)
        for start in range(0, len(batches), PIECE):
            self._asked.append(partial(self._steps, min(PIECE, len(batches) - start)))
        return self._later(self._total, len(batches))

    def accuracy(self, images: str, index: np.ndarray | None = None) -> np.ndarray:  # type: ignore[override]  # filled in later
        with self._lane.working():
            rows = torch.from_numpy(np.arange(len(self._images[images][1])) if index is None else index).to(self._lane.device)
            hits = torch.zeros((), dtype=torch.int64, device=self._lane.device)
        for chunk in rows.split(self.evaluated_at_once):
            self._asked.append(partial(self._evaluate, images, chunk, hits))
        return self._later(hits, len(rows))

    def theta(self) -> np.ndarray:
        """The values at this point of the work; there is one landing place, so ask once before `finish`."""
        theta = np.empty(self._layout.size, np.float32)

        def copy() -> None:
            self._landing.copy_(self._values, non_blocking=True)

        def read() -> None:
            theta[:] = self._layout.from_state_dict(self._landed())

        self._asked.append(copy)
        self._answers.append(read)
        return theta

    def finish(self) -> Iterator[Mark]:
        marks: deque[Mark] = deque()
        while self._asked:
            if len(marks) == AHEAD:
                yield marks.popleft()
            with self._lane.working():
                self._asked.popleft()()
                marks.append(self._lane.mark())
        yield from marks
        with self._lane.working():
            while self._answers:
                self._answers.pop()()

    def _later(self, number: torch.Tensor, share_of: int) -> np.ndarray:
        """A number of the device, () float64 here, divided by `share_of`: read once all work is done."""
        answer = np.zeros(())

        def read() -> None:
            answer[()] = number.item() / share_of

        self._answers.append(read)
        return answer

    def _steps(self, n: int) -> None:
        self._module.train()
        for _ in range(n):
            if self._warm < WARM:
                self._next_step()
                self._warm += 1
            else:
                if self._replay is None:
                    self._replay = self._lane.capture(self._next_step, self._random)
                self._replay()

    def _next_step(self) -> None:
        self._total += self._step(self._batches.index_select(0, self._next)[0], self._rate)
        self._next += 1

    @torch.inference_mode()
    def _evaluate(self, images: str, index: torch.Tensor, hits: torch.Tensor) -> None:
        self._module.eval()
        hits += self._hits(images, index)

    def _landed(self) -> dict[str, torch.Tensor]:
        """The state dict of the values that landed on the host."""
        state = self._module.state_dict()
        return {
            name: self._landing.as_strided(t.shape, t.stride(), t.storage_offset())
            for name, t in state.items()
            if t.is_floating_point()
        }
