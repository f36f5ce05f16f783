"""A shard: up to a thousand nets in one file, with the container of a net's own file, and the same metadata and tensors for each.

A file per net costs more than most readers of weights do: for small nets opening it takes longer than reading it. Here a net is
found by a table of six numbers per net. Nets follow one another in each tensor in the order of the table, so that they cannot
overlap whatever a stranger writes; and each keeps its own checksums, so that damage is one net's.
"""

from __future__ import annotations

import json
import mmap
import os
import re
import weakref
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from nws.layout import Layout
from nws.net import Net
from nws.zoo.container import (
    DTYPES,
    checked_metadata,
    checked_tensors,
    damaged,
    entries,
    metadata_sha256,
    parsed,
    read_into,
    refusing,
    sha256,
    whole_number,
)
from nws.zoo.netfile import FORMAT as NET_FORMAT
from nws.zoo.netfile import OWN, Header, about_of, check_format, header_of, layout_of, net_at, records_at

FORMAT = 4
BLOCK = 1000  # a shard holds nets of one thousand numbers, those of its folder
NETS, BYTES = 256, 64 << 20  # how many nets, and bytes, one is filled with: memory for one is nothing, a thousand nets are 4 files
FOLDER = "shards"
TENSORS = {"nets": "I64", "metadata": "U8", "epoch": "I64", "history": "F64", "theta": "F32"}
COLUMNS = ("number", "snapshots", "weights", "records", "measures", "metadata")  # the last in bytes, as the net's text has
_NAME = re.compile(r"(\d{6,9})-(\d{6,9})-[0-9a-f]{8}\.safetensors")

Packed = tuple[dict[str, str], dict[str, np.ndarray]]  # a net's metadata and tensors, as netfile writes them


def folder_of(root: Path, number: int) -> Path:
    """Where shards with this net lie."""
    return root / FOLDER / f"{number // BLOCK:03d}"


def span_of(path: Path) -> tuple[int, int] | None:
    """First and last number by a shard's name; None when the file does not bear a shard's name, or lies elsewhere."""
    match = _NAME.fullmatch(path.name)
    if not match:
        return None
    first, last = int(match[1]), int(match[2])
    ours = f"{first:06d}-{last:06d}-" == path.name[: -len("12345678.safetensors")]
    return (
        (first, last) if ours and first <= last and f"{first // BLOCK:03d}" == path.parent.name == f"{last // BLOCK:03d}" else None
    )


def encode(nets: Sequence[Packed]) -> bytes:
    """The whole file of these nets, which stand in the order of their numbers."""
    common = dict(nets[0][0])
    for metadata, _ in nets[1:]:
        common = {key: value for key, value in common.items() if metadata.get(key) == value}
    texts = [json.dumps({k: v for k, v in metadata.items() if k not in common}).encode() for metadata, _ in nets]
    texts[-1] += b" " * (-sum(map(len, texts)) % 8)  # all tensors then start at multiples of eight bytes
    rows = [
        (int(metadata["number"]), *t["theta"].shape, *t["history"].shape, len(text))
        for (metadata, t), text in zip(nets, texts, strict=True)
    ]
    table = np.array(rows, "<i8")
    each = {name: [t[name].reshape(-1) for _, t in nets] for name in ("epoch", "history", "theta")}
    body: dict[str, list[Any]] = {"nets": [table], "metadata": texts, **each}
    said = {"format": str(FORMAT), "shard": str(len(nets)), "common": json.dumps(common), "nets_sha256": sha256(table)}
    header: dict[str, Any] = {"__metadata__": {**said, "metadata_sha256": metadata_sha256(said)}}
    reached = 0
    for name, dtype in TENSORS.items():
        size = sum(memoryview(piece).nbytes for piece in body[name])
        shape = list(table.shape) if name == "nets" else [size // DTYPES[dtype].itemsize]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [reached, reached + size]}
        reached += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *(piece for pieces in body.values() for piece in pieces)])


