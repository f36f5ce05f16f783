"""Rows that were computed once: remembered up to a limit of memory, the longest unused ones forgotten first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable

import numpy as np

LIMIT = 1 << 30  # bytes: the 480 statistics of 70,000 nets at four snapshots


class Cache:
    """key -> array. What a key stands for never changes, so that forgetting costs time and nothing else."""

    def __init__(self, limit: int = LIMIT):
        self.limit, self.size = limit, 0
        self._kept: OrderedDict[Hashable, np.ndarray] = OrderedDict()

    def __contains__(self, key: Hashable) -> bool:
        return key in self._kept

    def get(self, key: Hashable, make: Callable[[], np.ndarray]) -> np.ndarray:
        """What is kept under the key, else what `make` gives, kept from now on."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        made = make()
        self.put(key, made)
        return made

    def put(self, key: Hashable, array: np.ndarray) -> None:
        if key in self._kept:
            self.size -= self._kept.pop(key).nbytes
        self._kept[key] = array
        self.size += array.nbytes
        while self.size > self.limit and self._kept:
            self.size -= self._kept.popitem(last=False)[1].nbytes
