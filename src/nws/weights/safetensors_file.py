"""Safetensors: a JSON header, then the tensors' bytes (the container that zoos use, but any tensors)."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from nws.errors import NwsError
from nws.weights.checkpoint import Checkpoint, Limits, check_declared, check_file, shown
from nws.weights.state import natural, numbers_only

ORDER = "order"  # metadata: JSON list of the names in the net's own order
_HEADER_LIMIT = 32 << 20
_MORE_BRACKETS = 10_000  # of metadata; JSON of brackets alone would take twenty times its size in memory
_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?",
}  # fmt: skip


def read(path: Path, limits: Limits) -> Checkpoint:
    """Raises NwsError for whatever is not as the format says."""
    size = check_file(path, limits)
    try:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > min(size - 8, _HEADER_LIMIT):
                raise NwsError(f"its header claims {length:,} bytes, the file has {size:,}")
            text = file.read(length)
            if text.count(b"{") + text.count(b"[") > 4 * limits.tensors + _MORE_BRACKETS:  # a tensor has three
                raise NwsError(f"{shown(path)} declares more than {limits.tensors:,} tensors: no checkpoint has so many")
            header = json.loads(text, object_pairs_hook=_no_duplicates)
            if not isinstance(header, dict):
                raise ValueError("its header is no JSON object")
            metadata = header.pop("__metadata__", None) or {}
            spans = _spans(header, size - 8 - length, path, limits)
            data = np.fromfile(file, np.uint8, size - 8 - length)
    except OSError as error:
        raise NwsError(f"{shown(path)}: {error.strerror}") from None
    except (NwsError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise NwsError(
            reason if shown(path) in reason else f"{shown(path)}: {reason[:200]}: it is no safetensors file, or damaged"
        ) from None
    found = {name: _array(data[begin:end], dtype, shape) for name, (begin, end, dtype, shape) in spans.items()}
    order, remarks = _order(found, metadata)
    arrays, notes = numbers_only({name: found[name] for name in order})
    notes = (*remarks, *notes)
    return Checkpoint(path, "safetensors", tuple(arrays), arrays, notes, metadata if isinstance(metadata, dict) else {})


def _spans(header: dict[str, Any], room: int, path: Path, limits: Limits) -> dict[str, tuple[int, int, str, tuple[int, ...]]]:
    """name -> begin, end, dtype, shape: in the order of the bytes, which neither overlap nor leave a gap."""
    found = {}
    for name, tensor in header.items():
        dtype, shape, (begin, end) = tensor["dtype"], tuple(tensor["shape"]), tensor["data_offsets"]
        if dtype not in _DTYPES:
            raise NwsError(
                f"{shown(path)}: {name[:80]!r} is {str(dtype)[:20]}: dequantise it first, nws reads {', '.join(_DTYPES)}"
            )
        if not all(type(n) is int for n in (*shape, begin, end)):
            raise ValueError(f"{name[:80]!r}: shape and offsets must be whole numbers")
        found[name] = (begin, end, dtype, shape)
    check_declared(path, ((name, s[3], np.dtype(_DTYPES[s[2]]).itemsize) for name, s in found.items()), limits)
    found = dict(sorted(found.items(), key=lambda item: item[1][:2]))
    reached = 0
    for name, (begin, end, dtype, shape) in found.items():
        if begin != reached or end - begin != prod(shape) * np.dtype(_DTYPES[dtype]).itemsize:
            raise ValueError(f"{name[:80]!r}: its bytes overlap, leave a gap, or are not those of its shape")
        reached = end
    if reached != room:
        raise ValueError(f"its tensors take {reached:,} bytes, the file has {room:,} for them")
    return found


def _order(found: dict[str, Any], metadata: Any) -> tuple[list[str], list[str]]:
    """The names as they were before the format's library sorted them: as the metadata say (ours do), else conv2 before conv10."""
    try:
        stated = json.loads(metadata[ORDER])
        if sorted(stated) == sorted(found):
            return stated, []
    except (KeyError, TypeError, ValueError, RecursionError):
        pass
    return sorted(found, key=natural), ["the format sorts its tensors: layers are taken in the order of their names"]


def _array(data: np.ndarray, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    values = np.frombuffer(data.tobytes(), _DTYPES[dtype])
    if dtype == "BF16":  # the upper half of a float32
        values = (values.astype(np.uint32) << 16).view(np.float32)
    return values.reshape(shape)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("its header names something twice")
    return dict(pairs)
