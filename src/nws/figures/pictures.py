"""What nets that are pictures show: the image, the net's rendering of it, and the error, side by side."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nws import images as image_sets
from nws.errors import NwsError
from nws.figures.style import INK
from nws.images import ImageSet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nws.zoo import Zoo

MOST = 12  # nets of one strip
_ERROR = 0.25  # of the range of values: what is drawn in full colour


def can(zoo: Zoo) -> bool:
    """Whether the zoo's nets are pictures."""
    return zoo.family.render is not None


def strip(zoo: Zoo, nets: Sequence[int] | None = None, data: str | Path | None = None) -> tuple[Figure, list[str]]:
    """A column per net: original, rendering, error (red: too bright, blue: too dark), each pixel as it is; and notes in words.

    nets: numbers; None: one per class, the first of each. Where the images are not on this machine, or others than the zoo was
    made from, the renderings stand alone and a note says why. NwsError when the nets are no pictures.
    """
    from matplotlib.figure import Figure

    if not can(zoo):
        raise NwsError(f"{zoo.path} holds nets of {zoo.family.name}, which are no pictures: render zoos of siren or relu-inr")
    numbers = list(nets) if nets is not None else _one_per_class(zoo)
    originals, notes = _originals(zoo, data)
    columns = [_column(zoo, number, originals) for number in numbers]
    rows = max(len(pictures) for _, pictures in columns)
    figure = Figure(figsize=(0.95 * len(columns) + 0.7, 1.0 * rows + 0.45), layout="constrained")
    for k, row in enumerate(figure.subplots(rows, len(columns), squeeze=False)):
        for (title, pictures), axis in zip(columns, row):
            axis.set_xticks([])
            axis.set_yticks([])
            if k < len(pictures):
                axis.imshow(pictures[k], cmap="gray" if pictures[k].ndim == 2 else None, vmin=0, vmax=1, interpolation="nearest")
            if not k:
                axis.set_title(title, fontsize=6.5, color=INK)
        row[0].set_ylabel(("original", "net", "error")[k] if rows > 1 else "net", fontsize=8, color=INK)
    return figure, notes


def png(figure: Figure) -> bytes:
    """The figure as the bytes of a PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=160)
    return buffer.getvalue()


def _one_per_class(zoo: Zoo) -> list[int]:
    frame = zoo.index
    frame = frame[frame["status"] == "ok"]
    if frame.empty:
        raise NwsError(f"{zoo.path} holds no nets that could be rendered: run `nws sample` first")
    firsts = frame.drop_duplicates("label").sort_values("label") if frame["label"].nunique() > 1 else frame
    return [int(n) for n in firsts.index[:MOST]]


def _originals(zoo: Zoo, data: str | Path | None) -> tuple[dict[str, ImageSet], list[str]]:
    """The image sets of the zoo that are on this machine; why others are not. Of imported nets, which name none, the whole set."""
    found, notes = {}, []
    sets = zoo.images or {name: {} for name in zoo.index["dataset"].dropna().unique().tolist()}
    for name, about in sets.items():
        limits = {key: about.get(key) for key in ("limit", "limit_test")}
        try:
            loaded = image_sets.load(name, data, download=False, original=zoo.family.original, **limits)
        except NwsError as error:
            notes.append(f"originals are not shown: {error}")
            continue
        if about.get("sha256", loaded.about["sha256"]) == loaded.about["sha256"]:
            found[name] = loaded
        else:
            notes.append(f"originals are not shown: {name} is not here what the zoo was made from")
    return found, notes


def _column(zoo: Zoo, number: int, originals: dict[str, ImageSet]) -> tuple[str, list[np.ndarray]]:
    """Title, and pictures with values from 0 to 1: original, net, error, or the net alone."""
    net = zoo[number] if number in zoo.numbers() else None
    if net is None or net.hp.get("width") is None or net.hp.get("coordinates") is None:
        raise NwsError(f"{zoo.path} has no net {number} that is a picture")
    rendered = zoo.family.render(net.hp, net.theta[-1:])[0]
    psnr = float(net.history[-1, net.measures.index("psnr")]) if "psnr" in net.measures else float("nan")
    title = f"net {number}\nlabel {net.hp.get('label', 'unknown')}" + (f", {psnr:.0f} dB" if np.isfinite(psnr) else "")
    images = originals.get(str(net.hp.get("dataset")))
    shown = _plain(np.clip(rendered, 0, 1))
    if images is None or net.hp.get("image") is None or net.hp.image >= len(images.y_train) + len(images.y_test):
        return title, [shown]
    original = images.numbered(net.hp.image)[0] / np.float32(255)
    if original.shape != rendered.shape:
        return title, [shown]
    return title, [_plain(original), shown, _error(rendered - original)]


def _plain(picture: np.ndarray) -> Any:
    return picture[..., 0] if picture.shape[-1] == 1 else picture


def _error(difference: np.ndarray) -> np.ndarray:
    """(rows, columns, 3): white where there is none, red where the net is too bright, blue where too dark."""
    amount = np.clip(difference.mean(-1) / _ERROR, -1, 1)
    return np.stack([1 - np.clip(-amount, 0, 1), 1 - np.abs(amount), 1 - np.clip(amount, 0, 1)], -1)
