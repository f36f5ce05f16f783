"""One net as a plain PyTorch module."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from nws.fitting.problem import Form


class Module(nn.Module):
    """The net of one form: layers hidden1, hidden2 ..., out; coordinates (B, inputs) -> (B, outputs)."""

    def __init__(self, form: Form, omega: float = 1.0, offset: float = 0.0):
        super().__init__()
        self.form, self.omega, self.offset = form, omega, offset
        widths = [form.inputs, *[form.width] * form.depth]
        for k, (a, b) in enumerate(pairwise(widths), 1):
            self.add_module(f"hidden{k}", nn.Linear(a, b))
        self.out = nn.Linear(widths[-1], form.outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for k in range(1, self.form.depth + 1):
            z = getattr(self, f"hidden{k}")(x)
            x = torch.sin(self.omega * z) if self.form.sine else torch.relu(z)
        y = self.out(x)
        return y + self.offset if self.form.sine else torch.sigmoid(y)
