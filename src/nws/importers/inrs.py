"""Corpora of implicit representations: folders of .pth files as Navon et al. and Zhou et al. published them, and HDF5 of fit-a-nef.

Navon, MNIST    .../mnist_png_{training,testing}_<label>_<image>/checkpoints/model_final.pth
Navon, F-MNIST  {train,test}/model_<image>.pth with an entry `label`
Zhou            <prefix>[_aug<k>]_<label>s/net<image>.pth, images numbered through training and test set
fit-a-nef       files of HDF5 with params (nets, weights), param_config, labels: see inrs_hdf5.py

Their nets are 2-h-...-h-c with sine units of omega 30. Navon's read (column, row) and say 0 to 1, with 0.5 added to the output;
Zhou's read (row, column) and say -1 to 1.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from nws import images as image_sets
from nws.errors import NwsError
from nws.families import SIREN
from nws.images import ImageSet
from nws.importers import inrs_hdf5
from nws.importers.inrs_splits import from_folder
from nws.importers.source import Imported, Item, Source, fingerprint
from nws.net import Net
from nws.recorded import Recorded
from nws.weights import Checkpoint, Limits, torch_file
from nws.weights.checkpoint import shown
from nws.weights.stored import Stored

KIND = "inrs"
_MOST_FILES = 5_000_000
_NAVON = {"omega": 30.0, "offset": 0.5, "values": "unit", "coordinates": "xy", "initialization": "navon", "learning_rate": 5e-4}
_ZHOU = {"omega": 30.0, "offset": 0.0, "values": "symmetric", "coordinates": "ij", "initialization": "sitzmann"}
_MNIST = re.compile(r"mnist_png_(training|testing)(?:_.*)?_(\d{1,4})_(\d{1,9})$")
_FASHION = re.compile(r"model_(\d{1,9})$")
_FOLDER = re.compile(r"(?:_aug(\d{1,4}))?_(\d{1,4})s$")
_FILE = re.compile(r"net(\d{1,9})$")
_TRAINING = {"mnist": 60_000, "fashion": 60_000, "cifar10": 50_000}  # images
_ZHOU_SIDES = (45_000, 50_000)  # where validation and test begin, by the image's number (nfn's protocol)


@dataclass(frozen=True)
class _Found:
    """A file, and what its path says of the net."""

    path: Path
    about: Mapping[str, Any]
    order: tuple[int, int, str]


def open_source(path: Path) -> Source:
    """path: the folder of a corpus, or a file or folder of HDF5."""
    path = path.absolute()
    if inrs_hdf5.files(path):
        return inrs_hdf5.open_source(path)
    if not path.is_dir():
        raise NwsError(f"{shown(path)} is no folder: name a folder of .pth files, one per net, or a file of HDF5")
    sides = from_folder(path)
    found = sorted(_files(path, sides), key=lambda f: f.order)
    if not found:
        raise NwsError(
            f"{shown(path)} holds no nets of a known corpus: expected mnist_png_training_7_123/checkpoints/model_final.pth, "
            "train/model_123.pth, or randinit_smaller_7s/net123.pth; for others use `nws import checkpoints`"
        )

    def items() -> Iterator[Item]:
        for number, file in enumerate(found):
            yield Item(number, shown(file.path), partial(_load, number, file, path))

    listed = fingerprint(str(file.path.relative_to(path)) for file in found)
    return Source(KIND, listed, len(found), items, family=SIREN)


def _files(root: Path, sides: Mapping[str, str]) -> Iterator[_Found]:
    count = 0
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in names:
            path = Path(folder, name)
            if path.suffix not in (".pth", ".pt") or path.is_symlink():
                continue
            count += 1
            if count > _MOST_FILES:
                raise NwsError(f"{shown(root)} holds more than {_MOST_FILES:,} files: import a part of it")
            if about := _said(path, sides):
                yield _Found(path, about, (about.get("view", 0), about["image"], str(path)))


def _said(path: Path, sides: Mapping[str, str]) -> dict[str, Any] | None:
    """What a path says of a net; None when it is of no corpus that we know."""
    tall = path.parents[1].name if len(path.parents) > 1 else ""
    if path.name == "model_final.pth" and (match := _MNIST.search(tall)):
        part, label, image = match.groups()
        test = part == "testing"
        number = int(image) + test * _TRAINING["mnist"]
        side = sides.get(tall, "test" if test else "train")
        return {**_NAVON, "dataset": "mnist", "label": int(label), "image": number, "side": side}
    if (match := _FASHION.match(path.stem)) and path.parent.name in ("train", "val", "test"):
        side = sides.get(f"{path.parent.name}/{path.name}", path.parent.name)
        number = int(match[1]) + (path.parent.name == "test") * _TRAINING["fashion"]
        return {**_NAVON, "dataset": "fashion", "image": number, "side": side}
    if (match := _FILE.match(path.stem)) and (folder := _FOLDER.search(path.parent.name)):
        number, (view, label) = int(match[1]), folder.groups()
        side = "train" if number < _ZHOU_SIDES[0] else "val" if number < _ZHOU_SIDES[1] else "test"
        said = {**_ZHOU, "label": int(label), "image": number, "side": side}
        name = _dataset(path)
        return {**said, "view": 0 if view is None else int(view) + 1, **({"dataset": name} if name else {})}
    return None


def _dataset(path: Path) -> str | None:
    text = "/".join(part.lower() for part in path.parent.parts[-3:])
    return (
        "fashion"
        if "fashion" in text or "fmnist" in text
        else "mnist"
        if "mnist" in text
        else "cifar10"
        if "cifar" in text
        else None
    )


def _load(number: int, file: _Found, root: Path) -> Imported:
    if not file.path.resolve().is_relative_to(root.resolve()):
        raise NwsError(f"{shown(file.path)} is a link to a place outside {shown(root)}: refused")
    about, limits = dict(file.about), Limits()
    with torch_file.opened(file.path, limits) as loaded:
        checkpoint = torch_file.checkpoint(file.path, loaded, limits, None)
        if "label" not in about and (label := _label(loaded)) is not None:
            about["label"] = label
    layers = _layers(checkpoint)
    return imported(number, layers, about, {"source": KIND, "file": shown(file.path.relative_to(root)), "names": list(layers)})


def _label(loaded: torch_file.Loaded) -> int | None:
    """An entry `label` beside the weights: a number, or a tensor of one."""
    value = loaded.object.get("label") if isinstance(loaded.object, Mapping) else None
    if isinstance(value, Stored) and value.size == 1:
        value = value.read(loaded.fetch).reshape(-1)[0].item()
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e6 else None


def _layers(checkpoint: Checkpoint) -> dict[str, np.ndarray]:
    """Weight, bias, weight, bias ... in the file's order. Other tensors of one number (a label) are left out."""
    return {
        name: array for name, array in checkpoint.arrays.items() if array.ndim == 2 or (array.ndim == 1 and name.endswith("bias"))
    }


