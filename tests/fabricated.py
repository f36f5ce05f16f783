"""Small fabricated nets, and a zoo of them, for the tests of the zoo."""

from dataclasses import replace

import numpy as np

from nws import FIXED, Layout, Net
from nws.zoo import Zoo

LAYOUT = Layout(
    [
        ("conv1", "weight", (2, 3, 3, 3), "conv"),
        ("conv1", "bias", (2,), "conv"),
        ("fc1", "weight", (4, 8), "fc", (2, 2)),
        ("fc1", "bias", (4,), "fc"),
    ]
)  # 56 conv + 36 FC weights
WIDE = Layout([("conv1", "weight", (5, 3, 3, 3), "conv"), ("fc1", "weight", (4, 8), "fc")])  # 135 + 32
SNAPSHOTS = 5


def tiny(number, layout=LAYOUT, **changes):
    """A fabricated net: a function of its number."""
    rng = np.random.default_rng(number)
    history = rng.random((9, 5))
    made = Net(
        number=number,
        hp=FIXED.net(0, number),
        layout=layout,
        theta=rng.standard_normal((SNAPSHOTS, layout.size)).astype(np.float32),
        epoch=np.array([0, 2, 4, 6, 8]),
        history=history,
        seconds=0.1 * number,
        about={"seed": 0, "engine": "none", "images": {"sha256": "é"}},
    )
    return replace(made, **changes)


def diverged(number):
    net = tiny(number)
    net.theta[-1] = np.nan
    return replace(net, status="diverged", history=np.full((9, 5), np.nan))


def assert_same_net(a, b):
    assert (a.number, a.hp, a.layout, a.status, a.seconds, a.about) == (b.number, b.hp, b.layout, b.status, b.seconds, b.about)
    for name in ("theta", "epoch", "history"):
        assert getattr(a, name).tobytes() == getattr(b, name).tobytes()


def zoo_net(number):
    return diverged(4) if number == 4 else tiny(number, WIDE if number == 5 else LAYOUT)


def fabricated_zoo(path):
    """Twelve nets: number 4 diverged, number 5 has a longer conv part."""
    zoo = Zoo.create(path, FIXED, seed=3, nets=12, images={"mnist": {"sha256": "ab"}}, epochs=8, limit=None)
    for number in range(12):
        zoo.append(zoo_net(number))
    return zoo


def file_of(zoo, number):
    return zoo.path / zoo.index.loc[number, "path"]
