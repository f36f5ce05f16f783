"""What an ONNX graph does with its tensors: which are weights, of which layer, in which order of dimensions.

Operators and the order of their inputs: https://onnx.ai/onnx/operators. Names are the exporter's and often say nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nws.errors import NwsError
from nws.recorded import printable
from nws.weights.places import place

_DEEPEST, _MOST_NODES, _MOST_STEPS = 20, 500_000, 50
# What hands a weight on as it is, by its first input.
_PASSES = {"Identity", "Cast", "CastLike", "Transpose", "Squeeze", "Unsqueeze", "Reshape", "Dropout", "QuantizeLinear",
           "DequantizeLinear", "Quant", "IntQuant", "BipolarQuant", "FakeQuantize"}  # fmt: skip
_ROUNDS = {"QuantizeLinear", "Quant", "IntQuant", "BipolarQuant", "FakeQuantize"}
_GATHERS = {"Concat", "Slice", "Split", "Gather"}  # of which exporters put a recurrent layer's matrices together
_WHOLE_NUMBERS = {"QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "MatMulIntegerToFloat", "QGemm", "QAttention",
                  "DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "MatMulNBits"}  # fmt: skip
_NORMS = {
    "BatchNormalization": ("gamma", "beta", "mean", "var"),
    **dict.fromkeys(("InstanceNormalization", "GroupNormalization", "LayerNormalization"), ("gamma", "beta")),
    **dict.fromkeys(("RMSNormalization", "SimplifiedLayerNormalization", "PRelu"), ("gamma",)),
    "SkipLayerNormalization": ("", "gamma", "beta"),
}  # op -> roles of its inputs behind the first
_MATRICES = {"Conv", "ConvTranspose", "Gemm", "MatMul", "FusedMatMul"}
_GATES = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}  # ONNX's order of gates -> PyTorch's
# Operators whose constants are settings: axes, pads, limits, scales of a resize; unless a name says that it is a parameter.
_SETTINGS = re.compile(
    r"Resize|Upsample|Pad|Clip|Slice|Reshape|Expand|Tile|ConstantOfShape|Range|Un?squeeze|Where|Pow|Mod|Min|Max|Equal|Greater\w*"
    r"|Less\w*|And|Or|Not|NonMaxSuppression|TopK|OneHot|Dropout|Reduce\w+|Split|Scatter\w*|Gather\w*|If|Loop|Scan|Concat|Sub|Div"
    r"|Mul|Add|Cast|CumSum|RoiAlign|Squeeze|Quant|IntQuant|BipolarQuant|QuantizeLinear|DequantizeLinear|Shape|Transpose"
)
_PARAMETER = re.compile(r"weight|kernel|bias|embed|token|gamma|beta", re.IGNORECASE)


@dataclass
class _Node:
    op: str
    name: str
    domain: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]


@dataclass
class Weights:
    """arrays and roles by name, in order of use; rounded: how often the graph rounds a weight to few values as it runs."""

    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    roles: dict[str, str] = field(default_factory=dict)
    rounded: Counter[str] = field(default_factory=Counter)
    whole: Counter[str] = field(default_factory=Counter)  # operators that work with whole numbers for weights


class Graph:
    """A graph with those inside it, flattened: a list of nodes in order, and its constants. NwsError when it nests without end."""

    def __init__(self, graph: Any):
        self.nodes: list[_Node] = []
        self.tensors: dict[str, Any] = {}  # of initializers and of Constant nodes
        self.parameters: set[str] = set()  # the initializers
        self.branches = 0
        self._flatten(graph, {}, 0)
        self.producer = {name: node for node in self.nodes for name in node.outputs}
        self.consumers: dict[str, list[_Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                self.consumers.setdefault(name, []).append(node)

    def _flatten(self, graph: Any, scope: dict[str, str], depth: int) -> None:
        if depth > _DEEPEST or len(self.nodes) > _MOST_NODES:
            raise NwsError("its graphs are nested without end")
        for tensor in graph.initializer:
            self.parameters.add(self._constant(tensor.name, tensor, scope))
        for node in graph.node:
            attributes = {a.name: a for a in node.attribute}
            if node.op_type == "Constant" and "value" in attributes and node.output:
                self._constant(node.output[0], attributes["value"].t, scope)
                continue
            self.branches += node.op_type == "If"
            for attribute in node.attribute:
                for inner in [attribute.g] if attribute.HasField("g") else list(attribute.graphs):
                    self._flatten(inner, dict(scope), depth + 1)
            inputs = [scope.get(name, name) for name in node.input]
            outputs = []
            for name in node.output:
                scope[name] = self._new(name)
                outputs.append(scope[name])
            self.nodes.append(_Node(node.op_type, node.name, node.domain, inputs, outputs, attributes))

    def _constant(self, name: str, tensor: Any, scope: dict[str, str]) -> str:
        scope[name] = self._new(name)
        self.tensors[scope[name]] = tensor
        return scope[name]

    def _new(self, name: str) -> str:
        """Both branches of an If may use a name."""
        return name if name not in self.tensors else f"{name}#{len(self.tensors) + len(self.nodes)}"

    def origin(self, name: str) -> tuple[str, list[_Node]] | None:
        """The constant that a value is, and the nodes that it goes through, the first one first."""
        through: list[_Node] = []
        for _ in range(_MOST_STEPS):
            if name in self.tensors:
                return name, through[::-1]
            node = self.producer.get(name)
            if node is None or node.op not in _PASSES or not node.inputs:
                return None
            through.append(node)
            name = node.inputs[0]
        return None

    def reached(self, name: str) -> list[str]:
        """All constants that a value is put together from."""
        found: list[str] = []
        todo, seen = [name], {name}
        while todo and len(seen) < 1000:
            name = todo.pop(0)
            node = self.producer.get(name)
            if name in self.tensors:
                found.append(name)
            elif node and node.op in _PASSES | _GATHERS:
                more = [n for n in (node.inputs if node.op == "Concat" else node.inputs[:1]) if n not in seen]
                todo += more
                seen.update(more)
        return found

    def back_to_convolution(self, name: str) -> tuple[_Node | None, bool]:
        """(the convolution whose result a value is, whether its channels come last by then)."""
        last = False
        for _ in range(_MOST_STEPS):
            node = self.producer.get(name)
            if node is None or not node.inputs or node.op in ("Gemm", "MatMul"):
                return None, False
            if node.op in ("Conv", "ConvTranspose"):
                return node, last or "channels_last" in node.domain
            if node.op == "Transpose":
                permutation = _whole(node, "perm")
                last = permutation[-1:] == [1] or (last and permutation[1:2] != [len(permutation) - 1])
            name = node.inputs[0]
        return None, False


class Reader:
    """Goes through a graph once. arrays: the constants' values by their names in `graph.tensors`."""

    def __init__(self, graph: Graph, arrays: dict[str, np.ndarray]):
        self.graph, self.arrays = graph, arrays
        self.found = Weights()
        self.used: set[str] = set()
        self.done: set[int] = set()
        self.labels: Counter[str] = Counter()

    def read(self) -> Weights:
        for k, node in enumerate(self.graph.nodes):
            self._node(k, node)
        return self.found

    def _node(self, k: int, node: _Node) -> None:
        if id(node) in self.done:
            return
        self.done.add(id(node))
        if node.op in _WHOLE_NUMBERS:
            self.found.whole[node.op] += 1
        elif node.op in _MATRICES:
            self._matrix(k, node)
        elif node.op in _NORMS:
            self._norm(k, node)
        elif node.op in _GATES:
            self._recurrent(k, node)
        elif node.op == "Gather" and node.inputs and (source := self._source(node.inputs[0])) and source[1].ndim > 1:
            self._keep(self._label(k, node, source[0]), "weight", *source)
        elif node.op in ("Mul", "Add"):
            self._elementwise(k, node)
        else:
            self._others(node)

    def _source(self, name: str) -> tuple[str, np.ndarray] | None:
        """A constant and its values as the node sees them; None where there is none, or it was kept already."""
        found = self.graph.origin(name) if name else None
        if not found or found[0] in self.used or found[0] not in self.arrays:
            return None
        key, through = found
        array = self.arrays[key]
        rounds = [node.op for node in through if node.op in _ROUNDS]
        if array.dtype.kind in "iub":
            if any(node.op == "DequantizeLinear" for node in through):
                self.found.whole["DequantizeLinear"] += 1
            return None
        self.found.rounded.update(rounds[:1])
        for node in through:
            permutation = _whole(node, "perm") or list(range(array.ndim))[::-1]
            if node.op == "Transpose" and sorted(permutation) == list(range(array.ndim)):
                array = array.transpose(permutation)
        return key, array

    def _matrix(self, k: int, node: _Node) -> None:
        at = 1
        source = self._source(node.inputs[1]) if len(node.inputs) > 1 else None
        if source is None and node.op in ("MatMul", "Gemm"):  # a weight times a vector
            at, source = 0, self._source(node.inputs[0])
        if source is None or source[1].ndim < 2:
            return
        key, array = source
        label = self._label(k, node, key)
        if node.op == "ConvTranspose":
            groups = max(_number(node, "group"), 1)
            if len(array) % groups == 0:  # (in, out of a group, ...)
                inside = array.reshape(groups, -1, *array.shape[1:]).swapaxes(1, 2)
                array = inside.reshape(-1, *inside.shape[2:])
        elif node.op == "Conv" and "channels_last" in node.domain:
            array = np.moveaxis(array, -1, 1)
        elif node.op in ("MatMul", "FusedMatMul", "Gemm") and array.ndim == 2:
            flipped = bool(_number(node, "transB" if at else "transA"))
            array = array if flipped == bool(at) else array.T
            array = self._channels_first(node.inputs[1 - at], array)
        self._keep(label, "weight", key, array)
        if len(node.inputs) > 2 and (bias := self._source(node.inputs[2])):
            self._keep(label, "bias", *bias)
        self._behind(node, label, 0 if len(node.inputs) > 2 else array.shape[0])

    def _channels_first(self, data: str, array: np.ndarray) -> np.ndarray:
        """Columns that read a flattened picture, row, column, channel, in PyTorch's order: channel, row, column."""
        convolution, last = self.graph.back_to_convolution(data)
        weight = self.graph.origin(convolution.inputs[1]) if convolution and len(convolution.inputs) > 1 else None
        if not last or not weight or weight[0] not in self.arrays:
            return array
        kernel = self.arrays[weight[0]]
        channels = kernel.shape[0] if kernel.ndim else 0
        if not channels or array.shape[1] % channels:
            return array
        return array.reshape(len(array), -1, channels).swapaxes(1, 2).reshape(array.shape)

    def _behind(self, node: _Node, label: str, units: int) -> None:
        """What belongs to a layer comes right behind it: its bias of so many units, where a node of its own adds it; its norm."""
        for output in node.outputs[:1]:
            for _ in range(4):
                following = self.graph.consumers.get(output, [])
                if len(following) != 1 or not following[0].outputs:
                    break
                after = following[0]
                if after.op == "BatchNormalization" and after.inputs[0] == output:
                    self._node(-1, after)
                elif after.op == "Add" and units and (bias := self._vector_beside(after, output, units)):
                    self.done.add(id(after))
                    self._keep(label, "bias", *bias)
                    units = 0
                elif after.op not in _PASSES:
                    break
                output = after.outputs[0]

    def _vector_beside(self, node: _Node, output: str, units: int) -> tuple[str, np.ndarray] | None:
        others = [name for name in node.inputs if name != output]
        source = self._source(others[0]) if len(others) == 1 else None
        fits = source and source[1].size == units == max(source[1].shape, default=1)
        return (source[0], source[1].reshape(-1)) if source and fits else None

    def _norm(self, k: int, node: _Node) -> None:
        sources = [(role, self._source(name)) for role, name in zip(_NORMS[node.op], node.inputs[1:])]
        known = [(role, source) for role, source in sources if source and role]
        if known:
            label = self._label(k, node, known[0][1][0])
            for role, (key, array) in known:
                self._keep(label, "weight" if node.op == "PRelu" else role, key, array.reshape(-1))

    def _recurrent(self, k: int, node: _Node) -> None:
        order = _GATES[node.op]
        sources = [self._source(name) for name in node.inputs[1:4]]
        if any(s is None for s in sources[:2]):  # put together by nodes: their constants have names of their own
            for name in (key for value in node.inputs[1:4] for key in self.graph.reached(value)):
                if source := self._source(name):
                    self._add(printable(name), None, *source)
            return
        label = self._label(k, node, "")
        for source, kind in zip(sources, ("ih", "hh", "")):
            if source is None:
                continue
            self.used.add(source[0])
            for array, rest in zip(source[1], ("", "_reverse")):
                parts = [(f"weight_{kind}", array)] if kind else zip(("bias_ih", "bias_hh"), np.array_split(array, 2))
                for what, values in parts:
                    gates = np.array_split(values, len(order))
                    self._add(f"{label}.{what}_l0{rest}", None, "", np.concatenate([gates[g] for g in order]))

    def _elementwise(self, k: int, node: _Node) -> None:
        """A vector that multiplies, and one that is added behind it: a norm that was taken apart. Of others, parameters only."""
        keys = [name for name in node.inputs if (found := self.graph.origin(name)) and found[0] in self.graph.parameters]
        source = self._source(keys[0]) if len(node.inputs) == 2 and len(keys) == 1 else None
        if not source or source[1].size < 2:
            return
        vector = source[1].size == max(source[1].shape)
        added = self.graph.consumers.get(node.outputs[0], []) if node.outputs else []
        size = source[1].size
        beta = self._vector_beside(added[0], node.outputs[0], size) if len(added) == 1 and added[0].op == "Add" else None
        if node.op == "Mul" and vector and beta:
            label = self._label(k, node, source[0])
            self.done.add(id(added[0]))
            self._keep(label, "gamma", source[0], source[1].reshape(-1))
            self._keep(label, "beta", *beta)
        elif _PARAMETER.search(source[0]):
            self._add(printable(source[0]), None, *source)

    def _others(self, node: _Node) -> None:
        """Parameters of an operator that is not known here."""
        for name in node.inputs:
            if name in self.graph.parameters and (not _SETTINGS.fullmatch(node.op) or _PARAMETER.search(name)):
                behind = node.op in _PASSES  # it belongs to who comes behind
                source = None if behind else self._source(name)
                if source and source[1].size > 1:
                    self._add(printable(name), None, *source)

    def _label(self, k: int, node: _Node, key: str) -> str:
        """The layer's name: the tensor's where it names one, else the node's."""
        layer, role = place(key) if key else ("", None)
        own = role is not None and layer != "net" and not re.fullmatch(r"layer_\d+", layer)
        label = layer if own else printable(node.name) or f"{node.op}_{k}"
        self.labels[label] += 1
        return label if own or self.labels[label] == 1 else f"{label}_{self.labels[label]}"

    def _keep(self, label: str, role: str, key: str, array: np.ndarray) -> None:
        self._add(key if place(key)[0] == label else f"{label}.{role}", role, key, array)

    def _add(self, name: str, role: str | None, key: str, array: np.ndarray) -> None:
        self.used.add(key)
        while name in self.found.arrays:
            name += "_"
        self.found.arrays[name] = array
        if role:
            self.found.roles[name] = role


def _whole(node: _Node, name: str) -> list[int]:
    return [int(n) for n in node.attributes[name].ints] if name in node.attributes else []


def _number(node: _Node, name: str) -> int:
    return int(node.attributes[name].i) if name in node.attributes else 0
