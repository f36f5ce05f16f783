"""How the small residual nets are trained (arXiv:2405.20231, but in float32): see nws.families.resnet8."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from nws.families.base import Record
from nws.families.resnet_module import ResNet

PEAK = 5  # passes until the learning rate is at its peak; at most half of all
SHIFT, CUT = 2, 4  # pixels: pictures are moved by at most so many either way; a square of this side is blanked
_AT_ONCE = 500
WATCHED = 1_000  # training images that tell the training accuracy


def records(family: Any, config: Any, images: Any, rng: np.random.Generator, epochs: int) -> Iterator[Record]:
    """Before training and after each pass. On PyTorch's default device; what is random is drawn on the CPU."""
    beginning, order, changes = rng.spawn(3)
    device = torch.get_default_device()
    layout = family.layout(config)
    module = ResNet(config.width, config.classes).to(device)
    state = layout.state_dict(family.init(config, beginning))
    module.load_state_dict({name: torch.as_tensor(value, device=device) for name, value in state.items()})
    module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x, x_test = (torch.as_tensor(pictures, device=device) for pictures in (images.x_train, images.x_test))
    y, y_test = (torch.as_tensor(labels, device=device) for labels in (images.y_train, images.y_test))
    update = torch.optim.AdamW(module.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    size, passes = min(config.batch_size, len(x)), min(config.passes, epochs)
    steps = len(x) // size
    total, step, loss = passes * steps, 0, float("nan")
    for done in range(passes + 1):
        if done:
            losses = []
            for batch in torch.from_numpy(order.permutation(len(x))[: steps * size].reshape(steps, size)):
                for group in update.param_groups:
                    group["lr"] = config.learning_rate * triangle(step / total, min(PEAK / passes, 0.5))
                at = batch.to(device)
                losses.append(_step(module, update, changed(x[at], changes), y[at], config.smoothing))
                step += 1
            loss = float(torch.stack(losses).mean())
        watched = {
            "train_accuracy": _accuracy(module, x[:WATCHED], y[:WATCHED]),
            "test_accuracy": _accuracy(module, x_test, y_test),
        }
        yield Record(step, module, {"loss": loss, **watched})


def triangle(done: float, peak: float) -> float:
    """Share of the peak learning rate when a share `done` of the training is over: up to 1 at `peak`, then down to 0."""
    return done / peak if done < peak else (1 - done) / (1 - peak)


def changed(x: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Pictures (B, rows, columns, 3) uint8 -> (B, 3, rows, columns) float32, normalised: flipped, moved, a square blanked."""
    B, rows, columns, _ = x.shape
    device = x.device
    flip = rng.random(B) < 0.5
    shift = rng.integers(-SHIFT, SHIFT + 1, (2, B, 1))
    row, column = np.arange(rows) + shift[0], np.arange(columns) + shift[1]  # (B, rows), (B, columns)
    column = np.where(flip[:, None], columns - 1 - column, column)
    inside = ((row >= 0) & (row < rows))[:, :, None] & ((column >= 0) & (column < columns))[:, None, :]
    at = [torch.as_tensor(np.clip(a, 0, n - 1), device=device) for a, n in ((row, rows), (column, columns))]
    moved = x[torch.arange(B, device=device)[:, None, None], at[0][:, :, None], at[1][:, None, :]]
    moved = moved * torch.as_tensor(inside[..., None], device=device)
    top, left = rng.integers(0, (rows - CUT + 1, columns - CUT + 1), (B, 2)).T[:, :, None]
    blank = ((np.arange(rows) - top) // CUT == 0)[:, :, None] & ((np.arange(columns) - left) // CUT == 0)[:, None, :]
    values = _normalised(moved)
    return values * torch.as_tensor(~blank[:, None], device=device)


def _normalised(x: torch.Tensor) -> torch.Tensor:
    from nws.families.resnet_module import Normalised

    normalised: torch.Tensor = Normalised()(x.permute(0, 3, 1, 2).float() / 255)
    return normalised


def _step(module: ResNet, update: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor, smoothing: float) -> torch.Tensor:
    update.zero_grad()
    loss = functional.cross_entropy(module.of_normalised(x), y, label_smoothing=smoothing)
    loss.backward()
    update.step()
    return loss.detach()


@torch.no_grad()
def _accuracy(module: ResNet, x: torch.Tensor, y: torch.Tensor) -> float:
    hits = [
        (module.of_normalised(_normalised(x[k : k + _AT_ONCE])).argmax(1) == y[k : k + _AT_ONCE]).sum()
        for k in range(0, len(x), _AT_ONCE)
    ]
    return float(torch.stack(hits).sum()) / len(x)
