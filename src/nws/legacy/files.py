"""One run in the 2020 program's layout, written and read.

RUN/weights/001.bin ...  theta at each snapshot, float64 little-endian without a header
RUN/meta.csv             a header and a row: the thirteen hyper-parameters in the 2020 coding
RUN/error.bin            float64, a row per record: step, then training, validation, test, filtered validation error in %
RUN/stat.bin             float64: records, last step, epochs, seconds
"""

from __future__ import annotations

import csv
import io
import os
import re
import secrets
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from nws.atomic import flush_folder, write_whole
from nws.cells import guarded
from nws.errors import NwsError
from nws.families.cnn2020 import HyperParameters
from nws.net import Net

_RECORD = 5  # values in a row of error.bin
_TRAIN, _TEST = 1, 3  # its columns that import_weights returns
_STAT = 4  # values in stat.bin
_LARGEST_ERROR = 64 << 20  # bytes; a thousand epochs take 40 KB


def write_run(net: Net, folder: str | Path) -> None:
    """Write a net as a run of the 2020 program: whole, or not at all.

    NwsError when `folder` is there already and not empty, or cannot be written.
    """
    folder = Path(folder)
    hp = net.hp
    if not isinstance(hp, HyperParameters):
        raise NwsError(f"net {net.number} is not of the paper's space: the 2020 format has no place for its properties")
    refuse_existing(folder)
    part = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.tmp")
    try:
        (part / "weights").mkdir(parents=True)
        for k, theta in enumerate(net.theta, 1):
            write_whole(part / "weights" / f"{k:03d}.bin", theta.astype("<f8").tobytes())
        error = np.column_stack([net.history[:, 0], 100.0 * (1.0 - net.history[:, 1:])])  # accuracies in HISTORY's order
        write_whole(part / "error.bin", error.astype("<f8").tobytes())
        stat = [len(net.history), net.history[-1, 0], len(net.history) - 1, net.seconds]
        write_whole(part / "stat.bin", np.array(stat, "<f8").tobytes())
        write_whole(part / "meta.csv", csv_text([list(hp.to_2020()), list(hp.to_2020().values())]).encode())
        os.replace(part, folder)  # takes the place of an empty folder too
        flush_folder(folder.parent)
    except OSError as error:
        raise NwsError(f"{folder}: {error.strerror}: free some space, or choose another --log_dir") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def refuse_existing(folder: Path) -> None:
    """NwsError unless a run can be written to `folder`: it is a new name, or an empty folder."""
    if os.path.lexists(folder) and not (folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir())):
        raise NwsError(f"{folder} is there already and not empty: choose another --id or --log_dir")


def make_folder(folder: Path) -> None:
    """Make the folder of the results: once all input is known to be good, and before the work rather than after it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NwsError(f"{folder}: {error.strerror}: choose another --log_dir") from None
    if not os.access(folder, os.W_OK):
        raise NwsError(f"{folder} may not be written to: choose another --log_dir")


def csv_text(rows: list[list[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([guarded(cell) for cell in row] for row in rows)
    return text.getvalue()


@dataclass(frozen=True)
class Run:
    """A run on disk, from a stranger: each file's place and size are checked before it is read.

    weights  length of theta, as the hyper-parameters say
    places   folders, resolved, one of which every file must lie in, symbolic links followed
    """

    folder: Path
    weights: int
    places: tuple[Path, ...]

    @cached_property
    def snapshots(self) -> int:
        """How many snapshots the run has: the highest number of a weight file (20 in the published data)."""
        try:
            names = [entry.name for entry in (self.folder / "weights").iterdir()]
        except OSError as error:
            raise NwsError(f"{self.folder / 'weights'}: {error.strerror}: the run has no weights") from None
        numbers = [int(name[:-4]) for name in names if re.fullmatch(r"[0-9]{3,6}\.bin", name)]
        if not numbers:
            raise NwsError(f"{self.folder / 'weights'} holds no 001.bin: the run has no weights")
        return max(numbers)

    def theta(self, snapshot: int) -> np.ndarray:
        """(P,) float32: the weights at a snapshot, numbered from 1."""
        with np.errstate(over="ignore"):  # a diverged net: what float32 cannot hold becomes inf
            return self.values(snapshot).astype(np.float32)

    def values(self, snapshot: int) -> np.ndarray:
        """(P,) float64: the weights at a snapshot as the file has them."""
        path = self.folder / "weights" / f"{snapshot:03d}.bin"
        if not 1 <= snapshot <= self.snapshots:
            raise NwsError(f"{self.folder} has snapshots 1 to {self.snapshots}, not {snapshot}: name others")
        size = self._size(path)
        if size != 8 * self.weights:
            raise NwsError(
                f"{path} holds {size:,} bytes, {self.weights:,} float64 weights are {8 * self.weights:,}: it is cut short "
                "or belongs to another net, copy the run anew"
            )
        return _read(path, size)

    @property
    def error(self) -> np.ndarray:
        """(S, 2) float32: training and test error in % at each snapshot."""
        return self.records[self.kept][:, [_TRAIN, _TEST]].astype(np.float32)

    @property
    def kept(self) -> np.ndarray:
        """(S,) which of the records, from 0, are snapshots."""
        return np.round(np.linspace(0, len(self.records) - 1, self.snapshots)).astype(np.int64)

    @property
    def seconds(self) -> float:
        return float(self._stat[3])

    @cached_property
    def records(self) -> np.ndarray:
        """(T, 5) float64: step, then training, validation, test and filtered validation error in %; a row per epoch."""
        path = self.folder / "error.bin"
        size = self._size(path)
        if size == 0 or size % (8 * _RECORD) or size > _LARGEST_ERROR:
            raise NwsError(f"{path} holds {size:,} bytes, which is no number of rows of {_RECORD} float64: copy the run anew")
        rows, records = _read(path, size).reshape(-1, _RECORD), self._stat[0]
        if len(rows) != records:
            raise NwsError(f"{path} has {len(rows)} rows, stat.bin beside it counts {records:g}: copy the run anew")
        return rows

    @cached_property
    def _stat(self) -> np.ndarray:
        """(4,) float64: records, last step, epochs, seconds."""
        stat = self.folder / "stat.bin"
        if self._size(stat) != 8 * _STAT:
            raise NwsError(f"{stat} holds {self._size(stat):,} bytes, {_STAT} float64 are {8 * _STAT}: copy the run anew")
        return _read(stat, 8 * _STAT)

    def _size(self, path: Path) -> int:
        """Bytes of a regular file that lies where it may."""
        try:
            resolved = path.resolve(strict=True)
            if not inside(resolved, self.places):
                raise NwsError(f"{path} is a link to {resolved}, outside its folder: name that place with root, if you trust it")
            if not resolved.is_file():  # a pipe or a device could be read for ever
                raise NwsError(f"{path} is not a file: copy the run anew")
            return resolved.stat().st_size
        except (OSError, RuntimeError) as error:  # RuntimeError: links that go in circles
            reason = getattr(error, "strerror", None) or error
            raise NwsError(f"{path}: {reason}: the run is not complete, copy it anew") from None


def inside(path: Path, places: tuple[Path, ...]) -> bool:
    return any(path.is_relative_to(place) for place in places)


def _read(path: Path, size: int) -> np.ndarray:
    """The first `size` bytes as float64."""
    try:
        with open(path, "rb") as file:
            values = np.frombuffer(file.read(size), "<f8")
    except OSError as error:
        raise NwsError(f"{path}: {error.strerror}") from None
    if values.nbytes != size:
        raise NwsError(f"{path} was cut short while it was read: try again")
    return values
