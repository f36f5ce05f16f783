"""The safetensors container of zoos' files, read by hand: of one net (netfile.py), or of many in a shard (shardfile.py).

A header is all that an index needs, and a file from a stranger is hostile: every number is checked against the size of the file
before anything is allocated.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from nws.errors import NwsError

HEADER_LIMIT = 16 << 20  # bytes; a net's have 3,000
MOST_BRACKETS = 200_000  # a net's have 100; JSON of brackets alone takes twenty times its size in memory, and seconds
DTYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
    "I64": np.dtype("<i8"),
    "U8": np.dtype("u1"),
}
_FOLDERS = ("nets", "shards")


class DamagedFileError(NwsError):
    """A file that is not what was written: cut short, altered, or in the wrong place."""


class NewerFormatError(NwsError):
    """A whole file that this nws is too old for: an upgrade reads it, so nothing may move it away."""


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """A file descriptor rather than a file: os.preadv reads straight into an array, at any offset."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise NwsError(f"{path}: cannot be read ({error.strerror}): see that it is there and readable") from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def refusing(path: Path, what: str = "") -> Iterator[None]:
    """What goes wrong while a file is taken apart, as `DamagedFileError`. what: the part of the file, as "net 3: "."""
    try:
        yield
    except (DamagedFileError, NewerFormatError):
        raise
    except KeyError as error:
        raise damaged(path, f"{what}its header lacks {error}") from None
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise damaged(path, what + (str(error).splitlines()[0] if str(error) else "its header cannot be read")) from None


def entries(descriptor: int, size: int, path: Path) -> tuple[dict[str, Any], dict[str, str], int]:
    """The tensors' entries, the checked metadata, and the first byte behind the header."""
    text = _header_text(descriptor, size, path)
    found = parsed(text)
    if not isinstance(found, dict):
        raise damaged(path, "its header is no JSON object")
    return found, checked_metadata(found.pop("__metadata__", None)), 8 + len(text)


def parsed(text: bytes) -> Any:
    """JSON of a stranger's: no name twice, no more brackets than any net has."""
    if text.count(b"[") + text.count(b"{") > MOST_BRACKETS:
        raise ValueError("its header nests more lists and objects than any net has")
    return json.loads(text, object_pairs_hook=_no_duplicates)


def checked_metadata(metadata: Any) -> dict[str, str]:
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("it has no metadata of nws: is it a zoo's file?")
    if metadata["metadata_sha256"] != metadata_sha256(metadata):
        raise ValueError("its metadata are not what was written (the checksum differs)")
    return metadata


def checked_tensors(
    entries: dict[str, Any], tensors: Mapping[str, str], start: int, size: int | None
) -> tuple[dict[str, tuple[int, ...]], dict[str, int]]:
    """Shapes and absolute offsets of `tensors`, name -> dtype: together they fill the file to its end without gap or overlap.

    size: of the file, or None where it may be cut short: what is read of it is then checked by its own checksum.
    """
    if set(entries) != set(tensors):
        raise ValueError(f"it must hold the tensors {', '.join(tensors)}, it has {', '.join(sorted(entries)) or 'none'}")
    shapes, offsets, spans = {}, {}, []
    for name, entry in entries.items():
        if set(entry) != {"dtype", "shape", "data_offsets"} or entry["dtype"] != tensors[name]:
            raise ValueError(f"{name} must be {tensors[name]} with shape and data_offsets")
        shape, (begin, end) = entry["shape"], entry["data_offsets"]
        if not all(type(n) is int and n >= 0 for n in (*shape, begin, end)):
            raise ValueError(f"{name}: shape and offsets must be whole numbers")
        if end - begin != math.prod(shape) * DTYPES[entry["dtype"]].itemsize:
            raise ValueError(f"{name}: {end - begin:,} bytes do not hold a tensor of shape {tuple(shape)}")
        shapes[name], offsets[name] = tuple(shape), start + begin
        spans.append((begin, end))
    reached = 0
    for begin, end in sorted(spans):
        if begin != reached:
            raise ValueError("its tensors leave a gap or overlap")
        reached = end
    if size is not None and start + reached != size:
        raise ValueError(f"the file has {size:,} bytes, its header asks for {start + reached:,}")
    if offsets["theta"] % 4:
        raise ValueError("theta does not start at a multiple of four bytes")
    return shapes, offsets


def read_into(descriptor: int, array: np.ndarray, offset: int, path: Path) -> None:
    """Fill a contiguous array from the file's bytes at `offset`."""
    view = array.reshape(-1).view(np.uint8).data
    done = 0
    while done < len(view):
        got = os.preadv(descriptor, [view[done:]], offset + done)
        if not got:
            raise damaged(path, "it was cut short while being read")
        done += got


def whole_number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 9):
        raise ValueError(f"number {text[:20]!r} is no whole number below 10^9")
    return int(text)


def sha256(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def metadata_sha256(metadata: Mapping[str, str]) -> str:
    """Over key, zero byte, value, zero byte of every other entry in the order of the keys' bytes."""
    told = "".join(f"{key}\0{metadata[key]}\0" for key in sorted(metadata) if key != "metadata_sha256")
    return hashlib.sha256(told.encode()).hexdigest()


def damaged(path: Path, why: str) -> DamagedFileError:
    """The error for a file that cannot be trusted."""
    return DamagedFileError(f"{path}: {why}{advice(path)}")


def advice(path: Path) -> str:
    """What the message of a damaged file ends with."""
    zoo = path.parents[2] if len(path.parents) > 2 and path.parents[1].name in _FOLDERS else "ZOO"
    return f": run `nws verify {zoo} --repair`"


def _header_text(descriptor: int, size: int, path: Path) -> bytes:
    if size < 8:
        raise damaged(path, f"it has {size} bytes, too few for a net")
    length = int.from_bytes(os.pread(descriptor, 8, 0), "little")
    if length > min(size - 8, HEADER_LIMIT):
        raise damaged(path, f"its header claims {length:,} bytes, the file has {size:,}")
    text = np.empty(length, np.uint8)
    read_into(descriptor, text, 8, path)
    raw = text.tobytes()
    # Padding is spaces and nothing else; other white space would be valid JSON, but nobody wrote it.
    if not raw.startswith(b"{") or not raw.rstrip(b" ").endswith(b"}"):
        raise damaged(path, "its header is no JSON object")
    return raw


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        raise ValueError("its header names something twice")
    return entries
