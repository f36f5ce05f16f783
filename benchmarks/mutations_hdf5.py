"""HDF5 files made strange behind a sound beginning: other names, lists, kinds and shapes, and single fields of its structures."""

from __future__ import annotations

import io
import json
import random
import re
import struct
from functools import lru_cache
from typing import Any

import numpy as np
from mutations import NUMBERS, TEXTS, json_value, some_bytes

MARKS = re.compile(rb"TREE|SNOD|HEAP|GCOL|OHDR|OCHK|FRHP|FHDB|BTHD|BTLF|BTIN|FADB|EAHD|layer_names\d?|weight_names\d?|model_config")
LISTS = ("layer_names", "weight_names", "layer_names0", "weight_names0", "weight_names1", "model_config", "name", "x")
KINDS = ("f2", "f4", "f8", ">f4", "i1", "u8", "?", "c8", "S3", "V5", [("a", "f4")], [("a", "f4", (2,))])


def hdf5(data: bytes, rng: random.Random) -> bytes:
    """One in ten anywhere, for the first checks; else a field of a structure, or a file that the library itself writes."""
    kind = rng.random()
    if kind < 0.1:
        return some_bytes(data, rng)
    if kind < 0.5:
        return _fields(data, rng)
    try:
        return _written(data, rng)
    except (ValueError, RuntimeError, KeyError, OSError, TypeError):  # the library itself would not write that
        return _fields(data, rng)


@lru_cache(maxsize=16)
def _places(data: bytes) -> tuple[tuple[int, int], ...]:
    """(beginning, length) of what the file is made of: structures that have a mark, and headers of objects, which have none."""
    import h5py

    found = [(mark.start(), 64) for mark in MARKS.finditer(data)]
    with h5py.File(io.BytesIO(data), "r") as file:
        found.append((h5py.h5o.get_info(file.id).addr, 256))
        file.visititems(lambda name, item: found.append((h5py.h5o.get_info(item.id).addr, 272)))
    return tuple(found)


def _fields(data: bytes, rng: random.Random) -> bytes:
    """One to three fields of one, two, four or eight bytes, aligned as the format has them; the superblock stays."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        begin, length = rng.choice(_places(data))
        width = rng.choice("BBHIQ")
        size = struct.calcsize(width)
        at = begin + rng.randrange(0, length, size if rng.random() < 0.7 else 1)
        if at < 96 or at + size > len(changed):
            continue
        (there,) = struct.unpack_from("<" + width, changed, at)
        value = rng.choice(
            (there + 1, there - 1, there ^ (1 << rng.randrange(8 * size)), 0, rng.choice(NUMBERS), rng.randrange(len(data)))
        )
        struct.pack_into("<" + width, changed, at, value & ((1 << 8 * size) - 1))
    return bytes(changed)


def _written(data: bytes, rng: random.Random) -> bytes:
    """One to three changes that h5py writes."""
    import h5py

    whole = io.BytesIO(data)
    with h5py.File(whole, "r+") as file:
        for _ in range(rng.choice((1, 1, 2, 3))):
            items: list[Any] = []
            file.visititems(lambda name, item, items=items: items.append(item))  # type: ignore[misc]
            sets = [item for item in items if isinstance(item, h5py.Dataset)]
            groups = [file, *(item for item in items if isinstance(item, h5py.Group))]
            change = rng.randrange(7)
            if change < 2:
                _attribute(rng.choice(groups), rng)
            elif change == 2 and sets:
                _renamed(file, rng.choice([*groups[1:], *sets]).name, rng)
            elif change == 3:
                _other(rng.choice(groups), rng)
            elif sets:
                _replaced(file, rng.choice(sets).name, rng)
    return whole.getvalue()


def _attribute(group: Any, rng: random.Random) -> None:
    """Where the group has one of Keras's lists, that one mostly."""
    import h5py

    own = [name for name in group.attrs if name in LISTS]
    name = rng.choice(own) if own and rng.random() < 0.8 else rng.choice(LISTS)
    old = group.attrs.get(name, b"")
    texts = [n.decode("utf-8", "replace") if isinstance(n, bytes) else str(n) for n in np.atleast_1d(old).tolist()]
    kind = rng.randrange(9)
    if name == "model_config" and kind < 6:
        try:
            value: Any = json.dumps(json_value(json.loads(texts[0] or "{}"), rng)).encode("utf-8", "replace")[:60_000]
        except ValueError:
            value = rng.choice((b"[" * 30_000, b"null", b'{"config": 1}', b"\xff"))
    elif kind == 0:
        value = rng.sample(texts, len(texts))
    elif kind == 1:
        value = texts[: rng.randrange(len(texts) + 1)]
    elif kind == 2:
        value = [*texts, *texts] * rng.choice((1, 20))
    elif kind < 5:
        value = [*texts, rng.choice([t for t in TEXTS if "\0" not in t and "\ud800" not in t])]
    elif kind == 5:
        value = np.zeros(rng.choice(((), (0,), (3,), (2, 2))), rng.choice(KINDS))
    elif kind == 6:
        value = rng.choice((h5py.Empty("f4"), h5py.Empty("S3"), group.ref, 3, "", b""))
    elif kind == 7:
        value = np.array([[t.encode("utf-8", "replace") for t in texts or ["a"]]] * 2, dtype="S40")
    else:
        group.attrs.pop(name, None)
        return
    group.attrs[name] = (
        [v.encode("utf-8", "replace") for v in value] if isinstance(value, list) and rng.random() < 0.5 and value else value
    )


