"""Outputs that no label ever asked for: found in a zoo's recorded trainings, and left out where nets are compared.

Nets of the 2020 family have 20 outputs, and an image set of ten classes uses ten of them. An ordinary net of ten classes has
nothing to do with the other ten: neither their number, nor their weights, which were only ever pushed down.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from nws.layout import Layout, Tensor
from nws.zoo import Zoo

Unused = Mapping[int, Sequence[int]]  # number of outputs -> the positions of those that were never trained
MOST_VOTERS = 200  # nets that are looked at: each costs as many small reads as it has snapshots
_LEAST_VOTERS, _LEAST_SNAPSHOTS = 5, 3  # fewer say nothing: that trained outputs fall in all of them is one in 1,000 by chance
_AGREED = 0.9  # of the nets; some have outputs that never move, because they are sure not to be asked for


def never_trained(zoo: Zoo, nets: Sequence[int]) -> dict[int, tuple[int, ...]]:
    """Number of outputs -> positions of those that were never trained in the zoo's nets of so many; without any, no entry.

    Cross-entropy's gradient with respect to an output's bias is the mean of p - y. Without a label y is always 0, so that every
    step of every optimizer lowers the bias; an output that is asked for rises at some time, in nearly every net. Nets without a
    bias in the last layer, or with fewer than three snapshots, have no vote.
    """
    chosen = np.unique(np.linspace(0, len(nets) - 1, min(len(nets), MOST_VOTERS)).astype(int))
    snapshots = zoo.index["snapshots"]
    fell: dict[int, list[np.ndarray]] = {}
    for net in (int(nets[k]) for k in chosen):
        bias = next((t for t in last_layer(zoo.layout(net)) if t.role == "bias"), None)
        recorded = int(snapshots.loc[net])
        if bias is not None and recorded >= _LEAST_SNAPSHOTS:
            found = zoo.slices(net, np.arange(1, recorded + 1), bias.start, bias.shape[0])  # (S, outputs)
            always = (np.diff(found, axis=0) <= 0).all(0) & (found[-1] < found[0])
            fell.setdefault(bias.shape[0], []).append(always)
    shares = {outputs: np.mean(votes, axis=0) for outputs, votes in fell.items() if len(votes) >= _LEAST_VOTERS}
    agreed = {outputs: tuple(np.flatnonzero(share >= _AGREED).tolist()) for outputs, share in shares.items()}
    return {outputs: positions for outputs, positions in agreed.items() if 0 < len(positions) < outputs}


def last_layer(layout: Layout) -> tuple[Tensor, ...]:
    """The tensors of the last layer with a matrix or a convolution, if they all have one row per output; else none."""
    weight = next((t for t in reversed(layout.tensors) if t.role == "weight" and len(t.shape) > 1), None)
    tensors = tuple(layout.layers[weight.layer].values()) if weight else ()
    return tensors if len({t.shape[0] for t in tensors}) == 1 else ()


def stripped(layout: Layout, unused: Unused) -> tuple[Layout, np.ndarray | slice]:
    """The layout without the outputs that `never_trained` names for nets of so many, and where its weights lie in theta."""
    last = last_layer(layout)
    out = sorted(unused.get(last[0].shape[0], ())) if last else []
    if not out:
        return layout, slice(None)
    kept = np.ones(layout.size, bool)
    rows = []
    for t in layout.tensors:
        shape = t.shape
        if t in last:
            kept[t.start : t.stop].reshape(shape)[out] = False
            shape = (shape[0] - len(out), *shape[1:])
        rows.append((t.layer, t.role, shape, t.part, *([t.grid] if t.grid[0] else [])))
    return Layout(rows), np.flatnonzero(kept)
