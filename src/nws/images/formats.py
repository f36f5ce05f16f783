"""The files of image sets -> pictures (N, 32, 32, 3) and labels (N,), both uint8.

IDX         MNIST and its relatives: big-endian header, then the values; gzipped or not
CIFAR-10    binary version: records of one label byte and three 32 x 32 planes (red, green, blue), each row by row
STL-10      binary version: images of three 96 x 96 planes, each COLUMN by column, and a file of labels 1..10
SVHN        cropped digits: MATLAB files with X (32, 32, 3, N) uint8 and y (N, 1), where 10 stands for the digit 0
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Sequence
from math import prod
from pathlib import Path

import numpy as np

from nws.errors import NwsError
from nws.images import matlab
from nws.images.resize import SIDE, to_pictures

_UINT8 = 0x08
_DEFLATE_RATIO = 1032  # no deflate stream unpacks to more than this many times its size
_CIFAR_RECORD = 1 + 3 * SIDE * SIDE
_STL_SIDE = 96
_STL_CHUNK = 512  # images at a time: their 16-bit sums stay below 30 MB


def read_idx(paths: Sequence[Path]) -> tuple[np.ndarray, np.ndarray]:
    """(image file, label file) -> pictures (N, 32, 32, 3), labels (N,), both uint8."""
    images, labels = read_idx_original(paths)
    return to_pictures(images), labels


def read_idx_original(paths: Sequence[Path]) -> tuple[np.ndarray, np.ndarray]:
    """As `read_idx`, pictures (N, rows, columns, 1) as the file has them."""
    images, labels = idx(paths[0], 3), idx(paths[1], 1)
    _check_counts(paths[1], len(images), len(labels))
    _check_labels(paths[1], labels, 0, 9)
    return images[..., None], labels


def idx(path: Path, dimensions: int) -> np.ndarray:
    """An IDX file of uint8 with so many dimensions (images 3, labels 1), as it is.

    NwsError when the file is cut short, goes on behind its values, or claims more than it can hold; the claim is checked
    before anything is allocated.
    """
    packed = path.suffix == ".gz"
    try:
        with gzip.open(path, "rb") if packed else path.open("rb") as file:
            shape = _idx_shape(path, file.read(4 + 4 * dimensions), dimensions)
            size = prod(shape)
            if size > min(matlab.MAX_BYTES, path.stat().st_size * (_DEFLATE_RATIO if packed else 1)):
                raise NwsError(f"{path} claims to hold {size:,} bytes, which it cannot")
            data = file.read(size + 1)  # one more, to notice what follows
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise NwsError(f"{path} is cut short or damaged ({error})") from None
    if len(data) < size:
        raise NwsError(f"{path} is cut short: {len(data):,} bytes follow the header, which announces {size:,}")
    if len(data) > size:
        raise NwsError(f"{path} has trailing bytes behind the {size:,} that its header announces")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _idx_shape(path: Path, header: bytes, dimensions: int) -> tuple[int, ...]:
    if len(header) < 4 + 4 * dimensions:
        raise NwsError(f"{path} is cut short: it ends within the header")
    magic, *shape = struct.unpack(f">{1 + dimensions}I", header)
    if magic != _UINT8 << 8 | dimensions:
        raise NwsError(f"{path} is no IDX file of uint8 in {dimensions} dimension(s): it starts with {header[:4].hex()}")
    if min(shape) < 1:
        raise NwsError(f"{path} holds nothing: its header announces {' x '.join(map(str, shape))}")
    return tuple(shape)


def read_cifar(paths: Sequence[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Batch files, one after another -> pictures (N, 32, 32, 3), labels (N,), both uint8."""
    batches = [cifar(path) for path in paths]
    return np.concatenate([x for x, _ in batches]), np.concatenate([y for _, y in batches])


