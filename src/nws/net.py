"""One trained net: hyper-parameters, layout, snapshots of theta, and what happened while it was trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nws.errors import NwsError, unknown
from nws.families.base import HISTORY
from nws.families.space import Config
from nws.layout import Layout
from nws.recorded import Recorded

STATUSES = ("ok", "diverged")


def snapshot_records(records: int, snapshots: int) -> np.ndarray:
    """Which of `records` records (0 is the initialization) are kept as snapshots: round(linspace(1, T, S)), A.2. (S,) ints."""
    return np.round(np.linspace(1, records, snapshots)).astype(np.int64) - 1


def at_snapshots(epoch: np.ndarray, history: np.ndarray) -> np.ndarray:
    """What was measured at each snapshot: (S, M), columns as the history's, from epoch (S,) and history (T, M). NaN: nothing was.

    Our trainer and the 2020 program keep a record per epoch, of which some became snapshots; the other importers know a row per
    snapshot, whose epochs may be 10, 20, 30. Where there are as many records as snapshots both mean the same.
    """
    rows = np.arange(len(epoch)) if len(history) == len(epoch) else epoch
    known = (rows >= 0) & (rows < len(history))
    found = np.full((len(epoch), history.shape[1]), np.nan)
    found[known] = history[rows[known]]
    return found


@dataclass(frozen=True, eq=False)
class Net:
    """One net. Refuses nonsense when built.

    hp       what was chosen before the training, or what the source of a foreign net recorded of it
    theta    (S, P) float32: snapshot s is theta[s - 1]; its tensors lie where `layout` says
    epoch    (S,) int: epochs trained when the snapshot was taken; 0 is the initialization
    history  (T, M) float64, columns `measures`: a row per record (one per epoch), the initialization first, or of foreign nets
             one per snapshot
    status   "ok", or "diverged" when weights or loss stopped being finite (the last records then hold NaN or inf)
    about    provenance: seed, engine, image checksums, versions ... (str -> JSON value)
    measures names of the columns of `history`; `nws.families.base.HISTORY` unless its family measures something else
    """

    number: int
    hp: Config | Recorded
    layout: Layout
    theta: np.ndarray
    epoch: np.ndarray
    history: np.ndarray
    status: str = "ok"
    seconds: float = 0.0
    about: Mapping[str, Any] = field(default_factory=dict)
    measures: tuple[str, ...] = HISTORY

    def __post_init__(self) -> None:
        at = f"net {self.number}"
        if self.number < 0:
            raise NwsError(f"{at}: nets are numbered from 0")
        if self.theta.dtype != np.float32 or self.theta.ndim != 2 or not len(self.theta):
            raise NwsError(f"{at}: theta must be (snapshots, weights) float32, got {self.theta.shape} {self.theta.dtype}")
        if self.theta.shape[1] != self.layout.size:
            raise NwsError(f"{at}: theta has {self.theta.shape[1]:,} weights, its layout {self.layout.size:,}")
        if self.epoch.shape != self.theta.shape[:1] or np.any(np.diff(self.epoch) < 0):
            raise NwsError(f"{at}: epoch must give one number per snapshot, not falling")
        if self.history.ndim != 2 or self.history.shape[1] != len(self.measures) or "step" not in self.measures[:1]:
            raise NwsError(f"{at}: history must be (records, {len(self.measures)}), 'step' first, got {self.history.shape}")
        if self.status not in STATUSES:
            raise unknown(f"{at}: status", self.status, STATUSES)
        if self.status == "ok" and not np.isfinite(self.theta).all():
            raise NwsError(f"{at}: theta holds NaN or infinite weights, but its status is 'ok'")

    @property
    def test_accuracy(self) -> float:
        """At the last snapshot; NaN when it was never measured."""
        if not len(self.history) or "test_accuracy" not in self.measures:
            return float("nan")
        return float(self.history[-1, self.measures.index("test_accuracy")])
