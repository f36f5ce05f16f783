"""Strangers' files: every format gives the same weights in the same order, and a hostile one is a line, never an action."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from nws import FIXED
from nws.families import cnn2020 as cnn
from nws.weights import ordered, read
from nws.weights.checkpoint import Checkpoint

HP = FIXED.net(0, 0).with_(filter_size=3, width_conv=2, width_fc=8)


@pytest.fixture(scope="module")
def ours():
    """(theta, state dict in PyTorch's order) of a net of our space."""
    rng = np.random.default_rng(0)
    layout = cnn.layout(HP)
    theta = cnn.initialize(HP, rng) + rng.standard_normal(layout.size).astype(np.float32)
    return theta, {name: array.copy() for name, array in layout.state_dict(theta).items()}


def write_safetensors(path, state):
    from safetensors.numpy import save_file

    save_file(state, path)


def write_torch(path, state):
    import torch

    torch.save({name: torch.from_numpy(array) for name, array in state.items()}, path)


def write_old_torch(path, state):
    import torch

    state = {name: torch.from_numpy(array) for name, array in state.items()}
    torch.save(state, path, _use_new_zipfile_serialization=False)


def write_npz(path, state):
    np.savez(path, **state)


WRITERS = {
    "a.safetensors": write_safetensors,
    "a.pt": write_torch,
    "a.pth": write_old_torch,
    "a.npz": write_npz,
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_net_of_ours_is_ours_in_every_format(tmp_path, ours, name):
    theta, state = ours
    WRITERS[name](tmp_path / name, state)
    checkpoint = read(tmp_path / name)
    assert set(checkpoint.names) == set(state)
    found = ordered(checkpoint)
    assert found.layout == cnn.layout(HP)
    np.testing.assert_array_equal(found.theta, theta)
    assert found.difference == 0


def small_net():
    """Convolution, norm, dense layer that reads a flattened picture of 3 x 3 pixels."""
    rng = np.random.default_rng(1)
    shapes = {"w": (4, 2, 3, 3), "b": (4,), "gamma": (4,), "beta": (4,), "mean": (4,), "var": (4,), "dense": (5, 36), "bias": (5,)}
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def in_our_order(net):
    dense = net["dense"].reshape(5, 4, 3, 3).transpose(0, 2, 3, 1).reshape(5, 36)
    order = [net["w"], net["b"], net["beta"], net["gamma"], net["mean"], net["var"], dense, net["bias"]]
    return np.concatenate([array.reshape(-1) for array in order])


def keras_arrays(net):
    dense = net["dense"].reshape(5, 4, 3, 3).transpose(2, 3, 1, 0).reshape(36, 5)
    norm = [net["gamma"], net["beta"], net["mean"], net["var"]]
    return {"conv2d": [net["w"].transpose(2, 3, 1, 0), net["b"]], "batch_normalization": norm, "dense": [dense, net["bias"]]}


def write_keras_h5(path, net):
    """The older format: model_weights/LAYER/LAYER/kernel:0, with the order in attributes."""
    import h5py

    names = {2: ("kernel:0", "bias:0"), 4: ("gamma:0", "beta:0", "moving_mean:0", "moving_variance:0")}
    with h5py.File(path, "w") as file:
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [name.encode() for name in keras_arrays(net)]
        for layer, arrays in keras_arrays(net).items():
            said = names[len(arrays)]
            group.create_group(layer).attrs["weight_names"] = [f"{layer}/{n}".encode() for n in said]
            for name, array in zip(said, arrays):
                group[f"{layer}/{layer}/{name}"] = array


def write_keras(path, net):
    """The newer format: an archive with config.json and model.weights.h5, whose variables are numbered."""
    import h5py

    weights = io.BytesIO()
    with h5py.File(weights, "w") as file:
        for layer, arrays in keras_arrays(net).items():
            for k, array in enumerate(arrays):
                file[f"layers/{layer}/vars/{k}"] = array
        file["optimizer/vars/0"] = np.ones(3, np.float32)
    layers = [{"class_name": c} for c in ("InputLayer", "Conv2D", "BatchNormalization", "Flatten", "Dense")]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps({"config": {"layers": layers}}))
        archive.writestr("metadata.json", "{}")
        archive.writestr("model.weights.h5", weights.getvalue())


def write_onnx(path, net):
    import onnx
    from onnx import helper, numpy_helper

    conv = helper.make_node("Conv", ["x", "w", "b"], ["c"])
    norm = helper.make_node("BatchNormalization", ["c", "gamma", "beta", "mean", "var"], ["n"])
    flat = helper.make_node("Flatten", ["n"], ["f"])
    gemm = helper.make_node("Gemm", ["f", "dense", "bias"], ["y"])
    tensors = [numpy_helper.from_array(a if n != "dense" else a.T.copy(), n) for n, a in reversed(net.items())]
    inputs = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in ("x", "y")]
    graph = helper.make_graph([conv, norm, flat, gemm], "g", inputs[:1], inputs[1:], tensors)
    onnx.save(helper.make_model(graph), path)


