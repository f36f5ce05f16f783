"""One net's file: safetensors, with everything about the net in the metadata and checksums over all of it (docs/format.md).

Any safetensors library opens these files. We read them by hand (container.py). In a shard a net has the same metadata and the same
tensors (shardfile.py).
"""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Mapping
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
from nws.zoo.container import (
    DTYPES,
    NewerFormatError,
    checked_tensors,
    damaged,
    entries,
    metadata_sha256,
    opened,
    read_into,
    refusing,
    sha256,
    whole_number,
)
from nws.zoo.select import SPLITS

# Formats of a net's file: nets of the paper's space; foreign ones; nets of any family, which is what is written now.
OWN, FOREIGN, FORMAT = 1, 2, 3
ACCURACIES = ("train_accuracy", "validation_accuracy", "test_accuracy")
TENSORS = {"theta": "F32", "epoch": "I64", "history": "F64"}


class TakenError(NwsError):
    """The zoo has a net of this number: the first one stays."""


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

    tensors = tensors_of(net)
    return save(tensors, metadata_of(net, split, tensors))


def tensors_of(net: Net) -> dict[str, np.ndarray]:
    """What a net's file holds beside the metadata, as it lies there."""
    return {name: np.ascontiguousarray(getattr(net, name), DTYPES[dtype]) for name, dtype in TENSORS.items()}


def metadata_of(net: Net, split: str, tensors: Mapping[str, np.ndarray], layout: str = "") -> dict[str, str]:
    """All that a file says of its net in words. tensors: the net's; layout: its JSON, where it is at hand already."""
    metadata = {
        "format": str(FORMAT),
        "number": str(net.number),
        "family": net.hp.family.name if isinstance(net.hp, Config) else "",
        "family_version": str(net.hp.family.version if isinstance(net.hp, Config) else 0),
        "hyper_parameters": json.dumps(net.hp.to_dict()),
        "layout": layout or net.layout.to_json(),
        "status": net.status,
        "split": split,
        "seconds": repr(float(net.seconds)),
        "measures": json.dumps(net.measures),
        "measured": json.dumps(_measured(net.history, net.measures)),
        "epochs": str(int(net.epoch[-1]) if isinstance(net.hp, Recorded) else max(len(net.history) - 1, int(net.epoch[-1]))),
        "about": json.dumps(plain(net.about)),
        "theta_sha256": sha256(tensors["theta"]),
        "records_sha256": sha256(tensors["epoch"], tensors["history"]),
    }
    return {**metadata, "metadata_sha256": metadata_sha256(metadata)}


def read_header(path: Path | str, number: int | None = None) -> Header:
    """Read and check a file's header. `number`: the net it must hold.

    Raises DamagedFileError (an NwsError) when anything about it is wrong, NwsError when it was written by a newer nws.
    """
    path = Path(path)
    with opened(path) as descriptor:
        return parse_header(descriptor, path, number)[0]


def read_net(path: Path | str, number: int | None = None) -> Net:
    """Read the whole net and check every byte. Raises as `read_header`."""
    path = Path(path)
    with opened(path) as descriptor:
        header, about = parse_header(descriptor, path, number)
        return net_at(descriptor, path, header, about)


def net_at(descriptor: int, path: Path, header: Header, about: Mapping[str, Any], what: str = "") -> Net:
    """The net whose tensors lie where `header` says, every byte checked. what: the part of the file, as "net 3: "."""
    shapes = {
        "theta": (header.snapshots, header.weights),
        "epoch": (header.snapshots,),
        "history": (header.records, len(header.measures)),
    }
    try:
        tensors: dict[str, Any] = {name: np.empty(shape, DTYPES[TENSORS[name]]) for name, shape in shapes.items()}
    except MemoryError:
        raise NwsError(f"{path}: {header.bytes:,} bytes do not fit into memory: use a larger machine") from None
    for name, tensor in tensors.items():
        read_into(descriptor, tensor, header.offsets[name], path)
    if sha256(tensors["theta"]) != header.theta_sha256:
        raise damaged(path, f"{what}theta is not what was written (its checksum differs)")
    if sha256(tensors["epoch"], tensors["history"]) != header.records_sha256:
        raise damaged(path, f"{what}epoch or history is not what was written (the checksum differs)")
    found = _measured(tensors["history"], header.measures)
    if any(found[name] != value for name, value in header.measured.items()):
        raise damaged(path, f"{what}its accuracies are not those of its history")
    more: dict[str, Any] = {"status": header.status, "seconds": header.seconds, "about": about, "measures": header.measures}
    try:
        return Net(header.number, header.hp, header.layout, **tensors, **more)
    except NwsError as error:
        raise damaged(path, f"{what}{error}") from None


