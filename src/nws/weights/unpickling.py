"""Pickles of strangers, read with stand-ins: no class or function that a file names is ever imported.

A pickle is a program: it names functions and calls them. Here every name means a stand-in that keeps its arguments, but for
the few that rebuild tensors and arrays, which are ours. `torch.load(weights_only=True)` is as safe, but refuses whole whatever
names a class of its author's program: modules that were saved with their weights, TorchScript, training states with options.
"""

from __future__ import annotations

import contextlib
import io
import pickle
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any, ClassVar

import numpy as np

from nws.errors import NwsError
from nws.recorded import printable
from nws.weights.stored import Storage, Stored, check_shape, of_numpy, width

_MOST_CLASSES = 1000
MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of PyTorch's format before 1.6
# Of the storages' names, less "Storage": PyTorch's name of what they hold. Quantised ones: of their whole numbers.
_STORAGES = {
    "Float": "float32", "Double": "float64", "Half": "float16", "BFloat16": "bfloat16", "Long": "int64", "Int": "int32",
    "Short": "int16", "Char": "int8", "Byte": "uint8", "Bool": "bool", "ComplexFloat": "complex64", "ComplexDouble": "complex128",
    "QInt8": "int8", "QUInt8": "uint8", "QInt32": "int32", "QUInt4x2": "uint8", "QUInt2x4": "uint8", "Untyped": "uint8",
}  # fmt: skip
# What only an attack names. Nothing would happen, but its reader should know.
_ATTACKS = (
    "os", "posix", "nt", "sys", "subprocess", "commands", "shutil", "socket", "pty", "runpy", "importlib", "ctypes", "marshal",
    "webbrowser", "code", "codeop", "urllib", "requests", "multiprocessing", "signal", "tempfile", "zipimport", "pdb", "timeit",
)  # fmt: skip
_ATTACKS_BUILT_IN = ("eval", "exec", "execfile", "compile", "open", "__import__", "input", "breakpoint", "globals", "vars")


class StandIn:
    """An object of an unknown class: what it was made with, what was put into it, and its attributes."""

    name: ClassVar[str] = ""  # of its class: module.class

    def __new__(cls, *args: Any, **kwargs: Any) -> StandIn:
        made = super().__new__(cls)
        made.args, made.state, made.items = args, {}, []
        return made

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args: tuple[Any, ...]
        self.state: dict[Any, Any]
        self.items: list[Any]

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) == 2 and isinstance(state[1], dict):  # attributes, and those of slots
            state = {**(state[0] if isinstance(state[0], dict) else {}), **state[1]}
        self.state = state if isinstance(state, dict) else {"state": state}

    def append(self, item: Any) -> None:
        self.items.append(item)

    def extend(self, items: Any) -> None:
        self.items.extend(items)

    def __setitem__(self, name: Any, value: Any) -> None:
        self.state[name] = value


class Table(dict[Any, Any]):
    """A dictionary of Python's library. Attributes that a file gives it are dropped: they could stand in for its methods."""

    def __setstate__(self, state: Any) -> None:
        pass


@dataclass
class Array(StandIn):
    """An array of numpy, filled in after it was made."""

    stored: Stored | None = None

    def __new__(cls, *args: Any) -> Array:
        return object.__new__(cls)

    def __init__(self, *args: Any) -> None:
        self.args, self.state, self.items, self.stored = (), {}, [], None

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) == 5:
            self.stored = _of_numpy(state[4], state[2], state[1], "F" if state[3] else "C")


class Call:
    """One of our functions under a name of the file's. It has no attributes that a pickle could change."""

    __slots__ = ("_run",)
    _run: Any

    def __init__(self, run: Any):
        object.__setattr__(self, "_run", run)

    def __setattr__(self, name: str, value: Any) -> None:
        raise pickle.UnpicklingError("a function cannot be changed")

    def __call__(self, *args: Any) -> Any:
        return self._run(*args)


@dataclass
class Seen:
    """What was met while a file was unpickled.

    classes    (module, name) -> what stands for it
    storages   key -> PyTorch's name of what the storage holds
    """

    classes: dict[tuple[str, str], Any] = field(default_factory=dict)
    storages: dict[str, str] = field(default_factory=dict)

    @property
    def attacks(self) -> list[str]:
        """Names of functions that no file of weights has a reason to call."""
        return [f"{module}.{name}" for module, name in self.classes if _attack(module, name)]

    @property
    def foreign(self) -> list[str]:
        """Names of classes and functions that are not PyTorch's, numpy's or Python's."""
        known = (
            "torch",
            "numpy",
            "collections",
            "builtins",
            "__builtin__",
            "copy_reg",
            "copyreg",
            "_codecs",
            "argparse",
            "pathlib",
        )
        return [f"{module}.{name}" for module, name in self.classes if module.split(".")[0] not in known]


