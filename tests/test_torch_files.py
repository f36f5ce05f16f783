"""PyTorch's files of others: whole modules, TorchScript, agents; read without their code, or named for what they are."""

import contextlib
import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from nws import NwsError
from nws.weights import Limits, ordered, read

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")


@pytest.fixture
def stranger(shared):
    def path(name):
        found = shared / "fixtures" / "strangers" / name
        if not found.is_file():
            pytest.skip(f"{name} of others is not in the folder of shared data")
        return found

    return path


class Small(torch.nn.Module):
    """A net of a program that the reader does not have."""

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.BatchNorm1d(5), torch.nn.Linear(5, 2))
        self.register_buffer("mask", torch.ones(2, 2))

    def forward(self, x):
        return self.layers(x)


def weights_of(module):
    return {n: t.numpy() for n, t in module.state_dict().items() if not n.endswith(("num_batches_tracked", "mask"))}


def assert_same(found, expected):
    assert list(found) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, strict=True)


@pytest.mark.parametrize("new", [True, False])
def test_a_whole_module_is_read_and_its_class_is_named(tmp_path, new):
    model = Small()
    torch.save(model, tmp_path / "a.pt", _use_new_zipfile_serialization=new)
    found = read(tmp_path / "a.pt")
    assert_same(found.arrays, weights_of(model))
    assert "test_torch_files.Small was pickled" in found.notes[0]
    assert "state_dict()" in found.notes[0]
    assert any("mask" in note for note in found.notes)  # a buffer is no weight, and is not dropped in silence


@pytest.mark.parametrize("new", [True, False])
def test_modules_within_a_training_state(tmp_path, new):
    model = torch.nn.DataParallel(Small())
    state = {"epoch": 3, "model": model, "optimizer": torch.optim.Adam(model.parameters())}
    torch.save(state, tmp_path / "a.pth", _use_new_zipfile_serialization=new)
    found = read(tmp_path / "a.pth")
    assert_same(found.arrays, weights_of(model.module))
    assert found.metadata["epoch"] == 3


@pytest.mark.parametrize("how", ["script", "trace"])
def test_torchscript_is_read_without_its_code(tmp_path, how):
    model = Small().eval()
    made = torch.jit.script(model) if how == "script" else torch.jit.trace(model, torch.ones(1, 3))
    made.save(str(tmp_path / "a.pt"))
    found = read(tmp_path / "a.pt")
    assert found.format == "TorchScript"
    assert_same(found.arrays, weights_of(model))


def test_a_frozen_torchscript_has_its_weights_in_its_constants(tmp_path):
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh()).eval()
    torch.jit.freeze(torch.jit.script(model)).save(str(tmp_path / "a.pt"))
    found = read(tmp_path / "a.pt")
    assert sorted(a.size for a in found.arrays.values()) == [4, 12]


@pytest.mark.parametrize("new", [True, False])
def test_what_torch_reads_is_read_alike(tmp_path, new):
    """Types, strides, views of one storage, parameters: the same bits as torch.load gives."""
    base = torch.randn(6, 8)
    state = {
        "a": base, "b": base.t()[2:5], "c": base[1, ::2], "half": base.half(), "double": base.double(), "scalar": torch.tensor(2.5),
        "bfloat": base.bfloat16(), "p": torch.nn.Parameter(base.clone()), "one": base.unsqueeze(0),
    }  # fmt: skip
    if new:
        state["eight"] = base.to(torch.float8_e4m3fn)
    torch.save(state, tmp_path / "a.pt", _use_new_zipfile_serialization=new)
    loaded = torch.load(tmp_path / "a.pt", weights_only=True)
    exact = {n: (t.float() if t.dtype in (torch.bfloat16, torch.float8_e4m3fn) else t).detach().numpy() for n, t in loaded.items()}
    assert_same(read(tmp_path / "a.pt").arrays, exact)


def test_tensors_in_a_plain_pickle(tmp_path):
    model = Small()
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(model.state_dict()))
    assert_same({n: a for n, a in read(tmp_path / "a.pkl").arrays.items() if n != "mask"}, weights_of(model))
    (tmp_path / "b.pkl").write_bytes(pickle.dumps({"w": np.ones((3, 3), np.float32)}))
    with pytest.raises(NwsError, match=r"numpy's arrays.*savez"):
        read(tmp_path / "b.pkl")
    (tmp_path / "c.pkl").write_bytes(pickle.dumps(Path("x")))
    with pytest.raises(NwsError, match="holds no tensors"):
        read(tmp_path / "c.pkl")


