"""Whole nets as rows: the same length for all, the same row for the same net, and what relations are solved for."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn

import nws
from nws.layout import Layout
from nws.representations import tensors
from nws.representations.chain import layers
from nws.representations.relations import ACTIVATIONS, after
from nws.representations.structure import STRUCTURE
from nws.representations.tensors import BLOCKS, NAMES, SLOTS, slot
from nws.representations.values import QUANTILES, VALUES, measured

COLUMN = {name: k for k, name in enumerate(NAMES)}
SMALL = {"width_conv": 4, "width_fc": 64}
KINDS = {
    "usual": nws.MAIN.net(0, 1).with_(**SMALL, initialization="glorot_uniform"),
    "constant": nws.MAIN.net(0, 2).with_(**SMALL, initialization="constant", depth_conv=5, filter_size=7),
    "no norm": nws.MAIN.net(0, 3).with_(**SMALL, batch_norm=False, depth_fc=4),
}


class Branching(nn.Module):
    """No chain: two layers read the input, and a one-dimensional convolution stands among them."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 8, (1, 3))
        self.scale = nn.Parameter(torch.ones(5))
        self.line, self.norm = nn.Conv1d(8, 6, 3), nn.LayerNorm(6)


STRANGERS = {
    "mlp": nws.families.MLP.layout(nws.families.MLP.sample(1)[0]),
    "sequential": Layout.of_module(nn.Sequential(nn.Conv2d(1, 4, 5), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))),
    "branching": Layout.of_module(Branching()),
    "weights only": Layout([("a", "weight", (3, 4), "fc"), ("b", "weight", (5, 7, 3), "fc")]),
    "one output": Layout([("a", "weight", (1, 1), "fc")]),
    "no matrix": Layout([("a", "bias", (7,), "fc")]),
}


def theta_of(config, rng, n=3):
    """Rows of nets that never trained, with norms and biases as if they had: (n, P), and the layout."""
    layout = nws.cnn.layout(config)
    theta = np.stack([nws.cnn.initialize(config, rng) for _ in range(n)])
    for t in layout.tensors:
        span = slice(t.start, t.stop)
        noise = 0.1 * rng.standard_normal((n, t.stop - t.start)).astype(np.float32)
        if t.role == "weight":
            theta[:, span] += 0.01 * noise  # enough to tell the units of constant nets apart
        else:
            theta[:, span] = np.exp(noise) if t.role == "var" else theta[:, span] + noise
    return theta, layout


def of(values, name):
    return values[..., COLUMN[name]]


def test_every_net_has_the_same_features():
    rng = np.random.default_rng(0)
    found = [theta_of(config, rng) for config in KINDS.values()]
    found += [(rng.standard_normal((3, layout.size)).astype(np.float32), layout) for layout in STRANGERS.values()]
    for theta, layout in found:
        values, names = tensors(theta, layout)
        assert names == NAMES
        assert values.shape == (3, len(names))
        assert values.dtype == np.float64
        assert np.isfinite(values).all()
        assert_allclose(tensors(theta[1], layout)[0], values[1], rtol=2e-6, atol=2e-9)
        assert tensors(theta[:0], layout)[0].shape == (0, len(names))
        assert np.isfinite(tensors(theta * 0, layout)[0]).all()
        assert np.isfinite(tensors(theta * np.float32(1e30), layout)[0]).all()


def test_names_are_distinct_and_in_one_block_each():
    assert len(set(NAMES)) == len(NAMES)
    assert {slot(name) for name in NAMES} == set(SLOTS)
    assert sorted(np.concatenate(list(BLOCKS.values()))) == list(range(len(NAMES)))


