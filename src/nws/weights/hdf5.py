"""HDF5: Keras's .h5 and .weights.h5, the .keras archive around one, and any other file of data sets.

Only what lies in the file itself is read: no soft or external link, no external or virtual storage.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import mmap
import re
import struct
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from nws.errors import NwsError
from nws.recorded import printable
from nws.weights import archive
from nws.weights.checkpoint import Checkpoint, Limits, check_declared, check_file, shown
from nws.weights.state import natural, numbers_only

_DEEPEST = 20
_HEAP = b"GCOL\x01"
_MOST_PIECES = 200_000
_LISTS = ("layer_names", "weight_names")
_MOST_NAMES = 16 << 20  # bytes of a list of them
_NOT_WEIGHTS = ("optimizer", "optimizer_weights", "seed_generator")
_KERNEL, _NORM = ("kernel", "bias"), ("gamma", "beta", "moving_mean", "moving_variance")


def read(path: Path, limits: Limits) -> Checkpoint:
    """Raises NwsError. Needs the package h5py."""
    try:
        import h5py
    except ImportError:
        raise NwsError(f"{shown(path)}: reading HDF5 needs the package h5py: pip install nws[formats]") from None
    size = check_file(path, limits)
    source: Any = path
    layers: list[str] = []
    if path.suffix == ".keras":
        with archive.opened(path, limits) as opened:
            if "model.weights.h5" not in opened.namelist():
                raise NwsError(f"{shown(path)} holds no model.weights.h5: it was not saved by Keras")
            source = io.BytesIO(archive.entry(opened, "model.weights.h5", limits.bytes))
            layers = _layer_order(opened)
    with open(path, "rb") if isinstance(source, Path) else contextlib.nullcontext() as opened_file:
        data = mmap.mmap(opened_file.fileno(), 0, access=mmap.ACCESS_READ) if opened_file else source.getvalue()
        _check_heaps(data, path)
        _check_lists(data, path)
    try:
        with h5py.File(source, "r") as file:
            found = _data_sets(file, layers, size, path, limits)
    except NwsError:
        raise
    except Exception as error:  # h5py passes on what the C library says
        raise NwsError(f"{shown(path)} cannot be read as HDF5 ({printable(error)[:120]}): it is damaged") from None
    arrays, notes = numbers_only(found)
    return Checkpoint(path, "hdf5", tuple(arrays), arrays, notes, kernels="keras")


def _check_heaps(data: bytes | mmap.mmap, path: Path) -> None:
    """The heaps where texts of any length lie: in one whose pieces have no length the HDF5 library goes round for ever.

    A heap is GCOL, version 1, three bytes, its size; then pieces: number (0 is free space), 6 bytes, size, contents up to a
    multiple of 8.
    """
    pieces = 0
    begin = data.find(_HEAP)
    while begin >= 0:
        if begin + 16 > len(data):
            raise NwsError(f"{shown(path)}: a heap of its texts is cut short: copy it anew")
        end = begin + struct.unpack_from("<Q", data, begin + 8)[0]
        at = begin + 16
        while at + 16 <= end <= len(data):
            number, size = struct.unpack_from("<H6xQ", data, at)
            needed = 16 + size + -size % 8 if number else size
            pieces += 1
            if needed < 16 or at + needed > end or pieces > _MOST_PIECES:
                raise NwsError(f"{shown(path)}: a heap of its texts is damaged: copy it anew")
            at += needed
        begin = data.find(_HEAP, begin + 8)


def _check_lists(data: bytes | mmap.mmap, path: Path) -> None:
    """The lists of names: the HDF5 library makes room for as much text as an entry claims, up to 4 GB, before it looks for it.

    An attribute is its version, a byte, three lengths; its name, type and shape of these lengths; and entries of a length, the
    address of a heap, and a number. In version 1 all but these are filled up to a multiple of 8, version 3 has one byte more.
    """
    for name in _LISTS:
        for match in re.finditer(name.encode() + b"\0", data):
            for head, known in ((match.start() - 8, (1, 2)), (match.start() - 9, (3,))):
                with contextlib.suppress(struct.error, IndexError):  # the library will see that it is cut short
                    if head >= 0 and data[head] in known and _claimed(data, head, match.start()) > _MOST_NAMES:
                        raise NwsError(f"{shown(path)}: {name} claims more text than any names: the file is damaged")


def _claimed(data: bytes | mmap.mmap, head: int, name: int) -> int:
    """Bytes of text that the entries of a list claim together: they may all point to the same."""
    step = 8 if data[head] == 1 else 1
    lengths = [n + -n % step for n in struct.unpack_from("<3H", data, head + 2)]
    kind, shape, entries = (name + sum(lengths[:k]) for k in (1, 2, 3))
    if data[kind] & 15 != 9:  # no list of texts of any length
        return 0
    count = math.prod(struct.unpack_from(f"<{data[shape + 1]}Q", data, shape + (8 if data[shape] == 1 else 4)))
    return sum(n for n, _, _ in struct.iter_unpack("<IQI", data[entries : entries + 16 * min(count, 1 << 20)]))


def _data_sets(file: Any, layers: list[str], size: int, path: Path, limits: Limits) -> dict[str, np.ndarray]:
    sets: dict[str, Any] = {}
    _walk(file, "", sets, layers, limits, 0)
    check_declared(path, ((name, tuple(int(n) for n in s.shape or ()), s.dtype.itemsize) for name, s in sets.items()), limits)
    # A chunk is unpacked whole, however little of it the data set holds.
    total = sum(max(math.prod(s.shape or ()), math.prod(s.chunks or ())) * s.dtype.itemsize for s in sets.values())
    if total > limits.ratio * max(size, 4096):
        raise NwsError(f"{shown(path)}: {size:,} bytes would become {total:,}: this is no file of weights")
    return _named({name: np.asarray(data[()]) for name, data in sets.items()})


def _walk(group: Any, prefix: str, sets: dict[str, Any], layers: list[str], limits: Limits, depth: int) -> None:
    """Adds the data sets below a group, in the order of Keras's layers where the file tells it."""
    import h5py

    if depth > _DEEPEST or len(sets) > limits.tensors:
        raise NwsError("groups are nested without end")
    for name in _ordered(group, layers):
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise NwsError(f"{printable(prefix + name)[:80]} is a link to another place: refused")
        item = group.get(name)
        if isinstance(item, h5py.Group) and not (depth == 0 and name in _NOT_WEIGHTS):
            _walk(item, f"{prefix}{name}/", sets, layers, limits, depth + 1)
        elif isinstance(item, h5py.Dataset) and item.dtype.kind in "fiu" and item.shape is not None:
            if item.external or item.is_virtual or item.compression not in (None, "gzip", "lzf"):
                raise NwsError(
                    f"{printable(prefix + name)[:80]} lies in another file, or is packed in a way that is not read: refused"
                )
            sets[prefix + name] = item


