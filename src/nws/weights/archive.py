"""Zip archives (.pt, .npz, .keras) of strangers: what they claim is checked before anything is unpacked."""

from __future__ import annotations

import contextlib
import io
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from nws.errors import NwsError
from nws.weights.checkpoint import Limits, check_file, shown

# Stored, deflated: what torch, numpy and Keras write. Others (bzip2, lzma) reach ratios that no limit of ours foresees.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_MORE_ENTRIES = 100
_DIRECTORY_ENTRY = 46 + 100  # bytes in the archive's directory: a fixed part and the name
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, UnicodeDecodeError, ValueError)


@contextlib.contextmanager
def opened(path: Path, limits: Limits, held: bytes | None = None) -> Iterator[zipfile.ZipFile]:
    """The archive, if what it claims is sensible. NwsError else, and for whatever turns out to be broken while it is read.

    held: its bytes, when it lies in another one.
    """
    size = len(held) if held is not None else check_file(path, limits)
    try:
        with open(path, "rb") if held is None else io.BytesIO(held) as file:
            _check_directory(file, path, limits)
        with zipfile.ZipFile(path if held is None else io.BytesIO(held)) as archive:
            _check(archive, size, path, limits)
            yield archive
    except NwsError:
        raise
    except _BROKEN as error:
        raise _damaged(path, error) from None


def entry(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    """The bytes of an entry, never more than `most` whatever it claims. NwsError when they are broken; KeyError: no such entry."""
    try:
        with archive.open(name) as stream:
            data = stream.read(most + 1)
    except _BROKEN as error:
        raise _damaged(Path(str(archive.filename)), error) from None
    if len(data) > most:
        raise NwsError(f"{name[:80]!r} is larger than {most:,} bytes")
    return data


def _damaged(path: Path, error: Exception) -> NwsError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return NwsError(f"{shown(path)} is a damaged archive ({reason[:120]}): copy it anew")


def _check_directory(file: IO[bytes], path: Path, limits: Limits) -> None:
    """Before Python's zipfile makes an object per entry: a million of them take it ten seconds."""
    # zipfile's own search for the directory: another one could be shown another directory
    end = zipfile._EndRecData(file)  # type: ignore[attr-defined]
    if end and end[zipfile._ECD_SIZE] > (limits.tensors + _MORE_ENTRIES) * _DIRECTORY_ENTRY:  # type: ignore[attr-defined]
        raise NwsError(f"{shown(path)} lists more than {limits.tensors:,} entries: no checkpoint has so many")


def _check(archive: zipfile.ZipFile, size: int, path: Path, limits: Limits) -> None:
    entries = archive.infolist()
    if len(entries) > limits.tensors + _MORE_ENTRIES:
        raise NwsError(f"{shown(path)} holds {len(entries):,} entries: no checkpoint has so many")
    names = {e.filename for e in entries}
    if len(names) < len(entries):
        raise NwsError(f"{shown(path)} holds two entries of one name: it was not written by a program that saves weights")
    unpacked = sum(e.file_size for e in entries)
    packed = sum(e.compress_size for e in entries)
    if packed > size:  # entries that share their bytes: a zip bomb without nesting
        raise NwsError(f"{shown(path)}: its entries overlap")
    if unpacked > limits.bytes or unpacked > limits.ratio * max(size, 4096):
        raise NwsError(f"{shown(path)}: {size:,} bytes would become {unpacked:,}: this is no file of weights")
    if wrong := [e for e in entries if e.compress_type not in _METHODS or e.flag_bits & 1]:
        raise NwsError(f"{shown(path)}: {wrong[0].filename[:80]!r} is encrypted or packed in a way that is not read")
