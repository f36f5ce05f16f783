"""Statistics of weights against numpy and scipy, group by group."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from nws import cnn
from nws.bench.pairs import paired
from nws.features import PERCENTILES, layer_statistics, statistics
from nws.layout import Layout
from nws.space import FIXED


def rows(quick: bool = False) -> Iterator[dict[str, Any]]:
    """The 480 layer-wise features and the 16 of a whole vector: ms of CPU time per vector of 92,868 weights, one core.

    The vectors are worked on in blocks, as `nws classify` does; 3,000 of them (quick: 64) for the first row, which is timed once
    against as many vectors as the peer does in about the same time.
    """
    layout = cnn.layout(FIXED.net(0, 0))
    theta = np.random.default_rng(0).standard_normal((64 if quick else 3000, layout.size), np.float32)
    n, rounds = len(theta), 3
    one = max(8, n // 20)  # the peer's share of the vectors
    for what, peer, part, target in (
        ("480 layer-wise features", vector_by_vector, one, 10.0),
        ("480 layer-wise features", group_by_group, max(16, n // 8), None),
    ):
        ours, theirs, ratio = paired(
            lambda: layer_statistics(theta, layout), lambda peer=peer, part=part: peer(theta[:part], layout), rounds
        )
        yield {
            "benchmark": "features",
            "what": what,
            "value": 1000 * ours / n,
            "unit": "ms per vector",
            "ratio": ratio * n / part,
            "against": peer.__doc__,
            "target": target,
            "vectors": n,
        }
    some = theta[:64]
    ours, _, ratio = paired(lambda: statistics(some), lambda: [measured(v) for v in some[:16]], rounds)
    yield {
        "benchmark": "features",
        "what": "16 features",
        "value": 1000 * ours / 64,
        "unit": "ms per vector",
        "ratio": 4 * ratio,
        "against": vector_by_vector.__doc__,
        "target": None,
        "vectors": 64,
    }


def vector_by_vector(theta: np.ndarray, layout: Layout) -> np.ndarray:
    """numpy.percentile, mean, var and scipy's skew, group by group of each vector"""
    last = layout.tensors[-1].layer
    groups = [slice(t.start, t.stop) for t in layout.tensors if t.layer != last]
    return np.array([[measured(vector[group]) for group in groups] for vector in theta])


def group_by_group(theta: np.ndarray, layout: Layout) -> np.ndarray:
    """the same for all vectors at once, group by group"""
    last = layout.tensors[-1].layer
    return np.stack([measured(theta[:, t.start : t.stop]) for t in layout.tensors if t.layer != last], axis=1)


def measured(x: np.ndarray) -> np.ndarray:
    """The 16 statistics along the last axis, as a user would write them."""
    from scipy.stats import skew

    found = []
    for v in (x, np.diff(x)):
        found += [v.mean(axis=-1), v.var(axis=-1), skew(v, axis=-1), *np.percentile(v, PERCENTILES, axis=-1)]
    return np.stack(found, axis=-1)