def test_other_endings(tmp_path):
    model = Small()
    for name in ("a.th", "a.pth.tar", "a.jit", "a.zip"):
        torch.save({"state_dict": model.state_dict()}, tmp_path / name)
        assert read(tmp_path / name).size == sum(a.size for a in weights_of(model).values()) + 4


def test_an_agent_of_stable_baselines(tmp_path):
    names = ("mlp_extractor.policy_net.0", "mlp_extractor.value_net.0", "action_net", "value_net")
    state = {f"{n}.{r}": torch.randn(*((4, 4) if r == "weight" else (4,))) for n in names for r in ("weight", "bias")}
    policy, optimizer = io.BytesIO(), io.BytesIO()
    torch.save({"log_std": torch.zeros(4), **state}, policy)
    torch.save({"state": {0: {"exp_avg": torch.ones(4, 4)}}, "param_groups": []}, optimizer)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("data", json.dumps({"policy_class": {":serialized:": "gASVMAAAAA=="}}))
        archive.writestr("policy.pth", policy.getvalue())
        archive.writestr("policy.optimizer.pth", optimizer.getvalue())
        archive.writestr("_stable_baselines3_version", "2.3.0")
    with pytest.raises(
        NwsError, match=r"holds 2 nets: actor \(5 tensors, 44 weights\), critic \(4 tensors, 40 weights\).*--net actor"
    ):
        read(tmp_path / "a.zip")
    found = read(tmp_path / "a.zip", net="actor")
    assert set(found.names) == {"log_std", *(n for n in state if "policy_net" in n or "action_net" in n)}
    assert [net["name"] for net in found.nets] == ["actor", "critic"]
    with pytest.raises(NwsError, match="holds no net 'nobody'"):
        read(tmp_path / "a.zip", net="nobody")


def test_an_optimizer_is_no_net(tmp_path):
    model = Small()
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(2, 3)).sum().backward()
    optimizer.step()
    torch.save(optimizer.state_dict(), tmp_path / "a.pt")
    with pytest.raises(NwsError, match="state of an optimizer, no net"):
        read(tmp_path / "a.pt")
    torch.save({"solver": optimizer.state_dict(), "weights": model.state_dict()}, tmp_path / "a.pt")
    assert set(read(tmp_path / "a.pt").arrays) == {*weights_of(model), "mask"}


def test_a_zip_of_other_files_and_a_quantised_net(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(NwsError, match=r"zip archive of other files \(readme.txt\)"):
        read(tmp_path / "a.zip")
    state = {"a.weight": torch.randint(-99, 99, (9, 9), dtype=torch.int8), "a.bias": torch.ones(9), "b.weight": torch.ones(2, 2)}
    torch.save(state, tmp_path / "b.pt")
    with pytest.raises(NwsError, match="is quantised: 81 of its weights"):
        read(tmp_path / "b.pt")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", "pointer of Git LFS.*git lfs pull"),
        (b"\n<!DOCTYPE html><html></html>", "is a web page"),
        (b"\x1f\x8b\x08\x00rest", "packed by gzip.*gunzip"),
        (b"\x89HDF\r\n\x1a\n0000", "cannot be read as HDF5"),
        (b"hello, this is text", "is text, not weights"),
        (b"\x00\x01\x02\x03", "no file of PyTorch"),
    ],
)
def test_what_is_no_file_of_pytorch_is_named(tmp_path, data, said):
    (tmp_path / "a.pt").write_bytes(data)
    with pytest.raises(NwsError, match=said):
        read(tmp_path / "a.pt")


# -- hostile ones --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", ["os", "builtins", "subprocess"])
def test_an_attack_beside_good_weights_is_refused_by_its_name(tmp_path, module):
    import os
    import subprocess

    run = {"os": os.system, "builtins": eval, "subprocess": subprocess.call}[module]

    class Evil:
        def __reduce__(self):
            return run, (f"open({str(tmp_path / 'ran')!r}, 'w')",)

    for name, new in (("a.pt", True), ("b.pt", False)):
        torch.save({"w.weight": torch.ones(2, 2), "x": Evil()}, tmp_path / name, _use_new_zipfile_serialization=new)
        with pytest.raises(NwsError, match=r"asks to run .*refused"):
            read(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def legacy(tmp_path, body, keys=(), storages=b""):
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, 2)
    parts = [magic, pickle.dumps(1001, 2), pickle.dumps({"little_endian": True}, 2), body, pickle.dumps(list(keys), 2), storages]
    (tmp_path / "a.pt").write_bytes(b"".join(parts))
    return tmp_path / "a.pt"