class Unpickler(pickle._Unpickler):
    """Python's own, not the one in C: that one can be made to take memory without end by a single instruction.

    Text of Python 2 is read as latin-1, which keeps the bytes of arrays.
    """

    def __init__(self, stream: IO[bytes], seen: Seen, folder: str = "", depth: int = 0):
        super().__init__(stream, encoding="latin-1")
        self.folder, self.seen, self.depth = folder, seen, depth

    def find_class(self, module: str, name: str) -> Any:
        key = (module, name)
        if key not in self.seen.classes:
            if len(self.seen.classes) > _MOST_CLASSES:
                raise pickle.UnpicklingError("it names more classes than any training program")
            self.seen.classes[key] = Call(self._load_from_bytes) if name == "_load_from_bytes" else _known(module, name)
        return self.seen.classes[key]

    def persistent_load(self, reference: Any) -> Any:
        if isinstance(reference, tuple) and len(reference) > 1 and reference[0] == "module":
            return reference[1]  # a class with its source text beside it, in PyTorch's format before 1.6
        if not isinstance(reference, tuple) or len(reference) < 3 or reference[0] != "storage":
            raise pickle.UnpicklingError("a storage is not described as torch does")
        dtype, key, view = reference[1], reference[2], reference[5] if len(reference) > 5 else None
        if not isinstance(dtype, str) or not isinstance(key, str | int):
            raise pickle.UnpicklingError("a storage is not described as torch does")
        key = f"{self.folder}{key}"
        self.seen.storages.setdefault(key, dtype)
        offset = view[1] if isinstance(view, tuple) and len(view) == 3 else 0
        if type(offset) is not int or not 0 <= offset < 1 << 40:
            raise pickle.UnpicklingError("a view of a storage makes no sense")
        return Storage(key, dtype, offset)

    def _load_from_bytes(self, text: Any) -> Any:
        """A storage that was pickled by itself: a file of PyTorch's old format within the pickle."""
        if self.depth:
            raise pickle.UnpicklingError("storages within storages")
        text = text.encode("latin-1") if isinstance(text, str) else text
        if not isinstance(text, bytes):  # bytes(1 << 40) would make as many
            raise pickle.UnpicklingError("a storage is not described as torch does")
        seen = Seen()
        loaded, spans = legacy(io.BytesIO(text), len(text), seen, depth=1)
        self.seen.classes |= {key: made for key, made in seen.classes.items() if key not in self.seen.classes}
        if not isinstance(loaded, Storage) or loaded.key not in spans:
            raise pickle.UnpicklingError("a storage is not described as torch does")
        start, stop = spans[loaded.key]
        return Storage("", loaded.dtype, loaded.offset, text[start:stop])

    def get_extension(self, code: int) -> None:
        raise pickle.UnpicklingError("it uses the registry of extensions")

    def load_bytearray8(self) -> None:  # Python makes as many bytes as are claimed before it reads them
        own: Any = self  # its methods are made by its load()
        size = int.from_bytes(own.read(8), "little")
        data = own.read(min(size, 1 << 40))
        if len(data) < size:
            raise EOFError("a bytearray is longer than its file")
        own.append(bytearray(data))

    dispatch: ClassVar[dict[int, Any]] = {**pickle._Unpickler.dispatch, pickle.BYTEARRAY8[0]: load_bytearray8}


def unpickled(stream: IO[bytes], seen: Seen, where: str, folder: str = "") -> Any:
    """The object of one pickle, unknown classes as `StandIn`, tensors as `Stored`. NwsError when it is damaged."""
    with damage(where):
        return Unpickler(stream, seen, folder).load()


def legacy(stream: IO[bytes], size: int, seen: Seen, depth: int = 0) -> tuple[Any, dict[str, tuple[int, int]]]:
    """PyTorch's format before 1.6: five pickles in a row, then the storages. Gives the object, and key -> bytes from, to."""

    def load() -> Any:
        return Unpickler(stream, seen, depth=depth).load()

    if load() != MAGIC:
        raise pickle.UnpicklingError("it does not begin as PyTorch's files do")
    load()  # the version of the protocol
    system = load()
    if isinstance(system, dict) and system.get("little_endian") is False:
        raise NwsError("was written on a big-endian machine: load and save it anew there, or as safetensors")
    loaded, keys = load(), load()
    spans: dict[str, tuple[int, int]] = {}
    for key in keys if isinstance(keys, list) else ():
        count = int.from_bytes(stream.read(8), "little")
        name = seen.storages.get(str(key), "uint8")
        start = stream.tell()
        stop = start + count * width(name)
        if stop > size:
            raise EOFError
        spans[str(key)] = start, stop
        stream.seek(stop)
    return loaded, spans


@contextlib.contextmanager
def damage(where: str) -> Iterator[None]:
    """Whatever a broken or hostile pickle makes Python raise is one line."""
    try:
        yield
    except (NwsError, MemoryError):
        raise
    except Exception as error:
        reason = printable(error)[:120] or type(error).__name__
        raise NwsError(f"{where}: its pickle is damaged ({reason}): copy it anew") from None


