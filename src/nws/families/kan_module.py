"""Spline layers in PyTorch: what a KAN computes, for any order, and the reference for the native trainer."""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from nws.families.splines import HIGH, LOW, knots


class Centred(nn.Module):
    """Pictures of 0 to 1 as LOW to HIGH."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * (HIGH - LOW) + LOW


class SplineLayer(nn.Module):
    """(B, inputs) -> (B, outputs), see nws.families.splines. Its numbers are called as in efficient-kan."""

    def __init__(self, inputs: int, outputs: int, grid: int, order: int):
        super().__init__()
        self.order = order
        self.knots: torch.Tensor
        self.base_weight = nn.Parameter(torch.zeros(outputs, inputs))
        self.spline_scaler = nn.Parameter(torch.zeros(outputs, inputs))
        self.spline_weight = nn.Parameter(torch.zeros(outputs, inputs, grid + order))
        self.register_buffer("knots", torch.from_numpy(knots(grid, order)), persistent=False)

    def bases(self, x: torch.Tensor) -> torch.Tensor:
        """x (B, inputs) -> (B, inputs, grid + order)"""
        t, x = self.knots.to(x.dtype), x.unsqueeze(-1)
        found = ((x >= t[:-1]) & (x < t[1:])).to(x.dtype)
        for k in range(1, self.order + 1):
            left, right = (x - t[: -(k + 1)]) / (t[k:-1] - t[: -(k + 1)]), (t[k + 1 :] - x) / (t[k + 1 :] - t[1:-k])
            found = left * found[..., :-1] + right * found[..., 1:]
        return found

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        spline = self.spline_weight * self.spline_scaler.unsqueeze(-1)
        return functional.linear(functional.silu(x), self.base_weight) + functional.linear(
            self.bases(x).flatten(1), spline.flatten(1)
        )


def stack(widths: list[int], grid: int, order: int) -> OrderedDict[str, nn.Module]:
    """The layers kan1, kan2 ... by name."""
    return OrderedDict((f"kan{k}", SplineLayer(*pair, grid, order)) for k, pair in enumerate(pairwise(widths), 1))


def classifier(widths: list[int], grid: int, order: int) -> nn.Sequential:
    """Pictures (B, 1, rows, columns) of 0 to 1 -> (B, classes)."""
    return nn.Sequential(OrderedDict(flatten=nn.Flatten(), centred=Centred(), **stack(widths, grid, order)))
