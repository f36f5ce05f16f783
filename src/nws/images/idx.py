"""The IDX format of MNIST and its relatives: big-endian header, then the values; gzipped or not."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Sequence
from math import prod
from pathlib import Path

import numpy as np

from nws.errors import NwsError
from nws.images import records
from nws.images.resize import to_pictures

_UINT8 = 0x08
_DEFLATE_RATIO = 1032  # no deflate stream unpacks to more than this many times its size


def read_split(paths: Sequence[Path]) -> tuple[np.ndarray, np.ndarray]:
    """(image file, label file) -> pictures (N, 32, 32, 3), labels (N,), both uint8."""
    images, labels = read(paths[0], 3), read(paths[1], 1)
    records.check_counts(paths[1], len(images), len(labels))
    records.check_labels(paths[1], labels, 0, 9)
    return to_pictures(images), labels


def read(path: Path, dimensions: int) -> np.ndarray:
    """An IDX file of uint8 with so many dimensions (images 3, labels 1), as it is.

    NwsError when the file is cut short, goes on behind its values, or claims more than it can hold; the claim is checked
    before anything is allocated.
    """
    packed = path.suffix == ".gz"
    try:
        with gzip.open(path, "rb") if packed else path.open("rb") as file:
            shape = _shape(path, file.read(4 + 4 * dimensions), dimensions)
            size = prod(shape)
            if size > min(records.MAX_BYTES, path.stat().st_size * (_DEFLATE_RATIO if packed else 1)):
                raise NwsError(f"{path} claims to hold {size:,} bytes, which it cannot")
            data = file.read(size + 1)  # one more, to notice what follows
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise NwsError(f"{path} is cut short or damaged ({error})") from None
    if len(data) < size:
        raise NwsError(f"{path} is cut short: {len(data):,} bytes follow the header, which announces {size:,}")
    if len(data) > size:
        raise NwsError(f"{path} has trailing bytes behind the {size:,} that its header announces")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _shape(path: Path, header: bytes, dimensions: int) -> tuple[int, ...]:
    if len(header) < 4 + 4 * dimensions:
        raise NwsError(f"{path} is cut short: it ends within the header")
    magic, *shape = struct.unpack(f">{1 + dimensions}I", header)
    if magic != _UINT8 << 8 | dimensions:
        raise NwsError(f"{path} is no IDX file of uint8 in {dimensions} dimension(s): it starts with {header[:4].hex()}")
    if min(shape) < 1:
        raise NwsError(f"{path} holds nothing: its header announces {' x '.join(map(str, shape))}")
    return tuple(shape)
