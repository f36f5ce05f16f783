"""Strangers' files: every format gives the same weights in the same order, and a hostile one is a line, never an action."""

import contextlib
import io
import json
import pickle
import struct
import zipfile

import numpy as np
import pytest

from nws import FIXED, NwsError, cnn
from nws.weights import Checkpoint, Limits, ordered, read

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
    if name == "a.safetensors":  # the library sorts tensors by name
        checkpoint = Checkpoint(checkpoint.path, "x", tuple(state), {n: checkpoint.arrays[n] for n in state})
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


# -- hostile files -------------------------------------------------------------------------------------------------------------


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        import os

        return os.system, (f"touch {self.path}",)


def evil_pt(path, proof):
    import torch

    torch.save({"w": Evil(proof)}, path)


def evil_plain_pickle(path, proof):
    path.write_bytes(pickle.dumps(Evil(proof)))


def evil_npz(path, proof):
    np.savez(path, w=np.array([Evil(proof)], object))


@pytest.mark.parametrize(
    ("name", "make"), [("a.pt", evil_pt), ("b.pt", evil_plain_pickle), ("a.ckpt", evil_pt), ("a.npz", evil_npz)]
)
def test_nothing_is_run(tmp_path, name, make):
    make(tmp_path / name, tmp_path / "ran")
    with pytest.raises(NwsError, match="refused") as said:
        read(tmp_path / name)
    assert not (tmp_path / "ran").exists()
    assert name.endswith(".npz") or "system" in str(said.value)


def safetensors(header, data=b""):
    text = json.dumps(header).encode() if not isinstance(header, bytes) else header
    return struct.pack("<Q", len(text)) + text + data


def tensor(shape, begin, end, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


HEADERS = {
    "negative offsets": safetensors({"w": tensor([1], -4, 0)}, b"1234"),
    "overlap": safetensors({"w": tensor([2], 0, 8), "v": tensor([1], 4, 8)}, b"12345678"),
    "gap": safetensors({"w": tensor([1], 0, 4), "v": tensor([1], 8, 12)}, b"123456789012"),
    "huge shape": safetensors({"w": tensor([1 << 39, 1 << 39], 0, 4)}, b"1234"),
    "zero times huge": safetensors({"w": tensor([0, 1 << 60], 0, 0)}),
    "negative shape": safetensors({"w": tensor([-1, -1], 0, 4)}, b"1234"),
    "fraction": safetensors({"w": tensor([1.0], 0, 4)}, b"1234"),
    "true": safetensors({"w": tensor([True], 0, 4)}, b"1234"),
    "unknown type": safetensors({"w": tensor([1], 0, 1, "F4")}, b"1"),
    "type that is no text": safetensors({"w": tensor([1], 0, 1, [])}, b"1"),
    "twice": safetensors(b'{"w":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"w":{}}'),
    "list": safetensors([]),
    "nested": safetensors(b"[" * 100_000),
    "longer than the file": struct.pack("<Q", 1 << 62) + b"{}",
    "empty header": safetensors({}),
    "empty": b"",
    "short": b"123",
    "text": b"hello, this is no file of weights",
}


@pytest.mark.parametrize("data", HEADERS.values(), ids=HEADERS)
def test_hostile_safetensors_are_one_line(tmp_path, data):
    (tmp_path / "a.safetensors").write_bytes(data)
    with pytest.raises(NwsError, match=r"a\.safetensors") as said:
        read(tmp_path / "a.safetensors")
    assert "\n" not in str(said.value)


def npy(header, data=b""):
    text = header.encode().ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def archive(path, entries, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as made:
        for name, data in entries:
            made.writestr(name, data)


NPZ = {
    "huge shape": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,)}"),
    "negative shape": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", b"1234"),
    "objects": npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", pickle.dumps([1])),
    "expression": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (9**9**9,)}"),
    "brackets": npy("(" * 100),
    "no header": b"\x93NUMPY",
    "text": b"hello",
}


@pytest.mark.parametrize("data", NPZ.values(), ids=NPZ)
def test_hostile_npz_are_one_line(tmp_path, data):
    archive(tmp_path / "a.npz", [("w.npy", data)])
    with pytest.raises(NwsError, match=r"a\.npz"):
        read(tmp_path / "a.npz")


