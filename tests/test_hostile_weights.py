"""Hostile files of weights: one line, never an action, never memory that a file only claims to need."""

import contextlib
import json
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest
from test_weights import WRITERS, small_net, write_keras, write_keras_h5, write_onnx, write_safetensors

from nws import NwsError
from nws.weights import Limits, ordered, read


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
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
    os.mkfifo(tmp_path / "a.pt")
    for name, message in (
        ("a.pt", "is not a file"),
        ("none.npz", "is not a file"),
        ("a.xyz", "the format '.xyz' is unknown"),
        ("none", "is not a file"),
    ):
        with pytest.raises(NwsError, match=message) as refused:
            read(tmp_path / name)
        assert str(refused.value).count(str(tmp_path)) == 1  # the file is named, and once


@pytest.mark.parametrize("name", ["a.safetensors", "a.pt", "a.npz", "a.h5", "a.keras", "a.onnx"])
def test_damage_anywhere_is_an_error_or_other_weights_never_a_crash(tmp_path, name):
    """Bytes changed and cut at random: the reader says NwsError, or reads what is then a file of weights."""
    write = {"a.h5": write_keras_h5, "a.keras": write_keras, "a.onnx": write_onnx}.get(name)
    if write:
        pytest.importorskip("onnx" if name == "a.onnx" else "h5py")
        write(tmp_path / name, small_net())
    else:
        WRITERS[name](tmp_path / name, small_net())
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
