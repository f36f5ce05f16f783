"""One net's file: safetensors, with everything about the net in the metadata and checksums over all of it (docs/format.md).

Any safetensors library opens these files. We read them by hand, because a header is all the index needs, and because a file from
a stranger is hostile: every number is checked against the size of the file before anything is allocated.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from nws.errors import NwsError, unknown
from nws.families import FAMILIES
from nws.families.base import HISTORY
from nws.families.space import Config
from nws.layout import Layout
from nws.net import STATUSES, Net
from nws.recorded import Recorded
from nws.zoo.select import SPLITS

# Formats of a net's file: nets of the paper's space; foreign ones; nets of any family, which is what is written now.
OWN, FOREIGN, FORMAT = 1, 2, 3
HEADER_LIMIT = 16 << 20  # bytes; ours have 3,000
_MOST_BRACKETS = 200_000  # ours have 100; JSON of brackets alone takes twenty times its size in memory, and seconds
ACCURACIES = ("train_accuracy", "validation_accuracy", "test_accuracy")
_DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F64": np.dtype("<f8"), "I64": np.dtype("<i8")}
_TENSORS = {"theta": "F32", "epoch": "I64", "history": "F64"}


class DamagedFileError(NwsError):
    """A file that is not what was written: cut short, altered, or in the wrong place."""


class NewerFormatError(NwsError):
    """A whole file that this nws is too old for: an upgrade reads it, so nothing may move it away."""


@dataclass(frozen=True)
class Header:
    """What a file says about its net, without any weights. `offsets`: tensor name -> its first byte in the file."""

    number: int
    hp: Config | Recorded
    family: str  # "" for a foreign net
    layout: Layout
    status: str
    split: str
    seconds: float
    measures: tuple[str, ...]  # columns of the history
    measured: Mapping[str, float | None]  # at the last snapshot, "step" left out
    snapshots: int
    weights: int
    records: int
    epochs: int
    offsets: Mapping[str, int]
    bytes: int
    theta_sha256: str
    records_sha256: str


def net_path(root: Path, number: int) -> Path:
    """Where net `number` lies in the zoo `root`."""
    return root / "nets" / f"{number // 1000:03d}" / f"{number:06d}.safetensors"


def encode(net: Net, split: str) -> bytes:
    """The whole file of a net. Metadata values are strings, as safetensors asks."""
    from safetensors.numpy import save

    tensors = {
        "theta": np.ascontiguousarray(net.theta, "<f4"),
        "epoch": np.ascontiguousarray(net.epoch, "<i8"),
        "history": np.ascontiguousarray(net.history, "<f8"),
    }
    metadata = {
        "format": str(FORMAT),
        "number": str(net.number),
        "family": net.hp.family.name if isinstance(net.hp, Config) else "",
        "family_version": str(net.hp.family.version if isinstance(net.hp, Config) else 0),
        "hyper_parameters": json.dumps(net.hp.to_dict()),
        "layout": net.layout.to_json(),
        "status": net.status,
        "split": split,
        "seconds": repr(float(net.seconds)),
        "measures": json.dumps(net.measures),
        "measured": json.dumps(_measured(net.history, net.measures)),
        "epochs": str(int(net.epoch[-1]) if isinstance(net.hp, Recorded) else max(len(net.history) - 1, int(net.epoch[-1]))),
        "about": json.dumps(plain(net.about)),
        "theta_sha256": _sha256(tensors["theta"]),
        "records_sha256": _sha256(tensors["epoch"], tensors["history"]),
    }
    return save(tensors, {**metadata, "metadata_sha256": _metadata_sha256(metadata)})


def read_header(path: Path | str, number: int | None = None) -> Header:
    """Read and check a file's header. `number`: the net it must hold.

    Raises DamagedFileError (an NwsError) when anything about it is wrong, NwsError when it was written by a newer nws.
    """
    path = Path(path)
    with _open(path) as descriptor:
        return parse_header(descriptor, path, number)[0]


def read_net(path: Path | str, number: int | None = None) -> Net:
    """Read the whole net and check every byte. Raises as `read_header`."""
    path = Path(path)
    with _open(path) as descriptor:
        header, about = parse_header(descriptor, path, number)
        shapes = {
            "theta": (header.snapshots, header.weights),
            "epoch": (header.snapshots,),
            "history": (header.records, len(header.measures)),
        }
        try:
            tensors: dict[str, Any] = {name: np.empty(shape, _DTYPES[_TENSORS[name]]) for name, shape in shapes.items()}
        except MemoryError:
            raise NwsError(f"{path}: {header.bytes:,} bytes do not fit into memory: use a larger machine") from None
        for name, tensor in tensors.items():
            read_into(descriptor, tensor, header.offsets[name], path)
    if _sha256(tensors["theta"]) != header.theta_sha256:
        raise damaged(path, "theta is not what was written (its checksum differs)")
    if _sha256(tensors["epoch"], tensors["history"]) != header.records_sha256:
        raise damaged(path, "epoch or history is not what was written (the checksum differs)")
    found = _measured(tensors["history"], header.measures)
    if any(found[name] != value for name, value in header.measured.items()):
        raise damaged(path, "its accuracies are not those of its history")
    more: dict[str, Any] = {"status": header.status, "seconds": header.seconds, "about": about, "measures": header.measures}
    try:
        return Net(header.number, header.hp, header.layout, **tensors, **more)
    except NwsError as error:
        raise damaged(path, str(error)) from None


def read_records(path: Path | str, number: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """A net's epoch (S,) and history (T, M), checked, without its weights. Raises as `read_header`."""
    path = Path(path)
    with _open(path) as descriptor:
        header, _ = parse_header(descriptor, path, number)
        epoch, history = np.empty(header.snapshots, "<i8"), np.empty((header.records, len(header.measures)), "<f8")
        read_into(descriptor, epoch, header.offsets["epoch"], path)
        read_into(descriptor, history, header.offsets["history"], path)
    if _sha256(epoch, history) != header.records_sha256:
        raise damaged(path, "epoch or history is not what was written (the checksum differs)")
    return epoch, history


