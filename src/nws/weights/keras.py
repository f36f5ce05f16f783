"""What Keras's HDF5 files mean: the names, the order, the roles and the dimensions of the weights, of every version.

Three ways of writing, all tested on files that others wrote:

Keras 1 and 2   [model_weights/]LAYER/.../kernel:0; layer_names and weight_names list layers and weights in order
Keras 3 (.h5)   the same, without the :0
Keras 3         layers/CLASS_2/vars/0: numbered, named after the class (model.weights.h5 in .keras, and .weights.h5)

What a number means, a layer's class tells (https://github.com/keras-team/keras, keras/src/saving/saving_lib.py and the layers).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from nws.weights.state import natural

_DEEPEST = 20
_MOST_LAYERS = 20_000
_KERNEL, _CELL = ("kernel", "bias"), ("kernel", "recurrent_kernel", "bias")
_VARIABLES = {  # class -> its variables in order; of those that can be left out, see _SWITCHES
    **dict.fromkeys(("Dense", "EinsumDense", "Conv1D", "Conv2D", "Conv3D", "DepthwiseConv1D", "DepthwiseConv2D"), _KERNEL),
    **dict.fromkeys(("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"), _KERNEL),
    **dict.fromkeys(("SeparableConv1D", "SeparableConv2D"), ("depthwise_kernel", "pointwise_kernel", "bias")),
    **dict.fromkeys(("BatchNormalization", "SyncBatchNormalization"), ("gamma", "beta", "moving_mean", "moving_variance")),
    **dict.fromkeys(("LayerNormalization", "GroupNormalization"), ("gamma", "beta")),
    "RMSNormalization": ("scale",),
    "Embedding": ("embeddings",),
    "PReLU": ("alpha",),
    **dict.fromkeys((f"{kind}{end}" for kind in ("LSTM", "GRU", "SimpleRNN", "ConvLSTM2D") for end in ("", "Cell")), _CELL),
    "Normalization": ("mean", "variance", "count"),
}
_SWITCHES = {"bias": "use_bias", "gamma": "scale", "beta": "center"}
_ROLES = {
    "kernel": "weight", "bias": "bias", "gamma": "gamma", "scale": "gamma", "beta": "beta", "moving_mean": "mean",
    "moving_variance": "var", "alpha": "weight", "embeddings": "weight", "depthwise_kernel": "weight",
    "W": "weight", "b": "bias", "running_mean": "mean", "running_std": "var",  # Keras 1, whose running_std is a variance
}  # fmt: skip
_CONTAINERS = ("layers", "_layer_checkpoint_dependencies", "vars")
_HEADS_IN = ("query", "key", "value", "query_dense", "key_dense", "value_dense")  # of attention: (inputs, heads, units)
_HEADS_OUT = ("attention_output", "output_dense")  # (heads, units, outputs)


@dataclass(frozen=True)
class Layer:
    """A layer of a configuration."""

    name: str
    kind: str
    config: Mapping[str, Any]
    inner: tuple[Layer, ...] = ()

    @property
    def plain(self) -> str:
        """The class without QKeras's Q: a QDense has a Dense layer's variables."""
        return self.kind[1:] if self.kind[1:] in _VARIABLES else self.kind


@dataclass
class Weight:
    """A data set: where it lies, what it is called here, its shape, and what it is (see Checkpoint.roles, Checkpoint.kinds)."""

    path: str
    shape: tuple[int, ...]
    at: int = 0  # address in the file: the order of writing, nearly
    name: str = ""
    role: str | None = None
    kind: str | None = None
    place: tuple[Any, ...] = field(default=())


def model(value: Any, depth: int = 0) -> Layer:
    """A configuration (parsed JSON of a stranger) as far as it is one."""
    known = value if isinstance(value, dict) else {}
    config = known.get("config")
    settings = config if isinstance(config, dict) else {}
    layers = config if isinstance(config, list) else settings.get("layers")
    inner = tuple(model(one, depth + 1) for one in layers[:_MOST_LAYERS]) if isinstance(layers, list) and depth < _DEEPEST else ()
    name = settings.get("name") or known.get("name")
    return Layer(str(name or ""), str(known.get("class_name") or ""), settings, inner)


def listed(weights: list[Weight], stated: list[tuple[str, str, list[str]]], tree: Layer) -> list[Weight]:
    """Keras 1 and 2: stated are (group's path, layer, its weights' names) in order. What no list names comes last."""
    known = {weight.path: weight for weight in weights}
    found: list[Weight] = []
    for row, (group, layer, names) in enumerate(stated):
        node = next((one for one in tree.inner if one.name == layer), None)
        parts = [name.split("/") for name in names]
        shared = len(_common([p[:-1] for p in parts])) if node and not node.inner else None
        for name, part in zip(names, parts):
            weight = known.pop(f"{group}/{name}", None)
            if weight is None:
                continue
            rest = part[shared if shared is not None else int(len(part) > 1 and _is(part[0], layer)) : -1]
            leaf = part[-1].removesuffix(":0").removeprefix(f"{layer}_")
            weight.name = "/".join([layer, *rest, leaf])
            weight.place = (row, *_position(rest, node))
            _tell(weight, leaf, rest or [layer], _within(rest, node))
            found.append(weight)
    _theano(found)
    found.sort(key=lambda weight: weight.place)
    for weight in known.values():
        weight.name = weight.path.removeprefix("model_weights/").removesuffix(":0")
    return [*found, *known.values()]


def _theano(weights: list[Weight]) -> None:
    """Keras 1 with Theano wrote kernels (out, in, rows, columns) and does not say so: the length of a bias tells it of all."""
    units = {weight.name.removesuffix("/b"): weight.shape for weight in weights if weight.name.endswith("/b")}
    kernels = {weight.name.removesuffix("/W"): weight for weight in weights if weight.name.endswith("/W") and len(weight.shape) > 2}
    shaped = [(units[name], weight.shape) for name, weight in kernels.items() if name in units]
    if any(shape[:1] == bias != shape[-1:] for bias, shape in shaped) and not any(
        shape[-1:] == bias != shape[:1] for bias, shape in shaped
    ):
        for weight in kernels.values():
            weight.kind = "ours"


def numbered(weights: list[Weight], tree: Layer) -> list[Weight]:
    """Keras 3: .../vars/0. Without a configuration in the order of writing, as far as the file shows it."""
    groups: dict[tuple[str, ...], list[Weight]] = {}
    for weight in weights:
        whole = tuple(weight.path.replace("\\", "/").split("/"))
        groups.setdefault(whole[:-1] if whole[-1].isdecimal() else whole, []).append(weight)
    if not tree.inner:
        written = _written(groups)
        groups = dict(sorted(groups.items(), key=lambda item: written[item[0]]))
    plain = {parts: tuple(part for part in parts if part not in _CONTAINERS) for parts in groups}
    beside: dict[tuple[str, ...], dict[str, None]] = {}
    for whole in plain.values():
        for depth, part in enumerate(whole):
            beside.setdefault(whole[:depth], {})[part] = None
    for parts, members in groups.items():
        members.sort(key=lambda weight: natural(weight.path))
        place, title, node = _descend(plain[parts], tree, beside)
        names = _variables(node, title, [weight.shape for weight in members])
        for weight, name in zip(members, names):
            weight.name, weight.place = "/".join([*title, name]), place
            _tell(weight, name, title, node)
            if name.isdecimal() and len(weight.shape) < 2:  # of a class that is not known: a vector may be anything
                weight.role = "weight"
    ordered = [weight for members in groups.values() for weight in members]
    return sorted(ordered, key=lambda weight: weight.place) if tree.inner else ordered


def unique(weights: Iterable[Weight]) -> list[Weight]:
    """Where two would have one name, both keep their paths."""
    weights = list(weights)
    counts = Counter(weight.name for weight in weights)
    for weight in weights:
        if counts[weight.name] > 1 or not weight.name:
            weight.name, weight.role = weight.path, None
    return weights


def _tell(weight: Weight, leaf: str, parents: list[str], node: Layer | None) -> None:
    """The role and the kind by the variable's name and the layer's class, or the name that Keras gives such a layer."""
    weight.role = _ROLES.get(leaf)
    kind = node.plain if node else ""
    last = parents[-1].lstrip("_") if parents else ""
    depthwise = kind.startswith("DepthwiseConv") or re.fullmatch(r"depthwise_conv\d?d(_\d+)?", last)
    if leaf == "depthwise_kernel" or (leaf == "kernel" and depthwise):
        weight.kind = "depthwise"
        if not depthwise and kind != "":
            weight.role = None  # of a separable convolution: the bias is that of the pointwise one
        elif not depthwise and "separable" in last:
            weight.role = None
    elif leaf == "kernel" and (kind.endswith("Transpose") or re.fullmatch(r"conv\dd_transpose(_\d+)?", last)):
        weight.kind = "transposed"
    elif leaf == "embeddings" or (leaf == "W" and kind == "Embedding"):
        weight.kind = "ours"
    elif leaf == "W" and node and node.config.get("dim_ordering") == "th" and len(weight.shape) > 2:
        weight.kind = "ours"  # Theano's kernels are (out, in, rows, columns)
    elif leaf == "alpha":
        weight.kind = "vector"
    elif last in (*_HEADS_IN, *_HEADS_OUT) and len(weight.shape) > 1 + (leaf == "kernel"):
        weight.kind = "vector" if leaf == "bias" else "heads in" if last in _HEADS_IN else "heads out"


def _variables(node: Layer | None, title: list[str], shapes: list[tuple[int, ...]]) -> list[str]:
    """The names of a layer's numbered variables: by its class, else by their shapes."""
    known = _VARIABLES.get(node.plain, ()) if node else ()
    if node:
        known = tuple(name for name in known if node.config.get(_SWITCHES.get(name, "")) is not False)
    if len(known) == len(shapes) and known:
        return list(known)
    ranks = [len(shape) for shape in shapes]
    if ranks == [1, 1, 1, 1] and len(set(shapes)) == 1:
        return list(_VARIABLES["BatchNormalization"])
    if ranks == [1, 1] and len(set(shapes)) == 1:
        return ["gamma", "beta"]
    if ranks == [2] and re.search(r"emb(ed|edding)?s?(_\d+)?$", title[-1]):
        return ["embeddings"]
    if len(ranks) in (1, 2) and ranks[0] > 1 and (ranks[1:] == [1] or not ranks[1:]):
        return list(_KERNEL[: len(ranks)])
    if ranks in ([2, 2, 1], [2, 2, 2]) and shapes[0][1] == shapes[1][1] == shapes[2][-1]:
        return list(_CELL)
    return [str(number) for number in range(len(shapes))]


