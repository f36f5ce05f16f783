"""How accurate KANs stay when only the strongest edges are kept: the table behind a pruning mask."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np

from nws.errors import NwsError
from nws.families import kan_training, masks, splines
from nws.images import ImageSet
from nws.net import Net
from nws.representations import edges
from nws.zoo import Zoo

if TYPE_CHECKING:
    import pandas as pd

SHARES = (1.0, 0.7, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1, 0.05, 0.02)
ORDERS = ("mean", "std", "norm", "random")  # two scores of data, the norm on a fixed grid (weights only), chance
_RESAMPLES = 1000


def curve(
    zoo: Zoo,
    images: ImageSet,
    nets: Iterable[int] | None = None,
    shares: Iterable[float] = SHARES,
    on_progress: Callable[[str], None] = lambda doing: None,
) -> pd.DataFrame:
    """Columns order, share, accuracy, low, high, nets: mean test accuracy of the nets with that share of all edges kept.

    order   what edges are ranked by within a net: "mean" |phi| and deviation ("std") of phi over training images, "norm" of phi on
            a grid of 33 points, or "random"
    images  the zoo's own image set; nets: numbers, or None for all that trained
    low, high   95% interval by a bootstrap over nets. Dropped edges put out 0. Nothing is trained anew.
    """
    import pandas as pd

    shares = list(shares)
    chosen = [int(n) for n in (zoo.select(None)[0].index if nets is None else nets)]
    if not chosen:
        raise NwsError(f"{zoo.path}: no nets to prune")
    found = np.zeros((len(ORDERS), len(shares), len(chosen)))
    for k, number in enumerate(chosen):
        on_progress(f"pruning net {k + 1:,} of {len(chosen):,}")
        found[..., k] = _accuracies(zoo.net(number), images, shares)
    drawn = np.random.default_rng(0).multinomial(len(chosen), np.full(len(chosen), 1 / len(chosen)), _RESAMPLES) / len(chosen)
    rows = []
    for order, of_order in zip(ORDERS, found):
        for share, each in zip(shares, of_order):
            low, high = np.percentile(drawn @ each, [2.5, 97.5])
            values = {"accuracy": each.mean(), "low": min(low, each.mean()), "high": max(high, each.mean())}
            rows.append({"order": order, "share": share, **values, "nets": len(chosen)})
    return pd.DataFrame(rows)


def _accuracies(net: Net, images: ImageSet, shares: list[float]) -> np.ndarray:
    """(orders, shares)"""
    hp = net.hp.to_dict()
    layers, grid = splines.layers(net.theta[-1], net.layout), int(hp["grid"])
    table = edges.table(layers, grid)
    ranked = {
        "mean": masks.scores(net.about, net.layout, "mean"),
        "std": masks.scores(net.about, net.layout, "std"),
        "norm": table[:, edges.NAMES.index("norm")],
        "random": np.random.default_rng(net.number).random(len(table)),
    }
    shown = images.resized(int(hp["side"]), 1)
    pixels = shown.x_test.reshape(len(shown.x_test), -1)
    widths = [layers[0].base.shape[1], *(e.base.shape[0] for e in layers)]
    found = np.zeros((len(ORDERS), len(shares)))
    for at, order in enumerate(ORDERS):
        for k, share in enumerate(shares):
            left = splines.flatten(masks.pruned(layers, masks.strongest(ranked[order], share))).astype(np.float32)
            said = kan_training.trainer(widths, net.hp, left).of_bytes(pixels)
            found[at, k] = (said.argmax(1) == shown.y_test).mean()
    return found
