"""docs/format.md suffices to compute with a net: logits by numpy and that page alone are those of the PyTorch module."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

import nws
from nws import images
from nws.families import cnn2020 as cnn
from nws.images.resize import to_pictures
from nws.net import HISTORY, Net
from nws.zoo import Zoo

# From here to `logits` nothing of nws is used: what stands there was written from the page.


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


def logits(path: Path, snapshot: int, pictures: np.ndarray) -> np.ndarray:
    """pictures (N, 32, 32, 3) bytes -> (N, 20)"""
    with safe_open(path, framework="numpy") as file:
        theta, said = file.get_tensor("theta")[snapshot - 1].astype(np.float64), file.metadata()
    hp = json.loads(said["hyper_parameters"])
    layers: dict[str, dict[str, np.ndarray]] = {}
    start = 0
    for name, role, shape, *_ in json.loads(said["layout"]):
        layers.setdefault(name, {})[role] = theta[start : start + int(np.prod(shape))].reshape(shape)
        start += int(np.prod(shape))
    activation = ACTIVATIONS[hp["activation"]]
    each, rest = divmod(hp["depth_conv"], 3)
    x, number = pictures / 255, 0
    for block in (1, 2, 3):
        for _ in range(each + (block > 3 - rest)):
            number += 1
            layer = layers[f"conv{number}"]
            x = activation(normed(convolved(x, layer["weight"]) + layer["bias"], layer))
        n, rows, columns, channels = x.shape
        x = x.reshape(n, rows // 2, 2, columns // 2, 2, channels).max((2, 4))
    x = x.reshape(len(x), -1)
    for number in range(1, hp["depth_fc"] + 1):
        layer = layers[f"fc{number}"]
        x = normed(activation(x @ layer["weight"].T + layer["bias"]), layer)
    return x @ layers["out"]["weight"].T + layers["out"]["bias"]


def stored(folder: Path, hp: nws.HyperParameters) -> tuple[Path, np.ndarray]:
    """A net whose biases and norms are as after a training, in a zoo of its own: its file, and theta (2, P)."""
    layout, rng = cnn.layout(hp), np.random.default_rng(5)
    theta = np.stack([cnn.initialize(hp, rng) for _ in range(2)])
    for t in layout.tensors:
        if t.role != "weight":
            low, high = (0.5, 2.0) if t.role in ("var", "gamma") else (-0.3, 0.3)
            theta[:, t.start : t.stop] = rng.uniform(low, high, (2, t.stop - t.start))
    zoo = Zoo.create(folder, None)
    zoo.append(Net(7, hp, layout, theta, np.arange(2), np.zeros((2, len(HISTORY)))))
    return folder / "nets" / "000" / "000007.safetensors", theta


@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("activation", list(ACTIVATIONS))
@pytest.mark.parametrize(("depth_conv", "filter_size", "depth_fc"), [(3, 5, 2), (4, 3, 3), (5, 7, 4)])
def test_the_page_computes_what_the_module_does(tmp_path, activation, batch_norm, depth_conv, filter_size, depth_fc):
    shape = {"depth_conv": depth_conv, "filter_size": filter_size, "depth_fc": depth_fc, "width_conv": 4, "width_fc": 64}
    hp = nws.MAIN.net(0, 0).with_(activation=activation, batch_norm=batch_norm, initialization="glorot_normal", **shape)
    path, theta = stored(tmp_path / "zoo", hp)
    digits = np.random.default_rng(1).integers(0, 256, (6, 28, 28), np.uint8)  # as large as MNIST's
    pictures = enlarged(digits)
    module = cnn.module(hp).eval()
    for snapshot in (1, 2):
        module.load_state_dict(
            {k: torch.as_tensor(np.asarray(v)) for k, v in cnn.layout(hp).state_dict(theta[snapshot - 1]).items()}, strict=False
        )
        with torch.no_grad():
            expected = module(torch.from_numpy(pictures.transpose(0, 3, 1, 2) / 255).float()).numpy()
        found = logits(path, snapshot, pictures)
        assert found.shape == (6, 20)
        assert np.abs(found - expected).max() <= 1e-4
        assert found.std() > 0.01  # the pictures made a difference


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
