"""Float64's gradient of a net, with the ties that lie within rounding decided as another program decided them.

A ReLU whose input is 0, and a pool with two equal pixels, have no one gradient: float32 takes either side where float64 sees a
margin of 1e-7 of the signal, and one such decision can move a gradient by a percent. A net of 40,000 units has one every few
batches. So a comparison of gradients must not stop at the first difference, nor forgive it: here float64 takes the other side of
every tie within rounding that brings it nearer, and what is left after that is an error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from nws.families import cnn2020 as cnn
from nws.families.cnn2020 import HyperParameters

Gradients = dict[str, np.ndarray]  # by tensor of the layout


class Tie(NamedTuple):
    """A decision that was close: by `margin` relative to the layer's input (root mean square)."""

    margin: float
    layer: str
    place: int  # in the flattened result of the layer


def _rectified(x: torch.Tensor, other_way: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """ReLU, and the margin of each unit. What passes the other way passes as if on the other side of 0: a pool may follow."""
    margin = x.detach().abs()
    shift = torch.zeros_like(margin)
    shift.view(-1)[other_way] = -2 * x.detach().reshape(-1)[other_way]
    return (x + shift).relu(), margin


def _pooled(x: torch.Tensor, other_way: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Largest of 2 x 2, and the margin of each. Equal pixels are those that a ReLU cut off: no decision."""
    windows = x.unfold(2, 2, 2).unfold(3, 2, 2).flatten(4)
    two, where = windows.topk(2)
    chosen = where[..., 0].clone()
    chosen.view(-1)[other_way] = where[..., 1].reshape(-1)[other_way]
    gap = (two[..., 0] - two[..., 1]).detach()
    return windows.gather(4, chosen[..., None])[..., 0], torch.where(gap > 0, gap, torch.inf)


DECISIONS = {torch.nn.ReLU: _rectified, torch.nn.MaxPool2d: _pooled}


class Exact:
    """Gradients of the loss of one batch by autograd, without dropout, in float64 or as `dtype` says."""

    def __init__(self, hp: HyperParameters, theta: np.ndarray, x: np.ndarray, y: np.ndarray, dtype: torch.dtype = torch.float64):
        self._layout = cnn.layout(hp)
        self._module = cnn.module(hp, dropout=0.0).to(dtype)
        state = {k: torch.from_numpy(v.copy()) for k, v in self._layout.state_dict(theta).items()}
        self._module.load_state_dict(state, strict=False)
        self._x, self._y = torch.from_numpy(x).to(dtype), torch.from_numpy(y)

    def gradient(self, other_way: tuple[Tie, ...] = (), within: float = 0.0) -> tuple[Gradients, list[Tie]]:
        """(Tensor -> gradient, ties nearer than `within`, nearest first), these ties being decided the other way."""
        x, ties = self._x, []
        for name, layer in self._module.named_children():
            if type(layer) not in DECISIONS:
                x = layer(x)
                continue
            size = float(x.detach().square().mean().sqrt())
            x, margin = DECISIONS[type(layer)](x, [tie.place for tie in other_way if tie.layer == name])
            margin = margin.flatten() / size
            ties += [Tie(float(margin[i]), name, int(i)) for i in torch.nonzero(margin < within).flatten()]
        self._module.zero_grad()
        functional.cross_entropy(x, self._y).backward()
        return self._named(), sorted(ties)

    def gradient_nearest(self, distance: Callable[[Gradients], float], within: float) -> tuple[Gradients, list[Tie]]:
        """The gradient, and the ties decided the other way: each tie nearer than `within` falls where `distance` is less."""
        best, ties = self.gradient(within=within)
        turned: list[Tie] = []
        for tie in ties:
            other, _ = self.gradient((*turned, tie))
            if distance(other) < 0.99 * distance(best):  # less is rounding
                best, turned = other, [*turned, tie]
        return best, turned

    def _named(self) -> Gradients:
        scale = 2.0**20  # from_state_dict rounds to float32: harmless, but keep tiny gradients out of its denormals
        gradients = {name: p.grad.numpy() * scale for name, p in self._module.named_parameters()}
        state = {name: gradients.get(name, np.zeros(tuple(v.shape))) for name, v in self._module.state_dict().items()}
        return {name: g / scale for name, g in self._layout.unflatten(self._layout.from_state_dict(state)).items()}