def _ordered(group: Any, layers: list[str]) -> list[str]:
    names = list(group)
    said = [n.decode("utf-8", "replace") if isinstance(n, bytes) else str(n) for n in _attribute(group, *_LISTS)]
    first = [name.split("/")[0] for name in [*said, *(layers if set(layers) & set(names) else [])]]
    leaf = [name.split("/")[-1] for name in said]
    order = {name: k for k, name in reversed(list(enumerate([*first, *leaf])))}
    return sorted(names, key=lambda name: (order.get(name, len(order)), natural(name)))


def _attribute(group: Any, *names: str) -> list[Any]:
    import h5py

    for name in names:
        if name in group.attrs:
            # Reading a list of a kind that it does not know, the HDF5 library crashes.
            if not isinstance(group.attrs.get_id(name).get_type(), h5py.h5t.TypeStringID):
                raise NwsError(f"{name} is no list of texts: the file is damaged")
            return list(np.atleast_1d(group.attrs[name]))[:10_000]
    return []


def _layer_order(opened: Any) -> list[str]:
    """The groups of a .keras file in the order of its configuration: Keras names them after the class, with a counter."""
    try:
        config = json.loads(archive.entry(opened, "config.json", 64 << 20))
        classes = [layer["class_name"] for layer in config["config"]["layers"]]
    except (KeyError, ValueError, TypeError, RecursionError, NwsError):
        return []
    counts: Counter[str] = Counter()
    names = []
    for name in classes:
        snake = re.sub(r"([a-z])([A-Z])", r"\1_\2", re.sub(r"\W+", "", re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", str(name)))).lower()
        names.append(snake if not counts[snake] else f"{snake}_{counts[snake]}")
        counts[snake] += 1
    return names


def _named(found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Keras's newer files number a layer's variables: layers/dense/vars/0 -> layers/dense/kernel."""
    groups: dict[str, list[str]] = {}
    for name in found:
        if match := re.fullmatch(r"(.+)/vars/\d+", name):
            groups.setdefault(match[1], []).append(name)
    renamed: dict[str, str] = {}
    for prefix, names in groups.items():
        roles = _NORM if len(names) == 4 and all(found[name].ndim == 1 for name in names) else _KERNEL
        if len(names) <= len(roles):
            renamed |= {name: f"{prefix.removeprefix('layers/')}/{role}" for name, role in zip(names, roles)}
    return {renamed.get(name, name): array for name, array in found.items()}
