"""PyTorch's files: archives of torch.save and TorchScript, the format before 1.6, and plain pickles of tensors. Nothing is run."""

from __future__ import annotations

import contextlib
import io
import os
import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from nws.errors import NwsError
from nws.recorded import printable
from nws.weights import archive, state
from nws.weights.checkpoint import Checkpoint, Limits, check_declared, check_file, shown
from nws.weights.modules import Walk
from nws.weights.nets import Net, chosen
from nws.weights.stored import Fetch, Stored, width
from nws.weights.unpickling import Seen, damage, legacy, unpickled

_LARGEST_PICKLE = 512 << 20
_LARGEST_CODE = 4 << 20
_OLD = bytes.fromhex("80028a0a6cfc9c46f920")  # how PyTorch's files before 1.6 begin
_ROLES = ("weight", "bias", "kernel", "gamma", "beta")  # last words of names in a state dict
_PARAMETERS = re.compile(r"^class (\w+)\(Module\):\n\s+__parameters__ = \[([^\]]*)\]", re.MULTILINE)


@dataclass(frozen=True)
class Loaded:
    """What a file's pickles hold.

    object       unknown classes as stand-ins, tensors as `Stored`
    fetch        the bytes of a storage
    parameters   of TorchScript: class -> names of its parameters; None in other files
    plain        whether it is no file of torch.save: a pickle of whatever
    """

    object: Any
    fetch: Fetch
    seen: Seen
    parameters: Mapping[str, set[str]] | None = None
    plain: bool = False


def read(path: Path, limits: Limits, net: str | None = None, whole: bool = False) -> Checkpoint:
    """The one net, or the one named `net`. NwsError; what only an attack asks for is listed and refused.

    whole: all tensors whatever their names, because the file is a part of a net.
    """
    check_file(path, limits)
    with opened(path, limits) as loaded:
        return checkpoint(path, loaded, limits, net, whole)


@contextlib.contextmanager
def opened(path: Path, limits: Limits, held: bytes | None = None) -> Iterator[Loaded]:
    """A file's contents while it is open; held: the file's bytes, when it lies in another one."""
    size = len(held) if held is not None else check_file(path, limits)
    with io.BytesIO(held) if held is not None else _Bounded(open(path, "rb", buffering=0)) as file:
        head = file.read(512)
        file.seek(0)
        if not head.startswith(_OLD) and _is_zip(file):
            with archive.opened(path, limits, held) as entries:
                yield of_archive(entries, shown(path))
            return
        file.seek(0)
        yield _of_stream(file, head, size, shown(path))


def checkpoint(path: Path, loaded: Loaded, limits: Limits, net: str | None, whole: bool = False) -> Checkpoint:
    """The chosen net's numbers."""
    walk = Walk(parameters=loaded.parameters or {}, arrays=not loaded.plain or bool(loaded.seen.storages))
    tree = walk.tree(loaded.object)
    if loaded.seen.attacks:
        asked = ", ".join(printable(name)[:100] for name in loaded.seen.attacks[:10])
        raise NwsError(f"{shown(path)} asks to run {asked}: refused; do not load it, and ask its author for a .safetensors file")
    tensors = list(_stored(tree))
    check_declared(path, ((f"tensor {k}", t.shape, width(t.dtype)) for k, t in enumerate(tensors)), limits)
    if not tensors:
        raise _nothing(path, loaded, walk)
    try:
        found, notes = ([Net("", state.flat(tree))], ()) if whole and isinstance(tree, dict) else state.find(tree)
        kept, remarks = chosen(found, net)
        if loaded.plain and not walk.modules and not any(name.rsplit(".", 1)[-1] in _ROLES for name in kept.tensors):
            raise NwsError(
                f"pickles tensors that are not named like a net's ({printable(next(iter(kept.tensors)))[:80]}): "
                "if they are, save its state_dict() with torch.save"
            )
    except NwsError as error:
        raise NwsError(f"{shown(path)} {error}") from None
    _check_quantised(path, kept.tensors)
    with damage(shown(path)):
        arrays, left_out = state.numbers_only(_read(kept.tensors, loaded.fetch))
    everything = (*_notes(loaded, walk), *notes, *remarks, *left_out)
    kind = "TorchScript" if loaded.parameters is not None else "torch"
    made = Checkpoint(path, kind, tuple(arrays), arrays, everything, state.metadata(loaded.object))
    return replace(made, nets=tuple(n.to_dict() for n in found))