def imported(number: int, layers: Mapping[str, np.ndarray], recorded: dict[str, Any], about: dict[str, Any]) -> Imported:
    """A net of SIREN's layout from weight (units, inputs), bias, weight, bias ...; NwsError when that is no such net."""
    arrays = list(layers.values())
    shapes = [array.shape for array in arrays]
    weights, biases = shapes[::2], shapes[1::2]
    chain = len(weights) == len(biases) >= 2 and all(len(w) == 2 and b == w[:1] for w, b in zip(weights, biases))
    if not chain or weights[0][1] != 2 or any(after[1] != before[0] for before, after in pairwise(weights)):
        raise NwsError(f"its tensors {', '.join(map(str, shapes))} are no net from 2 coordinates to colours, layer by layer")
    widths, outputs = {w[0] for w in weights[:-1]}, weights[-1][0]
    if len(widths) > 1 or outputs not in (1, 3):
        units = ", ".join(map(str, sorted(widths)))
        raise NwsError(f"hidden layers of {units} units, {outputs} outputs: one width, and 1 or 3 outputs, can be read")
    values = {**recorded, "width": widths.pop(), "depth": len(weights) - 1, "channels": outputs}
    values.setdefault("dataset", "cifar10" if outputs == 3 else "mnist")
    side = 32 if values["dataset"] == "cifar10" else 28
    values |= {"rows": side, "columns": side, "view": values.get("view", 0)}
    exact = np.concatenate([array.reshape(-1) for array in arrays])
    with np.errstate(over="ignore"):
        theta = exact.astype(np.float32)[None]
    difference = float(np.abs(theta[0] - exact).max()) if exact.dtype != np.float32 else 0.0
    hp = Recorded.of(values)
    psnr, note = _psnr(hp, theta)
    net = Net(
        number=number,
        hp=hp,
        layout=SIREN.layout(hp),
        theta=theta,
        epoch=np.array([0]),
        history=np.array([[0, psnr]]),
        status="ok" if np.isfinite(theta).all() else "diverged",
        about={**about, "epochs": "not recorded", "rounding_difference": difference},
        measures=SIREN.measures,
    )
    return Imported(net, "test" if values.get("side") == "test" else "train", difference, (note,) if note else ())


def _psnr(hp: Recorded, theta: np.ndarray) -> tuple[float, str]:
    """Of the net beside the image that it is said to be, where images and conventions are known; else NaN, and why."""
    if hp.get("image") is None or hp.get("coordinates") is None or not np.isfinite(theta).all():
        return float("nan"), "psnr is not measured: the source does not say which image, or in which coordinates"
    images = _images(str(hp.get("dataset")))
    if images is None or hp.image >= len(images.y_train) + len(images.y_test):
        return float("nan"), f"psnr is not measured: the images of {hp.get('dataset')} are not on this machine"
    picture, label, _ = images.numbered(hp.image)
    other = "the label is not that of the image with this number: images are numbered otherwise"
    note = "" if hp.get("label") in (None, label) else other
    error = np.mean((SIREN.render(hp, theta)[0] - picture / np.float32(255)) ** 2, dtype=float)
    return float(-10 * np.log10(error)) if error > 0 else float("inf"), note


@cache
def _images(name: str) -> ImageSet | None:
    try:
        return image_sets.load(name, download=False, original=True)
    except NwsError:
        return None