def parse_header(descriptor: int, path: Path, number: int | None = None) -> tuple[Header, dict[str, Any]]:
    """The header of an open file and its `about`, checked: see `read_header`."""
    size = os.fstat(descriptor).st_size
    try:
        text = _header_text(descriptor, size, path)
        entries = json.loads(text, object_pairs_hook=_no_duplicates)
        if not isinstance(entries, dict):
            raise damaged(path, "its header is no JSON object")
        metadata = _checked_metadata(entries.pop("__metadata__", None))
        version = _whole_number(metadata["format"])
        if version < OWN:
            raise ValueError(f"format {version} never was")
        if version > FORMAT:
            raise NewerFormatError(f"{path}: format {metadata['format']} was written by a newer nws: upgrade nws")
        shapes, offsets = _checked_tensors(entries, 8 + len(text), size)
        header = _header(metadata, shapes, offsets, size)
        about = json.loads(metadata["about"])
        if not isinstance(about, dict):
            raise ValueError("about is no JSON object")
    except (DamagedFileError, NewerFormatError):
        raise
    except KeyError as error:
        raise damaged(path, f"its header lacks {error}") from None
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise damaged(path, str(error).splitlines()[0] if str(error) else "its header cannot be read") from None
    if number is not None and header.number != number:
        raise damaged(path, f"it holds net {header.number}, not {number}")
    return header, about


def damaged(path: Path, why: str) -> DamagedFileError:
    """The error for a file that cannot be trusted."""
    return DamagedFileError(f"{path}: {why}{advice(path)}")


def advice(path: Path) -> str:
    """What the message of a damaged file ends with."""
    zoo = path.parents[2] if len(path.parents) > 2 and path.parents[1].name == "nets" else "ZOO"
    return f": run `nws verify {zoo} --repair`"


