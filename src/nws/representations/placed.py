"""A net as its weights and all that is known of where they lie and what they compute: what readers of structure are given."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nws.errors import NwsError
from nws.families.space import Config
from nws.layout import Layout
from nws.representations.base import Representation


@dataclass(frozen=True, eq=False)
class Placed:
    """theta (P,) float32 of one snapshot, its layout, and the config of its net (None: foreign, nobody knows)."""

    theta: np.ndarray
    layout: Layout
    config: Any = None

    def canonical(self) -> Placed:
        """The same function in the canonical form of its family, where the family has one: signs, phases and scales settled."""
        settle = getattr(getattr(self.config, "family", None), "canonical", None)
        if settle is None:
            return self
        known = {"config": self.config, "layout": self.layout}
        taken = {name: value for name, value in known.items() if name in inspect.signature(settle).parameters}
        return replace(self, theta=np.asarray(settle(np.array(self.theta), **taken), np.float32))


class OfNets(Representation):
    """What needs to know where weights lie: X is a list of `Placed` nets, from which a reader makes what it wants."""

    table = False
    placed = True
    sliced = False
    own_length = None
    seconds = 60.0

    def of_slices(self, x: np.ndarray) -> np.ndarray:
        raise NwsError(f"{self.name} is of whole nets, not of slices")


def checked(X: Sequence[Any]) -> list[Placed]:
    """X as a list of placed nets of finite weights; NwsError when it is none."""
    rows = list(X)
    if not rows:
        raise NwsError("X holds no nets")
    for k, row in enumerate(rows):
        if not isinstance(row, Placed):
            raise NwsError(f"X[{k}] must be a net that knows its layout, nws.representations.Placed(theta, layout, config)")
        if row.theta.shape != (row.layout.size,):
            raise NwsError(f"X[{k}] has weights of shape {row.theta.shape}, its layout {row.layout.size:,}")
        if not np.isfinite(row.theta).all():
            raise NwsError(f"X[{k}] holds NaN or infinite weights: leave diverged nets out")
    return rows


def family_of(config: Any) -> Any:
    """The family whose code makes the nets; None of foreign nets, and where only its table is known."""
    from nws.families import StoredFamily

    family = config.family if isinstance(config, Config) else None
    return None if family is None or isinstance(family, StoredFamily) else family
