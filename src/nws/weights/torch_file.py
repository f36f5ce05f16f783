"""PyTorch's .pt, .pth and .ckpt: read by torch's own restricted reader, which builds tensors and runs nothing else."""

from __future__ import annotations

import io
import os
import pickletools
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nws.errors import NwsError
from nws.recorded import printable
from nws.weights import archive, state
from nws.weights.checkpoint import Checkpoint, Limits, check_declared, check_file, shown

_MOST_NODES = 1_000_000


def read(path: Path, limits: Limits) -> Checkpoint:
    """Raises NwsError; when the file asks for other classes, their names are listed and nothing of it is loaded."""
    check_file(path, limits)
    try:
        packed = zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # an archive, if a strange one
        packed = True
    if packed:
        with archive.opened(path, limits):
            pass  # what it claims is sensible
    arrays, notes, metadata = _found(path, _plain(_load(path, packed), path, limits))
    return Checkpoint(path, "torch", tuple(arrays), arrays, notes, metadata)


class _Bounded(io.BufferedReader):
    """A file that takes no memory for bytes it does not have: Python's own makes room for as many as it is asked for."""

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(os.fstat(self.fileno()).st_size - self.tell(), 0)
        return super().read(left if size is None or size < 0 else min(size, left))


def _found(path: Path, loaded: Any) -> tuple[dict[str, np.ndarray], tuple[str, ...], dict[str, Any]]:
    try:
        return state.find(loaded)
    except NwsError as error:
        raise NwsError(f"{shown(path)} {error}") from None


def _load(path: Path, packed: bool) -> Any:
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old storages: the file is a stranger's, its age is no news
            with _Bounded(open(path, "rb", buffering=0)) as file:
                return torch.load(path if packed else file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's reader raises whatever a broken pickle makes of it
        asked = _refused(path)
        if asked:
            raise NwsError(
                f"{shown(path)} asks to run {', '.join(asked)}: refused; ask its author for a plain state dict "
                "(torch.save(model.state_dict(), ...)) or a .safetensors file"
            ) from None
        # Not torch's own words: they explain how to read the file unsafely.
        raise NwsError(f"{shown(path)} cannot be read by torch ({type(error).__name__}): it is damaged, or no checkpoint") from None


def _refused(path: Path) -> list[str]:
    """The globals a pickle asks for and torch does not grant; found by looking through its instructions, not by following them."""
    import torch

    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
    except Exception:  # not a zip archive
        names = _globals(path)
    return [printable(name)[:100] for name in list(dict.fromkeys(names))[:10]]


def _globals(path: Path) -> list[str]:
    """Of a plain pickle, but those of torch's own tensors."""
    names, words = [], ["", ""]
    try:
        with open(path, "rb") as file:
            for (code, argument, _), _ in zip(pickletools.genops(file), range(_MOST_NODES)):
                if code.name in ("GLOBAL", "INST"):
                    names.append(str(argument).replace(" ", "."))
                elif code.name == "STACK_GLOBAL":
                    names.append(".".join(words))
                elif isinstance(argument, str):
                    words = [words[1], argument]
    except Exception:  # broken before its end
        pass
    return [name for name in names if not name.startswith(("torch.", "collections.OrderedDict"))]


def _plain(loaded: Any, path: Path, limits: Limits) -> Any:
    """The same with arrays for tensors. Shapes are checked first: a view may be far larger than what it looks at."""
    import torch

    tensors: list[torch.Tensor] = []
    _collect(loaded, tensors, [0], 0)
    check_declared(path, ((f"tensor {k}", tuple(t.shape), t.element_size()) for k, t in enumerate(tensors)), limits)
    return _converted(loaded)


def _collect(value: Any, tensors: list[Any], visited: list[int], depth: int) -> None:
    import torch

    visited[0] += 1
    if visited[0] > _MOST_NODES or depth > 50:
        raise NwsError("the file's contents are nested without end: it was not written by a training program")
    if isinstance(value, torch.Tensor):
        tensors.append(value)
    elif isinstance(value, Mapping):
        for inner in value.values():
            _collect(inner, tensors, visited, depth + 1)


def _converted(value: Any) -> Any:
    import torch

    if isinstance(value, torch.Tensor):
        readable = (
            value.layout == torch.strided and value.device.type == "cpu" and not value.is_quantized and not value.is_complex()
        )
        if not readable:
            return np.zeros(0, np.int64)  # counted among what is left out
        plain = value.detach().resolve_neg()
        return (plain if plain.dtype in _numpy_types() else plain.float()).numpy().copy()
    if isinstance(value, Mapping):
        return {name: _converted(inner) for name, inner in value.items()}
    return value


def _numpy_types() -> tuple[Any, ...]:
    """What numpy has too; bfloat16 and float8 fit into float32 exactly."""
    import torch

    whole = (torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.bool)
    return (torch.float16, torch.float32, torch.float64, *whole)