def read_into(descriptor: int, array: np.ndarray, offset: int, path: Path) -> None:
    """Fill a contiguous array from the file's bytes at `offset`."""
    view = array.reshape(-1).view(np.uint8).data
    done = 0
    while done < len(view):
        got = os.preadv(descriptor, [view[done:]], offset + done)
        if not got:
            raise damaged(path, "it was cut short while being read")
        done += got


def plain(value: Any) -> Any:
    """The value as JSON can hold it: numpy scalars and arrays unwrapped, NaN and infinity as null, what is foreign as text."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset | range):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def write_error(root: Path, number: int, error: OSError) -> NwsError:
    kept = "the net was dropped whole, the zoo stays valid"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NwsError(f"{root}: disk full while writing net {number}: {kept}; free space and run the same command again")
    return NwsError(
        f"{root}: net {number} could not be written ({error.strerror or error}): {kept}; see that the folder is writable"
    )


@contextmanager
def _open(path: Path) -> Iterator[int]:
    """A file descriptor rather than a file: os.preadv reads straight into an array, at any offset."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise NwsError(f"{path}: cannot be read ({error.strerror}): see that it is there and readable") from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _header_text(descriptor: int, size: int, path: Path) -> bytes:
    if size < 8:
        raise damaged(path, f"it has {size} bytes, too few for a net")
    length = int.from_bytes(os.pread(descriptor, 8, 0), "little")
    if length > min(size - 8, HEADER_LIMIT):
        raise damaged(path, f"its header claims {length:,} bytes, the file has {size:,}")
    text = np.empty(length, np.uint8)
    read_into(descriptor, text, 8, path)
    raw = text.tobytes()
    if raw.count(b"[") + raw.count(b"{") > _MOST_BRACKETS:
        raise damaged(path, "its header nests more lists and objects than any net has")
    # Padding is spaces and nothing else; other white space would be valid JSON, but nobody wrote it.
    if not raw.startswith(b"{") or not raw.rstrip(b" ").endswith(b"}"):
        raise damaged(path, "its header is no JSON object")
    return raw


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        raise ValueError("its header names something twice")
    return entries


def _checked_metadata(metadata: Any) -> dict[str, str]:
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("it has no metadata of nws: is it a zoo's file?")
    if metadata["metadata_sha256"] != _metadata_sha256(metadata):
        raise ValueError("its metadata are not what was written (the checksum differs)")
    return metadata


def _checked_tensors(entries: dict[str, Any], start: int, size: int) -> tuple[dict[str, tuple[int, ...]], dict[str, int]]:
    """Shapes and absolute offsets. Together the tensors must fill the rest of the file without gap or overlap."""
    if set(entries) != set(_TENSORS):
        raise ValueError(f"it must hold the tensors {', '.join(_TENSORS)}, it has {', '.join(sorted(entries)) or 'none'}")
    shapes, offsets, spans = {}, {}, []
    for name, entry in entries.items():
        if set(entry) != {"dtype", "shape", "data_offsets"} or entry["dtype"] != _TENSORS[name]:
            raise ValueError(f"{name} must be {_TENSORS[name]} with shape and data_offsets")
        shape, (begin, end) = entry["shape"], entry["data_offsets"]
        if not all(type(n) is int and n >= 0 for n in (*shape, begin, end)):
            raise ValueError(f"{name}: shape and offsets must be whole numbers")
        if end - begin != math.prod(shape) * _DTYPES[entry["dtype"]].itemsize:
            raise ValueError(f"{name}: {end - begin:,} bytes do not hold a tensor of shape {tuple(shape)}")
        shapes[name], offsets[name] = tuple(shape), start + begin
        spans.append((begin, end))
    reached = 0
    for begin, end in sorted(spans):
        if begin != reached:
            raise ValueError("its tensors leave a gap or overlap")
        reached = end
    if start + reached != size:
        raise ValueError(f"the file has {size:,} bytes, its header asks for {start + reached:,}")
    if offsets["theta"] % 4:
        raise ValueError("theta does not start at a multiple of four bytes")
    return shapes, offsets


