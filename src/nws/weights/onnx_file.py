"""ONNX: the initializers of the graph. Side files are read only inside the model's own folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nws.errors import NwsError
from nws.recorded import printable
from nws.weights.checkpoint import Checkpoint, Limits, check_declared, check_file, shown
from nws.weights.state import numbers_only

_LINEAR = ("weight", "bias")
_INPUTS = {
    **dict.fromkeys(("Conv", "Gemm", "MatMul"), _LINEAR),
    "BatchNormalization": ("gamma", "beta", "running_mean", "running_var"),
}  # what a node's inputs are, after the first
_KNOWN = ("weight", "bias", "running_mean", "running_var")


def read(path: Path, limits: Limits) -> Checkpoint:
    """Raises NwsError. Needs the package onnx."""
    try:
        import onnx
    except ImportError:
        raise NwsError(f"{shown(path)}: reading ONNX needs the package onnx: pip install nws[formats]") from None
    check_file(path, limits)
    try:
        graph = onnx.load(str(path), load_external_data=False).graph
        tensors = list(graph.initializer)
        check_declared(path, ((t.name, tuple(int(n) for n in t.dims), _width(t)) for t in tensors), limits)
        read_all = {t.name: _array(t, path) for t in tensors}
        for name in _transposed(graph) & read_all.keys():
            read_all[name] = read_all[name].T
        names = _names(graph)
        order = [name for name in [*names, *(name for name in read_all if name not in names)] if name in read_all]
        arrays, notes = numbers_only({names.get(name, name): read_all[name] for name in order})
    except NwsError:
        raise
    except Exception as error:  # protobuf and onnx raise many kinds of their own
        said = printable(str(error).strip() or type(error).__name__)
        raise NwsError(f"{shown(path)} cannot be read as ONNX ({said[:120]}): it is damaged, or no model") from None
    if not any(node.op_type == "BatchNormalization" for node in graph.node):
        notes = (*notes, "the graph has no batch normalization: exporters fold it into the weights before it")
    return Checkpoint(path, "onnx", tuple(arrays), arrays, notes)


def _width(tensor: Any) -> int:
    from onnx import helper

    return int(np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type)).itemsize)


def _array(tensor: Any, path: Path) -> np.ndarray:
    from onnx import TensorProto, numpy_helper

    if tensor.data_type in (TensorProto.STRING, TensorProto.UNDEFINED):
        return np.zeros(0, np.int64)  # counted among what is left out
    if tensor.data_location == TensorProto.EXTERNAL:
        tensor.raw_data = _side_file(tensor, path)
        tensor.data_location = TensorProto.DEFAULT
        del tensor.external_data[:]
    array = np.asarray(numpy_helper.to_array(tensor))
    return array.astype(np.float32) if array.dtype.kind == "V" else array  # bfloat16 and float8 fit exactly


def _side_file(tensor: Any, path: Path) -> bytes:
    """The bytes of a tensor that lie in another file: below the model's folder, no link, no longer than the tensor needs."""
    said = {pair.key: pair.value for pair in tensor.external_data}
    folder = path.absolute().parent.resolve()
    try:
        side = (folder / said["location"]).resolve()
        if not side.is_relative_to(folder) or (folder / said["location"]).is_symlink() or not side.is_file():
            place = printable(said["location"])[:80]
            raise NwsError(f"{shown(path)}: {printable(tensor.name)[:60]} lies in {place!r}, no file in its folder: refused")
        needed = int(np.prod([int(n) for n in tensor.dims], dtype=object)) * _width(tensor)
        offset, length = int(said.get("offset", 0)), int(said.get("length", needed))
        if length != needed or not 0 <= offset <= side.stat().st_size - length:
            raise NwsError(f"{shown(side)} does not hold the {needed:,} bytes of {printable(tensor.name)[:60]}: copy it anew")
        with open(side, "rb") as file:
            file.seek(offset)
            return file.read(length)
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        if isinstance(error, NwsError):
            raise
        raise NwsError(f"{shown(path)}: the side file of {printable(tensor.name)[:60]} cannot be read") from None


def _names(graph: Any) -> dict[str, str]:
    """initializer -> layer.role, in the order of the layers; exporters often number what was once conv1.weight."""
    found: dict[str, str] = {}
    for k, node in enumerate(graph.node):
        layer = printable(node.name) or f"{node.op_type}_{k}"
        for name, role in zip(list(node.input)[1:], _INPUTS.get(node.op_type, ())):
            plain = name.rpartition(".")
            found.setdefault(name, name if plain[1] and plain[2] in _KNOWN else f"{layer}.{role}")
    return found


def _transposed(graph: Any) -> set[str]:
    """Matrices stored (in, out): of MatMul, and of Gemm unless it says transB."""
    names = set()
    for node in graph.node:
        flipped = any(a.name == "transB" and a.i for a in node.attribute)
        if (node.op_type == "MatMul" or (node.op_type == "Gemm" and not flipped)) and len(node.input) > 1:
            names.add(node.input[1])
    return {t.name for t in graph.initializer if t.name in names and len(t.dims) == 2}
