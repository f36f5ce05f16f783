"""Flax's msgpack and GGUF: read as their own libraries write them, and refused in one line whatever they claim."""

import struct

import numpy as np
import pytest
from foreign_files import flax, gguf
from test_weights import in_our_order, small_net

from nws import NwsError
from nws.weights import Limits, ordered, read

msgpack = pytest.importorskip("msgpack")


def flax_tree(net):
    """As flax.linen names and saves it: sorted, norms before their convolutions, statistics apart."""
    dense = net["dense"].reshape(5, 4, 3, 3).transpose(2, 3, 1, 0).reshape(36, 5)
    params = {
        "BatchNorm_0": {"bias": net["beta"], "scale": net["gamma"]},
        "Conv_0": {"bias": net["b"], "kernel": net["w"].transpose(2, 3, 1, 0)},
        "Dense_0": {"bias": net["bias"], "kernel": dense},
    }
    return {"batch_stats": {"BatchNorm_0": {"mean": net["mean"], "var": net["var"]}}, "params": params}


def test_flax_and_pytorch_agree(tmp_path):
    net = small_net()
    (tmp_path / "a.msgpack").write_bytes(flax(flax_tree(net)))
    found = ordered(read(tmp_path / "a.msgpack"))
    np.testing.assert_array_equal(found.theta, in_our_order(net))
    assert [t.role for t in found.layout.tensors][:6] == ["weight", "bias", "beta", "gamma", "mean", "var"]
    assert found.layout.tensors[6].grid == (3, 3)


def test_a_training_state_of_flax(tmp_path):
    tree = {"step": 7, "opt_state": {"0": {"mu": {"Dense_0": {"kernel": np.ones((9, 9), np.float32)}}}}, **flax_tree(small_net())}
    (tmp_path / "a.msgpack").write_bytes(flax(tree))
    found = read(tmp_path / "a.msgpack")
    assert found.metadata == {"step": 7}
    assert len(found.names) == 8
    assert any("only params" in note for note in found.notes)


def test_layers_of_flax_go_by_their_numbers(tmp_path):
    tree = {f"Dense_{k}": {"kernel": np.full((2, 2), k, np.float32)} for k in sorted(map(str, range(12)))}
    (tmp_path / "a.msgpack").write_bytes(flax({"params": tree}))
    assert [float(a[0, 0]) for a in read(tmp_path / "a.msgpack").arrays.values()] == list(range(12))


def test_types_and_chunks_of_flax(tmp_path):
    whole = np.arange(6, dtype=np.float32).reshape(2, 3)
    chunks = {str(k): row for k, row in enumerate(whole)}
    tree = {
        "half": np.float16([1.5, 2]), "double": np.float64([1, 2]), "count": np.int32([1]), "name": "x", "none": None, "on": True,
        "big": {"__msgpack_chunked_array__": True, "shape": {"0": 2, "1": 3}, "chunks": chunks},
        "brain": (b"\x80\x3f\x00\x40", (2,), "bfloat16"),
    }  # fmt: skip
    (tmp_path / "a.msgpack").write_bytes(flax(tree))
    found = read(tmp_path / "a.msgpack")
    np.testing.assert_array_equal(found.arrays["big"], whole)
    np.testing.assert_array_equal(found.arrays["brain"], [1, 2])
    np.testing.assert_array_equal(found.arrays["half"], [1.5, 2])
    assert found.arrays["double"].dtype == np.float64
    assert "count" not in found.arrays
    assert found.metadata == {"name": "x", "on": True}


def array(shape, dtype, data):
    return msgpack.ExtType(1, msgpack.packb((shape, dtype, data)))