def _attack(module: str, name: str) -> bool:
    built_in = module in ("builtins", "__builtin__") and name.split(".")[0] in _ATTACKS_BUILT_IN
    return built_in or module.split(".")[0] in _ATTACKS


def _known(module: str, name: str) -> Any:
    if module in ("torch", "torch.cuda", "torch.storage") and name.removesuffix("Storage") in _STORAGES:
        return _STORAGES[name.removesuffix("Storage")]
    if module == "torch" and name.startswith(("float", "bfloat16", "int", "uint8", "bool", "complex")):
        return name
    own = _FUNCTIONS.get((module, name)) or (_FUNCTIONS.get(("numpy", name)) if module.split(".")[0] == "numpy" else None)
    if isinstance(own, type):
        return own
    return Call(own) if own else type("StandIn", (StandIn,), {"name": f"{module}.{name}"})


def _rebuilt(storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> Stored:
    dtype = rest[2] if len(rest) > 2 and isinstance(rest[2], str) else storage.dtype  # _rebuild_tensor_v3 names it
    check_shape(offset, *shape, *strides)
    if len(shape) != len(strides):
        raise pickle.UnpicklingError("a tensor's shape makes no sense")
    return Stored(storage, dtype, storage.offset + offset, tuple(shape), tuple(strides))


def _of_numpy(data: Any, dtype: Any, shape: Any, order: Any) -> Stored | None:
    kind = dtype.args[0] if isinstance(dtype, StandIn) and dtype.args else None
    state = dtype.state.get("state") if isinstance(dtype, StandIn) else None
    return of_numpy(data, kind, isinstance(state, tuple) and state[1:2] == (">",), shape, order)


def _buffered(data: Any, dtype: Any, shape: Any, order: Any = "C") -> Array:
    made = Array()
    made.stored = _of_numpy(data, dtype, shape, order)
    return made


def _scalar(dtype: Any, data: Any = b"") -> Any:
    kind = dtype.args[0] if isinstance(dtype, StandIn) and dtype.args else ""
    if kind not in ("f8", "f4", "i8", "i4", "b1") or not isinstance(data, bytes | str):
        return None  # text and rarer kinds: nothing that is needed
    raw = data if isinstance(data, bytes) else data.encode("latin-1")
    return np.frombuffer(raw, f"<{kind}" if kind != "b1" else "?")[0].item()


def _reconstructed(cls: Any, *rest: Any) -> Any:
    return cls() if isinstance(cls, type) and issubclass(cls, StandIn | dict) else StandIn()


def _left_out(*args: Any) -> np.ndarray:
    """A tensor that is not dense: an array without numbers, which is counted among what is left out."""
    return np.zeros(0, np.int64)


def _pathname(*parts: Any) -> str:
    return "/".join(str(part) for part in parts if isinstance(part, str))


_FUNCTIONS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): Table,
    ("collections", "Counter"): Table,
    ("collections", "defaultdict"): lambda *kind: Table(),
    ("torch", "Size"): lambda sizes=(): tuple(sizes),
    ("torch._utils", "_rebuild_tensor"): _rebuilt,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuilt,
    ("torch._utils", "_rebuild_tensor_v3"): _rebuilt,
    ("torch._utils", "_rebuild_qtensor"): lambda storage, offset, shape, strides, *rest: _rebuilt(storage, offset, shape, strides),
    ("torch._utils", "_rebuild_parameter"): lambda tensor, *rest: tensor,
    ("torch._utils", "_rebuild_parameter_with_state"): lambda tensor, *rest: tensor,
    ("torch._utils", "_rebuild_device_tensor_from_numpy"): lambda array, *rest: array,
    ("torch._utils", "_rebuild_sparse_tensor"): _left_out,
    ("torch._utils", "_rebuild_meta_tensor_no_storage"): _left_out,
    ("torch._utils", "_rebuild_wrapper_subclass"): _left_out,
    ("torch._tensor", "_rebuild_from_type_v2"): lambda run, kind, args, state: run(*args),
    ("torch.nn.parameter", "Parameter"): lambda tensor=None, *rest: tensor,
    ("torch.autograd.variable", "Variable"): lambda tensor=None, *rest: tensor,
    ("torch.jit._pickle", "restore_type_tag"): lambda value, kind: value,
    ("torch.jit._pickle", "build_tensorlist"): lambda values: values,
    ("numpy", "_reconstruct"): lambda *args: Array(),
    ("numpy", "_frombuffer"): _buffered,
    ("numpy", "scalar"): _scalar,
    ("_codecs", "encode"): lambda text, kind="latin-1": text.encode("latin-1"),
    ("copy_reg", "_reconstructor"): _reconstructed,
    ("copyreg", "_reconstructor"): _reconstructed,
    ("pathlib", "Path"): _pathname,
    ("pathlib", "PosixPath"): _pathname,
    ("pathlib", "WindowsPath"): _pathname,
    ("pathlib", "PurePosixPath"): _pathname,
}
