"""The usual way to train such a net: nn.Module, DataLoader, a transform per picture, torch.optim.Adam.

Written as a user would (torchvision's transforms on PIL pictures do the same work with the same PIL calls); what
engine.py compares with.
"""

from __future__ import annotations

import math
import random

import numpy as np
import torch
from PIL import Image, ImageEnhance
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from nws.families import cnn2020 as cnn
from nws.families.cnn2020 import HyperParameters


def to_tensor(picture: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float().div(255)


def affine(picture: Image.Image) -> Image.Image:
    angle, scale = math.radians(random.uniform(-15, 15)), random.uniform(0.9, 1.1)
    shear_x, shear_y = math.radians(random.uniform(-3, 3)), math.radians(random.uniform(-3, 3))
    a, b = scale * math.cos(angle) + shear_x, scale * -math.sin(angle)
    c, d = scale * math.sin(angle) + shear_y, scale * math.cos(angle)
    x, y = 16 + random.uniform(-3, 3), 16 + random.uniform(-3, 3)
    matrix = (a, b, 16 - a * x - b * y, c, d, 16 - c * x - d * y)
    return picture.transform(picture.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)


def colours(picture: Image.Image) -> Image.Image:
    picture = ImageEnhance.Brightness(picture).enhance(random.uniform(0.8, 1.2))
    picture = ImageEnhance.Contrast(picture).enhance(random.uniform(0.5, 1.5))
    picture = ImageEnhance.Color(picture).enhance(random.uniform(0.3, 1.5))
    hue, saturation, value = picture.convert("HSV").split()
    shift = round(random.uniform(-0.08, 0.08) * 255)
    turned = Image.fromarray(np.asarray(hue) + np.uint8(shift % 256))
    return Image.merge("HSV", (turned, saturation, value)).convert("RGB")


def noise(x: torch.Tensor) -> torch.Tensor:
    return (x + torch.randn_like(x) * random.uniform(0, 0.03)).clamp(0, 1)


class Pictures(Dataset):
    def __init__(self, x: np.ndarray, y: np.ndarray, augmentation: bool):
        self.x, self.y, self.augmentation = x, y, augmentation

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        picture = Image.fromarray(self.x[i])
        if not self.augmentation:
            return to_tensor(picture), int(self.y[i])
        return noise(to_tensor(colours(affine(picture)))), int(self.y[i])


class Usual:
    """Trains on the same pictures again and again; `train(n)` is about n images in whole batches."""

    def __init__(self, hp: HyperParameters, x: np.ndarray, y: np.ndarray):
        self.net = cnn.module(hp)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=hp.learning_rate)
        self.loader = DataLoader(Pictures(x, y, hp.augmentation), hp.batch_size, shuffle=True, drop_last=True)

    def train(self, n: int) -> int:
        seen = 0
        self.net.train()
        while True:
            for x, y in self.loader:
                self.optimizer.zero_grad()
                loss = functional.cross_entropy(self.net(x), y)
                loss.backward()
                self.optimizer.step()
                loss.item()
                seen += len(x)
                if seen >= n:
                    return seen
