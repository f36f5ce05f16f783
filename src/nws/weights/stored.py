"""Tensors and arrays of a pickle: where their numbers lie, and these numbers when they are asked for."""

from __future__ import annotations

import math
import pickle
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nws.errors import NwsError

_SAME = ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool")
# PyTorch's names of numbers -> numpy's. bfloat16 is the upper half of a float32; float8 takes PyTorch to read.
_NUMPY = {name: name for name in (*_SAME, "complex64", "complex128")} | {"bfloat16": "uint16"}
_MOST_AXES = 16


@dataclass(frozen=True)
class Storage:
    """Numbers in a row, in the file under `key`, or here. offset: where a view of them begins, in numbers."""

    key: str
    dtype: str
    offset: int = 0
    held: bytes | None = None


Fetch = Callable[[str], bytes]  # the bytes of a storage, by its key


@dataclass(frozen=True)
class Stored:
    """A tensor that is still in the file: read when it is asked for, so that a data set larger than memory can be read."""

    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def __setstate__(self, state: Any) -> None:
        """What PyTorch before 0.4 says of a parameter besides its numbers: nothing that is needed."""

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def floating(self) -> bool:
        return "float" in self.dtype

    def read(self, fetch: Fetch) -> np.ndarray:
        """float8 and bfloat16 as float32. NwsError when its storage is too short for its shape."""
        data = fetch(self.storage.key) if self.storage.held is None else self.storage.held
        exact, step = _NUMPY.get(self.dtype), width(self.dtype)
        values: np.ndarray = np.frombuffer(data, np.dtype(exact or "uint8").newbyteorder("<"), len(data) // step)
        reach = self.offset + sum((n - 1) * s for n, s in zip(self.shape, self.strides)) + 1
        if self.size > len(values) or (self.size and reach > len(values)):
            raise NwsError(f"a tensor of shape {self.shape} is longer than its storage: copy the file anew")
        strides = tuple(s * step for s in self.strides)
        found = np.lib.stride_tricks.as_strided(values[self.offset :], self.shape, strides, writeable=False).copy()
        if self.dtype == "bfloat16":
            return (found.astype(np.uint32) << 16).view(np.float32)
        return found if exact else _as_float32(found, self.dtype)


def _as_float32(values: np.ndarray, dtype: str) -> np.ndarray:
    """Of PyTorch's types that numpy lacks; of a type that this PyTorch does not know, nothing."""
    if not dtype.startswith("float8"):
        return np.zeros(0, np.int64)
    import torch

    try:
        return np.asarray(torch.from_numpy(values).view(getattr(torch, dtype)).float().numpy())
    except (AttributeError, RuntimeError, TypeError):
        return np.zeros(0, np.int64)


def width(dtype: str) -> int:
    """Bytes per number."""
    return np.dtype(_NUMPY.get(dtype, "uint8")).itemsize


def check_shape(*numbers: Any) -> None:
    """Raises UnpicklingError unless they are sizes or offsets that a tensor can have."""
    if len(numbers) > 3 * _MOST_AXES or not all(type(n) is int and 0 <= n < 1 << 40 for n in numbers):
        raise pickle.UnpicklingError("a tensor's shape makes no sense")


def of_numpy(data: Any, kind: Any, swapped: bool, shape: Any, order: Any) -> Stored | None:
    """An array whose bytes lie in the pickle, numpy's `kind` ("f4") in the other order of bytes if `swapped`; None: no numbers."""
    data = data.encode("latin-1") if isinstance(data, str) else data
    usual = isinstance(kind, str) and re.fullmatch(r"[fiubc]\d{1,2}", kind) and kind not in ("f16", "c32")
    if not usual or not isinstance(data, bytes | bytearray) or not isinstance(shape, tuple | list):
        return None
    check_shape(*shape)
    kept = np.dtype(kind).newbyteorder(">" if swapped else "<")
    data = np.frombuffer(data, kept).astype(kept.newbyteorder("<")).tobytes() if swapped else bytes(data)
    strides, step = [], 1
    for n in shape if order == "F" else reversed(shape):
        strides.append(step)
        step *= n
    strides = strides if order == "F" else strides[::-1]
    return Stored(Storage("", kept.name, 0, data), kept.name, 0, tuple(shape), tuple(strides))