def _header(metadata: dict[str, str], shapes: dict[str, tuple[int, ...]], offsets: dict[str, int], size: int) -> Header:
    version = _whole_number(metadata["format"])
    layout = _layout(metadata["layout"], version == OWN)
    family = metadata["family"] if version == FORMAT else FAMILIES["cnn2020"].name if version == OWN else ""
    if version == FORMAT and family in FAMILIES and _whole_number(metadata["family_version"]) > FAMILIES[family].version:
        raise NewerFormatError(f"a net of {family}, version {metadata['family_version']}, is from a newer nws: upgrade nws")
    measures = _names(metadata["measures"]) if version == FORMAT else HISTORY
    measured = json.loads(metadata["measured" if version == FORMAT else "accuracies"])
    (snapshots, weights), (records, columns) = shapes["theta"], shapes["history"]
    if weights != layout.size or not snapshots or not weights:
        raise ValueError(f"theta is {snapshots} x {weights:,}, its layout has {layout.size:,} weights")
    if shapes["epoch"] != (snapshots,) or columns != len(measures):
        raise ValueError("epoch or history have the wrong shape")
    expected = set(measures[1:]) if version == FORMAT else set(ACCURACIES)
    if set(measured) != expected or not all(a is None or type(a) is float for a in measured.values()):
        raise ValueError("its accuracies cannot be read")
    if metadata["status"] not in STATUSES:
        raise unknown("status", metadata["status"], STATUSES)
    if metadata["split"] not in SPLITS:
        raise unknown("split", metadata["split"], SPLITS)
    return Header(
        number=_whole_number(metadata["number"]),
        hp=_chosen(family, json.loads(metadata["hyper_parameters"])),
        family=family,
        layout=layout,
        status=metadata["status"],
        split=metadata["split"],
        seconds=float(metadata["seconds"]),
        measures=measures,
        measured=measured,
        snapshots=snapshots,
        weights=weights,
        records=records,
        epochs=max(records - 1, 0) if version == OWN else _whole_number(metadata["epochs"]),
        offsets=offsets,
        bytes=size,
        theta_sha256=metadata["theta_sha256"],
        records_sha256=metadata["records_sha256"],
    )


# Nets of one architecture have one layout: parsed once, held once.
@lru_cache(maxsize=1024)
def _layout(text: str, chain: bool) -> Layout:
    return Layout.from_json(text, chain=chain)


def _whole_number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 9):
        raise ValueError(f"number {text[:20]!r} is no whole number below 10^9")
    return int(text)


def _chosen(family: str, values: Any) -> Config | Recorded:
    """Of a family whose code is here a checked config; of any other what was recorded."""
    if not isinstance(values, dict):
        raise ValueError("its hyper-parameters are no JSON object")
    return FAMILIES[family].config(values) if family in FAMILIES else Recorded(values)


def _names(text: str) -> tuple[str, ...]:
    names = json.loads(text)
    if not isinstance(names, list) or not all(isinstance(name, str) and name.isprintable() for name in names):
        raise ValueError("its measures are no list of names")
    if names[:1] != ["step"] or len(set(names)) < len(names) or len(names) > 64:
        raise ValueError("its measures must be different names, 'step' first")
    return tuple(names)


def _measured(history: np.ndarray, measures: tuple[str, ...]) -> dict[str, float | None]:
    """At the last record, which is the last snapshot's; null when never measured."""
    last = dict(zip(measures, history[-1].tolist(), strict=True)) if len(history) else {}
    return {name: plain(last.get(name)) for name in measures[1:]}


def _sha256(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _metadata_sha256(metadata: Mapping[str, str]) -> str:
    """Over key, zero byte, value, zero byte of every other entry in the order of the keys' bytes."""
    digest = hashlib.sha256()
    for key in sorted(metadata):
        if key != "metadata_sha256":
            digest.update(f"{key}\0{metadata[key]}\0".encode())
    return digest.hexdigest()
