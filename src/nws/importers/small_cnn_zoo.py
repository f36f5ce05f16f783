"""The Small CNN Zoo (Unterthiner et al. 2020): weights.npy with a row per snapshot, metrics.csv, layout.csv."""

from __future__ import annotations

import ast
import csv
import gzip
import sys
import zlib
from collections.abc import Iterator
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from nws.errors import NwsError
from nws.importers.source import Imported, Item, Moment, Source, file_fingerprint, fraction, net_of
from nws.recorded import parsed, printable
from nws.weights import Checkpoint, ordered

KIND = "small-cnn-zoo"
# What means the same as one of ours; its values are kept as they are. Every other config.* keeps its name.
OURS = {
    "config.dataset": "dataset",
    "config.learning_rate": "learning_rate",
    "config.optimizer": "optimizer",
    "config.activation": "activation",
    "config.w_init": "initialization",
}
_IDENTITY = ("config.random_seed", "modeldir")  # they name a net, they do not describe it
_LARGEST_TABLE = 2 << 30  # bytes of text; 270,000 rows take 90 MB
_LARGEST_LAYOUT = _LONGEST_LINE = 1 << 20

Tensors = dict[str, tuple[int, tuple[int, ...]]]  # variable -> (where it starts in a row, shape)
Row = tuple[int, tuple[str, ...]]  # its number in the matrix, its cells


def open_source(path: Path) -> Source:
    """path: the folder with the three files. The rows of one `modeldir` are the snapshots of one net."""
    weights = _file(path, "weights.npy")
    metrics, layout = _file(path, "metrics.csv.gz", "metrics.csv"), _file(path, "layout.csv")
    tensors = _layout(layout)
    matrix = _matrix(weights, tensors)
    header, nets = _nets(metrics, len(matrix))

    def items() -> Iterator[Item]:
        for number, (modeldir, rows) in enumerate(nets.items()):
            records = [(k, dict(zip(header, cells))) for k, cells in rows]
            yield Item(number, f"{metrics}, modeldir {printable(modeldir)}", partial(_load, number, records, matrix, tensors))

    return Source(KIND, file_fingerprint(metrics, layout), len(nets), items)


def _file(folder: Path, *names: str) -> Path:
    """The first that is there: a regular file of the folder, no link out of it."""
    for name in names:
        path = folder / name
        if path.is_file():
            if not path.resolve().is_relative_to(folder.resolve()):
                raise NwsError(f"{path} is a link to a place outside its folder: refused")
            return path
    raise NwsError(f"{folder} lacks {' and '.join(names)}: name the folder of a Small CNN Zoo")