def _renamed(file: Any, name: str, rng: random.Random) -> None:
    parent, leaf = name.rsplit("/", 1)
    others = [
        "0",
        "vars",
        "cell",
        "layers",
        "optimizer",
        "a" * 3000,
        "kernel:0",
        "alpha",
        "..",
        ".",
        "a\\b",
        "\u202e",
        "%s",
        leaf + "_1",
    ]
    if rng.random() < 0.3:
        del file[name]
    else:
        file.move(name, f"{parent}/{rng.choice(others)}")


def _replaced(file: Any, name: str, rng: random.Random) -> None:
    """Another kind, shape, packing or place of storage."""
    import h5py

    shape = tuple(rng.choice((0, 1, 2, 3, 7, 64)) for _ in range(rng.choice((0, 1, 1, 2, 3, 4, 6))))
    shape = rng.choice((shape, file[name].shape, file[name].shape))
    kind = rng.choice(KINDS) if rng.random() < 0.4 else "f4"
    del file[name]
    change = rng.randrange(8)
    if change == 0:
        file[name] = h5py.Empty("f4")
    elif change == 1:
        file.create_dataset(name, shape, dtype=h5py.vlen_dtype("f4") if rng.random() < 0.5 else h5py.ref_dtype)
    elif change == 2:
        file.create_dataset(name, shape, "f4", external=[("/etc/hostname", 0, h5py.h5f.UNLIMITED)])
    elif change == 3:
        source = h5py.VirtualSource("/etc/hostname", "a", shape=shape or (1,))
        layout = h5py.VirtualLayout(shape=shape or (1,), dtype="f4")
        layout[...] = source
        file.create_virtual_dataset(name, layout)
    elif change < 6 and shape and 0 not in shape:
        most = tuple(None for _ in shape)
        chunks = tuple(rng.choice((1, n, 64)) for n in shape)
        packing = rng.choice(("gzip", "lzf", None))
        made = file.create_dataset(
            name,
            shape,
            kind,
            maxshape=most,
            chunks=chunks,
            compression=packing,
            fletcher32=rng.random() < 0.3,
            shuffle=rng.random() < 0.3,
        )
        made.resize(tuple(rng.choice((n, n + 1, 200)) for n in shape))
    else:
        file.create_dataset(name, shape, kind)


def _other(group: Any, rng: random.Random) -> None:
    """Links, kinds that have names, a group in itself, deep and wide groups."""
    import h5py

    name = rng.choice(("new", "layers", "vars", "model_weights", "0"))
    kind = rng.randrange(7)
    if kind == 0:
        group[name] = h5py.SoftLink(rng.choice(("/", "/model_weights", "nowhere", "../..")))
    elif kind == 1:
        group[name] = h5py.ExternalLink("/etc/hostname", "/")
    elif kind == 2:
        group[name] = np.dtype("f4")
    elif kind == 3:
        group[name] = group.file["/"] if rng.random() < 0.5 else group
    elif kind == 4:
        group.create_group("/".join(["deep"] * rng.choice((5, 25, 60))))
    elif kind == 5:
        for k in range(rng.choice((3, 300))):
            group.create_group(f"{name}_{k}")
    else:
        group.create_dataset(f"{name}/vars/0", data=np.ones((2, 2), "f4"))
