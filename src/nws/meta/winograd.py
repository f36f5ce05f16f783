"""Convolution with 5 taps in 2.5 times fewer multiplications: Winograd's (Toom-Cook's) algorithm as matrix products.

Four neighbouring outputs are a piece of a product of polynomials: evaluate the 8 inputs x they see and the 5 taps w at 8 points,
multiply, interpolate: y = AT ((G w) * (BT x)). Over C channels in and O out, the multiplication at each point is one matrix
product (B T, C) x (C, O), T tiles of four outputs each. The gradients are the transposed steps.

Measured for batch 64 on one core with AVX2, against PyTorch's convolution, forward and backward: 2.5 times faster for 256 -> 256
channels, 1.5 times for 64 -> 128; for fewer the transforms cost more than they save. Relative error (norm, against float64):
outputs 6e-7 to 8e-7 (PyTorch 2e-7 to 5e-7), input gradient 9e-7 (5e-7), weight gradient 1e-6 (1e-6 to 2.5e-6). The points
are those of train/native/winograd.hpp.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

TAPS = 5
TILE = 4  # outputs
SEEN = TILE + TAPS - 1  # inputs of a tile, and points
POINTS = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5)  # and infinity
NARROW = 64  # channels


def matrices() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """BT (SEEN, SEEN), G (SEEN, TAPS), AT (TILE, SEEN), one row or column per point, float64."""
    bt, g, at = np.zeros((SEEN, SEEN)), np.zeros((SEEN, TAPS)), np.zeros((TILE, SEEN))
    for i, point in enumerate(POINTS):
        others = [p for p in POINTS if p != point]
        bt[i, :-1] = np.poly(others)[::-1]  # the product of (x - p), lowest power first
        g[i] = point ** np.arange(TAPS) / np.prod(point - np.array(others))
        at[:, i] = point ** np.arange(TILE)
    bt[-1], g[-1, -1], at[-1, -1] = np.poly(POINTS)[::-1], 1, 1
    return bt, g, at


_BT, _G, _AT = (torch.from_numpy(m.astype(np.float32)) for m in matrices())
_SIDE = TAPS // 2  # zeros in front of a signal
_AT_ONCE = 1024  # tiles
_ONE = POINTS.index(1.0)  # where all powers are 1: what is added to the product here is added to all outputs of the tile


class Convolution(nn.Conv2d):
    """nn.Conv2d of signals (B, C, 1, L) in channels_last, 5 taps, the ends padded by 2 zeros: (B, O, 1, L), channels_last."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__(inputs, outputs, (1, TAPS), padding=(0, TAPS // 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mixed = torch.is_autocast_enabled(x.device.type)
        if self.in_channels < NARROW or x.device.type != "cpu" or x.dtype != torch.float32 or mixed:
            return super().forward(x)
        return _Winograd.apply(x, self.weight, self.bias)


class _Winograd(torch.autograd.Function):
    # Some signals at a time, in buffers that are used again: 8 values for 4 outputs of a whole batch would neither fit into the
    # cache nor be worth keeping for the backward pass, which evaluates the input again (a tenth of its time).

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        signals, U = _signals(x), _evaluated(weight)
        out = signals.new_empty(len(signals), signals.shape[1], len(weight))
        for part, tiles in _parts(signals):
            V = tiles.seen(signals[part])
            M = V.new_empty(len(V), SEEN, len(weight))
            for k, factor in enumerate(V.unbind(1)):
                if k == _ONE:
                    torch.addmm(bias, factor, U[k], out=M[:, k])
                else:
                    torch.mm(factor, U[k], out=M[:, k])
            tiles.interpolate(M, out[part])
        return _picture(out)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        signals, gradient, U = _signals(x), _signals(gradients[0]), _evaluated(weight)
        dsignals, dU, dbias = torch.empty_like(signals), torch.zeros_like(U), torch.zeros(len(weight))
        for part, tiles in _parts(signals):
            V, dM = tiles.seen(signals[part]), tiles.evaluate(gradient[part])
            dbias += dM[:, _ONE].sum(0)
            for k in range(SEEN):
                dU[k].addmm_(V[:, k].T, dM[:, k])
            if ctx.needs_input_grad[0]:
                for k in range(SEEN):
                    torch.mm(dM[:, k], U[k].T, out=V[:, k])
                tiles.unseen(V, dsignals[part])
        dweight = torch.einsum("kj,kco->ocj", _G, dU)[:, :, None]
        return _picture(dsignals) if ctx.needs_input_grad[0] else None, dweight, dbias


