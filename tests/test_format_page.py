"""docs/format.md suffices to compute with a net and to relabel it: numpy and that page alone agree with the PyTorch module."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fabricated import fabricated_zoo
from safetensors import safe_open
from torch import nn

import nws
from nws import Layout, images
from nws.images.resize import to_pictures
from nws.net import Net
from nws.recorded import Recorded
from nws.zoo import Zoo
from nws.zoo.netfile import read_header

PAGE = Path(__file__).resolve().parents[1] / "docs/format.md"
OLD = Path(__file__).parent / "written_by_0_1_0/zoo"

# From here to `changed` nothing of nws is used: what stands there was written from the page.


def enlarged(pictures: np.ndarray) -> np.ndarray:
    """(N, H, W) or (N, H, W, 3) bytes -> (N, 32, 32, 3) bytes."""
    x = pictures.astype(np.float64)
    for axis in (2, 1):
        n = x.shape[axis]
        u = np.clip((np.arange(32) + 0.5) * n / 32 - 0.5, 0, n - 1)
        k = np.floor(u).astype(int)
        f = (u - k).reshape([-1 if a == axis else 1 for a in range(x.ndim)])
        x = (1 - f) * x.take(k, axis) + f * x.take(np.minimum(k + 1, n - 1), axis)
    x = np.floor(x + 0.5)
    return x if x.ndim == 4 else np.stack([x, x, x], 3)


ACTIVATIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "elu": lambda x: np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
}


def normed(x: np.ndarray, layer: dict[str, np.ndarray]) -> np.ndarray:
    """x (..., channels)"""
    if "gamma" not in layer:
        return x
    return layer["gamma"] * (x - layer["mean"]) / np.sqrt(layer["var"] + 0.00001) + layer["beta"]


def convolved(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """x (N, rows, columns, in), weight (out, in, row, column) -> (N, rows, columns, out)"""
    _, rows, columns, _ = x.shape
    side = weight.shape[2]
    border = (side - 1) // 2
    padded = np.pad(x, ((0, 0), (border, border), (border, border), (0, 0)))
    windows = [(r, c) for r in range(side) for c in range(side)]
    return sum(padded[:, r : r + rows, c : c + columns] @ weight[:, :, r, c].T for r, c in windows)


def read(path: Path, snapshot: int) -> tuple[np.ndarray, list[dict[str, Any]], dict[str, Any]]:
    """theta (P,), the layout's rows as objects of format 3, and the hyper-parameters."""
    with safe_open(path, framework="numpy") as file:
        theta, said = file.get_tensor("theta")[snapshot - 1].astype(np.float64), file.metadata()
    rows = json.loads(said["layout"])
    if int(said["format"]) < 3:
        rows = [dict(zip(("layer", "role", "shape", "part", "grid"), row)) for row in rows]
    if int(said["format"]) == 1:
        state_axes_of_chain(rows)
    return theta, rows, json.loads(said["hyper_parameters"])


def state_axes_of_chain(rows: list[dict[str, Any]]) -> None:
    before = group = "input"
    for row in rows:
        name = "output" if row["layer"] == "out" else row["layer"]
        if row["role"] == "weight":
            before, group = group, name
            pixels = row["grid"][0] * row["grid"][1] if "grid" in row else 1
            row["axes"] = [name, [before, pixels, 1], *[None] * (len(row["shape"]) - 2)]
        else:
            row["axes"] = [name]


def tensors(theta: np.ndarray, rows: list[dict[str, Any]]) -> dict[str, dict[str, np.ndarray]]:
    """layer -> role -> values"""
    layers: dict[str, dict[str, np.ndarray]] = {}
    start = 0
    for row in rows:
        size = int(np.prod(row["shape"]))
        layers.setdefault(row["layer"], {})[row["role"]] = theta[start : start + size].reshape(row["shape"])
        start += size
    assert start == len(theta)
    return layers


