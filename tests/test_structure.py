"""What readers of structure are shown: the wires between groups of units, a row per neuron, answers to probes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from placed_nets import cnn, config, kan, mlps, permuted, placed, residual

from nws import NwsError
from nws.families import CNN2020, MLP
from nws.layout import Layout
from nws.representations import Placed, named
from nws.representations import graph as graphs
from nws.representations import probes as answers
from nws.representations.tokens import NAMES, neurons, padded
from nws.representations.wiring import MOMENTS, wiring

RNG = np.random.default_rng


def test_the_wires_of_a_chain_are_its_matrices():
    net = placed(config(depth=2), RNG(0))
    steps, named_ = wiring(net.layout), net.layout.unflatten(net.theta)
    assert [(s.slot, s.source, s.group) for s in steps] == [
        ("first", "input", "fc1"),
        ("fc", "fc1", "fc2"),
        ("last", "fc2", "output"),
    ]
    for step, layer in zip(steps, ("fc1", "fc2", "out")):
        assert_array_equal(step.pieces[0].of(net.theta)[..., 0], named_[f"{layer}.weight"])
        assert_array_equal(net.theta[step.nodes["bias"]], named_[f"{layer}.bias"])


def test_an_edge_of_a_flattened_picture_holds_its_pixels_and_one_of_channels_its_kernel():
    net = cnn(RNG(0))
    steps, weights = wiring(net.layout), net.layout.unflatten(net.theta)
    assert [s.slot for s in steps][:2] == ["first", "conv"]
    assert set(steps[0].nodes) == {"bias", "beta", "gamma", "mean", "var"}
    flat = next(s for s in steps if s.slot == "flat")
    units, channels = flat.units, flat.inputs
    assert_array_equal(flat.pieces[0].of(net.theta), weights["fc1.weight"].reshape(units, 16, channels).swapaxes(1, 2))
    kernels = steps[1].pieces[0].of(net.theta)
    assert_array_equal(kernels, weights["conv2.weight"].reshape(*kernels.shape))
    shown = graphs.edges(torch.from_numpy(net.theta)[None], steps[1])[0].numpy()
    assert len(shown) == MOMENTS
    assert_allclose(shown[0], kernels.mean(-1), rtol=1e-5)
    assert_array_equal(shown[2], kernels[..., 4])


def test_tensors_of_one_layer_are_numbers_of_the_same_edges():
    net = kan(RNG(0))
    steps = wiring(net.layout)
    assert [(s.slot, s.channels) for s in steps] == [("first", 7), ("last", 7)]
    shown = graphs.edges(torch.from_numpy(net.theta)[None], steps[0])[0].numpy()
    assert_array_equal(shown[0], net.layout.unflatten(net.theta)["kan1.base.weight"])
    assert_array_equal(shown[4], net.layout.unflatten(net.theta)["kan1.spline.weight"][..., 2])


def test_units_of_a_residual_net_hear_twice():
    steps = wiring(residual())
    assert [(s.source, s.group) for s in steps] == [
        ("input", "stream"),
        ("stream", "inner"),
        ("inner", "stream"),
        ("stream", "output"),
    ]
    assert [sorted(s.nodes) for s in steps] == [["bias"], ["gamma"], ["bias"], []]


def test_what_is_not_known_is_not_taken_from_an_equal_layout_that_knows_it():
    known = MLP.layout(config())
    bare = Layout([replace(t, axes=()) for t in known.tensors])
    assert known == bare  # layouts are compared without their axes
    wiring(known)
    with pytest.raises(NwsError, match=r"which units the axes of fc1.weight belong to is not known"):
        wiring(bare)


@pytest.mark.parametrize("net", [placed(config(depth=3), RNG(1)), cnn(RNG(1)), kan(RNG(1))], ids=["mlp", "cnn", "kan"])
def test_relabelling_hidden_units_permutes_their_rows(net):
    before, after = neurons(net.theta[None], net.layout)[0], neurons(permuted(net, RNG(2)).theta[None], net.layout)[0]
    assert before.shape == (sum(s.units for s in wiring(net.layout)), len(NAMES))
    assert not np.array_equal(before, after)
    for some in (before, after):
        assert np.isfinite(some).all()
    by_row = [x[np.lexsort(np.round(x, 3).T)] for x in (before, after)]
    assert_allclose(by_row[1], by_row[0], atol=2e-4)


def test_a_row_says_what_comes_in_and_what_goes_out():
    net = placed(config(), RNG(3))
    rows, weights = neurons(net.theta[None], net.layout)[0], net.layout.unflatten(net.theta)
    incoming, outgoing = np.arcsinh(50 * weights["fc1.weight"]), np.arcsinh(50 * weights["out.weight"])
    column = NAMES.index
    assert_allclose(rows[:5, column("in/mean")], incoming.mean(1), rtol=1e-4, atol=1e-5)
    assert_allclose(rows[:5, column("in/q100")], incoming.max(1), rtol=1e-6)
    assert_allclose(rows[:5, column("in/q50")], np.median(incoming, 1), rtol=1e-5)
    assert_allclose(rows[:5, column("out/q0")], outgoing.min(0), rtol=1e-6)
    assert_allclose(rows[:5, column("bias")], np.arcsinh(50 * weights["fc1.bias"]), rtol=1e-6)
    assert (rows[5:, column("out/deviation")] == 0).all()  # nothing reads the outputs


def test_sets_of_different_sizes_are_filled_up_and_marked():
    x, mask = padded([np.ones((2, 3), np.float32), np.ones((4, 3), np.float32)])
    assert x.shape == (2, 4, 3)
    assert_array_equal(mask.sum(1), [2, 4])
    assert_array_equal(x.any(2), mask)


# Probes.


def by_hand(row, x):
    """Outputs, and the outputs of hidden layers before the activation function."""
    net = row.config.family.module(row.config).eval()
    net.load_state_dict({k: torch.from_numpy(v) for k, v in row.layout.state_dict(row.theta).items()}, strict=False)
    hidden = []
    with torch.no_grad():
        for name, layer in net.named_children():
            x = layer(x)
            if name != "out" and any(p.dim() > 1 for p in layer.parameters(recurse=False)):
                hidden.append(x if x.dim() == 2 else x.flatten(2).mean(2))
    return x, hidden


@pytest.mark.parametrize("family", ["mlp", "cnn"])
def test_nets_side_by_side_answer_as_each_does_alone(family):
    rng = RNG(4)
    rows = (
        mlps(9, rng)[0]
        if family == "mlp"
        else [cnn(rng, k % 2, depth_conv=3, activation=("relu", "tanh")[k % 2]) for k in range(4)]
    )
    seen = []
    for function, state, at in answers.batches(rows):
        x = torch.rand(3, *function.shape)
        found, hidden = function({name: torch.from_numpy(value) for name, value in state.items()}, x)
        for k, position in enumerate(at):
            expected, layers = by_hand(rows[position], x)
            assert_allclose(found[k], expected, atol=2e-5, rtol=1e-4)
            assert len(layers) == len(hidden)
            for one, other in zip(layers, hidden):
                assert_allclose(other[k], one, atol=2e-5, rtol=1e-4)
        seen += list(at)
    assert sorted(seen) == list(range(len(rows)))


def test_configs_share_a_function_exactly_when_they_compute_the_same():
    base = config(activation="relu")
    same = base.with_(optimizer="momentum", learning_rate=0.123, dropout=0.5)
    other = base.with_(activation="tanh")
    layout = MLP.layout(base)
    prints = [answers.fingerprint(c, layout) for c in (base, same, other)]
    assert prints[0] == prints[1]
    assert prints[0] != prints[2]


def test_probes_say_what_they_cannot_do():
    probes, base = named("probes"), config()
    layout = MLP.layout(base)
    assert probes.why_not(layout, base, "optimizer") is None
    assert probes.why_not(layout, base, "width") is None  # it is seen from the shapes
    assert "its activation must be known" in probes.why_not(layout, base, "activation")
    assert "the code that makes them is not here" in probes.why_not(layout, None, "optimizer")
    assert "whole nets" in probes.why_not(Layout(layout.tensors[:2]), base, "optimizer")
    of_cnn = CNN2020.sample(1)[0]
    assert "its activation must be known" in probes.why_not(CNN2020.layout(of_cnn), of_cnn, "activation")


def test_a_family_with_a_canonical_form_is_brought_to_it():
    class Settled(type(MLP)):
        name = "settled"

        def canonical(self, theta, layout):
            assert layout.size == theta.size
            return np.abs(theta)

    net = placed(config(), RNG(5))
    own = Settled().config(net.config.to_dict())
    assert_array_equal(Placed(net.theta, net.layout, own).canonical().theta, np.abs(net.theta))
    assert net.canonical() is net
