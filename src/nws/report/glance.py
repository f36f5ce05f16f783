"""What a page can show of a zoo without any table: a plane, from one pass over its nets."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from nws.errors import NwsError
from nws.progress import Doing
from nws.representations import statistics as features
from nws.zoo import Zoo

if TYPE_CHECKING:
    import pandas as pd

_SAMPLE = 1500  # snapshots from which the plane is computed: 100 MB of the fixed architecture, whatever the zoo's size


def plane(zoo: Zoo, on_progress: Callable[[str], None]) -> tuple[pd.DataFrame, str]:
    """(table, method): net, snapshot, x, y of every snapshot, and in words how they were computed.

    Principal components of the conv part (of nets without one, of all weights), each vector scaled to length 1, where all nets
    have one architecture; else of 16 statistics of theta as ranks. Both because a few moving variances in the thousands would
    otherwise be all one sees.
    """
    import pandas as pd

    frame = zoo.index
    usable = frame[frame["status"] == "ok"]
    if len(usable) < 3:
        raise NwsError(f"{zoo.path}: a picture needs at least 3 nets that trained, there are {len(usable)}")
    one = usable["weights"].nunique() == 1 and usable["weights_conv"].nunique() == 1
    counts = zip(usable.index.tolist(), usable["snapshots"].tolist(), strict=True)
    where = [(n, s) for n, count in counts for s in range(1, count + 1)]
    on_progress("computing a picture of all snapshots")
    size = int(usable["weights_conv"].iloc[0])
    part = "conv" if size else "all"
    xy = _part_plane(zoo, where, part, on_progress) if one else _statistics_plane(zoo, where, on_progress)
    table = pd.DataFrame(where, columns=["net", "snapshot"]).assign(x=xy[:, 0], y=xy[:, 1])
    weights = f"{size:,} convolutional" if size else f"{int(usable['weights'].iloc[0]):,}"
    return (
        table,
        f"PCA of the {weights} weights, scaled to length 1" if one else "PCA of 16 statistics of the weights (as ranks)",
    )


def _part_plane(zoo: Zoo, where: list[tuple[int, int]], part: str, on_progress: Callable[[str], None]) -> np.ndarray:
    """(n, 2): all snapshots on the first two principal components of a sample of them."""
    chosen = np.unique(np.linspace(0, len(where) - 1, min(_SAMPLE, len(where))).astype(int))
    sample = np.stack([_direction(v) for v in _vectors(zoo, [where[i] for i in chosen], part)])  # (n, P_part)
    centre = sample.mean(0)
    sample -= centre
    values, vectors = np.linalg.eigh((sample @ sample.T).astype(np.float64))  # of (n, n): n is small
    axes = sample.T @ (vectors[:, -2:][:, ::-1] / np.sqrt(np.maximum(values[-2:][::-1], 1e-12))).astype(np.float32)
    axes *= np.where(axes.sum(0) < 0, -1, 1)  # else a picture of one net more may be turned upside down
    out = np.empty((len(where), 2))
    for i, vector in enumerate(_vectors(zoo, where, part)):
        if i % 1000 == 0:
            on_progress(Doing(f"placing snapshots, {i:,} of {len(where):,}", i / len(where)))
        out[i] = (_direction(vector) - centre) @ axes
    return out


def _direction(vector: np.ndarray) -> np.ndarray:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12), np.float32)


def _vectors(zoo: Zoo, where: list[tuple[int, int]], part: str) -> list[np.ndarray]:
    nets, snapshots = zip(*where)
    return zoo.vectors(nets, snapshots, part)


def _statistics_plane(zoo: Zoo, where: list[tuple[int, int]], on_progress: Callable[[str], None]) -> np.ndarray:
    from scipy.stats import rankdata

    found = []
    numbers = list(dict.fromkeys(net for net, _ in where))
    for done, number in enumerate(numbers):
        on_progress(Doing(f"statistics of weights, net {done + 1:,} of {len(numbers):,}", done / len(numbers)))
        found.append(features.statistics(zoo.theta(number)))
    ranks = rankdata(np.concatenate(found), axis=0) / len(where) - 0.5  # (n, 16)
    _, axes = np.linalg.eigh(np.cov(ranks.T))
    return np.asarray(ranks @ axes[:, -2:][:, ::-1])
