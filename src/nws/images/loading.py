"""A name -> an image set: registered, embedded, from a folder, from the user's cache, or downloaded into it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nws.errors import NwsError, unknown
from nws.images.download import fetch
from nws.images.embedded import EMBEDDED
from nws.images.imageset import ImageSet
from nws.images.resize import to_pictures
from nws.images.sources import SOURCES, File, Source

NAMES = (*SOURCES, *EMBEDDED)  # built in
_registered: dict[str, ImageSet] = {}


def names() -> tuple[str, ...]:
    """The names `load` knows: the built-in ones, then the registered ones."""
    return (*NAMES, *_registered)


def load(
    name: str,
    folder: str | os.PathLike[str] | None = None,
    limit: int | None = None,
    limit_test: int | None = None,
    download: bool = True,
    progress: bool = False,
    *,
    original: bool = False,
) -> ImageSet:
    """The image set `name`, all of it or class-balanced subsets of `limit` training and `limit_test` test images.

    original: pictures as the files have them, MNIST 28 x 28 x 1, instead of 32 x 32 x 3 (STL-10 remains reduced to that).

    The files are looked for in FOLDER/NAME, FOLDER being `folder`, else $NWS_DATA, else the user's cache. Into the cache, and
    only there, missing files are downloaded (not with download=False; `progress` shows a bar on the terminal). Files of the
    cache must have the official checksums. In a folder of one's own other files of the right form are welcome, subsets for
    instance; `about["official"]` is then False.

    NwsError: unknown name; files missing, cut short, damaged or not to be had; a limit larger than the set allows.
    """
    if name in _registered:
        image_set = _registered[name]
    elif name in EMBEDDED:
        image_set = EMBEDDED[name](original)
    elif name in SOURCES:
        source = SOURCES[name]
        source = replace(source, read=source.original) if original and source.original else source
        image_set = _from_files(name, source, folder or os.environ.get("NWS_DATA"), download, progress)
    else:
        raise unknown("image set", name, names())
    return image_set.limited(limit, limit_test)


def where(name: str, folder: str | os.PathLike[str] | None = None) -> str:
    """Where `load` would find the image set, in plain words. Nothing is read or downloaded."""
    if name in EMBEDDED or name in _registered:
        return "embedded" if name in EMBEDDED else "registered"
    if name not in SOURCES:
        raise unknown("image set", name, names())
    folder = folder or os.environ.get("NWS_DATA")
    place = (Path(folder).expanduser() if folder else _cache()) / name
    missing = _missing(_locate(place, SOURCES[name]), SOURCES[name])
    if not missing:
        return str(place)
    return f"not in {place}: " + (f"get it from {_where(SOURCES[name])}" if folder else "downloaded when first needed")


def register(
    name: str,
    x_train: np.ndarray,
    y_train: np.ndarray,
    x_test: np.ndarray,
    y_test: np.ndarray,
    classes: Sequence[str] | None = None,
    *,
    keep_size: bool = False,
) -> ImageSet:
    """Arrays of one's own as the image set `name`, which `load` then returns (in this process; worker processes are handed
    image sets, not names). Registering a name again replaces it.

    x (N, 32, 32, 3) uint8; or (N, H, W), (N, H, W, 1), (N, H, W, 3), which are resized bilinearly (half-pixel centres), grey
    being replicated; keep_size=True leaves rows, columns and channels as they are, for other families than the paper's.
    y (N,) whole numbers from 0. `classes` are the labels' meanings, "0", "1", ... when not given.
    """
    at = f"image set {name!r}"
    if name in NAMES:
        raise NwsError(f"{at} is built in: register yours under another name")
    if not isinstance(name, str) or not name.isprintable() or not name.strip() or name[:1] in ". " or set(name) & set("/\\,"):
        raise NwsError(f"{at}: a name must be printable, without / \\ or comma, and not start with a dot or a blank")
    x_train, x_test = (_pictures(f"{at}, {half}", x, keep_size) for half, x in (("training", x_train), ("test", x_test)))
    y_train, y_test = _labels(f"{at}, training", y_train), _labels(f"{at}, test", y_test)
    if classes is None:
        classes = [str(c) for c in range(int(max(y_train.max(initial=0), y_test.max(initial=0))) + 1)]
    _registered[name] = ImageSet(name, x_train, y_train, x_test, y_test, tuple(classes), {"source": "registered"})
    return _registered[name]


def _pictures(at: str, x: np.ndarray, keep_size: bool) -> np.ndarray:
    x = np.asarray(x)
    if x.dtype != np.uint8 or x.ndim not in (3, 4) or 0 in x.shape or (x.ndim == 4 and x.shape[3] not in (1, 3)):
        raise NwsError(f"{at}: pictures must be (N, H, W), (N, H, W, 1) or (N, H, W, 3) uint8, got {x.shape} {x.dtype}")
    if keep_size:
        return x[..., None] if x.ndim == 3 else x
    return to_pictures(x)


def _labels(at: str, y: np.ndarray) -> np.ndarray:
    y = np.asarray(y)
    if y.dtype.kind not in "iu" or y.ndim != 1:
        raise NwsError(f"{at}: labels must be (N,) whole numbers, got {y.shape} {y.dtype}")
    return y.astype(np.int64)


def _from_files(name: str, source: Source, folder: str | os.PathLike[str] | None, download: bool, progress: bool) -> ImageSet:
    if folder is not None:
        place = Path(folder).expanduser() / name
        found = _locate(place, source)
        if missing := _missing(found, source):
            raise NwsError(f"image set {name}: {place} lacks {', '.join(missing)}: get them from {_where(source)}")
        return _read(name, source, found, "files", *_checksums(found))
    place = _cache() / name
    found = _locate(place, source)
    sha256, official = _checksums(found)
    if not official or len(found) < len(_files(source)):
        if not download:
            raise NwsError(f"image set {name}: {place} lacks the official files: get them from {_where(source)}, or allow download")
        fetch(name, source, place, progress)
        found = {file: place / file.name for file in _files(source)}
        sha256, official = _checksums(found)
        if not official:
            raise NwsError(f"image set {name}: {place} holds files that are not the official ones: delete it, try again")
    return _read(name, source, found, "cache", sha256, official)


def _cache() -> Path:
    import pooch

    return Path(pooch.os_cache("nws"))


def _files(source: Source) -> tuple[File, ...]:
    return (*source.train, *source.test)


def _where(source: Source) -> str:
    return " or ".join(source.urls)


def _locate(place: Path, source: Source) -> dict[File, Path]:
    """The set's files that exist: in `place`, or in the folder their archive unpacks to; gzipped or unpacked."""
    found = {}
    for file in _files(source):
        spellings = (file.name, file.name.removesuffix(".gz"))
        for path in (folder / n for folder in (place, place / source.folder) for n in spellings):
            if path.is_file():
                found[file] = path
                break
    return found


