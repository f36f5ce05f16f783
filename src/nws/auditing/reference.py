"""How far a net is from the nets of a zoo: the distance to its nearest ones, in statistics of each kind of weights."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from nws.auditing.outputs import Unused, last_layer, never_trained, stripped
from nws.errors import NwsError
from nws.layout import Layout
from nws.representations.statistics import STATISTICS, statistics
from nws.zoo import Zoo

KINDS = ("convolutions", "matrices", "bias", "beta", "gamma", "mean", "var")
WIDTH = len(KINDS) * len(STATISTICS)
NEIGHBOURS = 3
MOST_NETS = 1000  # of a larger zoo that are kept: 0.6 MB beside each model
UNFAMILIAR = 99.0  # percentile from which a net counts as unlike the zoo's
_LARGEST = 1e38  # fits float32
_ZERO = 100  # parts of a statistic's usual size below which it counts as 0
_SIZES = {
    "weights": ("weight", "weights"),
    "convolutions": ("convolutional layer", "convolutional layers"),
    "matrices": ("fully connected layer", "fully connected layers"),
    "kernel": ("pixel in the width of a filter", "pixels in the width of a filter"),
    "width": ("unit in a layer", "units in a layer"),
    "inputs": ("input channel", "input channels"),
    "outputs": ("class", "classes"),
}  # name -> of one, of several


@dataclass(frozen=True, eq=False)
class Reference:
    """The nets of a zoo, as far as a stranger is compared with them. Refuses nonsense when built.

    rows          (N, 112) float32: 16 statistics of each of the seven KINDS, NaN for kinds that a net has not
    sizes         name -> (least, most) in the zoo
    architecture  roles and shapes in order, when all nets share them, else None
    unused        number of outputs -> positions of those that were never trained, as `never_trained` finds them; they are left
                  out of everything above, and of a stranger with as many outputs. None in references of earlier builds, whose
                  rows are of all outputs as they are
    """

    rows: np.ndarray
    sizes: Mapping[str, tuple[int, int]]
    architecture: str | None
    unused: Unused | None = None

    def __post_init__(self) -> None:
        if self.rows.ndim != 2 or self.rows.shape[1] != WIDTH or len(self.rows) < 2 or np.isinf(self.rows).any():
            raise NwsError(f"a reference needs finite rows of {WIDTH} statistics from at least two nets, got {self.rows.shape}")
        for outputs, positions in (self.unused or {}).items():
            if not 0 < len(set(positions)) == len(positions) < outputs or not all(0 <= p < outputs for p in positions):
                raise NwsError(f"a reference cannot leave out {len(positions):,} of {outputs:,} outputs at these places")

    @classmethod
    def of_zoo(cls, zoo: Zoo, snapshot: int | None = None) -> Reference:
        """The nets of a zoo that trained, at one snapshot; default: the last."""
        index = zoo.index[zoo.index["status"] == "ok"]
        if len(index) < 2:
            raise NwsError(f"{zoo.path} has fewer than two nets that trained: nothing can be compared with it")
        nets = index.index.to_numpy()
        nets = nets[np.unique(np.linspace(0, len(nets) - 1, min(len(nets), MOST_NETS)).astype(int))]
        at = snapshot or int(index["snapshots"].min())
        unused = never_trained(zoo, nets.tolist())
        rows = [portrait(zoo.theta(int(net), at), zoo.layout(int(net)), unused) for net in nets]
        layouts = [stripped(zoo.layout(int(net)), unused)[0] for net in nets]
        each = [sizes(layout) for layout in layouts]
        ranges = {
            name: (min(min(found[name]) for found in each if found[name]), max(max(found[name]) for found in each if found[name]))
            for name in _SIZES
            if any(found[name] for found in each)
        }
        kinds = {architecture(layout) for layout in layouts}
        return cls(np.stack(rows), ranges, kinds.pop() if len(kinds) == 1 else None, unused)

    def distance(self, row: np.ndarray) -> float:
        """Root mean square difference of `kind_statistics` (112,) to those of the nearest nets of the zoo, in deviations.

        Infinite for weights that are not finite.
        """
        has = ~np.isnan(row.reshape(len(KINDS), -1)).all(1)
        if not np.isfinite(row[np.repeat(has, len(STATISTICS))]).all():
            return float("inf")
        return _nearest(self._placed(row), self._places)

    def percentile(self, distance: float) -> float:
        """The share of the zoo's nets, in percent, that are closer to the others than this distance: each held out in turn."""
        return float(100 * np.mean(self._held_out < distance))

    def unlike(self, layout: Layout) -> list[str]:
        """Sentences on what the zoo's nets do not have in common with this one."""
        found = []
        layout, _ = stripped(layout, self.unused or {})
        has, known = kinds(layout), {kind: self._present[:, k].mean() for k, kind in enumerate(KINDS)}
        if known["var"] == 1 and "gamma" not in has and "var" not in has:
            found.append("It has no batch norm, which every net of the zoo has (exporters to ONNX fold it away).")
        elif known["var"] == 1 and "var" not in has:
            found.append("Its normalization keeps no moving mean and variance, every net of the zoo does.")
        if not known["gamma"] and "gamma" in has:
            found.append("It has normalization layers, no net of the zoo has any.")
        for kind, what in (("convolutions", "convolution"), ("matrices", "fully connected layer"), ("bias", "bias")):
            if known[kind] == 1 and kind not in has:
                found.append(f"It has no {what}, every net of the zoo has.")
        theirs = sizes(layout)
        for name, (low, high) in self.sizes.items():
            outside = [n for n in theirs[name] if not low <= n <= high]
            if outside:
                span = f"{low:,}" if low == high else f"{low:,} to {high:,}"
                found.append(
                    f"Other sizes: it has {outside[0]:,} {_SIZES[name][outside[0] != 1]}, the nets of the zoo have {span}."
                )
        if not found and not self.shares_architecture(layout):
            found.append("Another architecture: its layers differ in shape from those of the zoo, whose nets are all alike.")
        return found

    def shares_architecture(self, layout: Layout) -> bool:
        """Whether its layers have the shapes of all nets of the zoo; True when these have several. Unused outputs do not count."""
        return not self.architecture or architecture(stripped(layout, self.unused or {})[0]) == self.architecture

    def to_dict(self) -> dict[str, Any]:
        return {
            "rows": base64.b64encode(self.rows.astype("<f4").tobytes()).decode(),
            "sizes": {name: list(span) for name, span in self.sizes.items()},
            "architecture": self.architecture,
            "unused": None if self.unused is None else [[outputs, list(found)] for outputs, found in self.unused.items()],
        }

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Reference:
        """The inverse of `to_dict`; NwsError when it is none. The same object for the same nets, which models of one zoo share."""
        try:
            spans = tuple((str(name), (int(low), int(high))) for name, (low, high) in stored["sizes"].items() if name in _SIZES)
            known = stored["architecture"]
            left_out = stored.get("unused")
            unused = None if left_out is None else tuple((int(outputs), tuple(map(int, found))) for outputs, found in left_out)
            return _decoded(str(stored["rows"]), spans, known if isinstance(known, str) else None, unused)
        except NwsError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, binascii.Error):
            raise NwsError("the reference nets cannot be read") from None

    @cached_property
    def _present(self) -> np.ndarray:
        return ~np.isnan(self.rows.reshape(len(self.rows), len(KINDS), -1)).all(2)  # (N, 7)

    @cached_property
    def _scale(self) -> np.ndarray:
        """(112,) the usual size of each statistic."""
        filled = np.where(np.isnan(self.rows) | (self.rows == 0), 0, np.abs(self.rows.astype(np.float64)))
        return np.array([np.median(column[column > 0]) if (column > 0).any() else 1.0 for column in filled.T])

    @cached_property
    def _spread(self) -> np.ndarray:
        logged = np.arcsinh(_ZERO * self.rows / self._scale)
        spread = np.array([np.std(column[~np.isnan(column)]) if not np.isnan(column).all() else 1.0 for column in logged.T])
        return np.where(spread < 1e-3, 1.0, spread)

    def _placed(self, rows: np.ndarray) -> np.ndarray:
        """Statistics -> comparable coordinates: sizes matter by their order of magnitude, whatever their sign."""
        return np.asarray(np.arcsinh(_ZERO * rows / self._scale) / self._spread)

    @cached_property
    def _places(self) -> np.ndarray:
        return self._placed(self.rows)

    @cached_property
    def _held_out(self) -> np.ndarray:
        """(N,) the distance of each net to the others."""
        from scipy.spatial.distance import cdist

        found = np.empty(len(self._places))
        _, pattern = np.unique(np.isnan(self._places), axis=0, return_inverse=True)
        for k in range(pattern.max() + 1):
            (members,) = np.nonzero(pattern == k)
            here = self._places[members][:, ~np.isnan(self._places[members[0]])]
            if len(members) > 1 and here.size:  # the same as `_nearest` of each, five times as fast
                apart = np.sort(cdist(here, here) / np.sqrt(here.shape[1]), 1)  # the first is its own
                found[members] = apart[:, 1 : 1 + NEIGHBOURS].mean(1)
            else:
                found[members] = [_nearest(self._places[m], np.delete(self._places, m, 0)) for m in members]
        return found