def name_of(nets: Sequence[Packed], instead_of: str = "") -> str:
    """A name that other nets do not get, as two programs may fill the same folder, nor a file that is written anew."""
    import hashlib

    told = instead_of + "".join(metadata["metadata_sha256"] for metadata, _ in nets)  # which cover the checksums of the tensors
    numbers = [int(metadata["number"]) for metadata, _ in nets]
    return f"{numbers[0]:06d}-{numbers[-1]:06d}-{hashlib.sha256(told.encode()).hexdigest()[:8]}.safetensors"


class Shard:
    """An open shard, its header and table checked; closed when nobody holds it any more. Safe to share between threads.

    cut: the file may be cut short, too long or misnamed; each net is then to be read by `net`, which checks it.
    DamagedFileError when anything about header and table is wrong, OSError when it cannot be opened.
    """

    def __init__(self, path: Path, cut: bool = False):
        self.path = path
        self.descriptor = os.open(path, os.O_RDONLY)
        self._close = weakref.finalize(self, os.close, self.descriptor)
        status = os.fstat(self.descriptor)
        self.bytes = status.st_size
        self.identity = status.st_size, status.st_mtime_ns
        with refusing(path):
            tensors, metadata, start = entries(self.descriptor, self.bytes, path)
            check_format(path, metadata, FORMAT)
            if metadata["format"] != str(FORMAT):
                raise ValueError("it holds one net, not a shard's")
            shapes, self.offsets = checked_tensors(tensors, TENSORS, start, None if cut else self.bytes)
            self._common = self._read_common(metadata["common"])
            self._rows = self._read_table(metadata, shapes)
            if not cut:
                self._check_place()

    def _read_common(self, text: str) -> dict[str, str]:
        found = parsed(text.encode())
        if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
            raise ValueError("its common metadata are no JSON object of texts")
        return found

    def _read_table(self, metadata: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]]) -> dict[int, tuple[int, ...]]:
        """number -> where its metadata, epoch, history and theta begin (in elements), then its row of the table."""
        count = whole_number(metadata["shard"])
        if not 0 < count <= BLOCK or shapes["nets"] != (count, len(COLUMNS)):
            raise ValueError(f"its table has the shape {shapes['nets']}, for {count:,} nets")
        table = np.empty(shapes["nets"], "<i8")
        read_into(self.descriptor, table, self.offsets["nets"], self.path)
        if sha256(table) != metadata["nets_sha256"]:
            raise ValueError("its table is not what was written (the checksum differs)")
        if table.min() < 0:
            raise ValueError("its table holds numbers below 0")
        rows: dict[int, tuple[int, ...]] = {}
        at, last = [0, 0, 0, 0], -1
        for row in table.tolist():  # in Python's numbers, which no product can overflow
            number, snapshots, weights, records, measures, size = row
            if number <= last or not snapshots or not weights:
                raise ValueError("its table is not in the order of the numbers, or has a net without weights")
            rows[number] = (*at, *row)
            last = number
            at = [b + n for b, n in zip(at, (size, snapshots, records * measures, snapshots * weights), strict=True)]
        if [(n,) for n in at] != [shapes[name] for name in ("metadata", "epoch", "history", "theta")]:
            raise ValueError("its table does not fill its tensors")
        return rows

    def _check_place(self) -> None:
        span, numbers = span_of(self.path), list(self._rows)
        if span and span != (numbers[0], numbers[-1]):
            raise ValueError(f"it holds nets {numbers[0]} to {numbers[-1]}, not those of its name")

    def __contains__(self, number: int) -> bool:
        return number in self._rows

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def numbers(self) -> list[int]:
        return list(self._rows)

    def span(self, number: int) -> tuple[int, int, int]:
        """Where the net's theta begins in all of the file's (in weights), its snapshots S, its weights P."""
        row = self._rows[number]
        return row[3], row[5], row[6]

    @cached_property
    def floats(self) -> np.ndarray:
        """All theta of the file, flat: a read-only memory map, which lives as long as an array that looks into it."""
        mapped = mmap.mmap(self.descriptor, 0, access=mmap.ACCESS_READ)
        return np.frombuffer(mapped, DTYPES["F32"], sum(r[5] * r[6] for r in self._rows.values()), self.offsets["theta"])

    def metadata(self, number: int) -> dict[str, str]:
        """As the net's own file would have them, checked."""
        begin, size = self._rows[number][0], self._rows[number][9]
        what = f"net {number}: "
        if begin + size > self.bytes:
            raise damaged(self.path, f"{what}it was cut short")
        text = np.empty(size, "u1")
        read_into(self.descriptor, text, self.offsets["metadata"] + begin, self.path)
        with refusing(self.path, what):
            own = parsed(text.tobytes())
            if not isinstance(own, dict):
                raise ValueError("its metadata are no JSON object")
            if twice := set(own) & set(self._common):
                raise ValueError(f"its metadata name {min(twice)} twice")
            return checked_metadata({**self._common, **own})

    def header(self, number: int) -> Header:
        """The checked header of a net."""
        return self._parsed(number)[0]

    def layout(self, number: int) -> Layout:
        """Without reading the net's own metadata where all nets of the shard share the layout."""
        if "layout" in self._common and "format" in self._common:
            with refusing(self.path):
                found = layout_of(self._common["layout"], self._common["format"] == str(OWN))
                if found.size != self._rows[number][6]:
                    raise ValueError(f"net {number}: theta has {self._rows[number][6]:,} weights, its layout {found.size:,}")
                return found
        return self.header(number).layout

    def net(self, number: int) -> Net:
        """The whole net, every byte checked."""
        header, about = self._parsed(number)
        self._check_fits(number)
        return net_at(self.descriptor, self.path, header, about, f"net {number}: ")

    def records(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """The net's epoch (S,) and history (T, M), checked, without its weights."""
        return records_at(self.descriptor, self.path, self.header(number), f"net {number}: ")

    def packed(self, number: int) -> Packed:
        """The net as it is, to be written elsewhere: metadata checked, tensors not."""
        metadata = self.metadata(number)
        self._check_fits(number)
        _, epoch, history, theta, _, snapshots, weights, records, measures, _ = self._rows[number]
        shapes = {"theta": (snapshots, weights), "epoch": (snapshots,), "history": (records, measures)}
        tensors = {name: np.empty(shape, DTYPES[TENSORS[name]]) for name, shape in shapes.items()}
        for name, begin in (("theta", theta), ("epoch", epoch), ("history", history)):
            read_into(self.descriptor, tensors[name], self.offsets[name] + tensors[name].itemsize * begin, self.path)
        return metadata, tensors

    def _check_fits(self, number: int) -> None:
        """Before memory is taken for its tensors: those of a file that is cut short may claim anything."""
        _, snapshots, weights, records, measures, _ = self._rows[number][4:]
        if 4 * snapshots * weights + 8 * records * measures + 8 * snapshots > self.bytes:
            raise damaged(self.path, f"net {number}: it was cut short")

    def _parsed(self, number: int) -> tuple[Header, dict[str, Any]]:
        metadata, what = self.metadata(number), f"net {number}: "
        _, epoch, history, theta, _, snapshots, weights, records, measures, size = self._rows[number]
        offsets = {
            "theta": self.offsets["theta"] + 4 * theta,
            "epoch": self.offsets["epoch"] + 8 * epoch,
            "history": self.offsets["history"] + 8 * history,
        }
        shapes = {"theta": (snapshots, weights), "epoch": (snapshots,), "history": (records, measures)}
        whole = size + 4 * snapshots * weights + 8 * snapshots + 8 * records * measures
        with refusing(self.path, what):
            check_format(self.path, metadata, NET_FORMAT, what)
            header = header_of(metadata, shapes, offsets, whole)
            about = about_of(metadata)
        if header.number != number:
            raise damaged(self.path, f"{what}it holds net {header.number}")
        return header, about
