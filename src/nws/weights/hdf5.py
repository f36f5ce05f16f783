"""HDF5: Keras's .h5 and .weights.h5, the .keras archive around one, and any other file of data sets.

What Keras means by its names is told by keras.py. Only what lies in the file itself is read: no soft or external link, no
external or virtual storage.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import mmap
import re
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nws.errors import NwsError
from nws.recorded import printable
from nws.weights import archive, keras
from nws.weights.checkpoint import Checkpoint, Limits, check_declared, check_file, shown
from nws.weights.state import natural, numbers_only

_DEEPEST = 20
_HEAP = b"GCOL\x01"
_MOST_PIECES = 200_000
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_LISTS = ("layer_names", "weight_names")
_MOST_NAMES = 16 << 20  # bytes of a list of them
_MOST_ENTRIES = 10_000
_MOST_CHUNKS = 20_000
_MOST_MEMORY = 256 << 20  # bytes that going through a file's groups may take, and 16 times its size
_NOT_WEIGHTS = ("optimizer", "optimizer_weights", "seed_generator", "metrics")


def read(path: Path, limits: Limits) -> Checkpoint:
    """Raises NwsError. Needs the package h5py."""
    try:
        import h5py
    except ImportError:
        raise NwsError(f"{shown(path)}: reading HDF5 needs the package h5py: pip install nws[formats]") from None
    size = check_file(path, limits)
    source: Any = path
    config: Any = None
    with open(path, "rb") as file:
        zipped = file.read(2) == b"PK"  # what the name says is often wrong: .keras files of HDF5, .h5 files that are archives
    if zipped:
        with archive.opened(path, limits) as opened:
            if "model.weights.h5" not in opened.namelist():
                raise NwsError(f"{shown(path)} holds no model.weights.h5: it was not saved by Keras")
            source = io.BytesIO(archive.entry(opened, "model.weights.h5", limits.bytes))
            config = _configuration(opened)
    with open(path, "rb") if isinstance(source, Path) else contextlib.nullcontext() as opened_file:
        data = mmap.mmap(opened_file.fileno(), 0, access=mmap.ACCESS_READ) if opened_file else source.getvalue()
        _check_signature(data, path)
        _check_heaps(data, path)
        _check_lists(data, path)
    try:
        with h5py.File(source, "r") as opened_h5:
            with bounded_memory(_MOST_MEMORY + 16 * size):
                weights, notes = _weights(opened_h5, config, size, path, limits)
            found = {weight.name: np.asarray(opened_h5[weight.path][()]) for weight in weights}
    except NwsError:
        raise
    except Exception as error:  # h5py passes on what the C library says
        raise NwsError(f"{shown(path)} cannot be read as HDF5 ({printable(error)[:120]}): it is damaged") from None
    arrays, left_out = numbers_only(found)
    roles = {weight.name: weight.role for weight in weights if weight.role and weight.name in arrays}
    kinds = {weight.name: weight.kind for weight in weights if weight.kind and weight.name in arrays}
    return Checkpoint(path, "hdf5", tuple(arrays), arrays, (*notes, *left_out), kernels="keras", roles=roles, kinds=kinds)


@contextlib.contextmanager
def bounded_memory(more: int) -> Iterator[None]:
    """Nobody in this process gets more than so many bytes meanwhile, beyond what it has: a MemoryError, or a C library's error.

    For libraries that a damaged file can make ask for memory without end: of 20,000 altered files one did, from 33 KB. The price:
    other threads are bounded, too, for the milliseconds that it takes. Where the system knows no such limit there is none.
    """
    try:
        import resource

        with open("/proc/self/statm") as file:
            held = int(file.read().split()[0]) * resource.getpagesize()
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        wanted = held + more
        resource.setrlimit(resource.RLIMIT_AS, (wanted if soft == resource.RLIM_INFINITY else min(soft, wanted), hard))
    except (ImportError, OSError, ValueError):
        yield
        return
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _check_signature(data: bytes | mmap.mmap, path: Path) -> None:
    """At byte 0, 512, 1024, 2048 ..., as the format's description has it."""
    at = 0
    while at < len(data):
        if data[at : at + 8] == _SIGNATURE:
            return
        at = max(512, 2 * at)
    raise NwsError(f"{shown(path)} is no HDF5 file, whatever its name says: copy it anew")


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
    for name in (*_LISTS, "model_config"):
        for match in re.finditer(name.encode() + rb"\d{0,3}\0", data):
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