def logits(theta: np.ndarray, rows: list[dict[str, Any]], hp: dict[str, Any], pictures: np.ndarray) -> np.ndarray:
    """pictures (N, 32, 32, 3) bytes -> (N, 20)"""
    layers = tensors(theta, rows)
    activation = ACTIVATIONS[hp["activation"]]
    each, rest = divmod(hp["depth_conv"], 3)
    x, number = pictures / 255, 0
    for block in (1, 2, 3):
        for _ in range(each + (block > 3 - rest)):
            number += 1
            layer = layers[f"conv{number}"]
            x = activation(normed(convolved(x, layer["weight"]) + layer["bias"], layer))
        n, rows_, columns, channels = x.shape
        x = x.reshape(n, rows_ // 2, 2, columns // 2, 2, channels).max((2, 4))
    x = x.reshape(len(x), -1)
    for number in range(1, hp["depth_fc"] + 1):
        layer = layers[f"fc{number}"]
        x = normed(activation(x @ layer["weight"].T + layer["bias"]), layer)
    return x @ layers["out"]["weight"].T + layers["out"]["bias"]


def relabelled(theta: np.ndarray, rows: list[dict[str, Any]], rng: np.random.Generator) -> np.ndarray:
    orders: dict[str, np.ndarray] = {}
    made = []
    for row, (layer, role) in zip(rows, [(row["layer"], row["role"]) for row in rows], strict=True):
        values = tensors(theta, rows)[layer][role]
        for k, entry in enumerate(row["axes"]):
            if entry is None:
                continue
            group, outer, inner = entry if isinstance(entry, list) else (entry, 1, 1)
            units = values.shape[k] // (outer * inner)
            if group not in orders:
                orders[group] = np.arange(units) if group in ("input", "output") else rng.permutation(units)
            assert len(orders[group]) == units
            positions = [(o * units + unit) * inner + i for o in range(outer) for unit in orders[group] for i in range(inner)]
            values = np.take(values, positions, axis=k)
        made.append(values.reshape(-1))
    return np.concatenate(made)


def changed(theta: np.ndarray, rows: list[dict[str, Any]], computed: Any) -> tuple[float, float]:
    """How far relabelling moves what a net computes, and its weights."""
    other = relabelled(theta, rows, np.random.default_rng(3))
    before = computed(theta, rows)
    assert before.std() > 0.001
    return float(np.abs(computed(other, rows) - before).max()), float(np.abs(other - theta).max())


def stored(folder: Path, hp: nws.Config) -> Path:
    """A net whose biases and norms are as after a training, in a zoo of its own: its file."""
    layout, rng = hp.family.layout(hp), np.random.default_rng(5)
    theta = np.stack([hp.family.init(hp, rng) for _ in range(2)])
    for t in layout.tensors:
        if t.role != "weight":
            low, high = (0.5, 2.0) if t.role in ("var", "gamma") else (-0.3, 0.3)
            theta[:, t.start : t.stop] = rng.uniform(low, high, (2, t.stop - t.start))
    zoo = Zoo.create(folder, None, family=hp.family)
    measures = hp.family.measures
    zoo.append(Net(7, hp, layout, theta, np.arange(2), np.zeros((2, len(measures))), measures=measures))
    return folder / "nets" / "000" / "000007.safetensors"


def of_module(hp: nws.Config, theta: np.ndarray, pictures: np.ndarray) -> np.ndarray:
    state = hp.family.layout(hp).state_dict(theta.astype(np.float32))
    module = hp.family.module(hp).eval()
    module.load_state_dict({k: torch.as_tensor(np.ascontiguousarray(v)) for k, v in state.items()}, strict=False)
    with torch.no_grad():
        return module(torch.from_numpy(pictures.transpose(0, 3, 1, 2) / 255).float()).numpy()


@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("activation", list(ACTIVATIONS))
@pytest.mark.parametrize(("depth_conv", "filter_size", "depth_fc"), [(3, 5, 2), (4, 3, 3), (5, 7, 4)])
def test_the_page_computes_what_the_module_does(tmp_path, activation, batch_norm, depth_conv, filter_size, depth_fc):
    shape = {"depth_conv": depth_conv, "filter_size": filter_size, "depth_fc": depth_fc, "width_conv": 4, "width_fc": 64}
    hp = nws.MAIN.net(0, 0).with_(activation=activation, batch_norm=batch_norm, initialization="glorot_normal", **shape)
    path = stored(tmp_path / "zoo", hp)
    digits = np.random.default_rng(1).integers(0, 256, (6, 28, 28), np.uint8)  # as large as MNIST's
    pictures = enlarged(digits)
    for snapshot in (1, 2):
        theta, rows, said = read(path, snapshot)
        found = logits(theta, rows, said, pictures)
        assert found.shape == (6, 20)
        assert np.abs(found - of_module(hp, theta, pictures)).max() <= 1e-4
        assert found.std() > 0.01  # the pictures made a difference
    computed, weights = changed(theta, rows, lambda theta, rows: logits(theta, rows, said, pictures))
    assert computed < 1e-9
    assert weights > 0.1


@pytest.mark.parametrize("number", range(12))
def test_the_page_reads_what_0_1_0_wrote(number):
    path = OLD / f"nets/000/{number:06d}.safetensors"
    theta, rows, said = read(path, 3)
    hp = nws.HyperParameters.from_mapping(said)
    pictures = enlarged(np.random.default_rng(number).integers(0, 256, (4, 8, 8), np.uint8))
    assert np.abs(logits(theta, rows, said, pictures) - of_module(hp, theta, pictures)).max() <= 1e-4
    computed, weights = changed(theta, rows, lambda theta, rows: logits(theta, rows, said, pictures))
    assert computed < 1e-9 * max(1, np.abs(logits(theta, rows, said, pictures)).max())
    assert weights > 1e-4
    stated = Layout.from_json(json.dumps(rows))
    assert [t.axes for t in stated.tensors] == [t.axes for t in read_header(path).layout.tensors]


# Many nets in one file


def test_the_page_reads_shards(tmp_path):
    """The page's program on nets of other sizes and formats, foreign ones among them, beside each other."""
    (program,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(program, names)
    zoo = fabricated_zoo(tmp_path / "zoo")
    for number, old in ((20, 0), (21, 3)):
        recorded = replace(Zoo(OLD).net(old), number=number, hp=Recorded({"optimizer": "sgd"}))
        zoo.append(recorded)
    before = [zoo.net(number) for number in zoo.numbers()]
    whole = {net.number: safe_open(zoo.path / zoo.index.loc[net.number, "path"], framework="numpy") for net in before}
    zoo.pack()
    (shard,) = zoo.path.glob("shards/000/*.safetensors")
    for net in before:
        for snapshot in (1, len(net.theta)):
            theta, epoch, history, metadata = names["net_of_shard"](shard, net.number, snapshot)
            np.testing.assert_array_equal(theta, net.theta[snapshot - 1])
            np.testing.assert_array_equal(epoch, net.epoch)
            np.testing.assert_array_equal(history, net.history)
            assert metadata == whole[net.number].metadata()


# Axes that are no chain's


def added(theta: np.ndarray, rows: list[dict[str, Any]]) -> np.ndarray:
    """The page's example: two convolutions whose channels are added to each other, then a matrix on 4 x 4 pixels."""
    layers = tensors(theta, rows)
    x = np.maximum(convolved(np.random.default_rng(0).random((3, 4, 4, 3)), layers["stem"]["weight"]), 0)
    x = x + np.maximum(convolved(x, layers["block"]["weight"]), 0)
    return x.reshape(3, -1) @ layers["out"]["weight"].T


def flattened(theta: np.ndarray, rows: list[dict[str, Any]]) -> np.ndarray:
    """A convolution, then PyTorch's own flatten: the pixels of a channel side by side."""
    conv, out = tensors(theta, rows).values()
    x = np.maximum(convolved(np.random.default_rng(0).random((3, 4, 4, 3)), conv["weight"]) + conv["bias"], 0)
    return x.transpose(0, 3, 1, 2).reshape(3, -1) @ out["weight"].T + out["bias"]


CHAIN = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(96, 10))
EXAMPLE = re.search(r"^```json\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    ("layout", "computed"),
    [(Layout.from_json(EXAMPLE[1]), added), (Layout.of_module(CHAIN), flattened)],
    ids=["added", "flattened"],
)
def test_relabelling_by_the_page_keeps_the_function(tmp_path, layout, computed):
    class Drawn(nws.Family):
        name = "drawn"
        properties = nws.families.standard("dataset")
        measures = ("step", "loss")

        def layout(self, config):
            return layout

        def init(self, config, rng):
            return rng.normal(0, 0.3, layout.size).astype(np.float32)

    path = stored(tmp_path / "zoo", Drawn().space.net(0, 0))
    theta, rows, _ = read(path, 1)
    moved, weights = changed(theta, rows, computed)
    assert moved < 1e-9
    assert weights > 0.1
    # and not by chance: the flattened picture the other way round is another net
    entry = rows[-1 if rows[-1]["role"] == "weight" else -2]["axes"]
    group, outer, inner = entry[1]
    entry[1] = [group, inner, outer]
    assert changed(theta, rows, computed)[0] > 0.01


def test_the_page_s_example_is_what_nws_writes():
    rows = json.loads(EXAMPLE[1])
    assert json.loads(Layout.from_json(EXAMPLE[1]).to_json()) == rows
    assert Layout.from_json(EXAMPLE[1]).groups == {"u": 8, "input": 3, "output": 10}


@pytest.mark.parametrize("shape", [(5, 28, 28), (5, 8, 8), (5, 96, 96, 3), (5, 33, 20), (5, 32, 32, 3)])
def test_pictures_are_enlarged_as_the_page_says(shape):
    pictures = np.random.default_rng(2).integers(0, 256, shape, np.uint8)
    np.testing.assert_array_equal(enlarged(pictures), to_pictures(pictures))


def test_the_embedded_digits_are_enlarged_so():
    from sklearn.datasets import load_digits

    sixteen = load_digits().images  # (1797, 8, 8), 0 to 16
    whole = images.load("digits")
    found = {picture.tobytes() for picture in (*whole.x_train, *whole.x_test)}
    levels = np.floor(sixteen * 255 / 16 + 0.5).astype(np.uint8)
    assert sum(picture.astype(np.uint8).tobytes() in found for picture in enlarged(levels)) > 1700