def _check_quantised(path: Path, tensors: Mapping[str, Any]) -> None:
    """NwsError when most of a net's weights are bytes: what is left, biases and scales, would pass for the net."""
    matrices = [t for t in tensors.values() if isinstance(t, Stored) and len(t.shape) > 1]
    coarse = sum(t.size for t in matrices if t.dtype in ("int8", "uint8"))
    if coarse > sum(t.size for t in matrices if t.floating):
        raise NwsError(
            f"{shown(path)} is quantised: {coarse:,} of its weights are whole numbers of 8 bits; save the state_dict() "
            "of the net from before it was quantised, or dequantise() its tensors first"
        )


def _read(tensors: Mapping[str, Any], fetch: Fetch) -> dict[str, Any]:
    """The numbers of each tensor; what several share is fetched once."""
    shared = Counter(t.storage.key for t in tensors.values() if isinstance(t, Stored))
    kept: dict[str, bytes] = {}

    def once(key: str) -> bytes:
        if shared[key] < 2:
            return fetch(key)
        if key not in kept:
            kept[key] = fetch(key)
        return kept[key]

    return {name: t.read(once) if isinstance(t, Stored) else t for name, t in tensors.items()}


def _notes(loaded: Loaded, walk: Walk) -> list[str]:
    notes = []
    if walk.modules and loaded.parameters is None:
        notes.append(
            f"a whole module of class {printable(walk.modules[0])[:100]} was pickled: its tensors were read without its code; "
            "in its author's program torch.save(torch.load(FILE, weights_only=False).state_dict(), NEW) saves a plain state dict"
        )
    elif walk.modules:
        notes.append(f"TorchScript of class {printable(walk.modules[0])[:100]}: its tensors were read, its code was not run")
    if walk.buffers:
        more = f" and {len(walk.buffers) - 3} more" if len(walk.buffers) > 3 else ""
        notes.append(f"left out, buffers and no weights: {', '.join(printable(name)[:60] for name in walk.buffers[:3])}{more}")
    return notes


def _nothing(path: Path, loaded: Loaded, walk: Walk) -> NwsError:
    """The error for a file without any tensor, by what it is."""
    foreign = [printable(name)[:100] for name in loaded.seen.foreign]
    numpy = any(module.split(".")[0] == "numpy" for module, _ in loaded.seen.classes)
    if walk.optimizers:
        return NwsError(f"{shown(path)} holds the state of an optimizer, no net: name the file of the net beside it")
    if any("quantized" in name for name in foreign):
        return NwsError(
            f"{shown(path)} is a quantised net ({foreign[0]}), its weights are whole numbers packed for one processor: "
            "save the state_dict() of the net from before it was quantised"
        )
    if foreign:
        return NwsError(
            f"{shown(path)} pickles objects of {', '.join(foreign[:3])}, without a tensor of PyTorch: no net is in it that can be "
            "read without its author's program; save the weights there as .npz or .safetensors"
        )
    if loaded.plain and numpy:
        return NwsError(
            f"{shown(path)} is a pickle of numpy's arrays, not of PyTorch: "
            "if they are weights, save them with numpy.savez(NEW, **arrays)"
        )
    return NwsError(f"{shown(path)} holds no tensors: name a file with a state dict")


def _stored(tree: Any) -> Iterator[Stored]:
    if isinstance(tree, Stored):
        yield tree
    elif isinstance(tree, Mapping):
        for value in tree.values():
            yield from _stored(value)


# -- containers ----------------------------------------------------------------------------------------------------------------


class _Bounded(io.BufferedReader):
    """A file that takes no memory for bytes it does not have: Python's own makes room for as many as it is asked for."""

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(os.fstat(self.fileno()).st_size - self.tell(), 0)
        return super().read(left if size is None or size < 0 else min(size, left))


def _is_zip(file: IO[bytes]) -> bool:
    try:
        return zipfile.is_zipfile(file)
    except zipfile.BadZipFile:  # an archive, if a strange one
        return True


