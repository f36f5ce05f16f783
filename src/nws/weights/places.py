"""The place of a tensor in its net, as its name tells: its layer, and its role there."""

from __future__ import annotations

import re

from nws.recorded import printable

_ROLE = {
    "weight": "weight", "kernel": "weight", "embedding": "weight", "embeddings": "weight", "bias": "bias", "beta": "beta",
    "gamma": "gamma", "scale": "gamma", "running_mean": "mean", "moving_mean": "mean", "running_var": "var",
    "moving_variance": "var", "moving_var": "var",
}  # fmt: skip
# Names that people make up: weight_0, W1, b1, conv1_w, fc1_bias, weight_fully_connected_1, output_weights, bn1_gamma.
_WORDS = {
    "weight": r"weights?|kernels?|filters?|w", "bias": r"bias(?:es)?|b", "gamma": r"gamma", "beta": r"beta",
    "mean": r"(?:running|moving)_mean", "var": r"(?:running|moving)_var(?:iance)?",
}  # fmt: skip
_FIRST = {role: re.compile(rf"(?:{words})(?:_?(\d+)|_(\w+))?", re.IGNORECASE) for role, words in _WORDS.items()}
_LAST = {role: re.compile(rf"(\w+?)_(?:{words})(?:_?(\d+))?", re.IGNORECASE) for role, words in _WORDS.items()}
# What is said of a weight, and names no layer: of weight norm, recurrent layers, attention, quantisation.
_OF_A_WEIGHT = re.compile(r"(g|v|u|k|orig|mask|scale|scales|zero_point|packed|[ih][hr](_l\d+\w*)?)", re.IGNORECASE)
_OWN = ("depthwise_kernel", "pointwise_kernel", "recurrent_kernel")  # Keras's: a layer each
_JOINED = re.compile(r"(?:(.*)[./])?(weight|bias)_ih(?:_(l\d+\w*))?/(?:weight|bias)_hh(?:_l\d+\w*)?")


def place(name: str, stated: str | None = None) -> tuple[str, str | None]:
    """(layer, role), the role None where the name tells none; the layer is then the whole name. stated: the role, by the format."""
    plain = printable(name).removesuffix(":0")
    if match := _JOINED.fullmatch(plain):  # made by pairs.py
        return ".".join(filter(None, (match[1], match[3]))) or "net", match[2]
    cut = max(plain.rfind("."), plain.rfind("/"))
    before, last = plain[: max(cut, 0)], plain[cut + 1 :]
    role = stated or _ROLE.get(last)
    if role is not None:
        return before or "net", role
    if last in _OWN:
        return plain, None
    for role, pattern in _FIRST.items():
        match = pattern.fullmatch(last)
        if match and not (match[2] and _OF_A_WEIGHT.fullmatch(match[2])):
            return _layer(before, match[1] or match[2] or ""), role
    for role, pattern in _LAST.items():
        if match := pattern.fullmatch(last):
            return _layer(before, match[1] + (f"_{match[2]}" if match[2] else "")), role
    return plain, None


def numbered(names: list[str]) -> bool:
    """Whether names only count: arr_0, arr_1 ... of np.savez, 0, 1 ..., param_0."""
    return all(re.fullmatch(r"(arr_|param_?|array_?|tensor_?|variable_?)?\d+", name) for name in names)


def _layer(before: str, rest: str) -> str:
    rest = f"layer_{rest}" if rest.isdecimal() else rest
    return ".".join(filter(None, (before, rest))) or "net"