MSGPACK = {
    "no dictionary": msgpack.packb([1, 2]),
    "text": msgpack.packb("hello"),
    "more behind": msgpack.packb({"a": array((1,), "float32", bytes(4))}) + b"\0",
    "list of gigabytes": b"\x81\xa1a\xdd\xff\xff\xff\xff",
    "dictionary of gigabytes": b"\xdf\xff\xff\xff\xff",
    "bytes of gigabytes": b"\x81\xa1a\xc6\xff\xff\xff\xff",
    "lists in lists": b"\x81\xa1a" + b"\xdd\x00\x01\x00\x00" * 500,
    "one element for ever": b"\x81\xa1a" + b"\x91" * 100_000,
    "shape of gigabytes": msgpack.packb({"a": array((1 << 40, 1 << 40), "float32", bytes(4))}),
    "negative shape": msgpack.packb({"a": array((-1, -1), "float32", bytes(4))}),
    "shape that is no number": msgpack.packb({"a": array(("a",), "float32", bytes(4))}),
    "shape that is none": msgpack.packb({"a": array(None, "float32", bytes(4))}),
    "too short": msgpack.packb({"a": array((2,), "float32", bytes(4))}),
    "type that is none": msgpack.packb({"a": array((1,), 5, bytes(4))}),
    "text for bytes": msgpack.packb({"a": array((4,), "int8", "abcd")}),
    "not packed": msgpack.packb({"a": msgpack.ExtType(1, b"hello")}),
    "key that is a list": b"\x81\x91\x01\x01",
    "twice": b"\x82\xa1a\x01\xa1a\x01",
    "chunks that are none": msgpack.packb({"a": {"__msgpack_chunked_array__": True, "shape": {"0": 1}, "chunks": {"0": 5}}}),
    "chunks without shape": msgpack.packb({"a": {"__msgpack_chunked_array__": True, "chunks": {}}}),
    "nothing": msgpack.packb({}),
    "a byte that is unused": b"\xc1",
}


@pytest.mark.parametrize("data", MSGPACK.values(), ids=MSGPACK)
def test_hostile_msgpack_is_one_line(tmp_path, data):
    (tmp_path / "a.msgpack").write_bytes(data)
    with pytest.raises(NwsError, match=r"a\.msgpack") as said:
        read(tmp_path / "a.msgpack")
    assert "\n" not in str(said.value)


def test_more_than_the_limits_allow(tmp_path):
    (tmp_path / "a.msgpack").write_bytes(flax(flax_tree(small_net())))
    (tmp_path / "a.gguf").write_bytes(gguf({f"{k}.weight": np.ones((2, 3), np.float32) for k in range(8)}))
    for name in ("a.msgpack", "a.gguf"):
        with pytest.raises(NwsError, match="more than 7 tensors"):
            read(tmp_path / name, Limits(tensors=7))


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64])
def test_gguf_is_read(tmp_path, dtype):
    state = {"blk.0.w.weight": np.arange(6, dtype=dtype).reshape(2, 3), "blk.0.w.bias": np.ones(2, dtype)}
    settings = {"general.architecture": "llama", "llama.block_count": 2, "tokenizer.ggml.tokens": ["a", "bc"], "x": 0.5, "on": True}
    (tmp_path / "a.gguf").write_bytes(gguf(state, settings))
    found = read(tmp_path / "a.gguf")
    assert {name: a.tolist() for name, a in found.arrays.items()} == {name: a.tolist() for name, a in state.items()}
    assert found.metadata == {"general.architecture": "llama", "llama.block_count": 2, "x": 0.5, "on": True}
    (tmp_path / "b.bin").write_bytes(gguf(state))  # whatever it is called
    assert read(tmp_path / "b.bin").format == "gguf"


def test_gguf_in_bfloat16(tmp_path):
    (tmp_path / "a.gguf").write_bytes(gguf({"a.weight": np.array([[0x3F80, 0x4000]], np.uint16)}, kinds={"a.weight": 30}))
    np.testing.assert_array_equal(read(tmp_path / "a.gguf").arrays["a.weight"], [[1, 2]])


def test_quantised_gguf_is_named_with_its_types(tmp_path):
    state = {name: np.ones((2, 32), np.float32) for name in ("a.weight", "b.weight", "c.weight")}
    (tmp_path / "a.gguf").write_bytes(gguf(state, kinds={"a.weight": 12, "b.weight": 12, "c.weight": 14}))
    with pytest.raises(NwsError, match=r"quantised \(2 x Q4_K, 1 x Q6_K\).*llama-quantize"):
        read(tmp_path / "a.gguf")


