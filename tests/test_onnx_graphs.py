"""ONNX graphs as exporters write them: what is a weight, of which layer, in which order."""

from pathlib import Path

import numpy as np
import pytest
from test_weights import in_our_order, small_net

from nws import NwsError
from nws.weights import ordered, read

onnx = pytest.importorskip("onnx")
from onnx import helper, numpy_helper  # noqa: E402 (behind the skip)

UNET = Path(__file__).resolve().parents[2] / "shared/fixtures/strangers/tiny_unet.onnx"


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def save(path, nodes, tensors, inner=None):
    """nodes: (op, inputs, outputs, attributes); tensors: name -> array."""
    made = [helper.make_node(op, inputs, outputs, **given) for op, inputs, outputs, given in nodes]
    values = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in ("x", "y")]
    kept = [numpy_helper.from_array(a, n) for n, a in tensors.items()]
    onnx.save(helper.make_model(helper.make_graph(made, "g", values[:1], values[1:], kept)), path)
    return read(path)


def layers(checkpoint):
    found = ordered(checkpoint)
    return {name: {role: t.shape for role, t in roles.items()} for name, roles in found.layout.layers.items()}


def tensor(checkpoint, number):
    found = ordered(checkpoint)
    t = found.layout.tensors[number]
    return found.theta[t.start : t.stop].reshape(t.shape)


def test_channels_last_graphs_of_keras_agree_with_pytorch(tmp_path):
    """MatMul and Add for a dense layer, a Transpose before the flattened picture, a norm and constants by nodes."""
    net = small_net()
    dense = net["dense"].reshape(5, 4, 3, 3).transpose(2, 3, 1, 0).reshape(36, 5).copy()
    nodes = [
        ("Constant", [], ["w"], {"value": numpy_helper.from_array(net["w"])}),
        ("Identity", ["b_"], ["b"], {}),
        ("Transpose", ["x"], ["t"], {"perm": [0, 3, 1, 2]}),
        ("Conv", ["t", "w", "b"], ["c"], {}),
        ("BatchNormalization", ["c", "gamma", "beta", "mean", "var"], ["n"], {}),
        ("Transpose", ["n"], ["u"], {"perm": [0, 2, 3, 1]}),
        ("Reshape", ["u", "shape"], ["f"], {}),
        ("MatMul", ["f", "k"], ["m"], {}),
        ("Add", ["m", "bias"], ["y"], {}),
    ]
    rest = {n: net[n] for n in ("gamma", "beta", "mean", "var", "bias")}
    found = save(tmp_path / "a.onnx", nodes, {"k": dense, "b_": net["b"], "shape": np.array([1, -1]), **rest})
    np.testing.assert_array_equal(ordered(found).theta, in_our_order(net))
    assert not any("left out" in note for note in found.notes)


def test_axes_pads_and_scales_are_no_weights(tmp_path):
    nodes = [
        ("Pad", ["x", "pads", "zero"], ["p"], {}),
        ("Resize", ["p", "roi", "scales"], ["r"], {}),
        ("Conv", ["r", "w"], ["c"], {}),
        ("Clip", ["c", "low", "high"], ["k"], {}),
        ("Mul", ["k", "two"], ["m"], {}),
        ("Unsqueeze", ["m", "axes"], ["y"], {}),
    ]
    settings = {
        "pads": np.zeros(8, np.int64), "zero": np.float32(0), "roi": np.zeros(8, np.float32), "scales": np.ones(4, np.float32),
        "low": np.float32(0), "high": np.float32(6), "two": np.float32(2), "axes": np.array([0]),
    }  # fmt: skip
    found = save(tmp_path / "a.onnx", nodes, {"w": numbers(2, 3, 3, 3), **{n: np.asarray(a) for n, a in settings.items()}})
    assert list(layers(found).values()) == [{"weight": (2, 3, 3, 3)}]
    assert not any("left out" in note for note in found.notes)


def test_layers_come_in_order_of_use_and_shared_ones_once(tmp_path):
    tensors = {"a": numbers(4, 3), "z": numbers(4, 4), "unused": numbers(7, 7)}
    nodes = [
        ("Gemm", ["x", "a"], ["1"], {"transB": 1}),
        ("Gemm", ["1", "z"], ["2"], {"transB": 1}),
        ("Gemm", ["2", "z"], ["y"], {"transB": 1}),
    ]
    found = save(tmp_path / "a.onnx", nodes, dict(reversed(tensors.items())))
    assert [list(roles.values()) for roles in layers(found).values()] == [[(4, 3)], [(4, 4)]]


