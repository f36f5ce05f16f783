"""A zoo as a data set for PyTorch: one item per net and snapshot, as whole vectors, slices, or tokens with a mask."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import Dataset

from nws.errors import NwsError, unknown
from nws.layout import Layout
from nws.zoo import targets

if TYPE_CHECKING:
    from nws.zoo.zoo import Zoo

VIEWS = ("weights", "slices", "tokens")
WIDTH = 64  # weights of a token
PLACES = 3  # behind them: where the token stands, each from 0 to 1: tensor, unit, piece of the unit


class ZooDataset(Dataset[tuple[torch.Tensor, ...]]):
    """Items (x, y), of tokens (x, mask, y); y is the position in `classes` (int64), or a number (float32).

    weights  x (P,), all vectors equally long
    slices   x (L,): a random slice of the vector at each access (PyTorch's random numbers: each worker has its own), or with
             `per_vector` the so-manieth of that many evenly spread ones
    tokens   x (T, WIDTH + PLACES): each unit's weights of each tensor in pieces of WIDTH, zeros behind the last, then where the
             piece stands; mask (T,) is True for tokens, False for what fills up to the largest net. `collate` cuts what a whole
             batch does not need

    which: `split`, `part` and `converged` of `Zoo.select`.
    Safe with any number of workers: each opens the zoo's files by itself. Rows go net by net; a net's snapshots are near-twins,
    so split by net: split="train" and "test", or `numbers`, the net of each item.
    """

    def __init__(
        self,
        zoo: Zoo,
        target: str,
        view: str = "weights",
        *,
        snapshots: Sequence[int] | None = None,
        slice_length: int = 5000,
        per_vector: int | None = None,
        **which: Any,
    ):
        part = which.get("part", "all")
        if view not in VIEWS:
            raise unknown("view", view, VIEWS)
        asked = targets.target(zoo, target)
        frame, self.notes = zoo.select(**which, slice_length=slice_length if view == "slices" else None)
        nets = frame.index.to_numpy()
        times = [int(frame["snapshots"].min())] if snapshots is None else [int(s) for s in snapshots]
        found = targets.values(zoo, target, nets, times)  # (n, S)
        known = np.array([all(v == v and v != "nan" for v in row) for row in found.tolist()])
        if not known.any():
            raise NwsError(f"nobody recorded {target} of the nets of {zoo.path}: ask for another target")
        nets, found = nets[known], found[known]
        self.zoo, self.view, self.part, self.slice_length, self.per_vector = zoo, view, part, slice_length, per_vector
        self.classes: list[str] = asked.classes(found.reshape(-1).tolist())
        self.numbers = np.repeat(nets, len(times))
        self.snapshots = np.tile(times, len(nets))
        flat = found.reshape(-1)
        self.y = (
            torch.tensor([self.classes.index(label) for label in flat.tolist()])
            if self.classes
            else torch.from_numpy(flat.astype(np.float32))
        )
        self._begins = [zoo.layout(int(net)).part(part) for net in nets]
        sizes = {where.stop - where.start for where in self._begins}
        if view == "weights" and len(sizes) > 1:
            raise NwsError(f"the nets have {min(sizes):,} to {max(sizes):,} weights: use view='slices' or view='tokens'")
        self._most = max(len(_places(zoo.layout(int(net)), part)[0]) for net in nets) if view == "tokens" else 0
        self._times = len(times)

    def __len__(self) -> int:
        return len(self.y) * (self.per_vector or 1 if self.view == "slices" else 1)

    def __getitem__(self, item: int) -> tuple[torch.Tensor, ...]:
        if not -len(self) <= item < len(self):
            raise IndexError(item)
        row, which = divmod(item % len(self), (self.per_vector or 1) if self.view == "slices" else 1)
        net, snapshot = int(self.numbers[row]), int(self.snapshots[row])
        where = self._begins[row // self._times]
        if self.view == "tokens":
            x, mask = tokens(self.zoo.theta(net, snapshot), self.zoo.layout(net), self.part)
            filled = torch.zeros(self._most, x.shape[1])
            filled[: len(x)] = torch.from_numpy(x)
            return filled, torch.arange(self._most) < len(mask), self.y[row]
        length, room = where.stop - where.start, 0
        if self.view == "slices":
            length, room = self.slice_length, length - self.slice_length
        start = where.start
        if self.view == "slices" and self.per_vector is None:
            start += int(torch.randint(room + 1, ()))
        elif self.view == "slices":
            start += round(room * which / max((self.per_vector or 1) - 1, 1))
        return torch.from_numpy(self.zoo.slices(net, snapshot, start, length)[0]), self.y[row]

    def collate(self, items: Sequence[tuple[torch.Tensor, ...]]) -> tuple[torch.Tensor, ...]:
        """Items -> a batch; of tokens only as many as the largest net of the batch has. For DataLoader(collate_fn=...)."""
        stacked = tuple(torch.stack(column) for column in zip(*items, strict=True))
        if self.view != "tokens":
            return stacked
        x, mask, y = stacked
        longest = int(mask.sum(1).max())
        return x[:, :longest], mask[:, :longest], y


def tokens(theta: np.ndarray, layout: Layout, part: str = "all") -> tuple[np.ndarray, np.ndarray]:
    """theta (P,) -> tokens (T, WIDTH + PLACES) float32 and the tensor each belongs to (T,): see `ZooDataset`."""
    source, places, tensor = _places(layout, part)
    padded = np.append(theta, np.float32(0))
    return np.concatenate([padded[source], places], 1).astype(np.float32), tensor


@lru_cache(maxsize=64)
def _places(layout: Layout, part: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the weights of each token lie (T, WIDTH), P for none; where the token stands (T, PLACES); its tensor (T,)."""
    sources, places, tensors = [], [], []
    chosen = [t for t in layout.tensors if part in ("all", t.part)]
    for k, t in enumerate(chosen):
        units = t.shape[0] if len(t.shape) > 1 else 1  # a vector is one row
        each = (t.stop - t.start) // units
        pieces = -(-each // WIDTH)
        rows = np.full((units, pieces * WIDTH), layout.size)
        rows[:, :each] = np.arange(t.start, t.stop).reshape(units, each)
        sources.append(rows.reshape(-1, WIDTH))
        unit, piece = np.divmod(np.arange(units * pieces), pieces)
        places.append(np.stack([np.full(len(unit), k / len(chosen)), unit / units, piece / pieces], 1))
        tensors.append(np.full(len(unit), k))
    return np.concatenate(sources), np.concatenate(places).astype(np.float32), np.concatenate(tensors)
