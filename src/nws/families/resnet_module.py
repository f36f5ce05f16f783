"""The residual net of nws.families.resnet8 in PyTorch."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

MEAN, DEVIATION = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)  # of CIFAR-10's training pixels, for every image set


class Normalised(nn.Module):
    """Pictures of 0 to 1 with CIFAR-10's mean and deviation taken out."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean, deviation = (torch.tensor(v, dtype=x.dtype, device=x.device).view(1, 3, 1, 1) for v in (MEAN, DEVIATION))
        return (x - mean) / deviation


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.conv1_norm = nn.GroupNorm(1, outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.conv2_norm = nn.GroupNorm(1, outputs)
        self.changes = inputs != outputs
        if self.changes:
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.shortcut_norm = nn.GroupNorm(1, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = functional.relu(self.conv1_norm(self.conv1(x)))
        inner = self.conv2_norm(self.conv2(inner))
        return functional.relu(inner + (self.shortcut_norm(self.shortcut(x)) if self.changes else x))


class ResNet(nn.Module):
    """Pictures (B, 3, 32, 32) of 0 to 1 -> (B, classes)."""

    def __init__(self, width: int, classes: int):
        super().__init__()
        self.normalised = Normalised()
        self.stem = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.stem_norm = nn.GroupNorm(1, width)
        self.block1, self.block2, self.block3 = Block(width, width, 1), Block(width, 2 * width, 2), Block(2 * width, 4 * width, 2)
        self.out = nn.Linear(4 * width, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.of_normalised(self.normalised(x))

    def of_normalised(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.stem_norm(self.stem(x)))
        return torch.as_tensor(self.out(self.block3(self.block2(self.block1(x))).mean((2, 3))))
