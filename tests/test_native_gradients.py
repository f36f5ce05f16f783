"""Gradients of the native engine, layer by layer, against float64 autograd."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch
from native_nets import SMALL, pictures, theta_with_norms
from near_ties import Exact, Gradients

from nws.families import cnn2020 as cnn
from nws.families.cnn2020 import PROPERTIES, HyperParameters
from nws.train.native_engine import NativeEngine, why_not

pytestmark = pytest.mark.skipif(why_not() is not None, reason=why_not() or "")

FILTERS, ACTIVATIONS = (3, 5, 7), PROPERTIES["activation"].options


class Compared(NamedTuple):
    """The gradient of one batch by float64, by PyTorch in float32, which is the yardstick, and by the native engine."""

    hp: HyperParameters
    exact: Exact
    single: Gradients
    ours: Gradients

    def errors(self, gradients: Gradients, reference: Gradients) -> dict[str, float]:
        """tensor -> relative error. A convolution's bias before batch norm has gradient 0: its scale is that of the weights."""
        errors = {}
        for t in cnn.layout(self.hp).tensors:
            if t.role in ("mean", "var"):
                assert not gradients[t.name].any()
                continue
            silent = t.role == "bias" and self.hp.batch_norm and t.part == "conv"
            scale = np.linalg.norm(reference[f"{t.layer}.weight" if silent else t.name])
            errors[t.name] = float(np.linalg.norm(gradients[t.name] - reference[t.name]) / scale)
        return errors


def compared(hp: HyperParameters, sign: int, seed: int, direct: bool = False) -> Compared:
    """A batch of noise, and a net whose gammas have that sign (0: both)."""
    rng = np.random.default_rng(seed)
    theta = theta_with_norms(hp, sign, rng)
    x = rng.random((hp.batch_size, 3, 32, 32), dtype=np.float32)
    y = rng.integers(0, cnn.OUTPUTS, hp.batch_size)
    _, gradient = NativeEngine(hp, theta, pictures(), 0, dropout=0.0, direct=direct).gradient(x, y)
    exact, single = (Exact(hp, theta, x, y, dtype) for dtype in (torch.float64, torch.float32))
    return Compared(hp, exact, single.gradient()[0], cnn.layout(hp).unflatten(gradient))


def relative_errors(*batch: object) -> dict[str, tuple[float, float]]:
    """tensor -> relative error of (our gradient, PyTorch's) of a batch, see `compared`."""
    of = compared(*batch)
    reference, _ = of.exact.gradient()
    ours, single = (of.errors(gradients, reference) for gradients in (of.ours, of.single))
    return {name: (ours[name], single[name]) for name in ours}


def assert_as_exact_as_pytorch(each: list[dict[str, tuple[float, float]]], factor: float) -> None:
    """Median over seeds: batch norm over 16 values may blow rounding up a thousandfold, and ties may fall the other way (below)."""
    for name in each[0]:
        ours, single = np.median([errors[name] for errors in each], axis=0)
        assert ours < factor * single + 1e-5, name


# Rounding errors of Winograd against the definition's are 2, 3 and 5 times for filters of 3, 5 and 7 (winograd.hpp).
FACTOR = {1: 4, 3: 8, 5: 8, 7: 16, 9: 4}


@pytest.mark.parametrize("sign", [1, -1, 0])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("filter_size", FILTERS)
def test_gradients_agree_with_float64_in_every_layer(filter_size, activation, sign):
    # depth 5: two convolutions have no pool; width 5: no multiple of a register tile
    hp = SMALL.with_(filter_size=filter_size, activation=activation, depth_conv=5, width_conv=5)
    assert_as_exact_as_pytorch([relative_errors(hp, sign, seed) for seed in range(5)], FACTOR[filter_size])


@pytest.mark.slow
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("filter_size", [1, *FILTERS, 9])
@pytest.mark.parametrize("direct", [False, True])
def test_gradients_of_whole_nets(filter_size, activation, direct):
    hp = SMALL.with_(
        filter_size=filter_size, activation=activation, depth_conv=4, width_conv=8, width_fc=128, depth_fc=4, batch_size=48
    )
    assert_as_exact_as_pytorch([relative_errors(hp, 0, seed, direct) for seed in range(7)], FACTOR[filter_size])


@pytest.mark.parametrize("filter_size", FILTERS)
def test_outliers_are_ties_that_fell_the_other_way(filter_size):
    """Every seed agrees, not only the median, once float64 decides ties within rounding as the engine did."""
    hp = SMALL.with_(activation="relu", filter_size=filter_size, depth_conv=4)
    for seed in range(12):
        of = compared(hp, 0, seed)

        def worst(reference: Gradients, of: Compared = of) -> float:
            return max(of.errors(of.ours, reference).values())

        reference, _ = of.exact.gradient()
        if worst(reference) > 2e-3:
            reference, turned = of.exact.gradient_nearest(worst, within=1e-5)
            assert turned
        assert worst(reference) < 2e-3, seed


def test_a_tie_that_fell_the_other_way_is_found():
    of = compared(SMALL.with_(activation="relu"), 0, 0)
    plain, ties = of.exact.gradient(within=1e-4)
    assert ties
    for tie in ties:
        other, _ = of.exact.gradient((tie,))

        def distance(reference: Gradients, other: Gradients = other) -> float:
            return sum(error**2 for error in of.errors(other, reference).values())

        if distance(plain) > 1e-12:  # else no gradient reaches that unit
            found, turned = of.exact.gradient_nearest(distance, within=1e-4)
            assert turned == [tie]
            assert distance(found) == 0


@pytest.mark.parametrize("filter_size", FILTERS)
def test_winograd_is_convolution_to_rounding(filter_size):
    hp = SMALL.with_(filter_size=filter_size, activation="sigmoid", batch_norm=False)
    for direct in (True, False):
        worst = [max(ours for ours, _ in relative_errors(hp, 1, seed, direct).values()) for seed in range(5)]
        assert np.median(worst) < (2e-6 if direct else 2e-5)