def cifar(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """One batch file -> pictures (N, 32, 32, 3), labels (N,), both uint8."""
    batch = _records(path, _CIFAR_RECORD)
    _check_labels(path, batch[:, 0], 0, 9)
    planes = batch[:, 1:].reshape(-1, 3, SIDE, SIDE)  # (N, channel, row, column)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), batch[:, 0]


def read_stl10(paths: Sequence[Path]) -> tuple[np.ndarray, np.ndarray]:
    """(image file, label file) -> pictures (N, 32, 32, 3), labels (N,) from 0, both uint8."""
    images = _records(paths[0], 3 * _STL_SIDE * _STL_SIDE).reshape(-1, 3, _STL_SIDE, _STL_SIDE)  # (N, channel, column, row)
    labels = _records(paths[1], 1)[:, 0]
    _check_counts(paths[1], len(images), len(labels))
    _check_labels(paths[1], labels, 1, 10)
    pictures = np.empty((len(images), SIDE, SIDE, 3), np.uint8)
    for start in range(0, len(images), _STL_CHUNK):
        chunk = images[start : start + _STL_CHUNK].transpose(0, 3, 2, 1)  # (n, row, column, channel)
        pictures[start : start + _STL_CHUNK] = thirds(chunk)
    return pictures, labels - 1


def thirds(images: np.ndarray) -> np.ndarray:
    """(N, 96, 96, 3) uint8 -> (N, 32, 32, 3) uint8: the mean of each 3 x 3 pixels, rounded to the nearest (exact integers)."""
    N = len(images)
    sums = images.reshape(N, SIDE, 3, SIDE, 3, 3).sum(axis=(2, 4), dtype=np.uint16)
    return ((2 * sums + 9) // 18).astype(np.uint8)


def read_svhn(paths: Sequence[Path]) -> tuple[np.ndarray, np.ndarray]:
    """(.mat file,) -> pictures (N, 32, 32, 3), labels (N,) with 10 turned into 0, both uint8."""
    (path,) = paths
    variables = matlab.read(path, ("X", "y"))
    missing = [name for name in ("X", "y") if name not in variables]
    if missing:
        raise NwsError(f"{path} lacks the variable {' and '.join(missing)} of the cropped digits (format 2)")
    X, y = variables["X"], variables["y"].ravel()
    if X.dtype != np.uint8 or X.ndim != 4 or X.shape[:3] != (SIDE, SIDE, 3) or not X.shape[3]:
        raise NwsError(f"{path}: X must be ({SIDE}, {SIDE}, 3, N) uint8, is {X.shape} {X.dtype}")
    _check_counts(path, X.shape[3], len(y))
    if not np.isin(y, np.arange(1, 11)).all():
        raise NwsError(f"{path} is damaged: its labels must be whole numbers from 1 to 10")
    return np.ascontiguousarray(X.transpose(3, 0, 1, 2)), (y % 10).astype(np.uint8)


def _records(path: Path, record: int) -> np.ndarray:
    """A headerless file of `record`-byte records -> (N, record) uint8. NwsError unless it holds a whole number of them."""
    size = path.stat().st_size
    if size > matlab.MAX_BYTES:
        raise NwsError(f"{path} is {size:,} bytes, more than any file of this kind")
    if not size or size % record:
        raise NwsError(f"{path} is cut short or has trailing bytes: its {size:,} bytes are not whole records of {record:,}")
    return np.fromfile(path, np.uint8).reshape(-1, record)


def _check_labels(path: Path, y: np.ndarray, low: int, high: int) -> None:
    """NwsError unless the labels y (N,) read from `path` lie in low..high."""
    if y.min() < low or y.max() > high:
        wrong = int(np.flatnonzero((y < low) | (y > high))[0])
        raise NwsError(f"{path} is damaged: label {wrong} is {y[wrong]}, must be {low} to {high}")


def _check_counts(path: Path, images: int, labels: int) -> None:
    """NwsError unless the label file `path` has as many labels as there are images."""
    if images != labels:
        raise NwsError(f"{path} has {labels:,} labels for {images:,} images: one of the two files is cut short")
