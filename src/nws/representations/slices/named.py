"""Columns with names, put together to a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

Columns = dict[str, np.ndarray]  # name -> (n,)


def spread(prefix: str, tails: Iterable[object], values: np.ndarray) -> Columns:
    """The columns of values (n, k), named by prefix and tail."""
    return {f"{prefix}{tail}": column for tail, column in zip(tails, values.T, strict=True)}


def missing(names: Sequence[str], n: int) -> Columns:
    """Columns of what these slices have not, such as windows longer than they are: NaN."""
    return dict.fromkeys(names, np.full(n, np.nan, np.float32))