@pytest.mark.parametrize("kind", [*KINDS, "mlp", "sequential"])
def test_relabelling_hidden_units_changes_nothing_and_shuffling_does(kind):
    rng = np.random.default_rng(1)
    if kind in KINDS:
        theta, layout = theta_of(KINDS[kind], rng)
    else:
        layout = STRANGERS[kind]
        theta = np.abs(rng.standard_normal((3, layout.size)).astype(np.float32))
    values, _ = tensors(theta, layout)
    relabelled, _ = tensors(layout.permute(theta, rng), layout)
    assert_allclose(relabelled, values, rtol=2e-6, atol=2e-9)
    assert (relabelled == values).mean() > 0.99
    shuffled = theta.copy()
    for t in layout.tensors:
        shuffled[:, t.start : t.stop] = rng.permuted(theta[:, t.start : t.stop], axis=1)
    changed = np.abs(tensors(shuffled, layout)[0] - values).max(0) > 1e-3
    assert changed.sum() > 50
    assert not changed[[COLUMN[f"fc1.weight/{value}" if kind != "sequential" else f"out.weight/{value}"] for value in VALUES]].any()


def test_what_a_net_lacks_is_zero_and_said():
    theta = np.random.default_rng(0).standard_normal(STRANGERS["mlp"].size).astype(np.float32)
    values, _ = tensors(theta, STRANGERS["mlp"])
    for name in NAMES:
        if slot(name).startswith("conv") or name.startswith("pixels"):
            assert of(values, name) == 0, name
    assert of(values, "fc1/present") == of(values, "fc1.bias/present") == of(values, "out/present") == 1
    assert of(values, "fc1.gamma/present") == 0
    assert of(values, "net/convolutions") == 0


@pytest.mark.parametrize("without", ["moving", "bias", "norm"])
def test_leaving_out_is_never_having_had(without):
    theta, layout = theta_of(KINDS["usual"], np.random.default_rng(0))
    left_out, _ = tensors(theta, layout, without=[without])
    shorter = np.ascontiguousarray(theta[:, layout.kept((without,))])
    assert_allclose(left_out, tensors(shorter, layout.without((without,)))[0], rtol=2e-6, atol=2e-9)
    assert not np.allclose(left_out, tensors(theta, layout)[0])


def test_parts_and_relations_can_be_left_out():
    theta, layout = theta_of(KINDS["usual"], np.random.default_rng(0))
    everything, conv, fc, alone = (
        tensors(theta, layout, **options)[0] for options in ({}, {"part": "conv"}, {"part": "fc"}, {"without": ["relations"]})
    )
    for k, name in enumerate(NAMES):
        if name.startswith("net/"):
            continue
        of_conv, related = slot(name).startswith(("conv", "pixels")), "relation/" in name or name.startswith("pixels")
        assert_array_equal(conv[:, k], everything[:, k] if of_conv else 0)
        if not related:  # the first matrix is related to the last convolution
            assert_array_equal(fc[:, k], 0 if of_conv else everything[:, k])
        assert_array_equal(alone[:, k], 0 if related else everything[:, k])


def test_what_cannot_be_read_is_refused():
    theta, layout = theta_of(KINDS["usual"], np.random.default_rng(0))
    for message, arguments in {
        "its layout": (theta[:, 1:], layout),
        "NaN or infinite": (np.where(np.arange(layout.size) == 7, np.nan, theta), layout),
    }.items():
        with pytest.raises(nws.NwsError, match=message):
            tensors(*arguments)
    with pytest.raises(nws.NwsError, match="without 'gama' is unknown: use one of"):
        tensors(theta, layout, without=["gama"])
    with pytest.raises(nws.NwsError, match="part"):
        tensors(theta, layout, part="head")


def put(theta, layout, name, values):
    t = next(t for t in layout.tensors if t.name == name)
    theta[:, t.start : t.stop] = np.reshape(values, (len(theta), -1))