def share(percentile: float) -> str:
    """Of a zoo's nets, in words that fit before "of": none, 12%, all."""
    rounded = f"{percentile:.0f}%"
    return {"0%": "none", "100%": "all"}.get(rounded, rounded)


@lru_cache(maxsize=16)
def _decoded(
    rows: str,
    spans: tuple[tuple[str, tuple[int, int]], ...],
    architecture: str | None,
    unused: tuple[tuple[int, tuple[int, ...]], ...] | None,
) -> Reference:
    decoded = np.frombuffer(base64.b64decode(rows, validate=True), "<f4").reshape(-1, WIDTH)
    return Reference(decoded, dict(spans), architecture, None if unused is None else dict(unused))


def _nearest(place: np.ndarray, places: np.ndarray) -> float:
    """Among nets with the same kinds of weights, where there are any; else over the kinds that both have."""
    mine, theirs = ~np.isnan(place), ~np.isnan(places)
    alike = (theirs == mine).all(1)
    if alike.any():
        places, theirs = places[alike], theirs[alike]
    both = theirs & mine
    squares = np.where(both, places - place, 0) ** 2
    count = both.sum(1)
    distances = np.sqrt(squares.sum(1)[count > 0] / count[count > 0])
    return float(np.sort(distances)[:NEIGHBOURS].mean()) if len(distances) else float("inf")