class _Tiles:
    """n signals of `length` cut into T tiles each, and what goes with them from signals (n, L, C) to values at the points and back.

    One signal at a time: `bmm` over all would copy the matrix and the overlapping tiles.
    """

    def __init__(self, length: int):
        self.length, self.T = length, -(-length // TILE)

    def seen(self, signals: torch.Tensor) -> torch.Tensor:
        """BT x: (n, L, C) -> (n T, SEEN, C)."""
        n, _, C = signals.shape
        out, padded = signals.new_empty(n, self.T, SEEN, C), signals.new_zeros(TILE * (self.T + 1), C)
        windows = padded.as_strided((self.T, SEEN, C), (TILE * C, C, 1))
        for signal, values in zip(signals, out):
            padded[_SIDE : _SIDE + self.length] = signal
            torch.bmm(_BT.expand(self.T, -1, -1), windows, out=values)
        return out.view(n * self.T, SEEN, C)

    def unseen(self, values: torch.Tensor, out: torch.Tensor) -> None:
        """The transposed `seen`: (n T, SEEN, C) -> out (n, L, C)."""
        n, _, C = out.shape
        low, high = (half.expand(self.T, -1, -1) for half in _BT.T.split(TILE))
        padded = values.new_zeros(self.T + 1, TILE, C)
        for tiles, signal in zip(values.view(n, self.T, SEEN, C), out):
            torch.bmm(low, tiles, out=padded[:-1])
            padded[-1] = 0
            padded[1:].baddbmm_(high, tiles)
            signal.copy_(padded.view(-1, C)[_SIDE : _SIDE + self.length])

    def evaluate(self, signals: torch.Tensor) -> torch.Tensor:
        """A y: (n, L, O) -> (n T, SEEN, O)."""
        n, _, outputs = signals.shape
        out, padded = signals.new_empty(n, self.T, SEEN, outputs), signals.new_zeros(self.T, TILE, outputs)
        for signal, values in zip(signals, out):
            padded.view(-1, outputs)[: self.length] = signal
            torch.bmm(_AT.T.expand(self.T, -1, -1), padded, out=values)
        return out.view(n * self.T, SEEN, outputs)

    def interpolate(self, values: torch.Tensor, out: torch.Tensor) -> None:
        """The transposed `evaluate`: (n T, SEEN, O) -> out (n, L, O)."""
        n, _, outputs = out.shape
        padded = values.new_empty(self.T, TILE, outputs)
        for tiles, signal in zip(values.view(n, self.T, SEEN, outputs), out):
            torch.bmm(_AT.expand(self.T, -1, -1), tiles, out=padded)
            signal.copy_(padded.view(-1, outputs)[: self.length])


def _parts(signals: torch.Tensor) -> Iterator[tuple[slice, _Tiles]]:
    tiles = _Tiles(signals.shape[1])
    step = max(1, _AT_ONCE // tiles.T)
    for start in range(0, len(signals), step):
        yield slice(start, start + step), tiles


def _evaluated(weight: torch.Tensor) -> torch.Tensor:
    """G w: (O, C, 1, TAPS) -> (SEEN, C, O)."""
    return torch.einsum("kj,ocj->kco", _G, weight[:, :, 0])


def _signals(picture: torch.Tensor) -> torch.Tensor:
    """(B, C, 1, L) channels_last -> (B, L, C), no copy."""
    return picture[:, :, 0].transpose(1, 2).contiguous()


def _picture(signals: torch.Tensor) -> torch.Tensor:
    """(B, L, C) -> (B, C, 1, L) channels_last, no copy."""
    return signals.transpose(1, 2).unsqueeze(2)
