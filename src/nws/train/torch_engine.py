"""The reference engine: one net in PyTorch on one thread, images resident as uint8, channels last."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional

from nws import cnn
from nws.augment import augment
from nws.images import ImageSet
from nws.space import HyperParameters

EVALUATION_BATCH = 256  # larger batches leave the cache and are slower


class TorchEngine:
    """`Engine` in PyTorch (see loop.py). Float32 throughout: the weights are the object of study."""

    name = "torch"

    def __init__(self, hp: HyperParameters, theta: np.ndarray, images: ImageSet, seed: int, *, dropout: float = cnn.DROPOUT):
        self._hp = hp
        self._layout = cnn.layout(hp)
        self._random = torch.Generator().manual_seed(seed)
        self._images = {
            "train": (torch.from_numpy(images.x_train), torch.from_numpy(images.y_train.astype(np.int64))),
            "test": (torch.from_numpy(images.x_test), torch.from_numpy(images.y_test.astype(np.int64))),
        }
        self._module = cnn.module(hp, self._random, dropout)
        state = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in self._layout.state_dict(theta).items()}
        self._module.load_state_dict(state, strict=False)  # num_batches_tracked has no part in theta
        self._module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._weights, self._gradient = _on_one_vector(list(self._module.parameters()))
        self._update = OPTIMIZERS[hp.optimizer](self._weights, self._gradient)

    def train(self, batches: np.ndarray, learning_rate: float) -> float:
        self._module.train()
        total = torch.zeros(())
        for index in torch.from_numpy(batches):
            x, y = self._load("train", index)
            if self._hp.augmentation:
                x = augment(x, self._random)
            self._gradient.zero_()
            loss = functional.cross_entropy(self._module(x), y)
            loss.backward()
            self._update(learning_rate)
            total += loss.detach()
        return float(total) / len(batches)

    @torch.inference_mode()
    def accuracy(self, images: str, index: np.ndarray | None = None) -> float:
        self._module.eval()
        rows = torch.arange(len(self._images[images][1])) if index is None else torch.from_numpy(index)
        hits = 0
        for chunk in rows.split(EVALUATION_BATCH):
            x, y = self._load(images, chunk)
            hits += int((self._module(x).argmax(1) == y).sum())
        return hits / len(rows)

    def theta(self) -> np.ndarray:
        return self._layout.from_state_dict(self._module.state_dict())

    def _load(self, images: str, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x, y = self._images[images]
        return x[index].permute(0, 3, 1, 2).float().div_(255.0), y[index]  # (B, 3, 32, 32), channels last in memory


def _on_one_vector(parameters: list[torch.nn.Parameter]) -> tuple[torch.Tensor, torch.Tensor]:
    """Lay all parameters, and their gradients, on one vector each: an optimizer step is then a few operations, not hundreds."""
    size = sum(p.numel() for p in parameters)
    weights, gradient = torch.empty(size), torch.zeros(size)
    start = 0
    for p in parameters:
        # as_strided keeps a filter's channels-last order; the vector's order is nobody's concern.
        here = [v[start : start + p.numel()].as_strided(p.shape, p.stride()) for v in (weights, gradient)]
        here[0].copy_(p.detach())
        p.data, p.grad = here
        start += p.numel()
    return weights, gradient


# Optimizers with TensorFlow 1's semantics (A.1): (weights, gradient) -> update(learning_rate), in place.
Update = Callable[[float], None]


def adam(w: torch.Tensor, g: torch.Tensor, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8) -> Update:
    """Epsilon is added before the bias correction of v, which PyTorch does the other way round."""
    m, v, t = torch.zeros_like(w), torch.zeros_like(w), 0

    def update(learning_rate: float) -> None:
        nonlocal t
        t += 1
        m.lerp_(g, 1 - beta1)
        v.mul_(beta2).addcmul_(g, g, value=1 - beta2)
        w.addcdiv_(m, v.sqrt().add_(epsilon), value=-learning_rate * (1 - beta2**t) ** 0.5 / (1 - beta1**t))

    return update


def rmsprop(w: torch.Tensor, g: torch.Tensor, decay: float = 0.9, epsilon: float = 1e-10) -> Update:
    """The accumulator starts at 1, which makes the first steps small, and epsilon stands inside the root."""
    v = torch.ones_like(w)

    def update(learning_rate: float) -> None:
        v.mul_(decay).addcmul_(g, g, value=1 - decay)
        w.addcdiv_(g, (v + epsilon).sqrt_(), value=-learning_rate)

    return update


def momentum(w: torch.Tensor, g: torch.Tensor, beta: float = 0.95) -> Update:
    """No dampening, no Nesterov."""
    velocity = torch.zeros_like(w)

    def update(learning_rate: float) -> None:
        velocity.mul_(beta).add_(g)
        w.add_(velocity, alpha=-learning_rate)

    return update


OPTIMIZERS: dict[str, Callable[[torch.Tensor, torch.Tensor], Update]] = {"adam": adam, "rmsprop": rmsprop, "momentum": momentum}
