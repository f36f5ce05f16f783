"""Corpora of implicit representations as they were published, into a zoo that can be read and rendered."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import nws
from nws.families import SIREN
from nws.images import ImageSet
from nws.importers import fill, open_source
from nws.importers import inrs as importer

torch = pytest.importorskip("torch")
FIXTURES = Path(__file__).resolve().parents[2] / "shared" / "fixtures" / "inr"
ORBIT = FIXTURES / "navon_mnist_test3665_orbit512.npz"
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def tensors(rng: np.random.Generator, names: str, channels: int = 1, width: int = 32) -> dict[str, torch.Tensor]:
    """A random 2-h-h-c net as a state dict; names: a pattern with the layer's number."""
    shapes = [(width, 2), (width, width), (channels, width)]
    found = {}
    for k, shape in enumerate(shapes):
        layer = names.format(k) if k < 2 or ".linear" not in names else names.format(k).replace(".linear", "")
        found[f"{layer}.weight"] = torch.from_numpy(rng.normal(0, 0.1, shape).astype(np.float32))
        found[f"{layer}.bias"] = torch.from_numpy(rng.normal(0, 0.1, shape[:1]).astype(np.float32))
    return found


def saved(path: Path, state: dict[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path)


@pytest.fixture(autouse=True)
def no_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine has of images: most tests are to be the same without."""
    monkeypatch.setattr(importer, "_images", lambda name: None)


def test_navons_mnist_folders(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    states = {name: tensors(rng, "seq.{}") for name in ("training_7_12", "training_0_3", "testing_6_3665")}
    for name, state in states.items():
        saved(tmp_path / "src" / f"mnist_png_{name}" / "checkpoints" / "model_final.pth", state)
    (tmp_path / "src" / "mnist_splits.json").write_text(
        json.dumps({"val": {"path": ["/data/mnist-inrs/mnist_png_training_7_12/checkpoints/model_final.pth"], "label": [7]}})
    )
    summary = fill(open_source("inrs", tmp_path / "src"), tmp_path / "zoo")
    zoo = nws.Zoo(tmp_path / "zoo")
    assert summary.imported == 3
    assert zoo.family is SIREN
    frame = zoo.index
    assert frame["image"].tolist() == [3, 12, 63665]
    assert frame["label"].tolist() == [0, 7, 6]
    assert frame["side"].tolist() == ["train", "val", "test"]
    assert frame["split"].tolist() == ["train", "train", "test"]
    assert frame["offset"].tolist() == [0.5] * 3
    assert_array_equal(zoo.theta(2, 1), np.concatenate([t.numpy().ravel() for t in states["testing_6_3665"].values()]))
    assert zoo.layout(0) == SIREN.layout(SIREN.spaces["main"].net(0, 0))
    assert fill(open_source("inrs", tmp_path / "src"), tmp_path / "zoo").already == 3


def test_fashion_with_its_label_inside_the_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    saved(tmp_path / "src" / "train" / "model_5.pth", {**tensors(rng, "seq.{}"), "label": 3})
    saved(tmp_path / "src" / "test" / "model_2.pth", {**tensors(rng, "seq.{}"), "label": torch.tensor(8)})
    fill(open_source("inrs", tmp_path / "src"), tmp_path / "zoo", strict=True)
    frame = nws.Zoo(tmp_path / "zoo").index
    assert frame["label"].tolist() == [3, 8]
    assert frame["image"].tolist() == [5, 60002]
    assert set(frame["dataset"]) == {"fashion"}


def test_zhous_folders_with_views(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for folder in ("randinit_smaller_4s", "randinit_smaller_aug0_4s", "randinit_smaller_aug11_4s"):
        saved(tmp_path / "cifar" / folder / "net49999.pth", tensors(rng, "net.{}.linear", channels=3))
    saved(tmp_path / "cifar" / "randinit_smaller_0s" / "net50001.pth", tensors(rng, "net.{}.linear", channels=3))
    fill(open_source("inrs", tmp_path / "cifar"), tmp_path / "zoo", strict=True)
    zoo = nws.Zoo(tmp_path / "zoo")
    assert zoo.index["view"].tolist() == [0, 0, 1, 12]
    assert zoo.index["side"].tolist() == ["val", "test", "val", "val"]
    assert zoo.index["channels"].tolist() == [3] * 4
    assert set(zoo.index["values"]) == {"symmetric"}
    assert SIREN.render(zoo[0].hp, zoo[0].theta).shape == (1, 32, 32, 3)


def test_what_is_no_such_net_is_listed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    good = tensors(rng, "seq.{}")
    saved(tmp_path / "src" / "train" / "model_0.pth", {**good, "label": 1})
    saved(tmp_path / "src" / "train" / "model_1.pth", {**good, "seq.1.weight": good["seq.1.weight"][:, :8]})
    (tmp_path / "src" / "train" / "model_2.pth").write_bytes(b"no file of PyTorch")
    summary = fill(open_source("inrs", tmp_path / "src"), tmp_path / "zoo")
    assert (summary.imported, len(summary.skipped)) == (1, 2)
    assert "no net from 2 coordinates" in summary.skipped[0][1]
    with pytest.raises(nws.NwsError, match="no nets of a known corpus"):
        open_source("inrs", tmp_path / "zoo" / "nets")
    (tmp_path / "src" / "splits.json").write_text("[")
    with pytest.raises(nws.NwsError, match="cannot be read as JSON"):
        open_source("inrs", tmp_path / "src")


def test_the_psnr_is_measured_where_the_image_is_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    state = tensors(rng, "seq.{}")
    saved(tmp_path / "src" / "train" / "model_1.pth", {**state, "label": 0})
    theta = np.concatenate([t.numpy().ravel() for t in state.values()])
    hp = SIREN.spaces["navon"].net(0, 0)
    shown = np.clip(SIREN.render(hp, theta[None])[0], 0, 1)
    pictures = np.stack([shown * 0, shown]).repeat(2, 0)[1:3]
    images = ImageSet(
        "fashion",
        np.round(pictures * 255).astype(np.uint8),
        np.array([1, 0]),
        shown[None].astype(np.uint8),
        np.array([0]),
        ("a", "b"),
    )
    monkeypatch.setattr(importer, "_images", lambda name: images)
    summary = fill(open_source("inrs", tmp_path / "src"), tmp_path / "zoo", strict=True)
    zoo = nws.Zoo(tmp_path / "zoo")
    error = np.mean((SIREN.render(hp, theta[None])[0] - images.x_train[1] / 255) ** 2)
    assert_allclose(zoo.index["psnr"][0], -10 * np.log10(error), atol=1e-3)
    assert not summary.notes


def test_fit_a_nefs_hdf5(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    rng = np.random.default_rng(0)
    config = [
        ["kernel_net_0.linear.bias", [8]],
        ["kernel_net_0.linear.kernel", [2, 8]],
        ["output_linear.bias", [1]],
        ["output_linear.kernel", [8, 1]],
    ]
    params = rng.normal(0, 1, (3, 33)).astype(np.float32)
    (tmp_path / "src").mkdir()
    for name in ("nefs_10_13", "nefs_0_3"):
        with h5py.File(tmp_path / "src" / f"{name}.hdf5", "w") as file:
            file["params"] = params + (name == "nefs_10_13")
            file.create_dataset("param_config", (1,), dtype=h5py.special_dtype(vlen=str))[0] = json.dumps(config)
            file["labels"] = np.array([4, 5, 6])
    fill(open_source("inrs", tmp_path / "src"), tmp_path / "zoo", strict=True)
    zoo = nws.Zoo(tmp_path / "zoo")
    assert zoo.index["label"].tolist() == [4, 5, 6, 4, 5, 6]
    expected = [params[1, 8:24].reshape(2, 8).T.ravel(), params[1, :8], params[1, 25:], params[1, 24:25]]
    assert_array_equal(zoo.theta(1, 1), np.concatenate(expected))
    assert zoo.theta(3, 1)[0] == params[0, 8] + 1
    with h5py.File(tmp_path / "src" / "nefs_0_3.hdf5", "r+") as file:
        file["param_config"][0] = json.dumps(config[:2])
    with pytest.raises(nws.NwsError, match="does not describe the 33 weights"):
        open_source("inrs", tmp_path / "src")


@pytest.mark.skipif(not ORBIT.is_file() or not (DATA / "mnist").is_dir(), reason="../shared is absent")
def test_a_public_net_shows_its_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importer, "_images", lambda name: nws.images.load(name, DATA, download=False, original=True))
    with np.load(ORBIT) as stored:
        state = {f"seq.{k}.{role}": torch.from_numpy(stored[f"seq_{k}_{role}"][0]) for k in range(3) for role in ("weight", "bias")}
    saved(tmp_path / "src" / "mnist_png_testing_6_3665" / "checkpoints" / "model_final.pth", state)
    summary = fill(open_source("inrs", tmp_path / "src"), tmp_path / "zoo", strict=True)
    assert_allclose(nws.Zoo(tmp_path / "zoo").index["psnr"][0], 24.33, atol=0.01)
    assert not summary.notes  # the label is that of image 3665