def of_archive(entries: zipfile.ZipFile, where: str) -> Loaded:
    """The contents of an archive of torch.save or torch.jit.save. NwsError when it is another program's, or damaged."""
    names = entries.namelist()
    roots = [name.removesuffix("data.pkl") for name in names if name == "data.pkl" or name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise _no_torch(names, where)
    root, seen = roots[0], Seen()
    if f"{root}byteorder" in names and archive.entry(entries, f"{root}byteorder", 100).strip() == b"big":
        raise NwsError(f"{where} was written on a big-endian machine: save it as safetensors there")

    def loaded(name: str, folder: str) -> Any:
        return unpickled(io.BytesIO(archive.entry(entries, f"{root}{name}", _LARGEST_PICKLE)), seen, where, f"{root}{folder}/")

    known = set(names)

    def fetch(key: str) -> bytes:
        if key not in known:
            raise NwsError(f"{where} lacks {printable(key)[:80]}, the numbers of a tensor: copy it anew")
        return archive.entry(entries, key, entries.getinfo(key).file_size)

    made = loaded("data.pkl", "data")
    script = f"{root}constants.pkl" in names or any(name.startswith(f"{root}code/") for name in names)
    if not script:
        return Loaded(made, fetch, seen)
    parameters = _parameters(entries, root, names)
    if not seen.storages and f"{root}constants.pkl" in names:  # a frozen module: its weights became constants of its code
        made = {f"constant {k}": value for k, value in enumerate(loaded("constants.pkl", "constants"))}
    return Loaded(made, fetch, seen, parameters)


def _parameters(entries: zipfile.ZipFile, root: str, names: list[str]) -> dict[str, set[str]]:
    """What TorchScript's code says: class -> names of its parameters. Looked for in its text, which is not run."""
    found: dict[str, set[str]] = {}
    left = _LARGEST_CODE
    for name in names:
        if name.startswith(f"{root}code/") and name.endswith(".py") and entries.getinfo(name).file_size <= left:
            text = archive.entry(entries, name, left).decode("utf-8", "replace")
            left -= len(text)
            module = name.removeprefix(f"{root}code/").removesuffix(".py").replace("/", ".")
            for made, listed in _PARAMETERS.findall(text):
                found[f"{module}.{made}"] = set(re.findall(r'"([^"]+)"', listed))
    return found


def _no_torch(names: list[str], where: str) -> NwsError:
    if any(name.rsplit("/", 1)[-1] == "model.json" for name in names) and any("tensors/" in name for name in names):
        return NwsError(
            f"{where} is TorchScript of before PyTorch 1.4: load and save it anew with torch.jit.load and torch.jit.save"
        )
    if any(name.rsplit("/", 1)[-1] == "archive_format" for name in names):
        return NwsError(f"{where} is a program of torch.export (.pt2): save its state_dict() with torch.save or as .safetensors")
    held = ", ".join(printable(name)[:60] for name in names[:5])
    return NwsError(f"{where} is a zip archive of other files ({held}): unpack it and name the file of weights")


def _of_stream(file: IO[bytes], head: bytes, size: int, where: str) -> Loaded:
    _check_head(head, where)
    seen = Seen()
    try:
        if head.startswith(_OLD):
            with damage(where):
                made, spans = legacy(file, size, seen)
            return Loaded(made, lambda key: _span(file, spans, key), seen)
        return Loaded(unpickled(file, seen, where), lambda key: _span(file, {}, key), seen, plain=True)
    except NwsError as error:
        if seen.attacks:
            raise NwsError(f"{where} asks to run {', '.join(map(printable, seen.attacks[:10]))}: refused") from None
        if any(module.split(".")[0] == "joblib" for module, _ in seen.classes):
            raise NwsError(
                f"{where} was written by joblib, which mixes arrays into a pickle: save its weights with numpy.savez"
            ) from None
        raise NwsError(f"{where}: {error}" if where not in str(error) else str(error)) from None


def _span(file: IO[bytes], spans: Mapping[str, tuple[int, int]], key: str) -> bytes:
    if key not in spans:
        raise NwsError("lacks the numbers of a tensor: copy it anew")
    start, stop = spans[key]
    file.seek(start)
    return file.read(stop - start)


def _check_head(head: bytes, where: str) -> None:
    """NwsError for what is no pickle at all, by its right name."""
    if head[257:262] == b"ustar" or head.startswith((b"storages\0", b"pickle\0", b"sys_info\0", b"tensors\0")):
        raise NwsError(
            f"{where} is a tar archive, PyTorch's format of before 2017, or files packed together: unpack or save it anew"
        )
    if head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")):
        raise NwsError(f"{where} is compressed: unpack it (gunzip, bunzip2, unxz, zstd -d) and name what comes out")
    if head.startswith(b"\x89HDF"):
        raise NwsError(f"{where} is an HDF5 file: give its name the ending .h5")
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 32:
        raise NwsError(f"{where} is a safetensors file: give its name the ending .safetensors")
    if head[:1] not in b"\x80(]}c.IFVSXNlKJM)" or not head:
        raise NwsError(f"{where} is no file of PyTorch, and no pickle: it is damaged, or another program's")