def portrait(theta: np.ndarray, layout: Layout, unused: Unused | None) -> np.ndarray:
    """What nets are compared by (112,): `kind_statistics` without unused outputs, the last layer around its mean over outputs.

    Where ten of twenty outputs are only pushed down, the others rise together, which in a net without unused outputs they do not.
    Probabilities know nothing of a height that all outputs share, and neither does the comparison.
    """
    if unused is None:
        return kind_statistics(theta, layout)
    layout, kept = stripped(layout, unused)
    theta = theta[kept].copy()
    for t in last_layer(layout):
        if t.role in ("weight", "bias"):
            outputs = theta[t.start : t.stop].reshape(t.shape)
            with np.errstate(invalid="ignore", over="ignore"):
                outputs -= outputs.mean(0)
    return kind_statistics(theta, layout)


def kind_statistics(theta: np.ndarray, layout: Layout) -> np.ndarray:
    """The 16 statistics of each of the KINDS of weights (112,) float32, NaN for kinds that the net has not: theta (P,)."""
    found = np.full((len(KINDS), len(STATISTICS)), np.nan)
    for k, kind in enumerate(KINDS):
        pieces = [theta[t.start : t.stop] for t in layout.tensors if _kind(t) == kind]
        if pieces:
            values = statistics(np.concatenate(pieces))
            found[k] = np.where(np.isfinite(values), np.clip(values, -_LARGEST, _LARGEST), np.inf)  # NaN says: there are none
    return found.reshape(-1).astype(np.float32)


def kinds(layout: Layout) -> set[str]:
    return {_kind(t) for t in layout.tensors}


def sizes(layout: Layout) -> dict[str, list[int]]:
    """What can be counted in an architecture; every value that occurs."""
    weights = [t for t in layout.tensors if t.role == "weight" and len(t.shape) > 1]
    convolutions = [t for t in weights if len(t.shape) > 2]
    return {
        "weights": [layout.size],
        "convolutions": [len(convolutions)],
        "matrices": [len(weights) - len(convolutions)],
        "kernel": sorted({n for t in convolutions for n in t.shape[2:]}),
        "width": sorted({t.shape[0] for t in weights[:-1]}),
        "inputs": [t.shape[1] for t in weights[:1]],
        "outputs": [t.shape[0] for t in weights[-1:]],
    }


def architecture(layout: Layout) -> str:
    """Roles and shapes in order; names do not matter."""
    return json.dumps([[t.role, t.shape, t.part] for t in layout.tensors])


def _kind(t: Any) -> str:
    if t.role != "weight":
        return str(t.role)
    return "convolutions" if len(t.shape) > 2 else "matrices"
