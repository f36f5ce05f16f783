"""Several nets in one file: all are listed and none is taken for the whole. One net in several files is one."""

import itertools
import json
import time

import numpy as np
import pytest
from test_cli import nws  # noqa: F401
from test_weights import write_safetensors

from nws import NwsError, Zoo, importers
from nws.importers import checkpoints
from nws.weights import read
from nws.weights.nets import kind, told_apart

torch = pytest.importorskip("torch")


def net(seed, *sizes, prefix=""):
    """Layers of `sizes` as a state dict."""
    torch.manual_seed(seed)
    state = {}
    for k, (a, b) in enumerate(itertools.pairwise(sizes)):
        state |= {f"{prefix}{k}.weight": torch.randn(b, a), f"{prefix}{k}.bias": torch.randn(b)}
    return state


def saved(tmp_path, state):
    torch.save(state, tmp_path / "a.pt")
    return tmp_path / "a.pt"


SEVERAL = {
    "generator and discriminator": ({"netG": net(0, 3, 4, 5), "netD": net(1, 5, 4, 1)}, ["netG", "netD"]),
    "letters": ({"G": net(0, 3, 4, 5), "D": net(1, 5, 4, 1), "optG": {"param_groups": []}, "epoch": 3}, ["G", "D"]),
    "state dicts": ({"actor_dict": net(0, 3, 4), "critic_dict": net(1, 3, 1)}, ["actor_dict", "critic_dict"]),
    "twins": ({"first": net(0, 3, 4, 5), "second": net(1, 3, 4, 5)}, ["first", "second"]),
    "flat": ({**net(0, 3, 4, 2, prefix="actor."), **net(1, 3, 4, 1, prefix="critic.")}, ["actor", "critic"]),
    "two of a kind": (
        {**net(0, 3, 4, prefix="G_A."), **net(1, 3, 4, prefix="G_B."), **net(2, 4, 1, prefix="D.")}, ["G_A", "G_B", "D"],
    ),
    "the judge beside the rest": ({**net(0, 3, 4, prefix="encoder."), **net(2, 4, 1, prefix="loss.discriminator.")},
                                  ["rest", "loss.discriminator"]),
}  # fmt: skip


@pytest.mark.parametrize(("state", "names"), SEVERAL.values(), ids=SEVERAL)
def test_several_nets_are_listed_and_one_is_chosen(tmp_path, nws, state, names):  # noqa: F811
    path = saved(tmp_path, state)
    with pytest.raises(NwsError, match=f"holds {len(names)} nets") as said:
        read(path)
    assert all(name in str(said.value) for name in names)
    assert "\n" not in str(said.value)
    seen = []
    for name in names:
        found = read(path, net=name)
        assert [n["name"] for n in found.nets] == names
        assert next(n["weights"] for n in found.nets if n["name"] == name) == found.size
        assert any(other in note for note in found.notes for other in names if other != name)
        seen += [a.tobytes() for a in found.arrays.values()]
    tensors = sum(
        len([t for t in v.values() if torch.is_tensor(t)]) if isinstance(v, dict) else torch.is_tensor(v) for v in state.values()
    )
    assert len(set(seen)) == len(seen) == tensors  # every tensor belongs to one net
    code, _, err = nws("audit", path)
    assert (code, err.count("\n")) == (2, 1)
    assert f"--net {names[0]}" in err
    code, out, _ = nws("audit", path, "--net", names[0], "--json")
    said = json.loads(out)
    assert [n["name"] for n in said["nets"]] == names
    assert (code, said["weights"]) == (0, read(path, net=names[0]).size)
    assert sum(layer["weights"] for layer in said["layers"]) == said["weights"]


COPIES = {
    "moving average": ({"model": net(0, 3, 4, 5), "model_ema": net(1, 3, 4, 5)}, "model_ema"),
    "two parameter sets": ({"params": net(0, 3, 4, 5), "params_ema": net(1, 3, 4, 5)}, "params_ema"),
    "target network": ({**net(0, 3, 4, 2, prefix="q_net."), **net(1, 3, 4, 2, prefix="q_net_target.")}, "q_net_target"),
    "average in one state dict": ({**net(0, 3, 4, 2, prefix="net."), **net(1, 3, 4, 2, prefix="ema.")}, "ema"),
}


