"""GGUF, the file of llama.cpp and its kin: settings, then tensors. Unquantised tensors are read, quantised ones named.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3, little-endian).
"""

from __future__ import annotations

import mmap
import struct
from collections import Counter
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from nws.errors import NwsError
from nws.recorded import printable
from nws.weights.checkpoint import Checkpoint, Cursor, Limits, check_declared, check_file, shown
from nws.weights.state import numbers_only

MAGIC = b"GGUF"
_MOST_SETTINGS = 10_000
_DEEPEST = 4  # lists in lists
_SETTINGS = ["<B", "<b", "<H", "<h", "<I", "<i", "<f", "<?"]  # types 0 to 7; 8 is text, 9 a list, then
_LONG = {10: "<Q", 11: "<q", 12: "<d"}
_TEXT, _LIST = 8, 9
_READ = {0: "<f4", 1: "<f2", 24: "i1", 25: "<i2", 26: "<i4", 27: "<i8", 28: "<f8", 30: "<u2"}
_BFLOAT16 = 30
_QUANTISED = {
    2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K",
    15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS",
    29: "IQ1_M", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4",
}  # fmt: skip


class _Header(Cursor):
    def text(self) -> str:
        return self.take(self.number("<Q")).decode("utf-8", "surrogateescape")

    def value(self, kind: int, depth: int = 0) -> Any:
        """A setting; of a list only that it is one: the words of a vocabulary are no setting."""
        if kind == _TEXT:
            return self.text()
        if kind != _LIST:
            return self.number(_SETTINGS[kind] if kind < _TEXT else _LONG[kind])
        inner, length = self.number("<I"), self.number("<Q")
        if depth > _DEEPEST:
            raise ValueError("its lists are nested without end")
        if inner in (_TEXT, _LIST):
            for _ in range(length):  # each takes eight bytes or more: the file's end is the limit
                if inner == _TEXT:
                    self.take(self.number("<Q"))
                else:
                    self.value(inner, depth + 1)
        else:
            self.take(length * struct.calcsize(_SETTINGS[inner] if inner < _TEXT else _LONG[inner]))
        return None


def read(path: Path, limits: Limits) -> Checkpoint:
    """Raises NwsError for whatever is not as the format says, and for quantised tensors, with their types."""
    check_file(path, limits)
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            settings, tensors, begin = _header(_Header(data), path, limits)
            quantised = Counter(_QUANTISED[kind] for _, kind, _ in tensors.values() if kind in _QUANTISED)
            if quantised:
                counts = ", ".join(f"{count} x {kind}" for kind, count in quantised.most_common(4))
                raise NwsError(
                    f"{shown(path)} is quantised ({counts}): read the checkpoint it was made from, or make one of plain numbers: "
                    "llama-quantize --allow-requantize FILE plain.gguf F32"
                )
            check_declared(path, ((n, shape, np.dtype(_READ[kind]).itemsize) for n, (shape, kind, _) in tensors.items()), limits)
            found = {name: _array(data, begin + at, shape, kind) for name, (shape, kind, at) in tensors.items()}
        except NwsError:
            raise
        except (ValueError, TypeError, KeyError, IndexError, OverflowError, struct.error) as error:
            reason = printable(str(error).splitlines()[0] if str(error) else type(error).__name__)
            raise NwsError(f"{shown(path)} is no GGUF file that can be read, or damaged ({reason[:120]}): copy it anew") from None
    if not found:
        raise NwsError(f"{shown(path)} is a GGUF file without tensors, a vocabulary only: name the one with the weights")
    arrays, notes = numbers_only(found)
    return Checkpoint(path, "gguf", tuple(arrays), arrays, notes, settings)


_Tensors = dict[str, tuple[tuple[int, ...], int, int]]  # name -> shape, type, offset


def _header(header: _Header, path: Path, limits: Limits) -> tuple[dict[str, Any], _Tensors, int]:
    """(settings, tensors, where their bytes begin)."""
    if header.take(4) != MAGIC:
        raise ValueError("it does not begin with GGUF")
    version = header.number("<I")
    if version not in (2, 3):
        raise NwsError(f"{shown(path)} is GGUF of version {version} (or big-endian): nws reads versions 2 and 3, little-endian")
    count, entries = header.number("<Q"), header.number("<Q")
    if count > limits.tensors:
        raise NwsError(f"{shown(path)} declares more than {limits.tensors:,} tensors: no checkpoint has so many")
    if entries > _MOST_SETTINGS:
        raise NwsError(f"{shown(path)} declares {entries:,} settings: no checkpoint has so many")
    metadata: dict[str, Any] = {}
    for _ in range(entries):
        key = header.text()
        metadata[key] = header.value(header.number("<I"))
    tensors: _Tensors = {}
    for _ in range(count):
        name, dimensions = header.text(), header.number("<I")
        if dimensions > 8 or name in tensors:
            raise ValueError(f"{name[:60]!r} is there twice, or has {dimensions} dimensions")
        shape = tuple(header.number("<Q") for _ in range(dimensions))[::-1]  # the fastest first
        tensors[name] = (shape, header.number("<I"), header.number("<Q"))
    alignment = metadata.get("general.alignment", 32)
    if type(alignment) is not int or not 0 < alignment <= 1 << 20:
        raise ValueError("its alignment makes no sense")
    kept = {
        printable(k)[:80]: v
        for k, v in metadata.items()
        if isinstance(v, bool | int | float | str) and not k.startswith("tokenizer.")
    }
    return dict(list(kept.items())[:50]), tensors, header.at + -header.at % alignment


def _array(data: mmap.mmap, begin: int, shape: tuple[int, ...], kind: int) -> np.ndarray:
    length = prod(shape) * np.dtype(_READ[kind]).itemsize
    if begin + length > len(data):
        raise ValueError(f"a tensor ends {begin + length - len(data):,} bytes behind the end of the file")
    values = np.frombuffer(data[begin : begin + length], _READ[kind])
    if kind == _BFLOAT16:  # the upper half of a float32
        values = (values.astype(np.uint32) << 16).view(np.float32)
    return values.reshape(shape)
