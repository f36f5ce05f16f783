"""Which engine fits, and the way into the one in C++."""

from __future__ import annotations

from typing import Any

import numpy as np

from nws.errors import NwsError, unknown
from nws.fitting.problem import Fitted, Problem
from nws.processor import native

_native: Any
try:
    _native = native("nws.fitting._fitter")
except ImportError as error:
    _native, _failure = None, str(error)

ENGINES = ("auto", "native", "torch", "gpu")


def why_not() -> str | None:
    """Why the native fitter cannot be used on this machine, in one line; None when it can."""
    if _native is not None:
        return None
    return (
        f"the native fitter is not built ({_failure}): fitting takes ten times as long; install a C++ compiler, then reinstall nws"
    )


def chosen(engine: str) -> str:
    """The engine that does the work: "auto" is native where that is built, else torch. NwsError when this machine has no such."""
    if engine not in ENGINES:
        raise unknown("engine", engine, ENGINES)
    if engine == "native" and (reason := why_not()):
        raise NwsError(f"{reason}, or use --engine torch")
    return ("torch" if why_not() else "native") if engine == "auto" else engine


def fit(problem: Problem, engine: str = "auto") -> Fitted:
    """Each net fitted. A net does not depend, bit for bit, on the others of the problem, their number or their order."""
    engine = chosen(engine)
    if engine != "native":
        from nws.fitting.batched import fit_batched

        return fit_batched(problem, "cuda" if engine == "gpu" else "cpu")
    return Fitted(*map(np.asarray, _native.fit(*_native_arguments(problem), np.ascontiguousarray(problem.records, np.int64))))


def native_gradient(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """For tests: loss (N,) and gradient (N, P) at theta, of at most 16 nets."""
    loss, gradient = _native.gradient(*_native_arguments(problem))
    return np.asarray(loss), np.asarray(gradient)


def _native_arguments(problem: Problem) -> tuple[Any, ...]:
    form = problem.form
    arrays = [np.ascontiguousarray(a, np.float32) for a in (problem.theta, problem.points, problem.target, problem.how)]
    return (form.width, form.depth, form.outputs), form.sine, *arrays
