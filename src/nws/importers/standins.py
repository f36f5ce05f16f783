"""PyTorch archives that pickle whole objects, read with stand-ins: no class or function that a file names is ever imported.

A pickle is a program: it names functions and calls them. Here every name means a stand-in that keeps its arguments, but for
the few that rebuild tensors, which are ours. `torch.load(weights_only=True)` is as safe, but refuses such files whole.
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nws.errors import NwsError
from nws.recorded import printable
from nws.weights import archive

_LARGEST_PICKLE = 512 << 20
_MOST_CLASSES = 1000
_STORAGES = {
    "FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "BFloat16Storage": "<u2", "LongStorage": "<i8",
    "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "i1", "ByteStorage": "u1", "BoolStorage": "?",
}  # fmt: skip


class StandIn:
    """An object of an unknown class: what it was made with, what was put into it, and its attributes."""

    def __new__(cls, *args: Any, **kwargs: Any) -> StandIn:
        made = super().__new__(cls)
        made.args, made.state, made.items = args, {}, []
        return made

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args: tuple[Any, ...]
        self.state: dict[Any, Any]
        self.items: list[Any]

    def __setstate__(self, state: Any) -> None:
        self.state = state if isinstance(state, dict) else {"state": state}

    def append(self, item: Any) -> None:
        self.items.append(item)

    def extend(self, items: Any) -> None:
        self.items.extend(items)

    def __setitem__(self, name: Any, value: Any) -> None:
        self.state[name] = value


@dataclass(frozen=True)
class Stored:
    """A tensor that is still in the archive: read when it is asked for, so that a data set larger than memory can be read."""

    entry: str
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def read(self, opened: zipfile.ZipFile) -> np.ndarray:
        """NwsError when its storage is too short for its shape."""
        try:
            values = np.frombuffer(archive.entry(opened, self.entry, opened.getinfo(self.entry).file_size), self.dtype)
        except NwsError:
            raise
        except (KeyError, ValueError) as error:
            raise NwsError(f"{printable(self.entry)}: {printable(error)}: copy the file anew") from None
        size = math.prod(self.shape)
        reach = self.offset + sum((n - 1) * s for n, s in zip(self.shape, self.strides)) + 1
        if size > len(values) or (size and reach > len(values)):
            raise NwsError(f"{self.entry} is shorter than its tensor of shape {self.shape}: copy the file anew")
        if self.dtype == "<u2":
            values = (values.astype(np.uint32) << 16).view(np.float32)
        strides = tuple(s * values.itemsize for s in self.strides)
        return np.lib.stride_tricks.as_strided(values[self.offset :], self.shape, strides, writeable=False).copy()


class _Call:
    """One of our functions under a name of the file's. It has no attributes that a pickle could change."""

    __slots__ = ("_run",)
    _run: Any

    def __init__(self, run: Any):
        object.__setattr__(self, "_run", run)

    def __setattr__(self, name: str, value: Any) -> None:
        raise pickle.UnpicklingError("a function cannot be changed")

    def __call__(self, *args: Any) -> Any:
        return self._run(*args)


class _Unpickler(pickle._Unpickler):
    """Python's own, not the one in C: that one can be made to take memory without end by a single instruction."""

    def __init__(self, text: bytes, folder: str):
        super().__init__(io.BytesIO(text), encoding="utf-8", errors="backslashreplace")
        self.folder = folder
        self.classes: dict[tuple[str, str], Any] = {}

    def find_class(self, module: str, name: str) -> Any:
        key = (module, name)
        if key not in self.classes:
            if len(self.classes) > _MOST_CLASSES:
                raise pickle.UnpicklingError("it names more classes than any data set")
            self.classes[key] = _known(module, name)
        return self.classes[key]

    def persistent_load(self, said: Any) -> Any:
        kind, dtype, key = said[0], said[1], said[2]
        if kind != "storage" or not isinstance(dtype, str) or not isinstance(key, str):
            raise pickle.UnpicklingError("a storage is not described as torch does")
        return f"{self.folder}data/{key}", dtype

    def get_extension(self, code: int) -> None:
        raise pickle.UnpicklingError("it uses the registry of extensions")

    def load_bytearray8(self) -> None:  # Python makes as many bytes as are claimed before it reads them
        raise pickle.UnpicklingError("it holds a bytearray, which torch does not write")

    dispatch: ClassVar[dict[int, Any]] = {**pickle._Unpickler.dispatch, pickle.BYTEARRAY8[0]: load_bytearray8}


def load(opened: zipfile.ZipFile, where: str) -> Any:
    """The pickled object of a torch archive, unknown classes as `StandIn`, tensors as `Stored`. NwsError when it is damaged."""
    names = [name for name in opened.namelist() if name == "data.pkl" or name.endswith("/data.pkl")]
    if len(names) != 1:
        raise NwsError(f"{where} is no archive of torch.save (one data.pkl): save it anew with torch 1.6 or later")
    try:
        return _Unpickler(archive.entry(opened, names[0], _LARGEST_PICKLE), names[0].removesuffix("data.pkl")).load()
    except NwsError:
        raise
    except Exception as error:  # a hostile pickle can make Python raise anything
        raise NwsError(f"{where}: its pickle is damaged ({printable(error)[:120] or type(error).__name__}): copy it anew") from None


def _known(module: str, name: str) -> Any:
    if module == "torch" and name in _STORAGES:
        return _STORAGES[name]
    if (module, name) == ("collections", "OrderedDict"):
        return OrderedDict
    if module == "torch._utils" and name in ("_rebuild_tensor", "_rebuild_tensor_v2"):
        return _Call(_rebuilt)
    if module == "torch._utils" and name == "_rebuild_parameter":
        return _Call(lambda tensor, *rest: tensor)
    if module == "pathlib":
        return _Call(lambda *parts: "/".join(str(part) for part in parts if isinstance(part, str)))
    if name == "scalar" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        return _Call(_scalar)
    return type("StandIn", (StandIn,), {"name": f"{module}.{name}"})


def _rebuilt(storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> Stored:
    entry, dtype = storage
    numbers = (offset, *shape, *strides)
    if len(shape) != len(strides) or not all(type(n) is int and 0 <= n < 1 << 40 for n in numbers):
        raise pickle.UnpicklingError("a tensor's shape makes no sense")
    return Stored(entry, dtype, offset, tuple(shape), tuple(strides))


def _scalar(dtype: Any, data: Any) -> Any:
    kind = dtype.args[0] if isinstance(dtype, StandIn) and dtype.args else ""
    if kind not in ("f8", "f4", "i8", "i4", "b1") or not isinstance(data, bytes | str):
        raise pickle.UnpicklingError("a number of numpy is not one of the usual kinds")
    raw = data if isinstance(data, bytes) else data.encode("latin-1")
    return np.frombuffer(raw, f"<{kind}" if kind != "b1" else "?")[0].item()
