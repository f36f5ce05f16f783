"""Something of every edge of a net, such as whether it may be pruned: the graph encoder with an answer per edge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import nn

from nws import device, threads
from nws.errors import NwsError
from nws.meta.contract import Progress, positive, seed
from nws.meta.fit import epochs, falling, fit, on_best_device, steps_per_epoch
from nws.meta.graph import Encoder, sizes_of_nets
from nws.representations.graph import Batch
from nws.representations.placed import Placed, checked
from nws.representations.wiring import wiring

_DECAYS = 50
_BOTH_WAYS = True  # what an edge is worth depends on what comes before it and on what becomes of it


class EdgeNet(nn.Module):
    """Batch -> (edges of all its nets,) scores above 0 for edges that are kept, net after net in the order of its groups."""

    def __init__(self, sizes: Mapping[str, int], width: int, frequencies: int):
        super().__init__()
        self.encoder = Encoder(sizes, width, frequencies, _BOTH_WAYS, 1, 0.0)
        self.reached, self.feeding = nn.Linear(width, width), nn.Linear(width, width)
        self.shown = nn.Linear(self.encoder.numbers, width)
        self.answer = nn.Sequential(nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, batch: Batch) -> torch.Tensor:
        return torch.cat([self.of_group(steps, theta).reshape(-1) for steps, theta, _ in batch.groups])

    def of_group(self, steps: Any, theta: torch.Tensor) -> torch.Tensor:
        """(b, E): step after step, in a step unit by unit of those that are reached."""
        _, h = self.encoder.states(steps, theta)
        found = []
        for step in steps:
            if step.source is None:
                continue
            waves = self.encoder.shown(theta, step).permute(0, 2, 3, 1)  # (b, units, inputs, K)
            seen = nn.functional.linear(waves, self.shown.weight[:, : waves.shape[-1]], self.shown.bias)
            pair = self.reached(h[step.group]).unsqueeze(2) + self.feeding(self.encoder.source(h, step)).unsqueeze(-3)
            found.append(self.answer(seen + pair).flatten(1))
        return torch.cat(found, 1)


class EdgeReader:
    """A switch per edge, from weights alone: fit(X, y) with X placed nets and y of each a (E,) of booleans.

    Edges are in the order of `nws.representations.wiring`: step after step, in a step output by output. Trained on cross-entropy
    over all edges of `batch_size` nets a step. Same arguments, data and machine: the same bits.
    """

    def __init__(
        self, width: int = 32, frequencies: int = 8, epochs: int = 20, max_steps: int | None = None, random_state: int = 0
    ):
        self.width, self.frequencies, self.epochs, self.max_steps = width, frequencies, epochs, max_steps
        self.random_state = random_state
        self.batch_size, self.learning_rate = 4, 3e-3

    @threads.one()
    def fit(self, X: Sequence[Placed], y: Sequence[np.ndarray], progress: Progress | None = None) -> Self:
        """NwsError when a net has not as many edges as switches."""
        for name in ("width", "frequencies", "epochs"):
            positive(name, getattr(self, name), whole=True)
        if self.max_steps is not None:
            positive("max_steps", self.max_steps, whole=True)
        seed(self.random_state)
        rows = [row.canonical() for row in checked(X)]
        targets = [np.asarray(some) for some in y]
        if len(targets) != len(rows):
            raise NwsError(f"X has {len(rows):,} nets, y switches of {len(targets):,}")
        for k, (row, some) in enumerate(zip(rows, targets)):
            if some.shape != (edges_of(row),):
                raise NwsError(f"X[{k}] has {edges_of(row):,} edges, y[{k}] has shape {some.shape}")
        rng, size = np.random.default_rng(self.random_state), min(self.batch_size, len(rows))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(self.random_state))
            self.sizes_ = sizes_of_nets(rows)
            net = EdgeNet(self.sizes_, self.width, self.frequencies)

            def draw(chosen: np.ndarray) -> tuple[Any, torch.Tensor]:
                batch = Batch.of([rows[k] for k in chosen])
                truths = [targets[chosen[k]] for _, _, at in batch.groups for k in at]
                return batch, torch.from_numpy(np.concatenate(truths).astype(np.float32))

            steps = max(1, self.epochs * steps_per_epoch(len(rows), size))
            steps = min(steps, self.max_steps) if self.max_steps else steps
            rates = falling(self.learning_rate, _DECAYS, steps)
            fit(net, draw, epochs(len(rows), size, rng), steps, nn.functional.binary_cross_entropy_with_logits, rates, progress)
        self.module_ = net
        return self

    @threads.one()
    def predict_proba(self, X: Sequence[Placed]) -> list[np.ndarray]:
        """Of each net (E,): the probability that an edge is kept."""
        if not hasattr(self, "module_"):
            raise NwsError("this reader of edges has not learned yet: call fit")
        found = []
        with device.exact(), on_best_device(self.module_) as chip, torch.inference_mode():
            for row in checked(X):
                scores = self.module_(Batch.of([row.canonical()]).to(chip))
                found.append(torch.sigmoid(scores).cpu().numpy())
        return found


def edges_of(row: Placed) -> int:
    """How many edges a net has."""
    return sum(step.units * step.inputs for step in wiring(row.layout))
