"""Any file of weights -> Checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from nws.errors import NwsError, unknown
from nws.weights import (
    gguf_file,
    hdf5,
    msgpack_file,
    named,
    npz,
    onnx_file,
    safetensors_file,
    sharded,
    stable_baselines,
    torch_file,
)
from nws.weights.checkpoint import Checkpoint, Limits, check_file, shown
from nws.weights.nets import chosen, told_apart

_TORCH: dict[str, Callable[[Path, Limits, str | None], Checkpoint]] = {
    ".pt": torch_file.read,
    ".pth": torch_file.read,
    ".th": torch_file.read,
    ".ckpt": torch_file.read,
    ".bin": torch_file.read,
    ".pkl": torch_file.read,
    ".jit": torch_file.read,
    ".tar": torch_file.read,
    ".zip": stable_baselines.read,
}
_READERS: dict[str, Callable[[Path, Limits], Checkpoint]] = {
    ".safetensors": safetensors_file.read,
    ".npz": npz.read,
    ".onnx": onnx_file.read,
    ".h5": hdf5.read,
    ".hdf5": hdf5.read,
    ".keras": hdf5.read,
    ".msgpack": msgpack_file.read,
    ".gguf": gguf_file.read,
}
SUFFIXES = (".safetensors", *_TORCH, *list(_READERS)[1:])
_LIMITS = Limits()


def read(path: str | Path, limits: Limits = _LIMITS, kind: str | None = None, net: str | None = None) -> Checkpoint:
    """The weights of a stranger's file. Nothing in it is run, and nothing is allocated that it only claims to need.

    The format goes by the first bytes where they tell, else by the name's ending, or by `kind` (".pt") for files without one;
    of a whole training state the model's weights are found. path may also be the index of a net in several files
    (*.index.json), one of these, or their folder.

    net     which of several nets in the file: a name of `Checkpoint.nets`. Without it a file with several is an error that
            lists them, unless all but one are copies of it (moving averages, target networks) or parts of it

    Raises NwsError: one line with the address and the cure.
    """
    path = Path(path)
    try:
        checkpoint = _read(path, limits, kind, net)
        if reason := named.adapter(checkpoint.names):
            raise NwsError(f"{shown(path)} {reason}")
        return checkpoint
    except MemoryError:
        raise NwsError(f"{shown(path)} does not fit into memory: use a larger machine") from None
    except OSError as error:
        raise NwsError(f"{shown(path)} cannot be read: {error.strerror or error}") from None
    except RecursionError:
        raise NwsError(f"{shown(path)} is nested without end: it was not written by a training program") from None
    except NwsError as error:
        if shown(path) in str(error):
            raise
        raise NwsError(f"{shown(path)}: {error}") from None


def _read(path: Path, limits: Limits, kind: str | None, net: str | None) -> Checkpoint:
    if reason := named.refusal(path, SUFFIXES):
        raise NwsError(reason)
    index = sharded.index_of(path)
    if index is not None:
        return _chosen(sharded.read(index, limits), net)
    suffix = named.ending(path) or (kind or path.suffix).lower()
    if suffix in _TORCH:
        return _TORCH[suffix](path, limits, net)
    if path.is_dir():
        raise NwsError(f"{shown(path)} is a folder: name the file of weights in it")
    if suffix not in _READERS:
        if not suffix:
            check_file(path, limits)
        raise unknown(f"{shown(path)}: the format", suffix, SUFFIXES)
    return _chosen(_READERS[suffix](path, limits), net)


def _chosen(checkpoint: Checkpoint, net: str | None) -> Checkpoint:
    """One of the nets whose tensors lie beside each other in one file, told apart by their names."""
    nets = told_apart(checkpoint.arrays)
    kept, notes = chosen(nets, net)
    listed = tuple(found.to_dict() for found in nets)
    return replace(checkpoint, names=tuple(kept.tensors), arrays=dict(kept.tensors), notes=(*checkpoint.notes, *notes), nets=listed)
