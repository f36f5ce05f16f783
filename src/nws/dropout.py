"""Dropout with its own stream of random numbers, for every net that nws trains."""

from __future__ import annotations

import torch
from torch import nn


class Dropout(nn.Module):
    """nn.Dropout that draws from `generator`: a net must not depend on what else its process does."""

    def __init__(self, rate: float, generator: torch.Generator | None = None):
        super().__init__()
        self.rate, self.generator = rate, generator

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or not self.rate:
            return x
        keep = x.new_empty(x.shape).bernoulli_(1 - self.rate, generator=self.generator)
        return x * keep / (1 - self.rate)