def _descend(
    parts: tuple[str, ...], tree: Layer, beside: Mapping[tuple[str, ...], Iterable[str]]
) -> tuple[tuple[Any, ...], list[str], Layer | None]:
    """(place in the configuration, names, layer) of the groups above a layer's variables; `beside`: what each group holds."""
    node: Layer | None = tree
    place: list[Any] = []
    title: list[str] = []
    for depth, part in enumerate(parts):
        inner = _groups_of(node, beside[parts[:depth]]) if node else {}
        if node and part in inner:
            place.append((inner[part], natural("")))
            node = node.inner[inner[part]]
            title.append(node.name or part)
        else:
            place.append((_MOST_LAYERS, natural("" if part == "forward_layer" else part)))  # before backward_layer
            title += [part] if part != "cell" or not node else []
            node = _wrapped(node, part)
    return tuple(place), title or ["net"], node


def _wrapped(node: Layer | None, part: str) -> Layer | None:
    """The layer in a layer: a recurrent layer's cell, what a wrapper wraps, a projection of an attention."""
    if node and part == "cell":
        return model(node.config["cell"]) if isinstance(node.config.get("cell"), dict) else node
    if node and part in ("layer", "forward_layer", "backward_layer"):
        for key in (part, "layer"):
            if isinstance(node.config.get(key), dict):
                return model(node.config[key])
    return Layer(part, "EinsumDense", {}) if part.lstrip("_") in (*_HEADS_IN, *_HEADS_OUT) else _by_group(part)


