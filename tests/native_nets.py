"""Small nets and pictures on which the native engine is tested."""

from __future__ import annotations

import functools

import numpy as np

from nws.families import cnn2020 as cnn
from nws.families.cnn2020 import HyperParameters
from nws.images import ImageSet

SMALL = HyperParameters(
    dataset="noise",
    learning_rate=1e-3,
    batch_size=16,
    batch_norm=True,
    augmentation=False,
    optimizer="adam",
    activation="tanh",
    initialization="glorot_uniform",
    filter_size=3,
    depth_conv=3,
    depth_fc=2,
    width_conv=4,
    width_fc=16,
)


@functools.cache
def pictures(n_train: int = 320, n_test: int = 77) -> ImageSet:
    """Random pictures whose class shows in their brightness."""
    rng = np.random.default_rng(7)

    def draw(n: int) -> tuple[np.ndarray, np.ndarray]:
        y = np.arange(n) % 10
        x = rng.integers(0, 80, (n, 32, 32, 3)) + 17 * y[:, None, None, None]
        return x.astype(np.uint8), y

    return ImageSet("noise", *draw(n_train), *draw(n_test), tuple("0123456789"))


def theta_with_norms(hp: HyperParameters, sign: int, rng: np.random.Generator) -> np.ndarray:
    """Initial weights, but gammas of that sign (0: both), betas and biases far from rest."""
    theta = cnn.initialize(hp, rng)
    for t in cnn.layout(hp).tensors:
        if t.role == "gamma":
            gamma = rng.uniform(0.3, 1.2, t.shape)
            theta[t.start : t.stop] = gamma * (sign or rng.choice([-1, 1], t.shape))
        elif t.role in ("beta", "bias"):
            theta[t.start : t.stop] = rng.normal(0, 0.3, t.shape)
    return theta
