"""Fitted meta-classifiers on disk: NAME.safetensors holds the arrays, NAME.json all the rest. No pickle.

{"format": "nws-meta", "version": 1, "class": "SVM", "reads": "statistics", "parameters": {constructor's arguments},
 "features": 16, "classes": [...] or "target": [mean, scale], "sha256": of NAME.safetensors, "about": {...}}
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from nws.atomic import write_whole
from nws.errors import NwsError, unknown
from nws.meta.boosting import Boosting
from nws.meta.contract import Meta
from nws.meta.dmc import DMC
from nws.meta.graph import GraphReader
from nws.meta.probes import ProbesReader
from nws.meta.sets import DeepSets, SetTransformer
from nws.meta.slice_boosting import SliceBoosting
from nws.meta.slice_net import SliceNet
from nws.meta.svm import SVM

FORMAT, VERSION = "nws-meta", 1
_STRUCTURED = (GraphReader, ProbesReader, DeepSets, SetTransformer)
KINDS: dict[str, type[Meta]] = {kind.__name__: kind for kind in (SVM, Boosting, SliceBoosting, SliceNet, DMC, *_STRUCTURED)}
_LARGEST_JSON = 64 << 20
_LARGEST_SLICE = 10**9


def save(meta: Meta, path: str | Path, about: Mapping[str, Any] | None = None) -> None:
    """Write a fitted meta-classifier to PATH.safetensors and PATH.json.

    `about` is anything JSON can hold: property, training nets, versions ... NwsError when it cannot, or the folder is not writable.
    """
    from safetensors.numpy import save as to_bytes

    check_is_fitted(meta)
    arrays = to_bytes({name: np.ascontiguousarray(array) for name, array in meta._arrays().items()})
    described = {
        "format": FORMAT,
        "version": VERSION,
        "class": type(meta).__name__,
        "reads": meta.reads,
        "parameters": meta.get_params(),
        "features": meta.n_features_in_,
        **({"target": meta.target_} if meta.regression else {"classes": meta.classes_}),
        "sha256": hashlib.sha256(arrays).hexdigest(),
        "about": dict(about or {}),
    }
    try:
        text = json.dumps(described, indent=1, default=_plain, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise NwsError(f"{path}: about cannot be written as JSON: {error}") from None
    _write(_file(path, "safetensors"), arrays)
    _write(_file(path, "json"), text.encode())  # last: a model exists once it is described


def load(path: str | Path) -> Meta:
    """The fitted meta-classifier that `save` wrote to PATH; it predicts the same bit for bit. What was said `about` it is `about_`.

    NwsError when a file is missing, altered, made by a newer nws, or not such a file.
    """
    source = _file(path, "json")
    try:
        meta, sha256 = _described(_json(source))
    except NwsError as error:
        raise NwsError(f"{source}: {error}") from None
    source = _file(path, "safetensors")
    try:
        meta._restore(_arrays(source, meta, sha256))
    except NwsError as error:
        raise NwsError(f"{source}: {error}") from None
    return meta


def is_model(path: Path) -> bool:
    """Whether a .json describes a meta-classifier: there is a file of arrays beside it, and it says so."""
    try:
        return path.with_suffix(".safetensors").is_file() and _json(path).get("format") == FORMAT
    except NwsError:
        return False


def _described(stored: dict[str, Any]) -> tuple[Meta, str]:
    """A meta-classifier that lacks only its arrays, and their checksum."""
    if stored.get("format") != FORMAT:
        raise NwsError("this is not a saved meta-classifier")
    if stored.get("version") != VERSION:
        raise NwsError(f"format version {stored.get('version')!r}, this nws reads {VERSION}: install a newer nws")
    if stored.get("class") not in list(KINDS):
        raise unknown("class", stored.get("class"), KINDS)
    kind = KINDS[stored["class"]]
    parameters, features, about = (stored.get(key) for key in ("parameters", "features", "about"))
    if not isinstance(parameters, dict) or set(parameters) != set(kind().get_params()):
        raise NwsError(f"parameters must be those of {stored['class']}: {', '.join(kind().get_params())}")
    if type(features) is not int or not 1 <= features <= _LARGEST_SLICE or not isinstance(about, dict):
        raise NwsError("features must be a whole number above 0, about an object")
    meta = kind(**parameters)
    if not isinstance(meta.regression, bool):
        raise NwsError("regression must be true or false")
    meta._check()
    meta.n_features_in_ = features
    meta.about_ = about
    if meta.regression:
        meta.target_ = _target(stored.get("target"))
    else:
        meta.classes_ = _classes(stored.get("classes"))
    return meta, str(stored.get("sha256"))


def _classes(listed: Any) -> np.ndarray:
    if not isinstance(listed, list) or len(listed) < 2 or len({type(c) for c in listed}) > 1:
        raise NwsError("classes must be a list of at least two labels of one type")
    if type(listed[0]) not in (str, int, bool, float) or sorted(set(listed)) != listed:
        raise NwsError("classes must be different labels in rising order")
    classes = np.array(listed)
    if classes.dtype == object:
        raise NwsError("classes must fit 64 bits")
    return classes


def _target(listed: Any) -> np.ndarray:
    if not isinstance(listed, list) or len(listed) != 2 or not all(type(v) in (int, float) for v in listed):
        raise NwsError("target must be two numbers, mean and scale")
    return np.array(listed, np.float64)


def _arrays(path: Path, meta: Meta, sha256: str) -> dict[str, np.ndarray]:
    """What the file holds, once its checksum, names, shapes and types are as they must be."""
    from safetensors import SafetensorError, safe_open

    try:
        with open(path, "rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                raise NwsError("altered or cut short: its checksum is not the one in the .json beside it")
        with safe_open(path, framework="numpy") as file:
            found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            expected = meta._shapes(found)
            if found != expected:
                wrong = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))[0]
                raise NwsError(f"{wrong} has shape {found.get(wrong)}, expected {expected.get(wrong)}")
            arrays = {name: file.get_tensor(name) for name in found}
    except OSError as error:
        raise NwsError(f"cannot be read: {error.strerror}") from None
    except (SafetensorError, RuntimeError, TypeError, OverflowError) as error:
        raise NwsError(f"cannot be read: {error}") from None
    for name, array in arrays.items():
        if array.dtype not in (np.float32, np.float64, np.int64) or not np.isfinite(array).all():
            raise NwsError(f"{name} must be finite numbers of 32 or 64 bits")
    return arrays


def _json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _LARGEST_JSON:
            raise NwsError(f"larger than {_LARGEST_JSON >> 20} MB: this is not a saved meta-classifier")
        stored = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise NwsError(f"cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        if isinstance(error, NwsError):
            raise
        raise NwsError("this is not JSON") from None
    if not isinstance(stored, dict):
        raise NwsError("this is not a saved meta-classifier")
    return stored


def _plain(value: Any) -> Any:
    """numpy's scalars and arrays as JSON values."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} {value!r}")


def _file(path: str | Path, ending: str) -> Path:
    return Path(f"{path}.{ending}")


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    except OSError as error:
        raise NwsError(f"{path}: cannot be written: {error.strerror}") from None
