"""Batch norm of the DMC's convolutions: PyTorch's, with sums that hold.

In channels_last PyTorch 2.13 adds the values of a channel one after another in float32 (CPU): the result of a first layer of 16
slices of 1,000 was off by 3e-5, of the whole net by 2e-3, a hundred times the rounding of the same net in Conv1d. Here they are
added slice by slice, and the slices' sums in float64 (tests/test_meta_winograd.py).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class BatchNorm(nn.BatchNorm2d):
    """nn.BatchNorm2d of signals (B, C, 1, L) in channels_last."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or x.device.type != "cpu" or x.dtype != torch.float32:
            return super().forward(x)
        out, mean, variance = _Normalized.apply(x, self.weight, self.bias, self.eps)
        values = x.numel() // x.shape[1]
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)  # type: ignore[union-attr, arg-type]
            self.running_var.lerp_(variance * (values / max(1, values - 1)), self.momentum)  # type: ignore[union-attr, arg-type]
        return out


class _Normalized(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, gamma: torch.Tensor, beta: torch.Tensor, eps: float) -> tuple[torch.Tensor, ...]:
        signals = x.permute(0, 2, 3, 1).squeeze(1)  # (B, L, C)
        mean = _mean(signals.sum(1), signals)
        deviation, squares = torch.empty_like(signals[0]), signals.new_empty(len(signals), len(gamma))
        for signal, total in zip(signals, squares):  # one signal at a time stays in the cache
            torch.sub(signal, mean, out=deviation)
            torch.sum(deviation.mul_(deviation), 0, out=total)
        variance = _mean(squares, signals)
        scale = gamma * torch.rsqrt(variance + eps)
        ctx.save_for_backward(x, gamma, mean, torch.rsqrt(variance + eps))
        ctx.mark_non_differentiable(mean, variance)
        return torch.addcmul((beta - mean * scale)[:, None, None], x, scale[:, None, None]), mean, variance

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, gamma, mean, inverse = ctx.saved_tensors
        given = gradients[0].contiguous(memory_format=torch.channels_last)
        signals, gradient = (t.permute(0, 2, 3, 1).squeeze(1) for t in (x, given))
        product, products = torch.empty_like(signals[0]), signals.new_empty(len(signals), len(gamma))
        for signal, g, total in zip(signals, gradient, products):
            torch.sub(signal, mean, out=product)
            torch.sum(product.mul_(g), 0, out=total)
        shift, slope = _mean(gradient.sum(1), signals), _mean(products, signals)
        scale, slope_of_x = gamma * inverse, -gamma * inverse**3 * slope
        offset = -scale * shift - slope_of_x * mean
        dx = torch.addcmul(offset[:, None, None], x, slope_of_x[:, None, None]).addcmul_(given, scale[:, None, None])
        values = x.numel() // len(gamma)
        return dx, slope * inverse * values, shift * values, None


def _mean(sums: torch.Tensor, signals: torch.Tensor) -> torch.Tensor:
    """Of each channel, from its sum in each signal: (B, C) -> (C,)."""
    return (sums.double().sum(0) / (signals.shape[0] * signals.shape[1])).float()
