"""Any file of weights -> Checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from nws.errors import NwsError, unknown
from nws.weights import gguf_file, hdf5, msgpack_file, named, npz, onnx_file, safetensors_file, torch_file
from nws.weights.checkpoint import Checkpoint, Limits, shown

_READERS: dict[str, Callable[[Path, Limits], Checkpoint]] = {
    ".safetensors": safetensors_file.read,
    ".pt": torch_file.read,
    ".pth": torch_file.read,
    ".ckpt": torch_file.read,
    ".bin": torch_file.read,
    ".npz": npz.read,
    ".onnx": onnx_file.read,
    ".h5": hdf5.read,
    ".hdf5": hdf5.read,
    ".keras": hdf5.read,
    ".msgpack": msgpack_file.read,
    ".gguf": gguf_file.read,
}
SUFFIXES = tuple(_READERS)
_LIMITS = Limits()


def read(path: str | Path, limits: Limits = _LIMITS, kind: str | None = None) -> Checkpoint:
    """The weights of a stranger's file. Nothing in it is run, and nothing is allocated that it only claims to need.

    The format goes by the first bytes where they tell, else by the name's ending, or by `kind` (".pt") for files without one;
    of a whole training state the model's weights are found. Raises NwsError: one line with the address and the cure.
    """
    path = Path(path)
    if said := named.refusal(path, SUFFIXES):
        raise NwsError(said)
    suffix = named.ending(path) or (kind or path.suffix).lower()
    if suffix not in _READERS:
        raise unknown(f"{shown(path)}: the format", suffix, SUFFIXES)
    try:
        checkpoint = _READERS[suffix](path, limits)
        if said := named.adapter(checkpoint.names):
            raise NwsError(f"{shown(path)} {said}")
        return checkpoint
    except MemoryError:
        raise NwsError(f"{shown(path)} does not fit into memory: use a larger machine") from None
    except RecursionError:
        raise NwsError(f"{shown(path)} is nested without end: it was not written by a training program") from None
    except NwsError as error:
        if shown(path) in str(error):
            raise
        raise NwsError(f"{shown(path)}: {error}") from None
