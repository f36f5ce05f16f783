"""Files that are no weights that nws reads: called by their right name, with the way out, in one line."""

import gzip
import io
import json
import pickle
import struct
import tarfile
import zipfile

import numpy as np
import pytest
from foreign_files import gguf
from test_weights import write_safetensors, write_torch

from nws import NwsError
from nws.weights import read


def tar():
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("model.bin"))
    return made.getvalue()


def zipped():
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("a.txt", "a")
    return made.getvalue()


TABLE = b"\x00\x00\x06\x08\x01\x1a\x02\x08\x01" + bytes(40) + b"\x57\xfb\x80\x8b\x24\x75\x47\xdb"
FILES = {  # name -> its bytes (the beginnings of real files), what it must be called, the way out
    "a.tflite": (b"\x1c\0\0\0TFL3" + bytes(40), "TensorFlow Lite", "tf2onnx"),
    "renamed.bin": (b"\x1c\0\0\0TFL3" + bytes(40), "TensorFlow Lite", "tf2onnx"),
    "saved_model.pb": (b"\x08\x01\x12\xa7\xa3\x04", "SavedModel", "--saved-model"),
    "frozen.pb": (b"\x0a\x51\x0a\x17input", "frozen TensorFlow graph", "--graphdef"),
    "model.ckpt.index": (TABLE, "TensorFlow checkpoint", "load_checkpoint"),
    "old.ckpt": (TABLE, "TensorFlow checkpoint", "load_checkpoint"),
    "model.ckpt-7.meta": (b"\x0a\xcd\x35\x12", "TensorFlow checkpoint", "load_checkpoint"),
    "variables.data-00000-of-00001": (bytes(64), "TensorFlow checkpoint", "load_checkpoint"),
    "model.bin": (struct.pack("<IH", 6, 16) + b"TransformerSpec\0" + bytes(9), "CTranslate2 model (TransformerSpec)", "made from"),
    "half.bin": (b"\x47\x6b\x30\x01" + bytes(40), "ncnn", "audit the PyTorch or ONNX"),
    "net.param": (b"7767517\n100 107\nInput", "ncnn", "audit the PyTorch or ONNX"),
    "a.mlmodel": (b"\x08\x04\x12\x4e\x0a\x19", "Core ML", "coremltools"),
    "a.caffemodel": (b"\x0a\x0512Net\xa2\x06o", "Caffe", "caffe2onnx"),
    "caffe.bin": (b"\x0a\x0512Net\xa2\x06o", "Caffe", "caffe2onnx"),
    "a.engine": (b"ftrt" + bytes(40), "TensorRT", "built from"),
    "a.trt": (b"ptrta\0\0\0" + bytes(40), "TensorRT", "built from"),
    "a.mnn": (b"\x1c\0\0\0\0\0\x16\0" + bytes(40), "MNN", "made from"),
    "ggml.bin": (b"lmgg" + bytes(40), "GGML", "made from"),
    "a.mat": (b"MATLAB 5.0 MAT-file, Platform: GLNXA64", "MATLAB", "scipy.io.loadmat"),
    "b.mat": (b"MATLAB 7.3 MAT-file, Platform: GLNXA64", "MATLAB 7.3", "h5py"),
    "page.pth": (b"\n<!DOCTYPE html><html lang=en>" + b" " * 200, "a web page", "raw"),
    "bare.bin": (b"<html><head><title>Sign in</title>", "a web page", "download"),
    "config.json": (b'{"hidden_size": 768}', "JSON", "name the file"),
    "adapter_config.json": (b'{"peft_type": "LORA"}', "settings of a LoRA adapter", "name the file"),
    "notes.pt": ("Grüße, this is text".encode(), "text", "name the file"),
    "a.pth.gz": (gzip.compress(b"a" * 100), "gzip", "gunzip"),
    "a.tar": (tar(), "tar archive", "unpack"),
    "a.zip": (zipped(), "zip archive of other files", "unpack"),
    "a.7z": (b"7z\xbc\xaf\x27\x1c" + bytes(40), "packed archive", "unpack"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_called_by_its_name(tmp_path, name):
    data, called, out = FILES[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(NwsError) as said:
        read(tmp_path / name)
    assert called in str(said.value)
    assert out in str(said.value)
    assert "\n" not in str(said.value)
    assert str(said.value).startswith(str(tmp_path / name))


def test_a_pickled_model_of_scikit_learn(tmp_path):
    from sklearn.linear_model import LinearRegression

    (tmp_path / "a.pkl").write_bytes(pickle.dumps(LinearRegression().fit([[0], [1]], [0, 1])))
    with pytest.raises(NwsError, match=r"pickled scikit-learn model.*numpy\.savez"):
        read(tmp_path / "a.pkl")


@pytest.mark.parametrize(
    ("inside", "called"),
    [
        ("saved_model.pb", "SavedModel"),
        ("adapter_config.json", "LoRA"),
        ("Manifest.json", "Core ML"),
        ("_CHECKPOINT_METADATA", "Orbax"),
        ("notes.txt", "is a folder: name the file"),
    ],
)
def test_a_folder_is_called_by_its_name(tmp_path, inside, called):
    (tmp_path / inside).write_bytes(b"{}")
    with pytest.raises(NwsError, match=called):
        read(tmp_path)


def test_plain_floats_beside_a_param_are_a_net_for_ncnn(tmp_path):
    (tmp_path / "a.bin").write_bytes(bytes(64))
    with pytest.raises(NwsError) as alone:
        read(tmp_path / "a.bin")
    (tmp_path / "a.param").write_text("7767517\n1 1\n")
    with pytest.raises(NwsError, match="ncnn"):
        read(tmp_path / "a.bin")
    assert "ncnn" not in str(alone.value)


LORA = {
    "peft": ["base_model.model.h.0.attn.c_attn.lora_A.weight", "base_model.model.h.0.attn.c_attn.lora_B.weight"],
    "kohya": ["lora_unet_down_blocks_0.lora_up.weight", "lora_unet_down_blocks_0.lora_down.weight"],
    "beside other weights": ["classifier.weight", "base_model.model.q_lin.lora_A.default.weight"],
}


@pytest.mark.parametrize("names", LORA.values(), ids=LORA)
@pytest.mark.parametrize(("file", "write"), [("adapter_model.safetensors", write_safetensors), ("adapter_model.bin", write_torch)])
def test_an_adapter_is_no_net(tmp_path, file, write, names):
    write(tmp_path / file, {name: np.ones((4, 2), np.float32) for name in names})
    with pytest.raises(NwsError, match=r"is a LoRA adapter \(\d of its 2 tensors.*merge_and_unload"):
        read(tmp_path / file)


def test_an_adapter_with_its_base_model_is_read(tmp_path):
    names = ("q.base_layer.weight", "q.lora_A.weight", "q.lora_B.weight")
    write_safetensors(tmp_path / "a.safetensors", {name: np.ones((4, 4), np.float32) for name in names})
    assert len(read(tmp_path / "a.safetensors").names) == 3


def test_settings_of_an_adapter_become_no_columns(tmp_path):
    """An import of a folder with one adapter: it is skipped with its reason, and nothing of its configuration is kept."""
    from nws import importers
    from nws.zoo import Zoo

    write_safetensors(tmp_path / "a.safetensors", {"fc.weight": np.ones((4, 4), np.float32)})
    (tmp_path / "lora").mkdir()
    write_safetensors(tmp_path / "lora/adapter_model.safetensors", {n: np.ones((4, 4), np.float32) for n in LORA["peft"]})
    (tmp_path / "lora/adapter_config.json").write_text(json.dumps({f"setting_{k}": k for k in range(200)}))
    filled = importers.fill(importers.open_source("checkpoints", tmp_path), tmp_path / "zoo")
    assert len(Zoo(tmp_path / "zoo").index) == 1
    assert "LoRA adapter" in str(filled)
    assert not [column for column in Zoo(tmp_path / "zoo").index.columns if "setting" in column]


@pytest.mark.parametrize("name", ["a.pt", "a.bin", "noending"])
def test_the_first_bytes_go_before_the_ending(tmp_path, name):
    write_safetensors(tmp_path / "made", {"a.weight": np.ones((2, 3), np.float32)})
    (tmp_path / "made").rename(tmp_path / name)
    assert read(tmp_path / name).format == "safetensors"
    (tmp_path / name).write_bytes(gguf({"a.weight": np.ones((2, 3), np.float32)}))
    assert read(tmp_path / name).format == "gguf"