def _layout(path: Path) -> Tensors:
    """Variable -> (where it starts in a row, shape)."""
    tensors = {}
    for number, header, cells in _rows(path, _LARGEST_LAYOUT):
        row = dict(zip(header, cells))
        try:
            shape = ast.literal_eval(row["shape"][:200])
            start, stop = int(row["start_idx"]), int(row["end_idx"])
            shape = (shape,) if isinstance(shape, int) else tuple(shape)
            if not all(type(n) is int and 0 < n < 1 << 31 for n in shape) or start < 0 or stop - start != prod(shape):
                raise ValueError
            tensors[row["varname"]] = (start, shape)
        except (KeyError, ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            raise NwsError(
                f"{path}, line {number}: must say varname, start_idx, end_idx and shape, such as (3, 3, 1, 16)"
            ) from None
    if not tensors:
        raise NwsError(f"{path} lists no variables")
    return tensors


def _matrix(path: Path, tensors: Tensors) -> np.ndarray:
    """(rows, weights), mapped: only the rows that are used are read."""
    try:
        matrix: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # numpy's parser of headers raises what Python's tokenizer does
        raise NwsError(f"{path} is no array that can be read ({printable(error)[:100]}): copy it anew") from None
    needed = max(start + prod(shape) for start, shape in tensors.values())
    if not isinstance(matrix, np.ndarray) or matrix.ndim != 2 or matrix.dtype.kind != "f" or matrix.shape[1] != needed:
        shape, dtype = getattr(matrix, "shape", ()), getattr(matrix, "dtype", "")
        raise NwsError(f"{path} holds {shape} {dtype}, layout.csv describes rows of {needed:,} floating-point numbers")
    return matrix


def _nets(path: Path, rows: int) -> tuple[tuple[str, ...], dict[str, list[Row]]]:
    """The columns, and modeldir -> the rows of its snapshots, nets in order of appearance."""
    nets: dict[str, list[Row]] = {}
    header: tuple[str, ...] = ()
    k = -1
    for k, (number, header, cells) in enumerate(_rows(path, _LARGEST_TABLE)):
        if "modeldir" not in header or "step" not in header or len(cells) != len(header):
            raise NwsError(f"{path}, line {number}: lacks modeldir, step or another column")
        nets.setdefault(cells[header.index("modeldir")], []).append((k, cells))
    if k + 1 != rows:
        raise NwsError(f"{path} has {k + 1:,} rows, weights.npy beside it {rows:,}: they do not belong together")
    return header, nets


def _rows(path: Path, most: int) -> Iterator[tuple[int, tuple[str, ...], tuple[str, ...]]]:
    """(line number, header, cells) of a CSV, packed or not; never more than `most` bytes of text."""
    reader: Any = None
    try:
        with open(path, "rb") as raw, gzip.open(raw) if path.suffix == ".gz" else raw as stream:
            reader = csv.reader(_lines(stream, most), strict=True)
            header = tuple(next(reader, ()))
            for cells in reader:
                if cells:  # one copy of each text: 270,000 rows say the same few things
                    yield reader.line_num, header, tuple(map(sys.intern, cells))
    except (OSError, EOFError, zlib.error) as error:
        raise NwsError(f"{path} cannot be read ({getattr(error, 'strerror', None) or error}): copy it anew") from None
    except csv.Error as error:
        raise NwsError(f"{path}, line {reader.line_num}: {error}: it is no table of comma-separated values") from None


def _lines(stream: Any, most: int) -> Iterator[str]:
    while line := stream.readline(_LONGEST_LINE):
        most -= len(line)
        if most < 0 or len(line) == _LONGEST_LINE:
            raise csv.Error("the text goes on for longer than any such table")
        yield line.decode("utf-8", "surrogateescape")


def _load(number: int, rows: list[tuple[int, dict[str, str]]], matrix: np.ndarray, tensors: Tensors) -> Imported:
    moments: list[Moment] = []
    notes: list[str] = []
    for k, row in rows:
        arrays = {name: np.array(matrix[k, start : start + prod(shape)]).reshape(shape) for name, (start, shape) in tensors.items()}
        weights = ordered(Checkpoint(Path("weights.npy"), "npy", tuple(arrays), arrays, kernels="keras"))
        at = {name: parsed(row.get(name, "")) for name in ("step", "train_accuracy", "test_accuracy")}
        if type(at["step"]) is not int or not 0 <= at["step"] < 1 << 31:
            raise NwsError(f"step {row['step']!r} is no number of epochs")
        train, test = fraction(at["train_accuracy"]), fraction(at["test_accuracy"])
        moments.append(Moment(weights, at["step"], train_accuracy=train, test_accuracy=test))
        notes += weights.notes
    last: dict[str, Any] = {name: parsed(cell) for name, cell in rows[-1][1].items()}
    values = {OURS.get(name, name): v for name, v in last.items() if name.startswith("config.") and name not in _IDENTITY}
    losses = {name: [parsed(row.get(name, "")) for _, row in rows] for name in ("train_loss", "test_loss")}
    about = {"source": KIND, **{name: last.get(name) for name in _IDENTITY}, **losses}
    net = net_of(number, values, moments, about)
    return Imported(net, None, max(m.weights.difference for m in moments), tuple(dict.fromkeys(notes)))