def records_at(descriptor: int, path: Path, header: Header, what: str = "") -> tuple[np.ndarray, np.ndarray]:
    """A net's epoch (S,) and history (T, M), checked, without its weights."""
    epoch, history = np.empty(header.snapshots, "<i8"), np.empty((header.records, len(header.measures)), "<f8")
    read_into(descriptor, epoch, header.offsets["epoch"], path)
    read_into(descriptor, history, header.offsets["history"], path)
    if sha256(epoch, history) != header.records_sha256:
        raise damaged(path, f"{what}epoch or history is not what was written (the checksum differs)")
    return epoch, history


def packed_at(path: Path, number: int) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """A net's metadata and tensors as its own file has them, every byte checked. Raises as `read_header`."""
    with opened(path) as descriptor:
        header, about = parse_header(descriptor, path, number)
        net = net_at(descriptor, path, header, about)
        return entries(descriptor, header.bytes, path)[1], tensors_of(net)


def read_records(path: Path | str, number: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """As `records_at`, of a net's own file. Raises as `read_header`."""
    path = Path(path)
    with opened(path) as descriptor:
        return records_at(descriptor, path, parse_header(descriptor, path, number)[0])


def parse_header(descriptor: int, path: Path, number: int | None = None) -> tuple[Header, dict[str, Any]]:
    """The header of an open file and its `about`, checked: see `read_header`."""
    size = os.fstat(descriptor).st_size
    with refusing(path):
        tensors, metadata, start = entries(descriptor, size, path)
        check_format(path, metadata, FORMAT)
        header = header_of(metadata, *checked_tensors(tensors, TENSORS, start, size), size)
        about = about_of(metadata)
    if number is not None and header.number != number:
        raise damaged(path, f"it holds net {header.number}, not {number}")
    return header, about


def check_format(path: Path, metadata: Mapping[str, str], newest: int, what: str = "") -> None:
    """Before anything else is looked at: NewerFormatError, or ValueError for a format that never was."""
    version = whole_number(metadata["format"])
    if version < OWN:
        raise ValueError(f"format {version} never was")
    if version > newest:
        raise NewerFormatError(f"{path}: {what}format {metadata['format']} was written by a newer nws: upgrade nws")


def about_of(metadata: Mapping[str, str]) -> dict[str, Any]:
    about = json.loads(metadata["about"])
    if not isinstance(about, dict):
        raise ValueError("about is no JSON object")
    return about


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


def write_error(root: Path, number: int, error: OSError, what: str = "") -> NwsError:
    what, kept = what or f"net {number}", f"{'they were' if what else 'the net was'} dropped whole, the zoo stays valid"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NwsError(f"{root}: disk full while writing {what}: {kept}; free space and run the same command again")
    return NwsError(f"{root}: {what} could not be written ({error.strerror or error}): {kept}; see that the folder is writable")


def header_of(metadata: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]], offsets: Mapping[str, int], size: int) -> Header:
    """What metadata and the tensors' places say of a net. ValueError and its like for what makes no sense."""
    version = whole_number(metadata["format"])
    layout = layout_of(metadata["layout"], version == OWN)
    family = metadata["family"] if version == FORMAT else FAMILIES["cnn2020"].name if version == OWN else ""
    if version == FORMAT and family in FAMILIES and whole_number(metadata["family_version"]) > FAMILIES[family].version:
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
        number=whole_number(metadata["number"]),
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
        epochs=max(records - 1, 0) if version == OWN else whole_number(metadata["epochs"]),
        offsets=offsets,
        bytes=size,
        theta_sha256=metadata["theta_sha256"],
        records_sha256=metadata["records_sha256"],
    )


# Nets of one architecture have one layout: parsed once, held once.
@lru_cache(maxsize=1024)
def layout_of(text: str, chain: bool) -> Layout:
    return Layout.from_json(text, chain=chain)


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