STORAGE = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04NtQ"


def tensor_pickle(shape, strides, offset=0):
    numbers = [pickle.dumps(v, 2)[2:-1] for v in (offset, shape, strides)]
    return b"\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n(" + STORAGE + b"".join(numbers) + b"\x89NtRs."


def test_old_files_by_hand(tmp_path):
    four = np.arange(4, dtype="<f4")
    whole = (4).to_bytes(8, "little") + four.tobytes()
    path = legacy(tmp_path, tensor_pickle((2, 2), (2, 1)), ["0"], whole)
    np.testing.assert_array_equal(read(path).arrays["w"], four.reshape(2, 2))
    for shape, strides, offset in (
        ((3, 2), (2, 1), 0),
        ((2, 2), (2, 1), 1),
        ((2, 2), (1 << 39, 1), 0),
        ((-1,), (1,), 0),
        ((2,), (2, 1), 0),
    ):
        with pytest.raises(NwsError, match=r"a\.pt"):
            read(legacy(tmp_path, tensor_pickle(shape, strides, offset), ["0"], whole))
    for keys, storages in ((["0"], b""), (["0"], (1 << 60).to_bytes(8, "little")), ([], whole), ([{}], whole), (["0"], whole[:-1])):
        with pytest.raises(NwsError, match=r"a\.pt"):
            read(legacy(tmp_path, tensor_pickle((2, 2), (2, 1)), keys, storages))


def test_a_huge_view_is_refused_before_memory_is_taken(tmp_path):
    torch.save({"w": torch.ones(1).expand(1 << 36)}, tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(NwsError, match="declares more than"):
        read(tmp_path / "a.pt")


@pytest.mark.parametrize(
    "body",
    [
        b"\x80\x02" + b"(" * 100_000 + b"l" * 100_000 + b".",
        b"\x80\x02ctorch.storage\n_load_from_bytes\n\x8a\x06\x00\x00\x00\x00\x00\x01\x85R.",  # bytes(1 << 40)
        b"\x80\x02ccollections\nOrderedDict\n}X\x05\x00\x00\x00itemsNsb.",
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}X\x01\x00\x00\x00aNsb.",
        b"\x80\x05\x96" + (1 << 40).to_bytes(8, "little") + b".",
        b"\x80\x02]q\x00h\x00a.",  # a list that holds itself
        b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s.",  # a mapping that holds itself
        b"\x80\x02cnumpy\ndtype\nX\x0f\x00\x00\x00(999999999,4)f8\x85R.",
    ],
)
def test_hostile_pickles_are_one_line(tmp_path, body):
    (tmp_path / "a.pkl").write_bytes(body)
    with pytest.raises(NwsError, match=r"a\.pkl"):
        read(tmp_path / "a.pkl", Limits(bytes=1 << 20))
    with pytest.raises(NwsError, match=r"a\.pt"):
        read(legacy(tmp_path, body))


@pytest.mark.parametrize("kind", ["module", "script", "old"])
def test_damage_anywhere_is_an_error_or_other_weights_never_a_crash(tmp_path, kind):
    model, path = Small(), tmp_path / "a.pt"
    if kind == "script":
        torch.jit.script(model).save(str(path))
    else:
        torch.save(model, path, _use_new_zipfile_serialization=kind == "module")
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for k in range(120):
        data = bytearray(whole)
        if k % 3 == 0:
            del data[int(rng.integers(len(data))) :]
        else:
            for place in rng.integers(0, min(len(data), 2000) if k % 3 == 1 else len(data), 4):
                data[place] = int(rng.integers(256))
        path.write_bytes(data)
        with contextlib.suppress(NwsError):
            ordered(read(path))


# -- real ones -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "layers", "weights", "note"),
    [
        ("tetris_module.pt", 3, 4545, "class src.deep_q_network.DeepQNetwork"),
        ("unitree_motion_jit.pt", 3, 31404, "TorchScript"),
        ("lenet_mnist.pth", 5, 61706, ""),
        ("mtcnn_pnet.pt", None, 6632, ""),
    ],
)
def test_files_of_others_are_read(stranger, name, layers, weights, note):
    found = read(stranger(name))
    theta = ordered(found)
    assert found.size == theta.theta.size == weights
    assert layers is None or len(theta.layout.layers) == layers
    assert note in " ".join(found.notes)
    assert len(found.nets) == 1


def test_a_vector_quantised_net_of_others_is_named(stranger):
    with pytest.raises(NwsError, match=r"is vector-quantised.*state_dict"):
        read(stranger("killbits_resnet18.pth"))
