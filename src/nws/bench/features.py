"""Statistics of weights against numpy and scipy, group by group."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from nws.bench.rows import Work, paired, seconds
from nws.families import cnn2020 as cnn
from nws.families.cnn2020 import FIXED, MAIN
from nws.layout import Layout
from nws.representations.statistics import PERCENTILES, layer_statistics, statistics
from nws.representations.tensors import tensors


def rows(quick: bool = False) -> Iterator[dict[str, Any]]:
    """The 480 layer-wise features and the 16 of a whole vector: ms of CPU time per vector of 92,868 weights, one core.

    Ours does 3,000 vectors (quick: 64), the peer as many as it does in about the same time.
    """
    layout = cnn.layout(FIXED.net(0, 0))
    theta = np.random.default_rng(0).standard_normal((64 if quick else 3000, layout.size), np.float32)
    some = theta[:64]
    few = slice(8 if quick else 150)  # of the vectors, for a peer that takes longer for each

    def row(what: str, n: int, ours: Work, part: int, peer: Work, against: str, target: float | None) -> dict[str, Any]:
        taken, _, ratio = paired(ours, peer, 3)
        return {
            "benchmark": "features",
            "what": what,
            "value": 1000 * taken / n,
            "unit": "ms per vector",
            "ratio": ratio * n / part,
            "against": against,
            "target": target,
            "vectors": n,
        }

    def layers() -> np.ndarray:
        return layer_statistics(theta, layout)

    n, part, usual = len(theta), len(theta[few]), "numpy.percentile, mean, var and scipy's skew"
    name = "480 layer-wise features"
    yield row(name, n, layers, part, lambda: group_by_group(theta[few], layout), f"{usual}, group by group", 10.0)
    yield row(name, n, layers, len(some), lambda: group_of_all(some, layout), f"{usual}, group by group, 64 vectors at once", None)
    yield row("16 features", 64, lambda: statistics(some), 16, lambda: [measured(v) for v in some[:16]], usual, None)
    yield of_tensors()


def of_tensors(rounds: int = 5) -> dict[str, Any]:
    """Features of tensors and relations, ms of CPU time per snapshot, four at once, of a net of main of about the mean size."""
    config = MAIN.net(0, 0).with_(filter_size=5, depth_conv=4, depth_fc=3, width_conv=8, width_fc=128)
    layout = cnn.layout(config)
    theta = np.stack([cnn.initialize(config, np.random.default_rng(k)) for k in range(4)])
    width = tensors(theta, layout)[0].shape[1]
    taken = float(np.median([seconds(lambda: tensors(theta, layout)) for _ in range(rounds)]))
    return {
        "benchmark": "features",
        "what": f"{width:,} features of tensors and relations",
        "value": 1000 * taken / len(theta),
        "unit": "ms per snapshot",
        "limit": 10.0,
        "weights": layout.size,
    }


def group_by_group(theta: np.ndarray, layout: Layout) -> list[np.ndarray]:
    """The 480 features of each vector (n, P), one after another."""
    return [group_of_all(vector, layout) for vector in theta]


def group_of_all(theta: np.ndarray, layout: Layout) -> np.ndarray:
    """The 480 features of vectors (..., P), all of them at once."""
    last = layout.tensors[-1].layer
    return np.stack([measured(theta[..., t.start : t.stop]) for t in layout.tensors if t.layer != last], axis=-2)


def measured(x: np.ndarray) -> np.ndarray:
    """The 16 statistics along the last axis, as a user would write them."""
    from scipy.stats import skew

    found = []
    for v in (x, np.diff(x)):
        found += [v.mean(axis=-1), v.var(axis=-1), skew(v, axis=-1), *np.percentile(v, PERCENTILES, axis=-1)]
    return np.stack(found, axis=-1)
