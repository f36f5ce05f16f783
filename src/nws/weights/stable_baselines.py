"""Stable-Baselines' .zip: policies of agents among their settings, optimizers and variables."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np

from nws.errors import NwsError
from nws.recorded import printable
from nws.weights import archive, torch_file
from nws.weights.checkpoint import Checkpoint, Limits, check_declared, shown
from nws.weights.nets import chosen, told_apart
from nws.weights.state import numbers_only

_POLICY = "policy.pth"
_OLD = ("parameters", "parameter_list")  # of Stable-Baselines 2, which used TensorFlow: an .npz, and the names in order


def read(path: Path, limits: Limits, net: str | None = None) -> Checkpoint:
    """The policy's nets; any other archive of PyTorch that ends in .zip is read as such. Raises NwsError."""
    if not zipfile.is_zipfile(path):
        return torch_file.read(path, limits, net)
    with archive.opened(path, limits) as entries:
        names = entries.namelist()
        if set(_OLD) <= set(names):
            return _second(path, entries, limits, net)
        if _POLICY not in names:
            return torch_file.read(path, limits, net)
        held = archive.entry(entries, _POLICY, entries.getinfo(_POLICY).file_size)
        version = archive.entry(entries, "_stable_baselines3_version", 1000) if "_stable_baselines3_version" in names else b""
    with torch_file.opened(path, limits, held) as loaded:
        found = torch_file.checkpoint(path, loaded, limits, net)
    text = printable(version.decode("utf-8", "replace").strip())[:20]
    of = f"Stable-Baselines3 {text}".strip()
    note = f"an agent of {of}: its {_POLICY} was read, not its settings and optimizers"
    return Checkpoint(path, "Stable-Baselines3", found.names, found.arrays, (note, *found.notes), found.metadata, nets=found.nets)


def _second(path: Path, entries: zipfile.ZipFile, limits: Limits, net: str | None) -> Checkpoint:
    parameters, listed = (archive.entry(entries, name, entries.getinfo(name).file_size) for name in _OLD)
    with archive.opened(path, limits, parameters) as inner:
        declared = {e.filename.removesuffix(".npy"): e for e in inner.infolist()}
        arrays = {}
        for name, entry in declared.items():
            check_declared(path, [(name, (entry.file_size,), 1)], limits)
            arrays[name] = _array(archive.entry(inner, entry.filename, entry.file_size), path)
    try:
        order = [name for name in json.loads(listed) if name in arrays]
    except (ValueError, TypeError, RecursionError):
        raise NwsError(f"{shown(path)}: its list of parameters is damaged: copy it anew") from None
    found, notes = numbers_only({name: arrays[name] for name in dict.fromkeys([*order, *arrays])})
    nets = told_apart(found)
    try:
        kept, remarks = chosen(nets, net)
    except NwsError as error:
        raise NwsError(f"{shown(path)} {error}") from None
    note = "an agent of Stable-Baselines 2 (TensorFlow): its parameters were read, not its settings"
    listed_nets = tuple(n.to_dict() for n in nets)
    return Checkpoint(
        path, "Stable-Baselines2", tuple(kept.tensors), dict(kept.tensors), (note, *remarks, *notes), {}, "keras", nets=listed_nets
    )


def _array(data: bytes, path: Path) -> np.ndarray:
    try:
        array: np.ndarray = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False, max_header_size=10_000)
    except Exception as error:  # numpy's parser of headers raises what Python's tokenizer does
        raise NwsError(f"{shown(path)}: an array is damaged ({printable(error)[:120]}): copy it anew") from None
    return array
