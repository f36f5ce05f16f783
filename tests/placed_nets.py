"""Nets that know their layout, of random weights and several architectures, for tests of the readers of structure."""

from dataclasses import replace

import numpy as np

from nws.families import CNN2020, MLP
from nws.layout import Axis, Layout, Tensor
from nws.representations import Placed

KINDS = ("plain", "moved", "wide")


def config(number=0, **changes):
    """A config of the mlp family, small."""
    return MLP.space.net(0, number).with_(**{"side": 3, "width": 5, "depth": 1, "classes": 4, "dropout": 0.0, **changes})


def placed(config, rng, kind=0):
    """A net of random weights: plain, moved or wide ones (kind 0, 1, 2)."""
    layout = config.family.layout(config)
    theta = rng.normal(size=layout.size) * (0.3, 0.3, 1.5)[kind] + (0, 0.4, 0)[kind]
    for t in layout.tensors:
        if t.role == "var":
            theta[t.start : t.stop] = np.abs(theta[t.start : t.stop]) + 0.1
    return Placed(theta.astype(np.float32), layout, config)


def mlps(n, rng):
    """n nets of three kinds and several architectures, and the kinds (n,)."""
    kind = np.arange(n) % 3
    widths, depths = rng.choice([4, 6], n), rng.choice([1, 2, 3], n)
    rows = [placed(config(k, width=int(widths[k]), depth=int(depths[k])), rng, kind[k]) for k in range(n)]
    return rows, kind


def cnn(rng, number=0, **changes):
    small = {"width_conv": 2, "width_fc": 8, "filter_size": 3, **changes}
    return placed(CNN2020.sample(number + 1)[number].with_(**small), rng)


def permuted(row, rng):
    return replace(row, theta=row.layout.permute(row.theta, rng))


def residual():
    """The layout of a net with a residual connection: two matrices add to the same units."""
    stream, inner = Axis("stream"), Axis("inner")

    def tensor(layer, role, shape, *axes):
        return Tensor(layer, role, shape, "fc", 0, axes=axes)

    return Layout(
        [
            tensor("enter", "weight", (6, 3), stream, Axis("input")),
            tensor("enter", "bias", (6,), stream),
            tensor("up", "weight", (4, 6), inner, stream),
            tensor("norm", "gamma", (4,), inner),
            tensor("down", "weight", (6, 4), stream, inner),
            tensor("down", "bias", (6,), stream),
            tensor("out", "weight", (5, 6), Axis("output"), stream),
        ]
    )


def kan(rng, inputs=3, hidden=4, outputs=2, numbers=5):
    """A net of spline layers as its layout would be: three tensors on the same edges."""
    rows = []
    groups = ["input", "kan1", "output"]
    for k, (a, b) in enumerate(((inputs, hidden), (hidden, outputs)), 1):
        axes = (Axis(groups[k]), Axis(groups[k - 1]))
        rows += [Tensor(f"kan{k}.{name}", "weight", (b, a), "fc", 0, axes=axes) for name in ("base", "scale")]
        rows.append(Tensor(f"kan{k}.spline", "weight", (b, a, numbers), "fc", 0, axes=(*axes, Axis())))
    layout = Layout(rows)
    return Placed(rng.normal(size=layout.size).astype(np.float32), layout)
