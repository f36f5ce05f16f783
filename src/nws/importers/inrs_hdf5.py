"""fit-a-nef's files: HDF5 with `params` (nets, weights), `param_config`, the tensors' names and shapes as JSON, and labels.

Tensors stand one after the other, kernels (inputs, units) as Flax has them. Nothing in the file says which image a net is or in
which units it speaks (images were standardised), so such nets can be read but not rendered.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import lru_cache, partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from nws.errors import NwsError
from nws.importers.source import Imported, Item, Moment, Source, file_fingerprint, net_of
from nws.layout import Layout
from nws.recorded import printable
from nws.weights import Limits, Ordered
from nws.weights import read as read_checkpoint
from nws.weights.checkpoint import shown
from nws.weights.hdf5 import bounded_memory

KIND = "inrs"
_ENDINGS = (".hdf5", ".h5", ".h5py", ".hdf")
_LONGEST = 1 << 20  # characters of param_config
_MOST_TENSORS = 1000
_MOST_NETS = 10_000_000  # of a file
Tensors = tuple[tuple[str, tuple[int, ...]], ...]


def files(path: Path) -> list[Path]:
    """The file, or those of the folder, by the numbers in their names; none: this is another format."""
    found = [path] if path.is_file() else sorted(path.iterdir()) if path.is_dir() else []
    known = [file for file in found if file.suffix.lower() in _ENDINGS and file.is_file() and not file.is_symlink()]
    return sorted(known, key=lambda file: ([int(n) for n in re.findall(r"\d{1,12}", file.stem)], file.name))


def open_source(path: Path) -> Source:
    """NwsError when a file lacks params or param_config, or they do not fit together."""
    rows = [(file, k) for file in files(path) for k in range(len(_read(file)[0]))]

    def items() -> Iterator[Item]:
        for number, (file, k) in enumerate(rows):
            yield Item(number, f"{shown(file)}, net {k}", partial(_load, number, file, k))

    return Source(KIND, file_fingerprint(*files(path)), len(rows), items)


@lru_cache(maxsize=1)
def _read(path: Path) -> tuple[np.ndarray, Tensors, np.ndarray | None]:
    """params (nets, weights), the tensors, labels (nets,) if there are any."""
    arrays = read_checkpoint(path, kind=".h5").arrays
    params = arrays.get("params")
    if params is None or params.ndim != 2 or params.dtype.kind != "f":
        raise NwsError(f"{shown(path)} holds no params (nets, weights): it is no file of fit-a-nef")
    tensors, labels = _described(path)
    if sum(prod(shape) for _, shape in tensors) != params.shape[1]:
        raise NwsError(f"{shown(path)}: param_config does not describe the {params.shape[1]:,} weights of params: copy it anew")
    return params, tensors, labels if labels is not None and len(labels) == len(params) else None


def _described(path: Path) -> tuple[Tensors, np.ndarray | None]:
    """What stands beside params, in a file that `read_checkpoint` found to be sound: the tensors, and whole numbers `labels`."""
    import h5py

    try:
        with h5py.File(path, "r") as opened, bounded_memory((256 << 20) + 16 * path.stat().st_size):
            if not isinstance(opened.get("param_config", getlink=True), h5py.HardLink) or opened["param_config"].size != 1:
                raise ValueError("param_config is missing")
            text = opened["param_config"][()].reshape(-1)[0]
            labels = next((opened[name] for name in ("labels", "label") if _whole_numbers(opened, name)), None)
            labels = None if labels is None else labels[()].reshape(-1)
        text = text.decode() if isinstance(text, bytes) else text
        if not isinstance(text, str) or len(text) > _LONGEST:
            raise ValueError("param_config is no text")
        rows = tuple((str(name), tuple(shape)) for name, shape in json.loads(text))
        good = all(0 < len(shape) < 5 and all(type(n) is int and 0 < n < 1 << 24 for n in shape) for _, shape in rows)
        if not good or not 0 < len(rows) <= _MOST_TENSORS:
            raise ValueError("param_config must be a list of names and shapes")
    except Exception as error:  # h5py passes on what the C library says
        raise NwsError(f"{shown(path)} is no file of fit-a-nef ({printable(error)[:100]})") from None
    return rows, labels


def _whole_numbers(opened: Any, name: str) -> bool:
    import h5py

    if not isinstance(opened.get(name, getlink=True), h5py.HardLink) or not isinstance(opened[name], h5py.Dataset):
        return False
    found = opened[name]
    return found.dtype.kind in "iu" and found.size <= _MOST_NETS and not found.external and not found.is_virtual


def _load(number: int, path: Path, k: int) -> Imported:
    params, tensors, labels = _read(path)
    limits, at = Limits(), 0
    if params[k].nbytes > limits.bytes:
        raise NwsError(f"{shown(path)}: a net of {params.shape[1]:,} weights is too large")
    groups: dict[str, dict[str, np.ndarray]] = {}
    for name, shape in tensors:
        layer, _, last = name.rpartition(".")
        values = params[k, at : at + prod(shape)].reshape(shape)
        groups.setdefault(layer or name, {})["bias" if last == "bias" else "weight"] = values.T if last == "kernel" else values
        at += prod(shape)
    rows, parts, names = [], [], []
    for layer, roles in groups.items():
        for role in ("weight", "bias"):
            if role in roles:
                rows.append((printable(layer), role, roles[role].shape, "fc"))
                parts.append(roles[role].reshape(-1))
                names.append(f"{layer}.{role}")
    exact = np.concatenate(parts)
    theta = exact.astype(np.float32)
    difference = float(np.abs(theta - exact).max()) if exact.dtype != np.float32 else 0.0
    ordered = Ordered(Layout(rows, chain=True), theta, tuple(names), difference, ())
    recorded: dict[str, Any] = {} if labels is None else {"label": int(labels[k])}
    net = net_of(number, recorded, [Moment(ordered, None)], {"source": KIND, "file": path.name, "row": k})
    return Imported(net, None, difference)