def _by_group(part: str) -> Layer | None:
    """Keras names a group after the class: layers/conv2d_3 is a Conv2D."""
    plain = re.sub(r"_\d+$", "", part).removeprefix("q_")
    return next((Layer(part, kind, {}) for kind in _VARIABLES if _snake(kind) == plain), None)


def _groups_of(node: Layer, present: Iterable[str]) -> dict[str, int]:
    """Group -> the layer's row: named after the class, with a counter. Keras 2.13 skips numbers: then the n-th is the n-th."""
    rows: dict[str, list[int]] = {}
    for row, one in enumerate(node.inner):
        rows.setdefault(_snake(one.kind), []).append(row)
    there: dict[str, list[str]] = {}
    for name in sorted(present, key=natural):
        there.setdefault(name if name in rows else re.sub(r"_\d+$", "", name), []).append(name)
    found: dict[str, int] = {}
    for snake, ours in rows.items():
        counted = {snake if not k else f"{snake}_{k}": row for k, row in enumerate(ours)}
        names = there.get(snake, [])
        found |= counted if set(names) <= set(counted) else dict(zip(names, ours)) if len(names) == len(ours) else {}
    return found


def _snake(name: str) -> str:
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))).lower()


def _written(groups: Mapping[tuple[str, ...], list[Weight]]) -> dict[tuple[str, ...], tuple[Any, ...]]:
    """A key per group by its address. Later groups may fill holes early in the file: none comes before its elder of one class."""
    latest: dict[str, int] = {}
    keys: dict[tuple[str, ...], tuple[Any, ...]] = {}
    for parts in sorted(groups, key=lambda parts: natural("/".join(parts))):
        kind = re.sub(r"_\d+", "", "/".join(parts))
        latest[kind] = max(latest.get(kind, 0), min(weight.at for weight in groups[parts]))
        keys[parts] = (latest[kind], natural("/".join(parts)))
    return keys


def _within(rest: list[str], node: Layer | None) -> Layer | None:
    for part in rest:
        inner = next((one for one in node.inner if _is(part, one.name)), None) if node else None
        node = inner or node
    return node


def _position(rest: list[str], node: Layer | None) -> tuple[int, ...]:
    place = []
    for part in rest:
        if node is None or not node.inner:
            break
        row = next((k for k, one in enumerate(node.inner) if one.name == part), None)
        if row is None:
            row = next((k for k, one in enumerate(node.inner) if _is(part, one.name)), None)
        if row is not None:
            place.append(row)
            node = node.inner[row]
    return tuple(place)


def _is(part: str, layer: str) -> bool:
    """TensorFlow adds a counter to a name that was there before: dense_1 becomes dense_1_2."""
    return part == layer or (part.startswith(f"{layer}_") and part[len(layer) + 1 :].replace("_", "").isdecimal())


def _common(parts: list[list[str]]) -> list[str]:
    shared: list[str] = []
    for column in zip(*parts):
        if len(set(column)) > 1:
            break
        shared.append(column[0])
    return shared
