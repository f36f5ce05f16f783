"""Files that are no weights that nws reads, by what they are: one line with their right name and the way out.

They are known by their first bytes; by their name where the format has none. Each was looked at in real files (docs/import.md).
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Iterable
from pathlib import Path

from nws.weights import gguf_file
from nws.weights.checkpoint import shown

_HEAD, _END = 1 << 16, 16
_ONNX = "then audit model.onnx"
_TABLE = b"\x57\xfb\x80\x8b\x24\x75\x47\xdb"  # at the end of TensorFlow's tables (LevelDB's)
_CHECKPOINT = (
    'is part of a TensorFlow checkpoint: save its tensors, python -c "import numpy, tensorflow as tf; r = tf.train.load_checkpoint('
    "'PREFIX'); numpy.savez('model.npz', **{n: r.get_tensor(n) for n in r.get_variable_to_shape_map()})\", then audit model.npz"
)
_SAVED_MODEL = f"is a TensorFlow SavedModel: python -m tf2onnx.convert --saved-model FOLDER --output model.onnx, {_ONNX}"
_FROZEN = (
    "is a frozen TensorFlow graph: python -m tf2onnx.convert --graphdef FILE --inputs x:0 --outputs y:0 --output model.onnx, "
    f"with the names of its inputs and outputs, {_ONNX}"
)
_NCNN = "is a net for ncnn, which nothing turns back: audit the PyTorch or ONNX model that it was made from"
_TENSORRT = "is an engine of TensorRT, made for one kind of GPU: audit the ONNX or PyTorch model that it was built from"
_COREML = (
    "is a Core ML model: its weights are those of the PyTorch, Keras or ONNX model that coremltools made it from: audit that one"
)
_MERGE = (
    "merge it into its base model (peft: PeftModel.from_pretrained(base, FOLDER).merge_and_unload().save_pretrained('merged')), "
    "then audit that"
)
_UNPACK = "unpack it, and audit the file inside"

_Rule = Callable[[Path, bytes, bytes], str | None]  # path, first bytes, last bytes -> what it is


def _begins(magics: Iterable[bytes], sentence: str, at: int = 0) -> _Rule:
    return lambda path, head, end: sentence if any(head[at:].startswith(magic) for magic in magics) else None


def _ctranslate2(path: Path, head: bytes, end: bytes) -> str | None:
    """Version, then the name of its specification with a zero at its end."""
    if len(head) < 8:
        return None
    version, length = struct.unpack_from("<IH", head)
    name = head[6 : 6 + length]
    if 0 < version < 64 and 1 < length < 100 and name[-1:] == b"\0" and re.fullmatch(rb"\w+Spec", name[:-1]):
        return (
            f"is a CTranslate2 model ({name[:-1].decode()}), which nothing turns back: audit the checkpoint that it was made from"
        )
    return None


def _ncnn(path: Path, head: bytes, end: bytes) -> str | None:
    """A .bin begins with how its first weights are stored: halves, bytes, or plain floats, which is no sign by itself."""
    if head.startswith((b"\x47\x6b\x30\x01", b"\x38\x4b\x0d\x00")):
        return _NCNN
    beside = path.with_suffix(".param")
    if path.suffix == ".bin" and head.startswith(b"\0\0\0\0") and beside.is_file():
        with open(beside, "rb") as file:
            return _NCNN if file.read(7) == b"7767517" else None
    return None


def _caffe(path: Path, head: bytes, end: bytes) -> str | None:
    """A name (field 1), then layers: field 100, or 2 in old files."""
    if (len(head) > 4 and head[0] == 0x0A and head[2 + head[1] : 4 + head[1]] == b"\xa2\x06") or path.suffix == ".caffemodel":
        return (
            "is a Caffe model: python -m caffe2onnx.convert --prototxt net.prototxt --caffemodel FILE --onnx model.onnx, with the "
            f".prototxt that belongs to it, {_ONNX}"
        )
    return None


def _tensorflow(path: Path, head: bytes, end: bytes) -> str | None:
    if end.endswith(_TABLE) or re.search(r"\.(data-\d+-of-\d+|ckpt(-\d+)?\.(meta|index))$", path.name):
        return _CHECKPOINT
    if path.suffix == ".meta" and head[:1] == b"\x0a":
        return _CHECKPOINT
    if path.suffix == ".pb" and (head.startswith(b"\x08\x01\x12") or path.name in ("saved_model.pb", "keras_metadata.pb")):
        return _SAVED_MODEL
    return _FROZEN if path.suffix == ".pb" and head[:1] == b"\x0a" else None


def _pickled(path: Path, head: bytes, end: bytes) -> str | None:
    """Pickles that name classes of scikit-learn and none of torch."""
    if head[:1] == b"\x80" and b"sklearn." in head and b"torch" not in head:
        return (
            "is a pickled scikit-learn model: in a program that trusts it, numpy.savez('model.npz', *[a for pair in "
            "zip(model.coefs_, model.intercepts_) for a in pair]), then audit model.npz"
        )
    if path.suffix == ".joblib":
        return "is written by joblib, a pickle of Python objects: save the arrays in it with numpy.savez, then audit that file"
    return None


def _text(path: Path, head: bytes, end: bytes) -> str | None:
    """Text is no weights; pointers of Git LFS and lists of shards are left to their readers."""
    if head.startswith(b"version https://git-lfs") or path.name.endswith(".index.json") or b"\0" in head:
        return None
    try:
        text = head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # not a letter that is cut
            return None
        text = head[: error.start].decode("utf-8-sig")
    if len(text) < 8 or not all(c.isprintable() or c.isspace() for c in text):
        return None
    start = text.lstrip()[:200].lower()
    if start.startswith(("<!doctype html", "<html", "<head")):
        return "is a web page, saved instead of the file: download the file itself (of GitHub the raw address, of a hub 'resolve')"
    if start.startswith("7767517"):
        return _NCNN
    if start.startswith(("{", "[")):
        adapter = path.name == "adapter_config.json" or ('"peft_type"' in text and '"base_model_name_or_path"' in text)
        what = "the settings of a LoRA adapter" if adapter else "settings or a description"
        return f"is JSON, {what}, not weights: name the file that holds the tensors"
    return "is text, not weights: name the file that holds the tensors"


def _packed(path: Path, head: bytes, end: bytes) -> str | None:
    if head.startswith(b"PK\x03\x04") and path.suffix.lower() in (".mlpackage", ".nemo", ".mar"):
        return f"is an archive ({path.suffix}) around the weights: {_UNPACK}"
    if head[257:262] == b"ustar" and not head.startswith((b"sys_info", b"pickle", b"storages", b"tensors")):  # torch's of 2016
        return f"is a tar archive: {_UNPACK}"
    return None


_MATLAB = (
    "is a MATLAB file: python -c \"import numpy, scipy.io; m = scipy.io.loadmat('FILE'); numpy.savez('model.npz', **{k: v for "
    "k, v in m.items() if k[0] != '_'})\", then audit model.npz"
)
_RULES: tuple[_Rule, ...] = (
    _begins(
        (b"TFL3",),
        f"is a TensorFlow Lite model: python -m tf2onnx.convert --tflite FILE --output model.onnx, {_ONNX}",
        at=4,
    ),
    _begins((b"MATLAB 7.3",), "is a MATLAB 7.3 file: save it with '-v7' in MATLAB, or its arrays with h5py and numpy.savez"),
    _begins((b"MATLAB 5.0",), _MATLAB),
    _begins((b"ptrt", b"ftrt"), _TENSORRT),
    _begins((b"lmgg", b"fmgg", b"tjgg"), "is in GGML's format from before GGUF: audit the checkpoint that it was made from"),
    _begins((b"\x1f\x8b",), f"is packed by gzip: gunzip or {_UNPACK}"),
    _begins((b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!", b"\x28\xb5\x2f\xfd"), f"is a packed archive: {_UNPACK}"),
    _ctranslate2,
    _ncnn,
    _tensorflow,
    _caffe,
    _pickled,
    _packed,
    _text,
)
# Formats that have no sign of their own, by the ending.
_ENDINGS = {
    ".mlmodel": _COREML,
    ".mnn": "is a model of MNN: audit the PyTorch, TensorFlow or ONNX model that it was made from",
    ".engine": _TENSORRT,
    ".plan": _TENSORRT,
    ".trt": _TENSORRT,
}
_FOLDERS = (  # a name inside -> what the folder is
    ("saved_model.pb", _SAVED_MODEL),
    ("Manifest.json", _COREML),
    ("coremldata.bin", _COREML),
    (
        "_CHECKPOINT_METADATA",
        "is an Orbax checkpoint of JAX: restore it and write flax.serialization.to_bytes(params) to a .msgpack file",
    ),
    ("adapter_config.json", "is the folder of a LoRA adapter, no net: " + _MERGE),
)
_ADAPTER = re.compile(
    r"(^|[._/])(lora_(a|b|up|down|embedding_a|embedding_b|magnitude_vector)|hada_w[12]_[ab]|lokr_w[12](_[ab])?|ia3_l)($|[._/])",
    re.I,
)


def refusal(path: Path, read: Iterable[str]) -> str | None:
    """What a file is, if it is no weights that nws reads; None for what may be, and for what is not there.

    read: the endings that have a reader: an archive that has one is its reader's.
    """
    sentence = None
    try:
        if path.is_dir():
            sentence = next((found for name, found in _FOLDERS if (path / name).is_file()), None)
        elif path.is_file():
            with open(path, "rb") as file:
                head = file.read(_HEAD)
                file.seek(max(path.stat().st_size - _END, 0))
                end = file.read(_END)
            sentence = next((found for rule in _RULES if (found := rule(path, head, end))), None)
            if sentence is None and head and path.suffix.lower() not in read:
                sentence = _ENDINGS.get(path.suffix.lower())
    except (OSError, ValueError):  # the reader will say
        return None
    return sentence and f"{shown(path)} {sentence}"


def ending(path: Path) -> str | None:
    """The ending that goes with the first bytes of a file, where these are sure: whatever it is called."""
    try:
        if not path.is_file():  # a pipe would be waited for
            return None
        with open(path, "rb") as file:
            head = file.read(16)
    except (OSError, ValueError):
        return None
    if head.startswith(gguf_file.MAGIC):
        return ".gguf"
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return ".h5"
    length = int.from_bytes(head[:8], "little")
    return ".safetensors" if len(head) == 16 and 2 < length < 1 << 32 and head[8:10] in (b'{"', b"{}") else None


def adapter(names: Iterable[str]) -> str | None:
    """What a file of a LoRA adapter is, by its names; None where its base model is in it as well."""
    names = list(names)
    found = [name for name in names if _ADAPTER.search(name)]
    if not found or any("base_layer" in name for name in names):
        return None
    return f"is a LoRA adapter ({len(found)} of its {len(names)} tensors, such as {json.dumps(found[0][:80])}), no net: {_MERGE}"
