"""One row of a benchmark: what was measured, against what, what was aimed at, and on which machine."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from nws.errors import NwsError

PACKAGES = ("torch", "numpy", "scipy", "scikit-learn")


@dataclass(frozen=True)
class Row:
    """A figure and, where it was measured beside another way to do the same work, their ratio.

    value    in `unit`; None when it was not measured, and `skipped` says why
    ratio    better than `against` by this factor, or the cost relative to it; None for a figure without a peer
    target   aimed at: at least, of the ratio
    limit    aimed at: at most, of the ratio where there is one, else of the value
    about    whatever else the benchmark says, and machine, commit and versions
    """

    benchmark: str
    what: str
    value: float | None = None
    unit: str = ""
    ratio: float | None = None
    against: str | None = None
    target: float | None = None
    limit: float | None = None
    skipped: str | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.value is None) == (self.skipped is None):
            raise NwsError(f"row {self.benchmark}, {self.what}: give either a value or why it was skipped")
        if self.target is not None and self.ratio is None and not self.skipped:
            raise NwsError(f"row {self.benchmark}, {self.what}: a target is of a ratio, and there is none")

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Row:
        """From what a benchmark yields; unknown names go to `about`."""
        own = {name: row[name] for name in cls.__dataclass_fields__ if name in row and name != "about"}
        return cls(**own, about={name: value for name, value in row.items() if name not in (*own, "reached")})

    @property
    def reached(self) -> bool | None:
        """Whether what was aimed at is reached; None where nothing was, or nothing was measured."""
        if self.skipped:
            return None
        if self.target is not None:
            return self.ratio is not None and self.ratio >= self.target
        found = self.value if self.ratio is None else self.ratio
        return None if self.limit is None or found is None else found <= self.limit

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it; figures to four digits, as none is better than that."""
        own = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "about"}
        own |= {name: float(f"{own[name]:.4g}") for name in ("value", "ratio") if own[name] is not None}
        return own | {"reached": self.reached} | {name: _rounded(value) for name, value in self.about.items()}


def _rounded(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value


@cache
def machine() -> dict[str, Any]:
    """CPU model, cores, width of the engine's vectors in bits, commit (None when installed) and versions."""
    from nws.tasks.results import provenance
    from nws.threads import cores
    from nws.train import native_engine

    about = provenance()
    return {
        "machine": _cpu(),
        "cores": cores(),
        "vectors": native_engine.facts().get("vectors", "native engine not built").split(",")[0],
        "commit": about["commit"],
        "versions": {"nws": about["version"], "python": about["python"], **{name: metadata.version(name) for name in PACKAGES}},
    }


def _cpu() -> str:
    listed = Path("/proc/cpuinfo")
    if listed.exists():
        for line in listed.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":")[1].strip()
    return platform.processor() or platform.machine()


# Two ways to do the same work, timed in turn: their ratio holds on a machine that others use too.

Work = Callable[[], Any]


def paired(ours: Work, theirs: Work, rounds: int, clock: Callable[[], float] = time.process_time) -> tuple[float, float, float]:
    """(seconds of ours, seconds of theirs, theirs / ours): medians over rounds, after one round that is not counted."""
    ours(), theirs()
    pairs = np.array([(seconds(ours, clock), seconds(theirs, clock)) for _ in range(rounds)])
    return (*np.median(pairs, axis=0), float(np.median(pairs[:, 1] / pairs[:, 0])))


def seconds(work: Work, clock: Callable[[], float] = time.process_time) -> float:
    """CPU seconds of the process, or what `clock` counts."""
    started = clock()
    work()
    return clock() - started
