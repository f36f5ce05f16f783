"""The reference trainer of KANs, in PyTorch on one thread: slow, for splines of any order."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from nws.families.kan_module import stack
from nws.families.splines import HIGH, LOW

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8
_AT_ONCE = 1000  # images


class TorchTrainer:
    """`nws.families.kan_training.Trainer`; `dtype` is float64 in tests that need the digits."""

    def __init__(self, widths: list[int], grid: int, order: int, theta: np.ndarray, dtype: torch.dtype = torch.float32):
        self.net = nn.Sequential(stack(widths, grid, order)).to(dtype)
        self._values = list(self.net.parameters())  # in theta's order
        self._dtype = dtype
        start = 0
        with torch.no_grad():
            for p in self._values:
                p.copy_(torch.from_numpy(np.array(theta[start : start + p.numel()])).reshape(p.shape))
                start += p.numel()
        self._moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in self._values]
        self._steps = 0

    def theta(self) -> np.ndarray:
        return torch.cat([p.detach().flatten() for p in self._values]).float().numpy()

    def train_classes(self, pixels: np.ndarray, labels: np.ndarray, batches: np.ndarray, rate: float, decay: float) -> float:
        total = 0.0
        for index in batches:
            x, y = self._pictures(pixels[index]), torch.from_numpy(labels[index].astype(np.int64))
            total += self._step(functional.cross_entropy(self.net(x), y), rate, decay)
        return total / max(len(batches), 1)

    def fit(self, x: np.ndarray, target: np.ndarray, rates: np.ndarray, decay: float, goal: float) -> int:
        places, values = torch.from_numpy(x).to(self._dtype), torch.from_numpy(target).to(self._dtype)
        for done, rate in enumerate(rates.tolist()):
            loss = functional.mse_loss(self.net(places), values)
            if float(loss.detach()) <= goal:
                return done
            self._step(loss, rate, decay)
        return len(rates)

    @torch.no_grad()
    def of_bytes(self, pixels: np.ndarray) -> np.ndarray:
        return np.concatenate([self.net(self._pictures(pixels[k : k + _AT_ONCE])).numpy() for k in range(0, len(pixels), _AT_ONCE)])

    @torch.no_grad()
    def of_places(self, x: np.ndarray) -> np.ndarray:
        found: np.ndarray = self.net(torch.from_numpy(x).to(self._dtype)).numpy()
        return found

    def gradient(self, loss: torch.Tensor) -> np.ndarray:
        """(P,) of a loss of `net`."""
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, self._values)]).numpy()

    def _pictures(self, pixels: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(pixels).to(self._dtype) * ((HIGH - LOW) / 255) + LOW

    def _step(self, loss: torch.Tensor, rate: float, decay: float) -> float:
        """AdamW (Loshchilov and Hutter 2019) with PyTorch's epsilon: added to the corrected root."""
        gradients = torch.autograd.grad(loss, self._values)
        self._steps += 1
        root = (1 - _BETA2**self._steps) ** 0.5
        with torch.no_grad():
            for p, g, (m, v) in zip(self._values, gradients, self._moments):
                m.lerp_(g, 1 - _BETA1)
                v.mul_(_BETA2).addcmul_(g, g, value=1 - _BETA2)
                p.mul_(1 - rate * decay).addcdiv_(m, (v.sqrt() / root).add_(_EPSILON), value=-rate / (1 - _BETA1**self._steps))
        return float(loss.detach())