def header(tensors=1, settings=0, version=3):
    return b"GGUF" + struct.pack("<IQQ", version, tensors, settings)


def said(key, kind, value):
    return struct.pack("<Q", len(key)) + key + struct.pack("<I", kind) + value


def tensor(name=b"w", shape=(2,), kind=0, offset=0):
    numbers = struct.pack(f"<{len(shape)}Q", *shape)
    return struct.pack("<Q", len(name)) + name + struct.pack("<I", len(shape)) + numbers + struct.pack("<IQ", kind, offset)


GGUF = {
    "magic alone": b"GGUF",
    "version 1": header(version=1) + bytes(64),
    "big-endian": b"GGUF" + struct.pack(">IQQ", 3, 1, 0) + bytes(64),
    "tensors of gigabytes": header(1 << 60),
    "settings of gigabytes": header(0, 1 << 60),
    "name of gigabytes": header() + struct.pack("<Q", 1 << 62),
    "text of gigabytes": header(1, 1) + said(b"a", 8, struct.pack("<Q", 1 << 62)),
    "list of gigabytes": header(1, 1) + said(b"a", 9, struct.pack("<IQ", 4, 1 << 61)),
    "list of texts for ever": header(1, 1) + said(b"a", 9, struct.pack("<IQ", 8, 1 << 61) + bytes(80)),
    "lists in lists": header(1, 1) + said(b"a", 9, struct.pack("<IQ", 9, 1) * 1000),
    "unknown setting": header(1, 1) + said(b"a", 77, bytes(8)),
    "shape of gigabytes": header() + tensor(shape=(1 << 39, 1 << 39)) + bytes(64),
    "shape beyond numbers": header() + tensor(shape=((1 << 64) - 1,) * 4) + bytes(64),
    "offset beyond the file": header() + tensor(offset=1 << 62) + bytes(64),
    "unknown type": header() + tensor(kind=77) + bytes(64),
    "many dimensions": header() + tensor(shape=(1,) * 9) + bytes(64),
    "twice": header(2) + tensor() * 2 + bytes(64),
    "too short": header() + tensor(shape=(100,)) + bytes(64),
    "alignment of zero": header(1, 1) + said(b"general.alignment", 4, bytes(4)) + tensor() + bytes(64),
    "alignment that is text": header(1, 1) + said(b"general.alignment", 8, struct.pack("<Q", 1) + b"a") + tensor() + bytes(64),
    "no tensors": header(0),
}


@pytest.mark.parametrize("data", GGUF.values(), ids=GGUF)
def test_hostile_gguf_is_one_line(tmp_path, data):
    (tmp_path / "a.gguf").write_bytes(data)
    with pytest.raises(NwsError, match=r"a\.gguf") as refused:
        read(tmp_path / "a.gguf")
    assert "\n" not in str(refused.value)


def test_several_nets_of_flax(tmp_path):
    """Beside each other all are listed and one is chosen; a copy is listed and not asked about."""
    params = flax_tree(small_net())["params"]
    (tmp_path / "a.msgpack").write_bytes(flax({"params": {"actor": params, "critic": params}}))
    with pytest.raises(NwsError, match=r"holds 2 nets: actor .*critic .*--net actor"):
        read(tmp_path / "a.msgpack")
    chosen = ordered(read(tmp_path / "a.msgpack", net="critic"))
    assert list(chosen.layout.layers) == ["critic/Conv_0", "critic/Dense_0"]
    (tmp_path / "a.msgpack").write_bytes(flax({**flax_tree(small_net()), "ema_params": params}))
    found = read(tmp_path / "a.msgpack")
    assert [net["name"] for net in found.nets] == ["", "ema_params"]
    np.testing.assert_array_equal(ordered(found).theta, in_our_order(small_net()))
