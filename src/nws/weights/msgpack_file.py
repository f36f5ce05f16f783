"""Flax's msgpack files (flax.serialization.to_bytes): nested dictionaries whose arrays are an extension type.

The format: https://github.com/msgpack/msgpack/blob/master/spec.md. Flax's extensions: 1 is an array, packed as (shape, name of
its type, bytes); 3 the same for one number; an array over 1 GB is a dictionary of chunks. Read here without a package: what is
read is 50 lines, and the msgpack package makes room for lists as long as they claim to be.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from nws.errors import NwsError
from nws.recorded import printable
from nws.weights.checkpoint import Checkpoint, Cursor, Limits, check_declared, check_file, shown
from nws.weights.flax_names import named
from nws.weights.state import numbers_only

_DEEPEST = 40
_MOST_VALUES = 1_000_000
_CHUNKED = "__msgpack_chunked_array__"
_TYPES = {"bfloat16": "<u2", "bool": "?", **{f"{kind}{bits}": f"<{kind[0]}{bits // 8}" for kind, bits in (
    ("float", 16), ("float", 32), ("float", 64), ("int", 8), ("int", 16), ("int", 32), ("int", 64), ("uint", 8), ("uint", 16),
    ("uint", 32), ("uint", 64))}}  # fmt: skip
# First byte -> struct format of a number, or of the length of what follows.
_NUMBERS = {0xCA: ">f", 0xCB: ">d", **dict(zip(range(0xCC, 0xD4), (">B", ">H", ">I", ">Q", ">b", ">h", ">i", ">q")))}
_LENGTHS = {0xC4: ">B", 0xC5: ">H", 0xC6: ">I", 0xC7: ">B", 0xC8: ">H", 0xC9: ">I", 0xD9: ">B", 0xDA: ">H", 0xDB: ">I",
            0xDC: ">H", 0xDD: ">I", 0xDE: ">H", 0xDF: ">I"}  # fmt: skip


@dataclass(frozen=True)
class _Array:
    """Where an array lies in the file; its values are taken once all that the file declares was checked."""

    shape: tuple[int, ...]
    dtype: str
    begin: int
    end: int

    def values(self, data: bytes | mmap.mmap) -> np.ndarray:
        if self.dtype not in _TYPES:
            return np.zeros(0, np.int64)  # counted among what is left out
        values = np.frombuffer(data[self.begin : self.end], _TYPES[self.dtype])
        if self.dtype == "bfloat16":  # the upper half of a float32
            values = (values.astype(np.uint32) << 16).view(np.float32)
        return values.reshape(self.shape)


class _Parser(Cursor):
    """One value after the other; ValueError, struct.error or IndexError for whatever is no msgpack."""

    def __init__(self, data: bytes | mmap.mmap):
        super().__init__(data)
        self.left = _MOST_VALUES

    def value(self, depth: int = 0) -> Any:
        self.left -= 1
        if depth > _DEEPEST or self.left < 0:
            raise ValueError("it is nested without end")
        first = self.number("B")
        if first < 0x80 or first >= 0xE0:
            return first if first < 0x80 else first - 256
        if first in (0xC0, 0xC2, 0xC3):
            return {0xC0: None, 0xC2: False, 0xC3: True}[first]
        if first in _NUMBERS:
            return self.number(_NUMBERS[first])
        if 0xD4 <= first <= 0xD8:
            return self.extension(1 << (first - 0xD4), depth)
        if first < 0xC0:  # a short map, list or text
            length = first & (15 if first < 0xA0 else 31)
        else:
            length = self.number(_LENGTHS[first])
        if first < 0x90 or first >= 0xDE:
            return self.pairs(length, depth)
        if first < 0xA0 or first in (0xDC, 0xDD):
            return [self.value(depth + 1) for _ in range(length)]  # grows as it is read
        if first < 0xC0 or 0xD9 <= first <= 0xDB:
            return self.take(length).decode("utf-8", "surrogateescape")
        return self.extension(length, depth) if 0xC7 <= first <= 0xC9 else self.span(length)

    def span(self, length: int) -> tuple[int, int]:
        """Bytes: where they lie, for they may be the weights."""
        if length > len(self.data) - self.at:
            raise ValueError(f"{length:,} bytes are claimed where {len(self.data) - self.at:,} are left")
        self.at += length
        return self.at - length, self.at

    def pairs(self, length: int, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for _ in range(length):
            key = self.value(depth + 1)
            if not isinstance(key, str | int) or str(key) in found:
                raise ValueError("a dictionary has two entries of one name, or a name that is no text")
            found[str(key)] = self.value(depth + 1)
        return found

    def extension(self, length: int, depth: int) -> Any:
        code = self.number("b")
        end = self.at + length
        if code not in (1, 3) or end > len(self.data):
            self.span(length)
            return None
        shape, dtype, span = self.value(depth + 1)
        if self.at != end or not isinstance(dtype, str) or not all(type(n) is int and n >= 0 for n in shape):
            raise ValueError("an array is not packed as Flax does")
        if dtype in _TYPES and prod(shape) * np.dtype(_TYPES[dtype]).itemsize != span[1] - span[0]:
            raise ValueError(f"an array has {span[1] - span[0]:,} bytes, its shape {tuple(shape)} needs another number")
        return _Array(tuple(shape), dtype, *span)


def read(path: Path, limits: Limits) -> Checkpoint:
    """Raises NwsError for whatever is not as the format says."""
    check_file(path, limits)
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            parser = _Parser(data)
            tree = parser.value()
            if parser.at != len(data) or not isinstance(tree, dict):
                raise ValueError("it is no single dictionary")
            arrays = dict(_flat(tree, ()))
            declared = ((place[-1], a.shape, np.dtype(_TYPES.get(a.dtype, "<f4")).itemsize) for place, a in _spans(arrays))
            check_declared(path, declared, limits)
            found = {place: _values(a, data) for place, a in arrays.items()}
        except NwsError:
            raise
        except (ValueError, TypeError, KeyError, IndexError, struct.error, RecursionError) as error:
            reason = printable(str(error).splitlines()[0] if str(error) else type(error).__name__)
            raise NwsError(f"{shown(path)} is no msgpack file of Flax, or damaged ({reason[:120]}): copy it anew") from None
    weights, roles, notes = named(found)
    kept, left_out = numbers_only(weights)
    metadata = {printable(key): v for key, v in tree.items() if isinstance(v, bool | int | float | str)}
    roles = {name: role for name, role in roles.items() if name in kept}
    metadata = dict(list(metadata.items())[:100])
    return Checkpoint(path, "msgpack", tuple(kept), kept, (*notes, *left_out), metadata, "keras", roles)


_Place = tuple[str, ...]


def _flat(tree: Mapping[str, Any], place: _Place) -> Iterator[tuple[_Place, _Array | list[_Array]]]:
    """The arrays of a tree with their places; one in chunks as a list, the first of which has its whole shape."""
    for key, value in tree.items():
        if isinstance(value, _Array):
            yield (*place, key), value
        elif isinstance(value, Mapping) and value.get(_CHUNKED) is True:
            yield (*place, key), _chunks(value)
        elif isinstance(value, Mapping):
            yield from _flat(value, (*place, key))


def _chunks(value: Mapping[str, Any]) -> list[_Array]:
    chunks = list(value["chunks"].values())
    shape = tuple(value["shape"].values())
    if not chunks or not all(isinstance(c, _Array) and c.dtype == chunks[0].dtype for c in chunks):
        raise ValueError("an array in chunks has chunks that are none")
    if not all(type(n) is int and n >= 0 for n in shape) or prod(shape) != sum(prod(c.shape) for c in chunks):
        raise ValueError("an array in chunks does not have as many values as its shape")
    return [_Array(shape, chunks[0].dtype, 0, 0), *chunks]


def _spans(arrays: Mapping[_Place, _Array | list[_Array]]) -> Iterator[tuple[_Place, _Array]]:
    for place, array in arrays.items():
        yield place, array[0] if isinstance(array, list) else array


def _values(array: _Array | list[_Array], data: mmap.mmap) -> np.ndarray:
    if not isinstance(array, list):
        return array.values(data)
    return np.concatenate([chunk.values(data).reshape(-1) for chunk in array[1:]]).reshape(array[0].shape)