@pytest.mark.parametrize(("op", "given", "shape"), [("Gemm", {"transB": 1}, (4, 3)), ("Gemm", {}, (3, 4)), ("MatMul", {}, (3, 4))])
def test_matrices_are_out_in(tmp_path, op, given, shape):
    w = numbers(*shape)
    found = save(tmp_path / "a.onnx", [(op, ["x", "w"], ["y"], given)], {"w": w})
    np.testing.assert_array_equal(tensor(found, 0), w if shape == (4, 3) else w.T)


def test_a_matrix_before_a_vector(tmp_path):
    w = numbers(4, 3)
    np.testing.assert_array_equal(tensor(save(tmp_path / "a.onnx", [("MatMul", ["w", "x"], ["y"], {})], {"w": w}), 0), w)


@pytest.mark.parametrize("groups", [1, 2])
def test_transposed_convolutions_are_out_in(tmp_path, groups):
    w = numbers(6, 5, 3, 3)  # (in, out of a group, rows, columns)
    found = save(
        tmp_path / "a.onnx", [("ConvTranspose", ["x", "w", "b"], ["y"], {"group": groups})], {"w": w, "b": numbers(5 * groups)}
    )
    assert list(layers(found).values()) == [{"weight": (5 * groups, 6 // groups, 3, 3), "bias": (5 * groups,)}]
    turned = tensor(found, 0)
    for group in range(groups):
        own = slice(group * 6 // groups, (group + 1) * 6 // groups)
        np.testing.assert_array_equal(turned[group * 5 : group * 5 + 5], w[own].swapaxes(0, 1))


@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
def test_recurrent_layers_agree_with_pytorch(tmp_path, op):
    import torch

    net = getattr(torch.nn, op)(3, 5, bidirectional=True)
    state = {name: t.numpy() for name, t in net.state_dict().items()}
    gates = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN": (0,)}[op]  # ONNX's i o f c of PyTorch's i f g o; z r h of r z n

    def both(name, axis=0):
        ends = [np.split(state[f"{name}_l0{rest}"], len(gates)) for rest in ("", "_reverse")]
        return np.stack([np.concatenate([gate[g] for g in gates]) for gate in ends])

    tensors = {"W": both("weight_ih"), "R": both("weight_hh"), "B": np.concatenate([both("bias_ih"), both("bias_hh")], axis=1)}
    nodes = [(op, ["x", "W", "R", "B"], ["y"], {"hidden_size": 5, "direction": "bidirectional"})]
    torch.save(net.state_dict(), tmp_path / "a.pt")
    found, want = ordered(save(tmp_path / "a.onnx", nodes, tensors)), ordered(read(tmp_path / "a.pt"))
    assert [t.shape for t in found.layout.tensors] == [t.shape for t in want.layout.tensors]
    np.testing.assert_array_equal(found.theta, want.theta)


def test_a_norm_joins_its_convolution_whatever_lies_between(tmp_path):
    nodes = [
        ("Conv", ["x", "w1"], ["a"], {}),
        ("Conv", ["x", "w2"], ["b"], {}),  # a second branch, before the first one's norm
        ("BatchNormalization", ["a", "g1", "b1", "m1", "v1"], ["c"], {}),
        ("BatchNormalization", ["b", "g2", "b2", "m2", "v2"], ["d"], {}),
        ("Add", ["c", "d"], ["y"], {}),
    ]
    tensors = {"w1": numbers(4, 3, 1, 1), "w2": numbers(4, 3, 3, 3)}
    tensors |= {f"{n}{k}": numbers(4, seed=k) for k in (1, 2) for n in "gbmv"}
    found = save(tmp_path / "a.onnx", nodes, tensors)
    norm = dict.fromkeys(("beta", "gamma", "mean", "var"), (4,))
    assert list(layers(found).values()) == [{"weight": (4, 3, 1, 1), **norm}, {"weight": (4, 3, 3, 3), **norm}]
    np.testing.assert_array_equal(tensor(found, 2), tensors["g1"])


def test_a_norm_that_was_taken_apart_and_slopes(tmp_path):
    nodes = [
        ("Conv", ["x", "w"], ["a"], {}),
        ("PRelu", ["a", "slope"], ["b"], {}),
        ("Mul", ["b", "scale"], ["c"], {}),
        ("Add", ["c", "shift"], ["y"], {}),
    ]
    tensors = {"w": numbers(4, 3, 1, 1), "slope": numbers(4, 1, 1), "scale": numbers(1, 4, 1, 1), "shift": numbers(1, 4, 1, 1)}
    found = layers(save(tmp_path / "a.onnx", nodes, tensors))
    assert list(found.values()) == [{"weight": (4, 3, 1, 1), "beta": (4,), "gamma": (4,)}, {"weight": (4,)}]


def test_both_branches_of_a_condition_are_read(tmp_path):
    def branch(seed):
        weight = numpy_helper.from_array(numbers(2, 3, seed=seed), "w")  # one name in both
        node = helper.make_node("Gemm", ["x", "w"], ["o"], transB=1)
        return helper.make_graph([node], "b", [], [helper.make_tensor_value_info("o", 1, None)], [weight])

    nodes = [("If", ["c"], ["y"], {"then_branch": branch(1), "else_branch": branch(2)})]
    found = save(tmp_path / "a.onnx", nodes, {"c": np.array(True)})
    assert any("all branches" in note for note in found.notes)
    assert sorted(float(a.sum()) for a in found.arrays.values()) == sorted(float(numbers(2, 3, seed=k).sum()) for k in (1, 2))


INTEGERS = {
    "QLinearConv": [("QLinearConv", ["x", "s", "z", "w", "s", "z", "s", "z"], ["y"], {})],
    "ConvInteger": [("ConvInteger", ["x", "w"], ["y"], {})],
    "DequantizeLinear": [("DequantizeLinear", ["w", "s", "z"], ["d"], {}), ("Conv", ["x", "d", "b"], ["y"], {})],
}


@pytest.mark.parametrize("nodes", INTEGERS.values(), ids=INTEGERS)
def test_quantised_graphs_are_called_that(tmp_path, nodes):
    tensors = {"w": np.ones((2, 3, 1, 1), np.int8), "s": np.array(0.1, np.float32), "z": np.array(0, np.int8), "b": numbers(2)}
    with pytest.raises(NwsError, match=r"quantised graph \(1 x \w+\)"):
        save(tmp_path / "a.onnx", nodes, tensors)


def test_weights_that_the_graph_rounds_as_it_runs_are_read_with_a_note(tmp_path):
    nodes = [
        ("QuantizeLinear", ["w", "s", "z"], ["q"], {}),
        ("DequantizeLinear", ["q", "s", "z"], ["d"], {}),
        ("Conv", ["x", "d"], ["y"], {}),
    ]
    w = numbers(2, 3, 1, 1)
    found = save(tmp_path / "a.onnx", nodes, {"w": w, "s": np.array(0.1, np.float32), "z": np.array(0, np.int8)})
    np.testing.assert_array_equal(tensor(found, 0), w)
    assert any("rounds its weights" in note for note in found.notes)


def test_a_graph_that_goes_in_circles(tmp_path):
    nodes = [("Identity", ["b"], ["a"], {}), ("Identity", ["a"], ["b"], {}), ("Concat", ["a", "c"], ["c"], {"axis": 0})]
    nodes += [("Gemm", ["x", "a"], ["y"], {}), ("LSTM", ["x", "c", "c", "c"], ["l"], {}), ("Gemm", ["x", "w"], ["z"], {})]
    assert list(layers(save(tmp_path / "a.onnx", nodes, {"w": numbers(3, 2)})).values()) == [{"weight": (2, 3)}]


def test_a_u_net_with_channels_last():
    if not UNET.is_file():
        pytest.skip("tiny_unet.onnx of ../shared/fixtures/strangers is not here")
    checkpoint = read(UNET)
    found = layers(checkpoint)
    assert len(found) == 40  # of 40 Conv nodes
    assert all(roles["weight"][2] == roles["weight"][3] for roles in found.values())
    assert list(found.values())[:2] == [{"weight": (3, 1, 3, 3)}, {"weight": (32, 3, 1, 1), "bias": (32,)}]
    assert not any("left out" in note for note in checkpoint.notes)
