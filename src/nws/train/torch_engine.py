"""The reference engine: one net in PyTorch on one thread, images resident as uint8, channels last."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch.nn import functional

from nws.augment import CHUNK, augment
from nws.device import Lane, Mark
from nws.families.space import Config
from nws.images import ImageSet

Resident = dict[str, tuple[torch.Tensor, torch.Tensor]]  # "train" and "test": pictures (N, 32, 32, 3) uint8, labels (N,)


def resident(images: ImageSet, device: torch.device) -> Resident:
    """The images in the memory of the device, as they are: a byte per value."""
    pairs = {"train": (images.x_train, images.y_train), "test": (images.x_test, images.y_test)}
    return {half: (torch.from_numpy(x).to(device), torch.from_numpy(y).to(device)) for half, (x, y) in pairs.items()}


class TorchEngine:
    """`Engine` in PyTorch (see loop.py), for nets of any family. Float32 throughout: the weights are the object of study.

    dropout  in place of the family's own, for families whose `module` takes it: 0 in tests that compare engines
    """

    name = "torch"

    @staticmethod
    def why_not(hp: Config | None = None, images: ImageSet | None = None) -> str | None:
        return None

    evaluated_at_once = 256  # images; larger batches leave the cache and are slower
    augmented_at_once = CHUNK

    def __init__(
        self,
        hp: Config,
        theta: np.ndarray,
        images: ImageSet | Resident,
        seed: int,
        *,
        dropout: float | None = None,
        lane: Lane = Lane(),  # noqa: B008 (the CPU has no state)
    ):
        self.instruction_set = lane.instruction_set()
        self._hp = hp
        self._layout = hp.family.layout(hp)
        self._random = lane.generator(seed)
        self._images = resident(images, lane.device) if isinstance(images, ImageSet) else images
        self._module = hp.family.module(hp, self._random, **({} if dropout is None else {"dropout": dropout}))
        state = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in self._layout.state_dict(theta).items()}
        self._module.load_state_dict(state, strict=False)  # num_batches_tracked has no part in theta
        self._module.to(lane.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._values, self._weights, self._gradient = _on_one_vector(self._module)
        self._update = OPTIMIZERS[hp.get("optimizer", "adam")](self._weights, self._gradient)
        self._decay, self._matrices = hp.get("weight_decay", 0.0), [p for p in self._module.parameters() if p.ndim > 1]
        self._augmentation = hp.get("augmentation", False)

    def train(self, batches: np.ndarray, learning_rate: float) -> float:
        self._module.train()
        total = torch.zeros(())
        for index in torch.from_numpy(batches):
            total += self._step(index, learning_rate)
        return float(total) / len(batches)

    @torch.inference_mode()
    def accuracy(self, images: str, index: np.ndarray | None = None) -> float:
        self._module.eval()
        rows = torch.arange(len(self._images[images][1])) if index is None else torch.from_numpy(index)
        return sum(int(self._hits(images, chunk)) for chunk in rows.split(self.evaluated_at_once)) / len(rows)

    def theta(self) -> np.ndarray:
        return self._layout.from_state_dict(self._module.state_dict())

    def finish(self) -> Iterable[Mark]:
        return ()

    def _step(self, index: torch.Tensor, learning_rate: float | torch.Tensor) -> torch.Tensor:
        """One training step on these images; their mean loss."""
        x, y = self._load("train", index)
        if self._augmentation:
            x = augment(x, self._random, self.augmented_at_once)
        self._gradient.zero_()
        loss = functional.cross_entropy(self._module(x), y)
        loss.backward()
        if self._decay:
            with torch.no_grad():
                for matrix in self._matrices:
                    matrix.grad.add_(matrix, alpha=self._decay)  # type: ignore[union-attr]  # it lies in the vector of gradients
        self._update(learning_rate)
        return loss.detach()

    def _hits(self, images: str, index: torch.Tensor) -> torch.Tensor:
        x, y = self._load(images, index)
        return (self._module(x).argmax(1) == y).sum()

    def _load(self, images: str, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x, y = self._images[images]
        return x[index].permute(0, 3, 1, 2).float().div_(255.0), y[index]  # (B, 3, 32, 32), channels last in memory


def _on_one_vector(module: torch.nn.Module) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Lay a module's numbers on one vector: (all of them, its weights, their gradient), batch norm's statistics after the weights.

    An optimizer step is then a few operations, not hundreds, and a record one copy. Each tensor begins at a multiple of 64 bytes,
    as if it had memory of its own; what lies between stays 0.
    """
    parameters = list(module.parameters())
    statistics = [b for b in module.buffers() if b.is_floating_point()]
    size, total = (sum(_room(t) for t in tensors) for tensors in (parameters, parameters + statistics))
    values = torch.zeros(total, device=parameters[0].device)
    gradient = torch.zeros(size, device=values.device)
    start = 0
    for tensor in (*parameters, *statistics):
        # as_strided keeps a filter's channels-last order; the vector's order is nobody's concern.
        here = values.as_strided(tensor.shape, tensor.stride(), start)
        here.copy_(tensor.detach())
        tensor.data = here
        if start < size:
            tensor.grad = gradient.as_strided(tensor.shape, tensor.stride(), start)
        start += _room(tensor)
    return values, values[:size], gradient


def _room(tensor: torch.Tensor) -> int:
    return -(-tensor.numel() // 16) * 16


# Optimizers with TensorFlow 1's semantics (A.1): (weights, gradient) -> update(learning_rate), in place. What changes from step
# to step is in tensors, never in a Python number: a captured step repeats the numbers it was recorded with (nws.device).
Update = Callable[[float | torch.Tensor], None]


def adam(w: torch.Tensor, g: torch.Tensor, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8) -> Update:
    """Epsilon is added before the bias correction of v, which PyTorch does the other way round."""
    m, v = torch.zeros_like(w), torch.zeros_like(w)
    # beta^t in float64: 1 - beta2 is a thousandth, of which float32 would keep four digits.
    power1, power2 = (torch.ones((), dtype=torch.float64, device=w.device) for _ in range(2))

    def update(learning_rate: float | torch.Tensor) -> None:
        power1.mul_(beta1)
        power2.mul_(beta2)
        m.lerp_(g, 1 - beta1)
        v.mul_(beta2).addcmul_(g, g, value=1 - beta2)
        rate = learning_rate * (1 - power2).sqrt() / (1 - power1)
        w.addcdiv_(m * rate, v.sqrt().add_(epsilon), value=-1)

    return update


def rmsprop(w: torch.Tensor, g: torch.Tensor, decay: float = 0.9, epsilon: float = 1e-10) -> Update:
    """The accumulator starts at 1, which makes the first steps small, and epsilon stands inside the root."""
    v = torch.ones_like(w)

    def update(learning_rate: float | torch.Tensor) -> None:
        v.mul_(decay).addcmul_(g, g, value=1 - decay)
        w.addcdiv_(g * learning_rate, (v + epsilon).sqrt_(), value=-1)

    return update


def momentum(w: torch.Tensor, g: torch.Tensor, beta: float = 0.95) -> Update:
    """No dampening, no Nesterov."""
    velocity = torch.zeros_like(w)

    def update(learning_rate: float | torch.Tensor) -> None:
        velocity.mul_(beta).add_(g)
        w.sub_(velocity * learning_rate)

    return update


OPTIMIZERS: dict[str, Callable[[torch.Tensor, torch.Tensor], Update]] = {"adam": adam, "rmsprop": rmsprop, "momentum": momentum}