def test_the_mean_pixel_is_solved_for():
    theta, layout = theta_of(KINDS["usual"], np.random.default_rng(0))
    named = {name: x.astype(float) for name, x in layout.unflatten(theta).items()}
    sums = named["conv1.weight"].sum((3, 4))
    put(theta, layout, "conv1.mean", named["conv1.bias"] + 0.37 * sums.sum(2))
    assert_allclose(of(tensors(theta, layout)[0], "pixels/mean pixel"), 0.37, rtol=1e-4)
    put(theta, layout, "conv1.mean", named["conv1.bias"] + sums @ [0.2, 0.4, 0.6])
    values, _ = tensors(theta, layout)
    assert_allclose(
        [of(values, f"pixels/mean pixel, channel {k}") for k in (1, 2, 3)], np.outer([0.2, 0.4, 0.6], [1, 1, 1]), atol=0.01
    )
    assert (of(values, "pixels/log unexplained by channels") < -1.5).all()


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_activation_explains_what_the_next_layer_reads(activation):
    theta, layout = theta_of(KINDS["usual"], np.random.default_rng(0))
    named = {name: x.astype(float) for name, x in layout.unflatten(theta).items()}
    at = ACTIVATIONS.index(activation)

    def read(layer):
        return after(named[f"{layer}.beta"], np.abs(named[f"{layer}.gamma"]))

    sums = named["conv2.weight"].sum((3, 4))
    mean = read("conv1")[0][at]
    put(theta, layout, "conv2.mean", named["conv2.bias"] + (sums @ mean[..., None])[..., 0])
    before = [t.layer for t in layout.tensors if t.part == "conv"][-1]
    first = next(t for t in layout.tensors if t.name == "fc1.weight")
    mean, deviation = (x[at] for x in read(before))
    weight = named["fc1.weight"].reshape(3, first.shape[0], -1, mean.shape[1])
    centre = (weight.sum(2) @ mean[..., None])[..., 0] + named["fc1.bias"]
    width = np.sqrt(((weight**2).sum(2) @ (deviation**2)[..., None])[..., 0])
    put(theta, layout, "fc1.mean", after(centre, width)[0][at])
    values, _ = tensors(theta, layout)
    for slot_name, what in (("conv2", "log unexplained beyond the best"), ("fc1", "log mean error beyond the best")):
        apart = {a: of(values, f"{slot_name}.relation/{what}, if {a}") for a in ACTIVATIONS}
        assert_allclose(apart.pop(activation), 0, atol=1e-6)
        assert np.min(list(apart.values())) > 0.5, slot_name


def test_values_are_numpys():
    x = np.random.default_rng(0).gamma(2.0, size=(4, 1001)).astype(np.float32) - 1
    got = dict(zip(VALUES, measured(x).T, strict=True))
    assert_allclose(got["mean"], x.mean(1, dtype=float), rtol=1e-9)
    assert_allclose(10 ** got["log deviation"], x.std(1, dtype=float), rtol=1e-9)
    for q in QUANTILES:
        assert_allclose(got[f"p{q}"], np.percentile(x.astype(float), q, axis=1), rtol=1e-9, atol=1e-12)
    assert_allclose(10 ** got["log size p50"], np.percentile(np.abs(x).astype(float), 50, axis=1), rtol=1e-6)
    assert_allclose(got["share negative"], (x < 0).mean(1))
    assert_array_equal(measured(np.full((1, 9), np.float32(0.1)))[0, VALUES.index("skewness")], 0)


def test_the_spectrum_is_that_of_the_singular_values():
    theta, layout = theta_of(KINDS["usual"], np.random.default_rng(0))
    values, _ = tensors(theta, layout)
    weight = layout.unflatten(theta)["fc2.weight"].astype(float)
    shares = np.linalg.svd(weight, compute_uv=False) ** 2
    shares /= shares.sum(1, keepdims=True)
    for k in (1, 2, 3):
        assert f"singular {k}" in STRUCTURE
        assert_allclose(of(values, f"fc2.weight/singular {k}"), shares[:, k - 1], rtol=1e-5)


def test_norms_of_their_own_belong_to_the_weights_before():
    (conv, out) = layers(STRANGERS["sequential"])
    assert set(conv.vectors) == {"bias", "beta", "gamma", "mean", "var"}
    assert (conv.kind, out.kind, conv.reads, out.reads) == ("conv", "out", "", "first")
    assert [layer.kind for layer in layers(STRANGERS["branching"])] == ["conv", "conv", "conv"]
