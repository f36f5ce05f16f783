"""What the shapes of a file's tensors say about a net by themselves. No meta-classifier is asked for any of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from nws.families.cnn2020 import ARCHITECTURE, PROPERTIES
from nws.layout import Layout, Tensor
from nws.recorded import printable

READ = (*ARCHITECTURE, "batch_norm")  # properties whose answer is read from the file


@dataclass(frozen=True)
class Architecture:
    """Counted, not guessed. What cannot be said of this net is None, and `not_read` says why.

    filter_size   side of the convolutions' windows, when all have the same
    depth_conv    convolutional layers, depth_fc hidden fully connected layers, when each layer reads the one before it
    width_conv    channels of the first convolution, in the order of the file
    width_fc      units of the first hidden fully connected layer
    batch_norm    whether there are moving means and variances
    outputs       of the last layer: of a classifier the number of classes, or more
    inputs        channels (of a net without convolutions: numbers) that the first layer reads
    convolutions, matrices   how many layers have one
    """

    filter_size: int | None
    depth_conv: int | None
    depth_fc: int | None
    width_conv: int | None
    width_fc: int | None
    batch_norm: bool | None
    outputs: int | None
    inputs: int | None
    convolutions: int
    matrices: int
    weights: int
    not_read: Mapping[str, str]

    @classmethod
    def of(cls, layout: Layout, format: str = "") -> Architecture:
        """format: of the file, as `nws.weights.read` names it."""
        weights = [t for t in layout.tensors if t.role == "weight" and len(t.shape) > 1]
        convolutions = [t for t in weights if len(t.shape) > 2]
        matrices = [t for t in weights if len(t.shape) == 2]
        read: dict[str, Any] = dict.fromkeys((*READ, "outputs", "inputs"))
        why = {}
        read["filter_size"], why["filter_size"] = _window(convolutions)
        read["batch_norm"], why["batch_norm"] = _batch_norm(layout, format)
        broken = _no_chain(layout, weights)
        if broken:
            why |= dict.fromkeys(("depth_conv", "depth_fc"), broken)
        else:
            read |= {"depth_conv": len(convolutions), "depth_fc": max(0, len(matrices) - 1)}
        if convolutions:
            read["width_conv"] = convolutions[0].shape[0]
        else:
            why["width_conv"] = "it has no convolution"
        if len(matrices) > 1 and not broken:
            read["width_fc"] = matrices[0].shape[0]
        else:
            why["width_fc"] = broken if len(matrices) > 1 else "it has no hidden fully connected layer"
        if matrices and matrices[-1] is weights[-1] and (len(matrices) == 1 or not broken):
            read["outputs"] = matrices[-1].shape[0]
        else:
            why["outputs"] = broken if matrices else "its last layer is not fully connected"
        if weights:
            read["inputs"] = weights[0].shape[1]
        else:
            why["inputs"] = "it has neither a convolution nor a matrix"
        not_read = {name: why[name] for name, value in read.items() if value is None}
        return cls(**read, convolutions=len(convolutions), matrices=len(matrices), weights=layout.size, not_read=not_read)

    def label(self, property: str) -> str | None:
        """The class that a meta-classifier would have to name, of a property in `READ`; None when it cannot be read."""
        value = getattr(self, property)
        return None if value is None else PROPERTIES[property].label(value)

    @property
    def stated(self) -> list[tuple[str, str]]:
        """For people, a row each: a name, and the value or why there is none."""
        rows = []
        for name in (*READ, "outputs", "inputs"):
            value = getattr(self, name)
            text = ("on" if value else "off") if isinstance(value, bool) else f"{value:,}" if value is not None else ""
            rows.append((name, text or f"cannot be read: {self.not_read[name]}"))
        return [*rows, ("layers with weights", f"{self.convolutions:,} convolutional, {self.matrices:,} fully connected")]

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {**asdict(self), "not_read": dict(self.not_read)}


def _window(convolutions: list[Tensor]) -> tuple[int | None, str]:
    found = Counter(t.shape[2:] for t in convolutions)
    if not found:
        return None, "it has no convolution"
    if len(found) > 1:
        listed = ", ".join(f"{_times(window)} in {count:,}" for window, count in found.most_common(4))
        return None, f"its windows differ: {listed} of {len(convolutions):,} layers"
    (window,) = found
    if len(window) != 2 or window[0] != window[1]:
        return None, f"its windows are {_times(window)}"
    return window[0], ""


def _times(window: tuple[int, ...]) -> str:
    return " x ".join(map(str, window)) if len(window) > 1 else f"{window[0]} long"


def _batch_norm(layout: Layout, format: str) -> tuple[bool | None, str]:
    roles = {t.role for t in layout.tensors}
    if {"mean", "var"} <= roles:
        return True, ""
    if roles & {"beta", "gamma", "mean", "var"}:
        return None, "its normalization keeps no moving mean and variance"
    if format == "onnx":
        return None, "there is none in the file, but exporters to ONNX fold it into the weights"
    return False, ""


def _no_chain(layout: Layout, weights: list[Tensor]) -> str:
    """Why the layers do not simply follow one another, convolutions first; empty when they do."""
    if not weights:
        return "it has neither a convolution nor a matrix"
    bare = [name for name, roles in layout.layers.items() if "weight" not in roles or len(roles["weight"].shape) < 2]
    if bare:
        return f"it has layers of another kind, such as {_short(bare[0])}"
    for before, after in pairwise(weights):
        given, read = before.shape[0], after.shape[1]
        if len(before.shape) == 2 and len(after.shape) > 2:
            return f"a convolution, {_short(after.layer)}, comes after a fully connected layer"
        flattened = len(before.shape) > 2 and len(after.shape) == 2
        if read % given if flattened else read != given:
            return f"its layers are no single chain: {_short(after.layer)} reads {read:,}, {_short(before.layer)} gives {given:,}"
    return ""


def _short(name: str) -> str:
    return printable(name)[:60]