def _missing(found: dict[File, Path], source: Source) -> list[str]:
    """Names of the files without which the set cannot be read."""
    if source.partial and any(file in found for file in source.train):
        return [file.name for file in source.test if file not in found]
    return [file.name for file in _files(source) if file not in found]


def _checksums(found: dict[File, Path]) -> tuple[dict[str, str], bool]:
    """File name -> sha256, and whether every file is the official one."""
    import pooch

    sha256, official = {}, True
    for file, path in found.items():
        try:
            sha256[path.name] = pooch.file_hash(path)
            official &= f"sha256:{sha256[path.name]}" == file.checksum or file.matches(path)
        except OSError as error:
            raise NwsError(f"{path} cannot be read: {error.strerror}") from None
    return sha256, official


def _read(name: str, source: Source, found: dict[File, Path], origin: str, sha256: dict[str, str], official: bool) -> ImageSet:
    about: dict[str, Any] = {
        "source": origin,
        "files": sha256,
        "official": official and len(found) == len(_files(source)),
    }
    try:
        x_train, y_train = source.read([found[file] for file in source.train if file in found])
        x_test, y_test = source.read([found[file] for file in source.test])
    except NwsError as error:
        raise NwsError(f"{error}: download it again from {_where(source)}") from None
    except OSError as error:
        raise NwsError(f"image set {name}: {error.filename or 'a file'} cannot be read: {error.strerror}") from None
    return ImageSet(name, x_train, y_train, x_test, y_test, source.classes, about)
