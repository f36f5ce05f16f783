"""Baselines that read the neurons of a net as a set: DeepSets (arXiv:1703.06114) and a set transformer (arXiv:1810.00825)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from nws.errors import NwsError
from nws.meta.contract import positive
from nws.meta.deep import Deep, head
from nws.representations.tokens import padded


class Rows:
    """Tokens of a batch: x (B, T, F), mask (B, T)."""

    def __init__(self, x: torch.Tensor, mask: torch.Tensor):
        self.x, self.mask = x, mask

    def to(self, chip: Any) -> Rows:
        return Rows(self.x.to(chip), self.mask.to(chip))


class Standard(nn.Module):
    """Tokens as they are, less the training set's mean, over its deviation, and at most 10."""

    def __init__(self, features: int):
        super().__init__()
        self.mean: torch.Tensor
        self.deviation: torch.Tensor
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("deviation", torch.ones(features))

    def forward(self, rows: Rows) -> torch.Tensor:
        return ((rows.x - self.mean) / self.deviation).clamp(-10, 10) * rows.mask.unsqueeze(2)


class DeepSetsNet(nn.Module):
    """Each token by itself, then mean and largest over tokens, then the answer."""

    def __init__(self, features: int, width: int, targets: int, dropout: float):
        super().__init__()
        self.standard = Standard(features)
        self.each = nn.Sequential(
            nn.Linear(features, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()
        )
        self.head = head(2 * width, 2 * width, targets, dropout)

    def forward(self, rows: Rows) -> torch.Tensor:
        mask = rows.mask.unsqueeze(2)
        seen = self.each(self.standard(rows)) * mask  # not negative: what fills up is never the largest
        answer: torch.Tensor = self.head(torch.cat([seen.sum(1) / mask.sum(1), seen.amax(1)], 1))
        return answer


class Attention(nn.Module):
    """Queries (B, Q, d) ask tokens (B, T, d), of which mask (B, T) are there; then each answer by itself. Norms first."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.asking, self.asked, self.after = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.pair, self.out = nn.Linear(width, width), nn.Linear(width, 2 * width), nn.Linear(width, width)
        self.each = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))

    def forward(self, queries: torch.Tensor, tokens: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        q, (k, v) = self.query(self.asking(queries)), self.pair(self.asked(tokens)).chunk(2, 2)
        q, k, v = (some.unflatten(2, (self.heads, -1)).transpose(1, 2) for some in (q, k, v))  # (B, heads, n, d / heads)
        there = None if mask is None else mask[:, None, None]
        heard = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=there)
        queries = queries + self.out(heard.transpose(1, 2).flatten(2))
        answer: torch.Tensor = queries + self.each(self.after(queries))
        return answer


class SetTransformerNet(nn.Module):
    """Tokens speak through a few learned points (so that the price is linear in tokens), then one learned seed asks them all."""

    def __init__(self, features: int, width: int, heads: int, points: int, blocks: int, targets: int, dropout: float):
        super().__init__()
        self.standard = Standard(features)
        self.enter = nn.Linear(features, width)
        self.points = nn.Parameter(torch.randn(blocks, points, width))
        self.gather = nn.ModuleList(Attention(width, heads) for _ in range(blocks))
        self.spread = nn.ModuleList(Attention(width, heads) for _ in range(blocks))
        self.seed = nn.Parameter(torch.randn(1, width))
        self.ask = Attention(width, heads)
        self.head = head(width, 2 * width, targets, dropout)

    def forward(self, rows: Rows) -> torch.Tensor:
        x = self.enter(self.standard(rows))
        for points, gather, spread in zip(self.points, self.gather, self.spread):
            x = spread(x, gather(points.expand(len(x), -1, -1), x, rows.mask), None)
        answer: torch.Tensor = self.head(self.ask(self.seed.expand(len(x), -1, -1), x, rows.mask)[:, 0])
        return answer


class SetReader(Deep):
    """What readers of tokens have in common. X: a list of (T, F), see `nws.representations.tokens`."""

    reads = "tokens"

    def _rows(self, X: Any) -> list[np.ndarray]:
        rows = [np.asarray(row) for row in X]
        if not rows:
            raise NwsError("X holds no nets")
        for k, row in enumerate(rows):
            if row.ndim != 2 or row.dtype.kind != "f" or not row.size or row.shape[1] != rows[0].shape[1]:
                raise NwsError(f"X[{k}] must be tokens (T, {rows[0].shape[-1]}) of floats, got {row.shape} {row.dtype}")
            if not np.isfinite(row).all():
                raise NwsError(f"X[{k}] holds NaN or infinite numbers: leave diverged nets out")
        return rows

    def _learn_sizes(self, rows: list[np.ndarray]) -> dict[str, int]:
        return {"features": rows[0].shape[1]}

    def _sizes_of(self, found: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
        return {"features": found["standard.mean"][0]}

    def _begin_module(self, module: nn.Module, rows: list[np.ndarray]) -> None:
        mean = np.mean([row.mean(0, dtype=np.float64) for row in rows], 0)
        square = np.mean([((row - mean) ** 2).mean(0, dtype=np.float64) for row in rows], 0)
        standard: Any = module.standard
        standard.mean.copy_(torch.from_numpy(mean))
        standard.deviation.copy_(torch.from_numpy(np.where(square > 1e-12, np.sqrt(square), 1.0)))

    def _fits(self, rows: list[np.ndarray]) -> None:
        if rows[0].shape[1] != self.sizes_["features"]:
            raise NwsError(f"tokens have {rows[0].shape[1]} features, this model is expecting {self.sizes_['features']} features")

    def _together(self, rows: Sequence[np.ndarray]) -> Rows:
        x, mask = padded(list(rows))
        return Rows(torch.from_numpy(x), torch.from_numpy(mask))


class DeepSets(SetReader):
    """The neurons of a net as a set, each by itself and then their mean and largest."""

    def __init__(
        self,
        width: int = 64,
        epochs: int = 100,
        batch_size: int = 32,
        learning_rate: float = 2e-3,
        dropout: float = 0.2,
        max_steps: int | None = None,
        random_state: int = 0,
        regression: bool = False,
    ):
        self.width = width
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.dropout = dropout
        self.max_steps = max_steps
        self.random_state = random_state
        self.regression = regression

    def _check(self) -> None:
        super()._check()
        positive("width", self.width, whole=True)

    def _make(self, sizes: Mapping[str, int], outputs: int) -> DeepSetsNet:
        return DeepSetsNet(sizes["features"], self.width, outputs, self.dropout)


class SetTransformer(SetReader):
    """The neurons of a net as a set that attends to itself."""

    def __init__(
        self,
        width: int = 64,
        heads: int = 4,
        points: int = 16,
        blocks: int = 2,
        epochs: int = 100,
        batch_size: int = 32,
        learning_rate: float = 1e-3,
        dropout: float = 0.2,
        max_steps: int | None = None,
        random_state: int = 0,
        regression: bool = False,
    ):
        self.width = width
        self.heads = heads
        self.points = points
        self.blocks = blocks
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.dropout = dropout
        self.max_steps = max_steps
        self.random_state = random_state
        self.regression = regression

    def _check(self) -> None:
        super()._check()
        for name in ("width", "heads", "points", "blocks"):
            positive(name, getattr(self, name), whole=True)
        if self.width % self.heads:
            raise NwsError(f"width={self.width}: must be a multiple of heads={self.heads}")
        if self.blocks > 64:
            raise NwsError(f"blocks={self.blocks}: at most 64")

    def _make(self, sizes: Mapping[str, int], outputs: int) -> SetTransformerNet:
        shape = self.width, self.heads, self.points, self.blocks
        return SetTransformerNet(sizes["features"], *shape, outputs, self.dropout)
