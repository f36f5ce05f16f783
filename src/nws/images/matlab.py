"""Real numeric arrays out of a MATLAB 5 file (what `save` writes up to -v7), without trusting it.

scipy.io.loadmat reads these files too, but a few altered bytes make it crash the whole process; the tests use it as an oracle.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Collection
from math import prod
from pathlib import Path
from typing import Protocol

import numpy as np

from nws.errors import NwsError

MAX_BYTES = 2 << 30  # no official file of images holds more; a header that claims more is wrong or hostile
_MATRIX, _COMPRESSED = 14, 15  # kinds of the elements that a file is a row of
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}  # how values are stored
_REAL_CLASSES = range(6, 16)  # double .. uint64; below are cells, structures, objects, text, sparse arrays
_COMPLEX = 0x0800


class _Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Inflated:
    """A compressed element as a stream: gives what is asked for and never unpacks more."""

    def __init__(self, packed: bytes):
        self._packed, self._inflate = packed, zlib.decompressobj()

    def read(self, size: int, /) -> bytes:
        if not size:  # for zlib, 0 means: everything
            return b""
        data = self._inflate.decompress(self._packed, size)
        self._packed = self._inflate.unconsumed_tail
        if len(data) < size and (not self._inflate.eof or self._inflate.unused_data):  # zlib compares its checksum at the end
            raise _DamageError("compressed data do not end where they should")
        return data


def read(path: Path, names: Collection[str]) -> dict[str, np.ndarray]:
    """The variables called `names`, as far as the file has them, in MATLAB's shapes; all others are skipped.

    NwsError when the file is no such file, cut short or damaged, or a variable is not a plain array of real numbers. Sizes are
    checked against each other before anything is allocated.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise NwsError(f"{path} is {size:,} bytes, more than any file of this kind")
    found: dict[str, np.ndarray] = {}
    try:
        with path.open("rb") as file:
            order = {b"\x00\x01IM": "<", b"\x01\x00MI": ">"}.get(file.read(128)[124:])
            if order is None:
                raise NwsError(f"{path} is damaged, or not a MATLAB 5 file")
            while file.tell() < size:
                kind, length = struct.unpack(f"{order}2I", file.read(8))
                if kind not in (_MATRIX, _COMPRESSED) or length > size - file.tell():
                    raise NwsError(f"{path} is cut short or damaged: byte {file.tell() - 8:,} starts no whole variable")
                body = file.read(length)
                stream = _matrix_inside(body, order) if kind == _COMPRESSED else io.BytesIO(body)
                name, array = _matrix(stream, order, names)
                if name in found:
                    raise NwsError(f"{path} is damaged: it holds {name} twice")
                if array is not None:
                    found[name] = array
    except (struct.error, zlib.error, _DamageError) as error:
        raise NwsError(f"{path} is cut short or damaged ({error})") from None
    return found


class _DamageError(Exception):
    """What is wrong inside a variable."""


def _matrix_inside(packed: bytes, order: str) -> _Stream:
    stream = _Inflated(packed)
    kind, _ = struct.unpack(f"{order}2I", stream.read(8))
    if kind != _MATRIX:
        raise _DamageError("a compressed element is no variable")
    return stream


def _matrix(stream: _Stream, order: str, names: Collection[str]) -> tuple[str, np.ndarray | None]:
    """Name and array of one variable; the array is None when its name is not among `names`."""
    flags, _ = struct.unpack(f"{order}2I", _element(stream, order, 8)[1])
    lengths = _element(stream, order, 4 * 32)[1]
    shape = struct.unpack(f"{order}{len(lengths) // 4}i", lengths)
    name = _element(stream, order, 64)[1].decode("latin-1")
    if name not in names:
        return name, None
    if flags & 0xFF not in _REAL_CLASSES or flags & _COMPLEX:
        raise _DamageError(f"{name} is not an array of real numbers")
    if len(shape) < 2 or min(shape) < 0 or prod(shape) > MAX_BYTES:
        raise _DamageError(f"{name} claims the shape {shape}")
    kind, data = _element(stream, order, min(8 * prod(shape), MAX_BYTES))
    if kind not in _NUMBERS or len(data) != prod(shape) * np.dtype(_NUMBERS[kind]).itemsize:
        raise _DamageError(f"{name} does not hold what its shape {shape} says")
    if stream.read(1):
        raise _DamageError(f"{name} does not end where it should")
    return name, np.frombuffer(data, order + _NUMBERS[kind]).reshape(shape, order="F")


def _element(stream: _Stream, order: str, most: int) -> tuple[int, bytes]:
    """Kind and bytes of the next element, of at most `most` bytes."""
    head = stream.read(8)
    kind, length = struct.unpack(f"{order}2I", head)
    if kind >> 16:  # a small element: its length lies in the kind's upper half, its bytes in place of the length
        kind, length = kind & 0xFFFF, kind >> 16
        if length > min(4, most):
            raise _DamageError("a small element is not small")
        return kind, head[4 : 4 + length]
    if length > most:
        raise _DamageError(f"an element claims {length:,} bytes")
    data = stream.read(length)
    if len(data) < length:
        raise _DamageError(f"{length:,} bytes announced, {len(data):,} there")
    stream.read(-length % 8)  # padding
    return kind, data
