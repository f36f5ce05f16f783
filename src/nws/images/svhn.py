"""SVHN, cropped digits: MATLAB files with X (32, 32, 3, N) uint8 and y (N, 1), where 10 stands for the digit 0."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nws.errors import NwsError
from nws.images import matlab, records
from nws.images.resize import SIDE


def read_split(paths: Sequence[Path]) -> tuple[np.ndarray, np.ndarray]:
    """(.mat file,) -> pictures (N, 32, 32, 3), labels (N,) with 10 turned into 0, both uint8."""
    (path,) = paths
    variables = matlab.read(path, ("X", "y"))
    missing = [name for name in ("X", "y") if name not in variables]
    if missing:
        raise NwsError(f"{path} lacks the variable {' and '.join(missing)} of the cropped digits (format 2)")
    X, y = variables["X"], variables["y"].ravel()
    if X.dtype != np.uint8 or X.ndim != 4 or X.shape[:3] != (SIDE, SIDE, 3) or not X.shape[3]:
        raise NwsError(f"{path}: X must be ({SIDE}, {SIDE}, 3, N) uint8, is {X.shape} {X.dtype}")
    records.check_counts(path, X.shape[3], len(y))
    if not np.isin(y, np.arange(1, 11)).all():
        raise NwsError(f"{path} is damaged: its labels must be whole numbers from 1 to 10")
    return np.ascontiguousarray(X.transpose(3, 0, 1, 2)), (y % 10).astype(np.uint8)
