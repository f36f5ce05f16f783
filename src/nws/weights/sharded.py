"""One net in several files: model.safetensors.index.json or pytorch_model.bin.index.json, and the files it names."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from nws.errors import NwsError
from nws.recorded import printable
from nws.weights import safetensors_file, torch_file
from nws.weights.checkpoint import Checkpoint, Limits, check_file, shown
from nws.weights.state import LEFT_OUT, natural

INDEX = ".index.json"
_SHARD = re.compile(r"(.{1,200})-(\d{5})-of-(\d{5})(\.safetensors|\.bin)")
_MOST_SHARDS = 1000
_LONGEST_INDEX = 64 << 20


def index_of(path: Path) -> Path | None:
    """The index of the net that a file (or folder) belongs to; None when it is a net of its own."""
    if path.name.endswith(INDEX):
        return path
    if path.is_dir():
        found = sorted(path.glob(f"*{INDEX}"))
        if len(found) > 1:
            raise NwsError(f"{shown(path)} holds {len(found)} nets: name one of {', '.join(shown(f.name) for f in found[:5])}")
        return found[0] if found else None
    shard = _SHARD.fullmatch(path.name)
    index = path.with_name(f"{shard[1]}{shard[4]}{INDEX}") if shard else None
    return index if index and index.is_file() else None


def is_shard(path: Path) -> bool:
    """Whether a file is one of several of a net, with an index beside it."""
    return _SHARD.fullmatch(path.name) is not None and index_of(path) is not None


def read(index: Path, limits: Limits) -> Checkpoint:
    """All tensors that the index names, shard by shard. NwsError when a shard is missing, lies elsewhere or disagrees with it."""
    where = _weight_map(index, limits)
    files = {name: _inside(index, name) for name in sorted(set(where.values()), key=natural)}
    total = sum(check_file(file, limits) for file in files.values())
    if total > limits.bytes:
        raise NwsError(f"{shown(index)} names {total:,} bytes of weights, more than the {limits.bytes:,} that are read")
    arrays: dict[str, np.ndarray] = {}
    notes: list[str] = []
    for name, file in files.items():
        found = _shard(file, limits)
        expected = [tensor for tensor, shard in where.items() if shard == name]
        missing = [tensor for tensor in expected if tensor not in found.arrays]
        if missing and not any(note.startswith(LEFT_OUT) for note in found.notes):
            raise NwsError(f"{shown(file)} lacks {printable(missing[0])[:80]}, which {shown(index.name)} promises: copy it anew")
        for tensor, array in found.arrays.items():
            if tensor in arrays:
                raise NwsError(f"{shown(index)}: {printable(tensor)[:80]} lies in two of its files: copy them anew")
            arrays[tensor] = array
        notes += found.notes
    kind = "safetensors" if next(iter(files)).endswith(".safetensors") else "torch"
    order = sorted(arrays, key=natural) if kind == "safetensors" else list(arrays)
    remark = f"one net in {len(files)} files"
    return Checkpoint(index, kind, tuple(order), {n: arrays[n] for n in order}, (remark, *dict.fromkeys(notes)))


def _shard(file: Path, limits: Limits) -> Checkpoint:
    if file.suffix == ".safetensors":
        return safetensors_file.read(file, limits)
    return torch_file.read(file, limits, whole=True)


def _weight_map(index: Path, limits: Limits) -> dict[str, str]:
    """Tensor -> file name."""
    if check_file(index, limits) > _LONGEST_INDEX:
        raise NwsError(f"{shown(index)} is longer than any index: it is none")
    try:
        weight_map: Any = json.loads(index.read_bytes())["weight_map"]
        good = isinstance(weight_map, dict) and weight_map and all(isinstance(name, str) for name in weight_map.values())
    except (ValueError, KeyError, TypeError, RecursionError, OSError):
        good = False
    if not good:
        raise NwsError(f"{shown(index)} is no index of weights (a JSON object with weight_map): copy it anew")
    if len(weight_map) > limits.tensors or len(set(weight_map.values())) > _MOST_SHARDS:
        raise NwsError(
            f"{shown(index)} names {len(weight_map):,} tensors in {len(set(weight_map.values())):,} files: no net has so many"
        )
    return dict(weight_map)


def _inside(index: Path, name: str) -> Path:
    """A shard's path: a plain name in the folder of its index, or a link within it (or to the store of a hub's cache beside it)."""
    folder = index.parent
    if not re.fullmatch(r"[^/\\\0]{1,255}", name) or name.startswith(".") or not name.endswith((".safetensors", ".bin")):
        raise NwsError(f"{shown(index)} names a file {printable(name)[:80]!r} that is none of its folder's weights: refused")
    file = folder / name
    if not file.exists():
        raise NwsError(f"{shown(index)} names {printable(name)[:80]}, which is missing: copy all its files into one folder")
    resolved = file.resolve()
    blobs = (folder.resolve().parent.parent / "blobs") if folder.resolve().parent.name == "snapshots" else None
    if not resolved.is_relative_to(folder.resolve()) and (blobs is None or resolved.parent != blobs):
        raise NwsError(f"{shown(file)} is a link that leaves its folder: refused")
    return file
