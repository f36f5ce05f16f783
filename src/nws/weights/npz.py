"""NumPy's .npz: a zip archive of arrays."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from nws.errors import NwsError
from nws.recorded import printable
from nws.weights import archive
from nws.weights.checkpoint import Checkpoint, Limits, check_declared, shown
from nws.weights.state import numbers_only

_LONGEST_HEADER = 10_000


def read(path: Path, limits: Limits) -> Checkpoint:
    """Raises NwsError; arrays of objects (pickles) are refused."""
    with archive.opened(path, limits) as opened:
        try:
            declared = {e.filename: _header(opened, e, path) for e in opened.infolist() if e.filename.endswith(".npy")}
            check_declared(path, ((name, shape, dtype.itemsize) for name, (shape, dtype) in declared.items()), limits)
            found = {name.removesuffix(".npy"): _array(opened, name) for name in declared}
        except NwsError:
            raise
        except Exception as error:  # numpy's parser of headers raises what Python's tokenizer does
            raise NwsError(f"{shown(path)} is no archive of arrays ({printable(error)[:120]}): copy it anew") from None
    arrays, notes = numbers_only(found)
    return Checkpoint(path, "npz", tuple(arrays), arrays, notes)


def _header(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
    from numpy.lib import format as npy

    with opened.open(entry) as stream:
        version = npy.read_magic(stream)
        read_header: Any = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read_header(stream, max_header_size=_LONGEST_HEADER)
    if dtype.hasobject:
        raise NwsError(f"{shown(path)}: {printable(entry.filename)[:80]} holds Python objects, which could run anything: refused")
    if any(n < 0 for n in shape) or int(np.prod(shape, dtype=object)) * dtype.itemsize > entry.file_size:
        raise NwsError(f"{shown(path)}: {printable(entry.filename)[:80]} is shorter than its shape {shape}: copy it anew")
    return shape, dtype


def _array(opened: zipfile.ZipFile, name: str) -> np.ndarray:
    with opened.open(name) as stream:
        array: np.ndarray = np.lib.format.read_array(stream, allow_pickle=False, max_header_size=_LONGEST_HEADER)
    return array
