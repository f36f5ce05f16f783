"""What meta-classifiers read, from one zoo: statistics, layer-wise statistics or raw weights, each computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from nws.errors import NwsError
from nws.layout import Layout
from nws.processes import Pool
from nws.representations import Cache, Placed, Representation
from nws.zoo import Zoo

TRAIN_SLICES = 10  # random slices of each vector on which local statistics are learned (the paper's local SVMs)
TEST_SLICES = 10  # evenly spread slices of each vector on which everything local is tested


Change = Callable[[np.ndarray, Layout, int], np.ndarray]
Key = tuple[Representation, "Where", bool]  # what is read, where, and whether in test slices


@dataclass(frozen=True)
class Where:
    """Which weights: consecutive ones of a part (slice_length None: the whole part) at these snapshots.

    without: kinds of weights that are taken out of theta first (`nws.layout.STRIPS`).
    """

    part: str
    slice_length: int | None
    snapshots: tuple[int, ...]
    without: tuple[str, ...] = ()


def evenly(size: int, length: int, count: int) -> np.ndarray:
    """Where `count` slices begin (count,) that are spread evenly over `size` weights, the first at 0, the last at the end."""
    return np.round(np.linspace(0, size - length, count)).astype(np.int64)


class Inputs:
    """Rows for training and testing, always in the order (net, snapshot, slice); `seed` draws the training slices.

    test_slices: evenly spread slices of each vector on which everything local is tested.
    workers: processes that `nws.tasks.rounds` may use; they live until `close`, so that one command starts them once.
    change: (theta (S, P), layout, number of the net) -> theta, what happens to weights before they are read: rounded, pruned.
    """

    def __init__(self, zoo: Zoo, seed: int = 0, test_slices: int = TEST_SLICES, workers: int = 1, change: Change | None = None):
        self.zoo = zoo
        self.change = change
        self.workers = workers
        self.pool: Pool | None = None
        self.alone = 0.0  # seconds that were worked without workers
        self.seed = seed
        self.test_slices = test_slices
        self.fitted: dict[tuple[Any, ...], Any] = {}  # linear meta-classifiers of earlier calls, by all that made them
        self._known = Cache()

    @classmethod
    def of(cls, zoo: Zoo | Inputs, seed: int | None = None, workers: int = 1) -> AbstractContextManager[Inputs]:
        """The `Inputs` of a zoo (seed 0 unless given), closed when left, or those given. NwsError when they have another seed."""
        if not isinstance(zoo, Inputs):
            return cls(zoo, 0 if seed is None else seed, workers=workers)
        if seed not in (None, zoo.seed):
            raise NwsError(
                f"seed={seed}: these Inputs have seed {zoo.seed}, leave it out or make others with Inputs(zoo, seed={seed})"
            )
        return nullcontext(zoo)  # whoever made them closes them

    def __enter__(self) -> Inputs:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the workers, if there are any. What is known stays."""
        if self.pool:
            self.pool.close()
            self.pool = None

    def key(self, shown: Representation, where: Where, test: bool) -> Key:
        """Rows of one net under the same key are the same, whoever asks."""
        return shown, where, test and where.slice_length is not None

    def unknown(self, key: Key, nets: Iterable[int]) -> list[int]:
        return [net for net in nets if (*key, net) not in self._known]

    def known(self, key: Key, nets: Iterable[int]) -> list[np.ndarray]:
        """The rows of each net (rows_per_net, F), computed now where they are not yet known."""
        return [self._known.get((*key, net), partial(self._row, *key, net)) for net in nets]

    def learn(self, key: Key, nets: Sequence[int], found: Sequence[np.ndarray]) -> None:
        """Remember what another process computed."""
        for net, rows in zip(nets, found, strict=True):
            self._known.put((*key, net), rows)

    def rows(self, shown: Representation, where: Where, nets: np.ndarray, test: bool) -> Any:
        """X for these nets: (nets x rows_per_net, F), a list of (T, F) where rows are ragged, of placed nets, or of vectors."""
        if shown.placed:
            return self._placed(where, nets)
        if shown.ragged:
            return [row for rows in self.known(self.key(shown, where, test), [int(net) for net in nets]) for row in rows]
        if shown.table:
            return np.concatenate(self.known(self.key(shown, where, test), [int(net) for net in nets]))
        return self._weights(where, nets, test)

    def _placed(self, where: Where, nets: np.ndarray) -> list[Placed]:
        vectors = self._weights(where, nets, test=False)
        layouts = [self._layout(where, int(net)) for net in nets]
        configs = [self.zoo.config(int(net)) for net in nets]
        return [Placed(v, layouts[k // len(where.snapshots)], configs[k // len(where.snapshots)]) for k, v in enumerate(vectors)]

    def _layout(self, where: Where, net: int) -> Layout:
        """Of the weights that are read."""
        layout = self.zoo.layout(net)
        if where.without:
            layout = layout.without(where.without)
        return layout if where.part == "all" else Layout([t for t in layout.tensors if t.part == where.part])

    def _row(self, shown: Representation, where: Where, test: bool, net: int) -> np.ndarray:
        theta, layout = self._theta(where, net)  # (S, P)
        if where.slice_length is None:
            found = shown.of_net(theta, layout, where.part)
            if shown.ragged:
                return found  # (S, T, F)
        else:
            vectors = theta[:, layout.part(where.part)]
            starts = self._starts(net, vectors.shape[1], where.slice_length, test)
            if shown.ends and not test:
                starts[0], starts[-1] = 0, vectors.shape[1] - where.slice_length
            found = shown.of_slices(np.stack([vectors[:, a : a + where.slice_length] for a in starts], 1))  # of (S, K, L)
        return found.reshape(-1, found.shape[-1])

    def _starts(self, net: int, size: int, length: int, test: bool) -> np.ndarray:
        if test:
            return evenly(size, length, self.test_slices)
        return np.random.default_rng([self.seed, net, 5]).integers(0, size - length + 1, TRAIN_SLICES)

    def _theta(self, where: Where, net: int) -> tuple[np.ndarray, Layout]:
        """Theta (S, P) at the snapshots, stripped, and its layout."""
        layout = self.zoo.layout(net)
        theta = np.stack([self.zoo.theta(net, s) for s in where.snapshots])
        if self.change:
            theta = self.change(theta, layout, net)
        if where.without:
            theta, layout = theta[:, layout.kept(where.without)], layout.without(where.without)
        return theta, layout

    def _weights(self, where: Where, nets: np.ndarray, test: bool) -> Any:
        if where.without or self.change:
            return self._stripped(where, nets, test)
        if not test or where.slice_length is None:
            return self.zoo.vectors(np.repeat(nets, len(where.snapshots)), np.tile(where.snapshots, len(nets)), where.part)
        of_net, of_snapshot, starts = [], [], []
        for net in nets:
            part = self.zoo.layout(int(net)).part(where.part)
            even = part.start + self._starts(int(net), part.stop - part.start, where.slice_length, test=True)
            for snapshot in where.snapshots:
                of_net += [int(net)] * len(even)
                of_snapshot += [snapshot] * len(even)
                starts.append(even)
        return self.zoo.slices(of_net, of_snapshot, np.concatenate(starts), where.slice_length)

    def _stripped(self, where: Where, nets: np.ndarray, test: bool) -> Any:
        """As `_weights`, of stripped vectors, which no file holds: all of them are in memory."""
        vectors: list[np.ndarray] = []
        for net in nets:
            theta, layout = self._theta(where, int(net))
            found = theta[:, layout.part(where.part)]
            if test and where.slice_length is not None:
                starts = self._starts(int(net), found.shape[1], where.slice_length, test=True)
                vectors += [row[a : a + where.slice_length] for row in found for a in starts]
            else:
                vectors += list(found)
        return np.stack(vectors) if test and where.slice_length is not None else vectors