@pytest.mark.parametrize("suffix", [".npz", ".pt", ".keras"])
def test_zip_bombs_are_refused_before_they_are_unpacked(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    archive(path, [("archive/data.pkl", bytes(64 << 20)), ("model.weights.h5", b"")], zipfile.ZIP_DEFLATED)
    with pytest.raises(NwsError, match="would become"):
        read(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_packings_are_refused(tmp_path, method):
    archive(tmp_path / "a.npz", [("w.npy", bytes(1000))], method)
    with pytest.raises(NwsError, match="packed in a way"):
        read(tmp_path / "a.npz")


def test_more_tensors_than_any_net_has(tmp_path):
    write_safetensors(tmp_path / "a.safetensors", {f"w{k}": np.ones(1, np.float32) for k in range(11)})
    with pytest.raises(NwsError, match="more than 10 tensors"):
        read(tmp_path / "a.safetensors", Limits(tensors=10))
    with pytest.raises(NwsError, match="more than the 100 that are read"):
        read(tmp_path / "a.safetensors", Limits(bytes=100))


def test_a_view_far_larger_than_what_it_looks_at(tmp_path):
    import torch

    torch.save({"w": torch.ones(1).expand(1 << 36)}, tmp_path / "a.pt")
    with pytest.raises(NwsError, match="declares more than"):
        read(tmp_path / "a.pt")


def test_links_of_hdf5_are_not_followed(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["w"] = np.ones((2, 2))
    for link in (h5py.ExternalLink("other.h5", "w"), h5py.SoftLink("/w")):
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file["layer/w"] = link
        with pytest.raises(NwsError, match="is a link to another place"):
            read(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("w", (4,), "f4", external=[("other.h5", 0, 16)])
    with pytest.raises(NwsError, match="lies in another file"):
        read(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_group("a")["again"] = file["/"]
    with pytest.raises(NwsError, match="nested without end"):
        read(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("w", (1 << 28,), "f4", chunks=True, compression="gzip")
    with pytest.raises(NwsError, match="would become"):
        read(tmp_path / "a.h5")


@pytest.mark.parametrize("place", ["../secret.bin", "/etc/hostname", "link.bin", "none.bin"])
def test_side_files_of_onnx_stay_in_its_folder(tmp_path, place):
    onnx = pytest.importorskip("onnx")
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(1000))
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    (folder / "side.bin").write_bytes(np.arange(4, dtype="<f4").tobytes())
    said = onnx.TensorProto(name="w", data_type=1, dims=[2, 2], data_location=onnx.TensorProto.EXTERNAL)

    def write(location):
        del said.external_data[:]
        for key, value in (("location", location), ("offset", "0"), ("length", "16")):
            said.external_data.add(key=key, value=value)
        graph = onnx.helper.make_graph([], "g", [], [], [said])
        (folder / "a.onnx").write_bytes(onnx.helper.make_model(graph).SerializeToString())

    write("side.bin")
    np.testing.assert_array_equal(read(folder / "a.onnx").arrays["w"], [[0, 1], [2, 3]])
    write(place)
    with pytest.raises(NwsError, match="refused"):
        read(folder / "a.onnx")


def test_what_is_no_file_or_no_known_format(tmp_path):
    import os

    os.mkfifo(tmp_path / "a.pt")
    for name, message in (("a.pt", "is not a file"), ("none.npz", "is not a file"), ("a.gguf", "the format '.gguf' is unknown")):
        with pytest.raises(NwsError, match=message):
            read(tmp_path / name)


@pytest.mark.parametrize("name", ["a.safetensors", "a.pt", "a.npz", "a.h5", "a.keras", "a.onnx"])
def test_damage_anywhere_is_an_error_or_other_weights_never_a_crash(tmp_path, ours, name):
    """Bytes changed and cut at random: the reader says NwsError, or reads what is then a file of weights."""
    write = {"a.h5": write_keras_h5, "a.keras": write_keras, "a.onnx": write_onnx}.get(name)
    if write:
        pytest.importorskip("onnx" if name == "a.onnx" else "h5py")
        write(tmp_path / name, small_net())
    else:
        WRITERS[name](tmp_path / name, dict(list(ours[1].items())[:4]))
    whole = (tmp_path / name).read_bytes()
    rng = np.random.default_rng(0)
    for k in range(60):
        data = bytearray(whole)
        if k % 3 == 0:
            del data[int(rng.integers(len(data))) :]
        else:
            for place in rng.integers(0, min(len(data), 2000) if k % 3 == 1 else len(data), 4):
                data[place] = int(rng.integers(256))
        (tmp_path / name).write_bytes(data)
        with contextlib.suppress(NwsError):
            ordered(read(tmp_path / name))
