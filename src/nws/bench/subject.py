"""What the benchmarks of training measure: one net, noise to train it on, and the arithmetic that it takes."""

from __future__ import annotations

import numpy as np

from nws.families import cnn2020 as cnn
from nws.families.cnn2020 import HyperParameters
from nws.images import ImageSet

FIXED = HyperParameters("noise", 1e-3, 64, True, False, "adam", "relu", "glorot_uniform", 5, 3, 2, 8, 128)
SMALLEST = FIXED.with_(filter_size=3, depth_conv=3, depth_fc=2, width_conv=4, width_fc=64)
LARGEST = FIXED.with_(filter_size=7, depth_conv=5, depth_fc=4, width_conv=12, width_fc=192)


def random_pictures(n: int, n_test: int | None = None) -> ImageSet:
    """As many training and, if not said otherwise, test images of noise."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8), np.arange(n) % 10  # balanced: an epoch is all of them
    return ImageSet("noise", x, y, x[:n_test], y[:n_test], tuple("0123456789"))


def operations(hp: HyperParameters) -> float:
    """Of one training image: 3 x forward multiply-adds x 2."""
    side, number, adds = cnn.SIDE, 0, 0
    layers = cnn.layout(hp).layers
    for convolutions in cnn.blocks(hp.depth_conv):
        for _ in range(convolutions):
            number += 1
            adds += side * side * int(np.prod(layers[f"conv{number}"]["weight"].shape))
        side //= 2
    adds += sum(int(np.prod(roles["weight"].shape)) for roles in layers.values() if roles["weight"].part == "fc")
    return 6.0 * adds