@pytest.mark.parametrize(("state", "copy"), COPIES.values(), ids=COPIES)
def test_a_copy_beside_the_net_is_noted_and_can_be_chosen(tmp_path, state, copy):
    path = saved(tmp_path, state)
    main, other = read(path), read(path, net=copy)
    assert any(f"--net {copy}" in note for note in main.notes)
    assert main.size == other.size
    assert not np.array_equal(next(iter(main.arrays.values())), next(iter(other.arrays.values())))


def tensors_of(state):
    return [t for v in state.values() for t in (tensors_of(v) if isinstance(v, dict) else [v])]


ONE = {
    "an autoencoder": {"encoder": net(0, 3, 4, 2), "decoder": net(1, 2, 4, 3)},
    "an autoencoder in one state dict": {**net(0, 3, 4, 2, prefix="encoder."), **net(1, 2, 4, 3, prefix="decoder.")},
    "layers in mappings of their own": {f"layer{k}.conv": {"weight": torch.randn(4, 4), "bias": torch.randn(4)} for k in range(5)},
    "two heads on one trunk": {**net(0, 9, 8, prefix="trunk."), **net(1, 8, 2, prefix="actor."), **net(2, 8, 1, prefix="critic.")},
    "a nested trunk and a head": {
        "dense_0": {"weight": torch.randn(4, 4)},
        "value": {"dense_0": {"weight": torch.randn(4, 4)}, "dense_1": {"weight": torch.randn(1, 4)}},
    },
    "nested attention": {n: {"kernel": torch.randn(4, 4)} for n in ("query", "key", "value")},
    "a U-Net": {**net(0, 3, 4, prefix="e1."), **net(1, 4, 3, prefix="d1.")},
    "attention": {f"attn.{n}.weight": torch.randn(4, 4) for n in ("query", "key", "value")},
    "an average of another shape": {**net(0, 3, 4, prefix="body."), **net(1, 4, 5, prefix="target.")},
}


@pytest.mark.parametrize("state", ONE.values(), ids=ONE)
def test_parts_of_one_net_are_one_net(tmp_path, state):
    flat = tensors_of(state)
    found = read(saved(tmp_path, state))
    assert found.size == sum(t.numel() for t in flat)
    assert len(found.names) == len(flat)


def test_an_import_takes_the_named_net_of_each_file(tmp_path):
    """What its message advises for a file with several nets."""
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for k in range(2):
        sizes = {"actor.0": (4, 3), "critic.0": (5, 3)}
        arrays = {f"{name}.weight": rng.normal(size=shape).astype("f4") for name, shape in sizes.items()}
        arrays |= {f"{name}.bias": rng.normal(size=shape[0]).astype("f4") for name, shape in sizes.items()}
        np.savez(tmp_path / f"in/{k}.npz", **arrays)
    with pytest.raises(NwsError, match="actor"):
        importers.fill(importers.open_source("checkpoints", tmp_path / "in"), tmp_path / "none")
    for net, size in (("actor", 16), ("critic", 20)):
        summary = importers.fill(importers.open_source("checkpoints", tmp_path / "in", net=net), tmp_path / net)
        assert summary.imported == 2
        assert Zoo(tmp_path / net).index["weights"].tolist() == [size, size]
    with pytest.raises(NwsError, match="was made with"):
        importers.fill(importers.open_source("checkpoints", tmp_path / "in", net="critic"), tmp_path / "actor")


def test_the_same_nets_in_other_formats(tmp_path):
    state = {name: t.numpy() for name, t in SEVERAL["flat"][0].items()}
    write_safetensors(tmp_path / "a.safetensors", state)
    np.savez(tmp_path / "a.npz", **state)
    for name in ("a.safetensors", "a.npz"):
        with pytest.raises(NwsError, match="holds 2 nets: actor"):
            read(tmp_path / name)
        assert set(read(tmp_path / name, net="critic").names) == {n for n in state if n.startswith("critic")}


def test_words():
    said = ("netG", "net_d", "D_B", "policy_net", "q_network", "d1", "e1", "modeling", "value", "decoder", "conv_d", "policies")
    assert [kind(name) for name in said] == [
        "generator", "discriminator", "discriminator", "actor", "critic", "", "", "", "critic", "", "", "",
    ]  # fmt: skip


def test_many_nets_take_no_time():
    """20,000 tensors whose names all speak of nets: a hostile file."""
    tensors = {f"{word}{k}.weight": np.ones((1, 1)) for k in range(5000) for word in ("actor", "ema", "critic", "target")}
    start = time.process_time()
    told_apart(tensors)
    assert time.process_time() - start < 10