def _weights(file: Any, config: Any, size: int, path: Path, limits: Limits) -> tuple[list[keras.Weight], tuple[str, ...]]:
    """The data sets in order, named, checked against the limits and not yet read."""
    sets: dict[str, Any] = {}
    lists: dict[str, list[str]] = {}
    _walk(file, "", sets, lists, limits, 0)
    check_declared(path, ((name, tuple(int(n) for n in s.shape or ()), s.dtype.itemsize) for name, s in sets.items()), limits)
    pieces = sum(math.prod(-(-n // c) for n, c in zip(s.shape, s.chunks)) for s in sets.values() if s.chunks)
    if pieces > _MOST_CHUNKS:  # each costs the library 6 KB, stored or not: 1.7 GB for an empty data set in a file of 9 KB
        raise NwsError(f"{shown(path)} is cut into {pieces:,} pieces: this is no file of weights")
    # A chunk is unpacked whole, however little of it the data set holds.
    total = sum(max(math.prod(s.shape or ()), math.prod(s.chunks or ())) * s.dtype.itemsize for s in sets.values())
    if total > limits.ratio * max(size, 4096):
        raise NwsError(f"{shown(path)}: {size:,} bytes would become {total:,}: this is no file of weights")
    found = [keras.Weight(name, tuple(s.shape), _address(s)) for name, s in sets.items()]
    root = "model_weights/" if "model_weights/" in lists else ""
    if config is None:
        config = _parsed(next(iter(_texts(file, "model_config")), "null"))
    tree = keras.model(config)
    if root in lists:
        beside = sorted({name.split("/")[0] for name in sets if not name.startswith(root)})
        found = [weight for weight in found if weight.path.startswith(root)]
        stated = [(f"{root}{layer}", layer, _names(f"{root}{layer}/", lists, sets)) for layer in lists[root]]
        _check_present(stated, sets, path)
        note = f"left out, beside the model's weights: {', '.join(printable(name)[:60] for name in beside[:3])}"
        return keras.unique(keras.listed(found, stated, tree)), (note,) if beside else ()
    if not any(weight.path.replace("\\", "/").split("/")[-2:-1] == ["vars"] for weight in found):
        return keras.unique([replace(weight, name=weight.path) for weight in found]), ()
    notes = (
        () if tree.inner else ("layers of different kinds are in the order of writing: the file does not say which comes first",)
    )
    return keras.unique(keras.numbered([weight for weight in found if weight.shape], tree)), notes


def _names(group: str, lists: dict[str, list[str]], sets: dict[str, Any]) -> list[str]:
    return lists[group] if group in lists else [name.removeprefix(group) for name in sets if name.startswith(group)]


def _check_present(stated: list[tuple[str, str, list[str]]], sets: dict[str, Any], path: Path) -> None:
    for group, _, names in stated:
        for name in names:
            if f"{group}/{name}" not in sets:
                raise NwsError(f"{shown(path)} lacks {printable(f'{group}/{name}')[:80]}, which its list names: copy it anew")


def _address(data: Any) -> int:
    import h5py

    return int(h5py.h5o.get_info(data.id).addr)


def _walk(group: Any, prefix: str, sets: dict[str, Any], lists: dict[str, list[str]], limits: Limits, depth: int) -> None:
    """Adds the data sets below a group, and the names that Keras lists there."""
    import h5py

    if depth > _DEEPEST or len(sets) > limits.tensors or len(lists) > limits.tensors:
        raise NwsError("groups are nested without end")
    for attribute in _LISTS if depth else _LISTS[:1]:
        if any(name.startswith(attribute) for name in group.attrs):
            lists[prefix] = _texts(group, attribute)
            break
    for name in sorted(group, key=natural):
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise NwsError(f"{printable(prefix + name)[:80]} is a link to another place: refused")
        item = group.get(name)
        if isinstance(item, h5py.Group) and not ((depth == 0 and name in _NOT_WEIGHTS) or name == "seed_generator"):
            _walk(item, f"{prefix}{name}/", sets, lists, limits, depth + 1)
        elif isinstance(item, h5py.Dataset) and item.dtype.kind in "fiu" and item.shape is not None:
            if item.external or item.is_virtual or item.compression not in (None, "gzip", "lzf"):
                raise NwsError(
                    f"{printable(prefix + name)[:80]} lies in another file, or is packed in a way that is not read: refused"
                )
            sets[prefix + name] = item


def _texts(group: Any, attribute: str) -> list[str]:
    """An attribute that is a list of texts or one; Keras cuts long lists into attribute0, attribute1 ..."""
    import h5py

    found: list[str] = []
    for name in [attribute] if attribute in group.attrs else [f"{attribute}{k}" for k in range(1000)]:
        if name not in group.attrs:
            break
        stored = group.attrs.get_id(name)
        if not stored.get_space().get_simple_extent_npoints():
            continue  # of a layer without weights: an empty list, which numpy made one of float64
        # Reading a list of a kind that it does not know, the HDF5 library crashes.
        if not isinstance(stored.get_type(), h5py.h5t.TypeStringID):
            raise NwsError(f"{name} is no list of texts: the file is damaged")
        values = np.atleast_1d(group.attrs[name])[:_MOST_ENTRIES]
        found += [n.decode("utf-8", "replace") if isinstance(n, bytes) else str(n) for n in values]
    return found[:_MOST_ENTRIES]


def _configuration(opened: Any) -> Any:
    try:
        return _parsed(archive.entry(opened, "config.json", _MOST_NAMES))
    except (KeyError, NwsError):
        return None


def _parsed(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
