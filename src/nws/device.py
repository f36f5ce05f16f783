"""The seam to a GPU: every call that only a CUDA device understands stands here, and has a twin that is exercised on the CPU.

A lane is what one net works on. On a GPU it is a stream: work is queued there and done in order, beside the other lanes' work.
"""

from __future__ import annotations

import contextlib
import gc
import os
import warnings
from collections.abc import Callable, Iterator
from typing import Protocol

import torch

from nws.errors import NwsError

# Of them, PyTorch hands out streams in turn; and the driver feeds the device through so many queues at most. A 33rd lane
# shares the stream of the first.
LANES = 32
# The driver reads this once, when the process first touches the device. With its default of 8, lanes would wait for each other.
os.environ.setdefault("CUDA_DEVICE_MAX_CONNECTIONS", str(LANES))


class Mark(Protocol):
    """A place in a lane's queue of work."""

    def query(self) -> bool:
        """Has the device come so far?"""

    def synchronize(self) -> None:
        """Wait until it has."""


class Passed:
    """The mark on a device that does all work at once."""

    def query(self) -> bool:
        return True

    def synchronize(self) -> None:
        pass


class Lane:
    """The CPU as a lane: work is done when it is queued."""

    device = torch.device("cpu")

    def instruction_set(self) -> str:
        """What PyTorch's kernels were chosen for, such as avx2: theta depends on it, and on PyTorch's version."""
        return torch.backends.cpu.get_cpu_capability().lower()

    def working(self) -> contextlib.AbstractContextManager[object]:
        """Work inside goes to this lane, and so does the memory it asks for."""
        return contextlib.nullcontext()

    def generator(self, seed: int) -> torch.Generator:
        return torch.Generator(self.device).manual_seed(seed)

    def capture(self, work: Callable[[], None], random: torch.Generator) -> Callable[[], None]:
        """What does `work`, with random numbers from `random`, as often as it is called; to be used inside `working()`.

        A GPU records the kernels once and never runs the Python again: what changes from call to call must be in tensors.
        """
        return work

    def mark(self) -> Mark:
        """After all work queued so far."""
        return Passed()

    def landing(self, size: int) -> torch.Tensor:
        """Host memory (size,) float32 that the device can copy to while the host goes on."""
        return torch.empty(size)


class CudaLane(Lane):
    """One stream of the current CUDA device."""

    def __init__(self) -> None:
        if reason := why_no_gpu():
            raise NwsError(reason)
        self.device = torch.device("cuda", torch.cuda.current_device())
        self._stream = torch.cuda.Stream()

    def instruction_set(self) -> str:
        return "sm_{}{}".format(*torch.cuda.get_device_capability(self.device))

    def working(self) -> contextlib.AbstractContextManager[object]:
        return torch.cuda.stream(self._stream)

    def capture(self, work: Callable[[], None], random: torch.Generator) -> Callable[[], None]:
        graph = torch.cuda.CUDAGraph()
        with warnings.catch_warnings():  # newer versions register by themselves, and say so
            warnings.simplefilter("ignore")
            if hasattr(graph, "register_generator_state"):
                graph.register_generator_state(random)
        collecting = gc.isenabled()
        gc.disable()  # to free another net's graph in the middle of a capture would spoil it
        try:
            # Waits for the whole device, as PyTorch wants it: cheap while the queues are short (PIECE in gpu_engine.py).
            # "thread_local": what other threads of the user's program do with the device meanwhile is none of our concern.
            with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
                work()
        finally:
            if collecting:
                gc.enable()
        return graph.replay

    def mark(self) -> Mark:
        event = torch.cuda.Event()
        event.record(self._stream)
        return event

    def landing(self, size: int) -> torch.Tensor:
        return torch.empty(size, pin_memory=True)


def why_no_gpu() -> str | None:
    """Why there is no GPU to work on, in one line; None when there is one."""
    if torch.cuda.is_available():
        return None
    if torch.version.cuda is None and torch.version.hip is None:
        return f"this PyTorch ({torch.__version__}) was built without CUDA: install one with it"
    return "PyTorch finds no GPU: look at nvidia-smi and CUDA_VISIBLE_DEVICES"


def name(device: torch.device) -> str:
    """Of the chip, for people."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


def wait(device: torch.device) -> None:
    """Until all work of all lanes is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def best() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device("cpu" if why_no_gpu() else "cuda")


@contextlib.contextmanager
def exact() -> Iterator[None]:
    """Float32 that is float32, and the same sums each time, on a GPU. Nothing changes on a CPU.

    PyTorch by default lets convolutions round their inputs to TF32's 10 bits. The weights are the object of study: small
    differences between trainings must come from their hyper-parameters, not from the chip. And an algorithm chosen by a stopwatch
    (benchmark), or one that adds in any order, would make a net depend on its company.
    """
    cudnn = torch.backends.cudnn
    with warnings.catch_warnings():  # from 2.9 on these names are called old; the new ones are missing in 2.6
        warnings.simplefilter("ignore")
        before = cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark, torch.get_float32_matmul_precision()
    try:
        _set_arithmetic(False, True, False, "highest")
        yield
    finally:
        _set_arithmetic(*before)


def _set_arithmetic(tf32: bool, deterministic: bool, benchmark: bool, products: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cudnn = torch.backends.cudnn
        cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark = tf32, deterministic, benchmark
        torch.set_float32_matmul_precision(products)
