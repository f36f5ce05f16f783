"""Pruning masks of KANs: which edges are kept, by what they put out over training images.

A net's file has two scores per edge in its `about` (docs/format.md): the mean of |phi| and the deviation of phi over the first
10,000 training images, the inputs of later layers being the net's own. A mask says score > threshold.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nws.errors import NwsError, unknown
from nws.families import splines
from nws.layout import Layout

KEY = "edge_scores"  # in `about`


@dataclass(frozen=True)
class Mask:
    """A definition: an edge is kept when its score ("mean" of |phi|, or "std" of phi) is above the threshold."""

    score: str
    threshold: float
    help: str


# The KAN paper's threshold is 1e-2, of nodes; pykan's for edges is 3e-2, of a score relative to its layer.
MASKS: Mapping[str, Mask] = {
    "mask": Mask("mean", 0.01, "whether an edge is kept: mean |phi| over training images above 0.01"),
    "mask_std": Mask("std", 0.01, "whether an edge is kept: deviation of phi over training images above 0.01"),
}


def packed(scores: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Scores by name, each (E,), for a net's `about`: base64 of little-endian float32."""
    text = {name: base64.b64encode(np.ascontiguousarray(s, "<f4").tobytes()).decode("ascii") for name, s in scores.items()}
    return {KEY: text}


def scores(about: Mapping[str, Any], layout: Layout, name: str) -> np.ndarray:
    """(E,) float32 of the score "mean" or "std", from a net's `about`. NwsError when it has none, or it is not sound."""
    found = about.get(KEY)
    if not isinstance(found, Mapping) or name not in found:
        known = ", ".join(found) if isinstance(found, Mapping) else "none"
        raise NwsError(f"this net has no edge score {name!r} (it has {known}): the nets of family kan have them")
    edges = edge_count(layout)
    text = found[name]
    if not isinstance(text, str) or len(text) != -(-4 * edges // 3) * 4:
        raise NwsError(f"edge score {name}: it is not one number per edge")
    try:
        values = np.frombuffer(base64.b64decode(text, validate=True), "<f4")
    except ValueError:
        raise NwsError(f"edge score {name}: it is not base64") from None
    if values.shape != (edges,) or not np.isfinite(values).all() or (values < 0).any():
        raise NwsError(f"edge score {name}: it is not one number per edge, finite and at least 0")
    return values


def edge_count(layout: Layout) -> int:
    return sum(int(np.prod(t.shape)) for t in layout.tensors if t.layer.endswith(".base"))


def mask(about: Mapping[str, Any], layout: Layout, name: str = "mask") -> np.ndarray:
    """(E,) bool of a net: which edges are kept, by a definition of `MASKS`."""
    if name not in MASKS:
        raise unknown("mask", name, MASKS)
    return np.asarray(scores(about, layout, MASKS[name].score) > MASKS[name].threshold)


def strongest(score: np.ndarray, share: float) -> np.ndarray:
    """(E,) bool: the share of edges with the largest scores; of equal ones the first."""
    keep = np.zeros(len(score), bool)
    keep[np.argsort(-score, kind="stable")[: round(share * len(score))]] = True
    return keep


def pruned(edges: Sequence[splines.Edges], keep: np.ndarray) -> list[splines.Edges]:
    """The layers with w_b and w_s of dropped edges 0, so that they put out 0. keep (E,) bool, in the order of the scores."""
    found, start, size = [], 0, sum(e.base.size for e in edges)
    if len(keep) != size:
        raise NwsError(f"the mask has {len(keep):,} entries, the net {size:,} edges")
    for e in edges:
        kept = keep[start : start + e.base.size].reshape(e.base.shape)
        found.append(splines.Edges(e.base * kept, e.scale * kept, e.coefficients))
        start += e.base.size
    return found