@pytest.mark.parametrize(("name", "write"), [("a.h5", write_keras_h5), ("a.keras", write_keras)])
def test_keras_and_pytorch_agree(tmp_path, name, write):
    pytest.importorskip("h5py")
    net = small_net()
    write(tmp_path / name, net)
    found = ordered(read(tmp_path / name))
    np.testing.assert_array_equal(found.theta, in_our_order(net))
    assert [t.role for t in found.layout.tensors][:6] == ["weight", "bias", "beta", "gamma", "mean", "var"]
    assert found.layout.tensors[6].grid == (3, 3)


def test_onnx_and_pytorch_agree(tmp_path):
    pytest.importorskip("onnx")
    net = small_net()
    write_onnx(tmp_path / "a.onnx", net)
    checkpoint = read(tmp_path / "a.onnx")
    np.testing.assert_array_equal(ordered(checkpoint).theta, in_our_order(net))


def test_a_whole_training_state(tmp_path):
    import torch

    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2))
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(2, 3)).sum().backward()
    optimizer.step()
    weights = {f"module.{name}": t for name, t in model.state_dict().items()}
    state = {
        "epoch": 7,
        "optimizer": optimizer.state_dict(),
        "state_dict": weights,
        "config": {"lr": 0.1},
        "rng_state": torch.zeros(9),
    }
    torch.save(state, tmp_path / "a.ckpt")
    checkpoint = read(tmp_path / "a.ckpt")
    assert checkpoint.names == tuple(name for name in model.state_dict() if not name.endswith("tracked"))
    assert (checkpoint.metadata["epoch"], checkpoint.metadata["config.lr"]) == (7, 0.1)
    assert "found in state_dict" in checkpoint.notes[0]
    found = ordered(checkpoint)
    assert [(t.layer, t.role) for t in found.layout.tensors][:6] == [
        ("0", r) for r in ("weight", "bias", "beta", "gamma", "mean", "var")
    ]


def test_half_precision_and_quantised_weights(tmp_path):
    import torch

    state = {"a.weight": torch.ones(2, 3, dtype=torch.bfloat16) / 3, "b.weight": torch.ones(2, 2, dtype=torch.int8)}
    torch.save(state, tmp_path / "a.pt")
    checkpoint = read(tmp_path / "a.pt")
    np.testing.assert_array_equal(checkpoint.arrays["a.weight"], state["a.weight"].float())
    assert any("left out, no floating-point numbers: b.weight" in note for note in checkpoint.notes)
    from safetensors.torch import save_file

    save_file(state, tmp_path / "a.safetensors")
    np.testing.assert_array_equal(read(tmp_path / "a.safetensors").arrays["a.weight"], state["a.weight"].float())


def test_rounding_to_float32_is_told(tmp_path):
    np.savez(tmp_path / "a.npz", w=np.array([[1.0, 1 + 2.0**-30]]))
    assert ordered(read(tmp_path / "a.npz")).difference == 2.0**-30


def test_weights_that_are_not_finite_are_kept(tmp_path):
    np.savez(tmp_path / "a.npz", w=np.array([[np.nan, np.inf, 1e300]]))
    assert np.isnan(ordered(read(tmp_path / "a.npz")).theta[0])


def test_roles_that_a_format_tells_go_before_what_names_suggest():
    arrays = {name: np.ones(n, np.float32) for name, n in (("a/w", (4, 2)), ("a/x", 4), ("b/weight", 4), ("c/y", 4), ("c/z", 4))}
    roles = {"a/w": "weight", "a/x": "bias", "b/weight": "weight", "c/y": "beta", "c/z": "mean"}
    found = ordered(Checkpoint(Path("a"), "npz", tuple(arrays), arrays, roles=roles))
    said = [("a", "weight"), ("a", "bias"), ("a", "beta"), ("a", "mean"), ("b", "weight")]
    assert [(t.layer, t.role) for t in found.layout.tensors] == said
    untold = ordered(Checkpoint(Path("a"), "npz", tuple(arrays), arrays))
    assert [(t.layer, t.role) for t in untold.layout.tensors] != said
