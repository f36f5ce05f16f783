"""What reading a file of weights yields, and how much of one is read."""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from nws.errors import NwsError
from nws.recorded import printable

_POINTER = b"version https://git-lfs.github.com/spec/"


@dataclass(frozen=True)
class Limits:
    """What a file may ask for. Checked against what it declares, before memory is taken."""

    tensors: int = 20_000
    bytes: int = 4 << 30  # of a file, and of all its tensors together
    ratio: int = 200  # of a zip archive's contents to its size: weights hardly compress


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The weights of one file. Refuses nonsense when built.

    names     in the file's order
    arrays    name -> array of floating-point or whole numbers, in the file's shape
    notes     what a reader should know, in plain words: what was left out, where the weights were found
    metadata  what else the file says: epoch, configuration ...; text is data, whoever prints it escapes it
    nets      what the file holds, this net among them: name, tensors, weights, and "aside" where it is a copy or a part of another
    kernels   the framework's order of dimensions: "torch" (out, in, rows, columns) or "keras" (rows, columns, in, out)
    roles     name -> role of nws.layout.ROLES, where the format tells more than the name; the layer is the name but its last word
    kinds     name -> which dimensions a weight has, where they are not those of `kernels`: "ours"; "vector" (flattened); Keras's
              "depthwise" (rows, columns, in, multiples), "transposed" (rows, columns, out, in), "heads in" (in, heads, units),
              "heads out" (heads, units, out)
    """

    path: Path
    format: str
    names: tuple[str, ...]
    arrays: Mapping[str, np.ndarray]
    notes: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    kernels: str = "torch"
    roles: Mapping[str, str] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    nets: tuple[Mapping[str, Any], ...] = ()

    def __post_init__(self) -> None:
        if tuple(self.arrays) != self.names:
            raise NwsError(f"{self.path}: names and arrays differ")
        if not self.names:
            raise NwsError(f"{shown(self.path)} holds no weights: name a file with a state dict")
        for name, array in self.arrays.items():
            if array.dtype.kind not in "fiub":
                raise NwsError(f"{shown(self.path)}: {name} holds {array.dtype}, which is no number")

    @property
    def size(self) -> int:
        """Numbers in all arrays together."""
        return sum(array.size for array in self.arrays.values())


class Cursor:
    """Reads on in the bytes of a file; ValueError where it claims more than there is."""

    def __init__(self, data: bytes | mmap.mmap):
        self.data, self.at = data, 0

    def take(self, length: int) -> bytes:
        if length > len(self.data) - self.at:
            raise ValueError(f"{length:,} bytes are claimed where {len(self.data) - self.at:,} are left")
        self.at += length
        return self.data[self.at - length : self.at]

    def number(self, format_: str) -> Any:
        return struct.unpack(format_, self.take(struct.calcsize(format_)))[0]


def check_declared(path: Path, shapes: Iterable[tuple[str, tuple[int, ...], int]], limits: Limits) -> None:
    """NwsError when the tensors (name, shape, bytes per value) that a file declares are too many or too large."""
    total = 0
    for count, (name, shape, width) in enumerate(shapes, 1):
        if count > limits.tensors:
            raise NwsError(f"{shown(path)} declares more than {limits.tensors:,} tensors: no checkpoint has so many")
        if not all(type(n) is int and 0 <= n < 1 << 40 for n in shape) or len(shape) > 16:
            raise NwsError(f"{shown(path)}: {printable(name)[:80]} has a shape that makes no sense")
        total += prod(shape) * width
        if total > limits.bytes:
            raise NwsError(f"{shown(path)} declares more than {limits.bytes:,} bytes of weights: too large to be read whole")


def check_file(path: Path, limits: Limits) -> int:
    """The size of a regular file; NwsError when it is none, or too large."""
    try:
        regular, size = path.is_file(), path.stat().st_size if path.exists() else 0
    except (OSError, ValueError) as error:
        raise NwsError(f"{shown(path)}: {getattr(error, 'strerror', None) or error}") from None
    if not regular:  # a pipe or a device could be read for ever
        raise NwsError(f"{shown(path)} is not a file: name a checkpoint")
    if not size:
        raise NwsError(f"{shown(path)} is empty: copy it anew")
    if size < 1024 and path.read_bytes().startswith(_POINTER):
        raise NwsError(f"{shown(path)} is a pointer of Git LFS, not the file: run git lfs pull in its repository")
    if size > limits.bytes:
        raise NwsError(f"{shown(path)} has {size:,} bytes, more than the {limits.bytes:,} that are read")
    return size


def shown(path: Path | str) -> str:
    """A path for people: bytes that are no text as \\xNN."""
    return printable(os.fsencode(path).decode("utf-8", "backslashreplace"))
