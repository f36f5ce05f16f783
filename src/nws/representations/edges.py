"""What a reader is shown of each edge of a KAN: numbers that follow from the weights alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata

from nws.families import splines

POINTS, GRID_POINTS = 16, 33  # where phi itself is shown; where its norm and deviation are taken
NAMES = (
    *(f"phi{k}" for k in range(POINTS)),
    "norm",  # mean |phi| on the grid
    "deviation",  # of phi on the grid
    "base",
    "layer",  # from 0
    *(f"{what}_{of}" for of in ("to", "from") for what in ("sum", "share", "rank")),  # of the norms, over edges of one unit
    "rank",  # of the norm within the layer, 0 to 1
    "reach",  # how much the outgoing edges of the unit that it feeds put out: the sum of their norms, 1 for outputs
)


def table(edges: Sequence[splines.Edges], grid: int) -> np.ndarray:
    """(E, F) float32, columns `NAMES`; edges layer after layer, in a layer output by output.

    phi is shown without its mean over the points, which outputs do not notice in the first layer.
    """
    rows = []
    norms = [np.abs(splines.on_points(e, np.linspace(splines.LOW, splines.HIGH, GRID_POINTS), grid)).mean(-1) for e in edges]
    for layer, (e, norm) in enumerate(zip(edges, norms)):
        P, Q = norm.shape
        phi = splines.on_points(e, np.linspace(splines.LOW, splines.HIGH, POINTS), grid)
        columns = [*np.moveaxis(phi - phi.mean(-1, keepdims=True), -1, 0), norm, phi.std(-1), e.base, np.full((P, Q), layer)]
        for axis in (1, 0):  # edges to one output, edges from one input
            total = norm.sum(axis, keepdims=True)
            columns += [
                np.broadcast_to(total, (P, Q)),
                norm / np.maximum(total, 1e-30),
                rankdata(norm, axis=axis) / norm.shape[axis],
            ]
        columns.append(rankdata(norm).reshape(P, Q) / norm.size)
        reach = norms[layer + 1].sum(0) if layer + 1 < len(edges) else np.ones(P)
        columns.append(np.broadcast_to(reach[:, None], (P, Q)))
        rows.append(np.stack([np.ravel(c) for c in columns], 1))
    return np.concatenate(rows).astype(np.float32)