# -- one net in several files --------------------------------------------------------------------------------------------------


def sharded(folder, suffix, shards=3):
    """(index, state): a net of several files as hubs keep them."""
    folder.mkdir(exist_ok=True)
    state = {n: t for k in range(shards) for n, t in net(k, 3, 4, prefix=f"layers.{k}.").items()}
    stem = "model" if suffix == ".safetensors" else "pytorch_model"
    where = {}
    for k in range(shards):
        name = f"{stem}-{k + 1:05d}-of-{shards:05d}{suffix}"
        held = {n: t for n, t in state.items() if n.startswith(f"layers.{k}.")}
        if suffix == ".safetensors":
            write_safetensors(folder / name, {n: t.numpy() for n, t in held.items()})
        else:
            torch.save(held, folder / name)
        where |= dict.fromkeys(held, name)
    index = folder / f"{stem}{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": dict(sorted(where.items()))}))
    return index, state


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_the_index_a_shard_and_the_folder_are_the_same_net(tmp_path, suffix):
    index, state = sharded(tmp_path / "m", suffix)
    for given in (index, index.parent, next(index.parent.glob(f"*-00002-*{suffix}"))):
        found = read(given)
        assert {n: a.tobytes() for n, a in found.arrays.items()} == {n: t.numpy().tobytes() for n, t in state.items()}
        assert "one net in 3 files" in found.notes
    source = checkpoints.open_source(index.parent)
    assert len(source.items and list(source.items())) == 1


@pytest.mark.parametrize(
    "name",
    [
        "../secret.safetensors", "/etc/passwd", "sub/x.safetensors", "..\\x.safetensors", "link.safetensors", ".hidden.bin",
        "a.txt", "x\0.bin",
    ],
)  # fmt: skip
def test_an_index_names_no_file_outside_its_folder(tmp_path, name):
    index, _ = sharded(tmp_path / "m", ".safetensors")
    write_safetensors(tmp_path / "secret.safetensors", {"w": np.ones((2, 2), np.float32)})
    (index.parent / "link.safetensors").symlink_to(tmp_path / "secret.safetensors")
    index.write_text(json.dumps({"weight_map": {"w": name}}))
    with pytest.raises(NwsError, match="refused"):
        read(index)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"weight_map": []}', '{"weight_map": {}}', '{"weight_map": {"a": 3}}', "[" * 100_000, "\xff"]
)
def test_an_index_that_is_none_is_one_line(tmp_path, text):
    (tmp_path / "model.safetensors.index.json").write_text(text, encoding="latin-1")
    with pytest.raises(NwsError, match=r"index\.json"):
        read(tmp_path / "model.safetensors.index.json")


def test_a_missing_shard_and_one_that_disagrees(tmp_path):
    index, _ = sharded(tmp_path / "m", ".safetensors")
    shards = sorted(index.parent.glob("*.safetensors"))
    shards[1].replace(tmp_path / "aside")
    with pytest.raises(NwsError, match=r"00002-of-00003\.safetensors, which is missing"):
        read(index)
    write_safetensors(shards[1], {"layers.1.0.weight": np.ones((4, 3), np.float32)})
    with pytest.raises(NwsError, match=r"lacks layers\.1\.0\.bias"):
        read(index)
    write_safetensors(shards[1], {"layers.0.0.weight": np.ones((4, 3), np.float32), "layers.1.0.bias": np.ones(4, np.float32)})
    with pytest.raises(NwsError, match=r"lacks|lies in two"):
        read(index)


def test_a_shard_of_nested_mappings(tmp_path):
    index, _ = sharded(tmp_path / "m", ".bin")
    torch.save({"layers.0": {"0": {"weight": torch.ones(4, 3), "bias": torch.ones(4)}}}, next(index.parent.glob("*-00001-*")))
    assert read(index).size == 3 * 16


def test_an_attentions_value_is_no_critic():
    """Beside its query; a value net beside a policy is one."""
    layers = {f"attention_4/{name}_dense.kernel": np.ones((3, 2), np.float32) for name in ("key", "query", "value")}
    assert [net.name for net in told_apart(layers)] == [""]
    nets = {f"{name}_net.0.weight": np.ones((3, 2), np.float32) for name in ("policy", "value")}
    assert [net.name for net in told_apart(nets)] == ["policy_net", "value_net"]
