"""One thread per process, unless the user says otherwise: two OpenMP threads that share a core with somebody wait for each other.

The DMC on two cores that others were using too: six steps took 33 to 38 s with one thread, and were not done after 60 s with two.
An explicit setting wins: OMP_NUM_THREADS and its like, or `torch.set_num_threads` called with another number than PyTorch's
default (a call with just that number cannot be told from none: OMP_NUM_THREADS says it).
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_BLAS = VARIABLES[1:]

_lock = threading.Lock()
_depth = 0
_undo = contextlib.ExitStack()


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def chosen_by_user() -> int | None:
    """Threads that the user asked for in this process, or None: then it is one."""
    if os.environ.get("OMP_NUM_THREADS"):
        first = os.environ["OMP_NUM_THREADS"].partition(",")[0].strip()
        return int(first) if first.isdecimal() else 1
    torch = sys.modules.get("torch")
    if torch is None:
        return None
    number = int(torch.get_num_threads())
    return None if number == 1 or number in _defaults() else number


def _defaults() -> set[int]:
    """What PyTorch may have taken by itself: a thread per core, counted with hyper-threads or without."""
    logical = {cores(), os.cpu_count() or 1}
    return logical | {n // _threads_per_core() for n in logical}


def _threads_per_core() -> int:
    try:
        siblings = Path("/sys/devices/system/cpu/cpu0/topology/thread_siblings").read_text(encoding="ascii")
        return max(1, int(siblings.replace(",", ""), 16).bit_count())
    except (OSError, ValueError):
        return 1


def for_this_process() -> None:
    """For the command `nws`, before anything heavy is imported: what is loaded from now on starts with one thread.

    numpy is loaded by then, with a thread per core: they cost a classification with layer-wise SVMs twice the processor time.
    """
    added = _missing(1)
    os.environ.update(added)
    if added and "numpy" in sys.modules:
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        threadpool_limits({"openmp": 1, "blas": 1} if added.keys() >= set(_BLAS) else {"openmp": 1})


@contextlib.contextmanager
def for_children(number: int) -> Iterator[None]:
    """Processes started meanwhile use so many threads each, unless the user's environment says otherwise."""
    added = _missing(number)
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def _missing(number: int) -> dict[str, str]:
    if os.environ.get("OMP_NUM_THREADS"):
        return {}  # the libraries of linear algebra follow it too
    return {name: str(number) for name in VARIABLES if not os.environ.get(name)}


@contextlib.contextmanager
def one() -> Iterator[None]:
    """Whatever computes meanwhile uses one thread, unless the user chose a number. Also a decorator; may be nested.

    For libraries that are loaded already: PyTorch, OpenMP, and the linear algebra of numpy, scipy and scikit-learn. Afterwards they
    have as many threads as before.
    """
    global _depth
    with _lock:
        _depth += 1
        if _depth == 1:
            _limit(_undo)
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0:
                _undo.close()


def _limit(undo: contextlib.ExitStack) -> None:
    if chosen_by_user() is not None or os.environ.get("OMP_NUM_THREADS"):
        return  # also the case of a process that `for_this_process` has set up: nothing is left to do
    from threadpoolctl import threadpool_limits

    limited = {"openmp": 1} if any(os.environ.get(name) for name in _BLAS) else {"openmp": 1, "blas": 1}
    if (torch := sys.modules.get("torch")) is not None:
        undo.callback(torch.set_num_threads, torch.get_num_threads())
        torch.set_num_threads(1)
    undo.enter_context(threadpool_limits(limited))
