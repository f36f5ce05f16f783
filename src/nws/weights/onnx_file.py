"""ONNX: the constants of the graph that are weights (onnx_graph.py). Side files are read only inside the model's own folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nws.errors import NwsError
from nws.recorded import printable
from nws.weights import onnx_graph
from nws.weights.checkpoint import Checkpoint, Limits, check_declared, check_file, shown
from nws.weights.state import numbers_only


def read(path: Path, limits: Limits) -> Checkpoint:
    """Raises NwsError. Needs the package onnx."""
    try:
        import onnx
    except ImportError:
        raise NwsError(f"{shown(path)}: reading ONNX needs the package onnx: pip install nws[formats]") from None
    check_file(path, limits)
    try:
        model = onnx.load(str(path), load_external_data=False)
        graph = onnx_graph.Graph(model.graph)
        declared = ((name, tuple(int(n) for n in t.dims), _width(t)) for name, t in graph.tensors.items())
        check_declared(path, declared, limits)
        constants = {name: _array(t, path) for name, t in graph.tensors.items()}
        found = onnx_graph.Reader(graph, constants).read()
        if found.whole:
            counts = ", ".join(f"{count} x {op}" for op, count in found.whole.most_common(3))
            raise NwsError(
                f"{shown(path)} is a quantised graph ({counts}), its weights are whole numbers: read the model it was made from"
            )
        if not found.arrays:  # a graph of a kind that is not known: whatever lies beside it
            found.arrays = {printable(name): constants[name] for name in constants if name in graph.parameters}
        arrays, notes = numbers_only(found.arrays)
    except NwsError:
        raise
    except Exception as error:  # protobuf and onnx raise many kinds of their own
        reason = printable(str(error).strip() or type(error).__name__)
        raise NwsError(f"{shown(path)} cannot be read as ONNX ({reason[:120]}): it is damaged, or no model") from None
    if found.rounded:
        counts = ", ".join(f"{count} x {op}" for op, count in found.rounded.most_common(3))
        notes = (*notes, f"the graph rounds its weights to few values as it runs ({counts}): these are the numbers before that")
    if graph.branches:
        notes = (*notes, "the graph chooses between branches (If): the weights of all branches are read, as one net")
    if not any(node.op == "BatchNormalization" for node in graph.nodes):
        notes = (*notes, "the graph has no batch normalization: exporters fold it into the weights before it")
    roles = {name: role for name, role in found.roles.items() if name in arrays}
    return Checkpoint(path, "onnx", tuple(arrays), arrays, notes, roles=roles)


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
    external = {pair.key: pair.value for pair in tensor.external_data}
    folder = path.absolute().parent.resolve()
    try:
        side = (folder / external["location"]).resolve()
        if not side.is_relative_to(folder) or (folder / external["location"]).is_symlink() or not side.is_file():
            place = printable(external["location"])[:80]
            raise NwsError(f"{shown(path)}: {printable(tensor.name)[:60]} lies in {place!r}, no file in its folder: refused")
        needed = int(np.prod([int(n) for n in tensor.dims], dtype=object)) * _width(tensor)
        offset, length = int(external.get("offset", 0)), int(external.get("length", needed))
        if length != needed or not 0 <= offset <= side.stat().st_size - length:
            raise NwsError(f"{shown(side)} does not hold the {needed:,} bytes of {printable(tensor.name)[:60]}: copy it anew")
        with open(side, "rb") as file:
            file.seek(offset)
            return file.read(length)
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        if isinstance(error, NwsError):
            raise
        raise NwsError(f"{shown(path)}: the side file of {printable(tensor.name)[:60]} cannot be read") from None
