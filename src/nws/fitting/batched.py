"""The reference fitter in PyTorch: one batched matrix product per layer for a block of nets, and autograd."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import torch

from nws import threads
from nws.fitting.problem import Fitted, Form, Problem

# Nets of one product. Always so many, the last block filled up: what a product of another size rounds otherwise would make a net
# depend on its company.
BLOCK = {"cpu": 16, "cuda": 512}
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


def fit_batched(problem: Problem, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Fitted:
    """As `nws.fitting.fit`."""
    N, S = problem.records.shape
    found = Fitted(np.empty((N, S, problem.form.size), np.float32), np.empty((N, S), np.float32), np.empty((N, S), np.int64))
    block = BLOCK[device]
    with threads.one():
        for start in range(0, N, block):
            nets = np.arange(start, min(start + block, N))
            _fit_block(problem, np.resize(nets, block), nets, found, torch.device(device), dtype)
    return found


def forward(form: Form, theta: torch.Tensor, points: torch.Tensor, omega: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
    """theta (N, P), points (B, inputs), omega and offset (N, 1, 1) -> (N, B, outputs)."""
    parts = torch.split(theta, [prod(shape) for shape in form.shapes], dim=1)
    layers = [part.reshape(len(theta), *shape) for part, shape in zip(parts, form.shapes)]
    x = points.expand(len(theta), -1, -1)
    for k in range(form.depth):
        z = torch.baddbmm(layers[2 * k + 1][:, None], x, layers[2 * k].transpose(1, 2))
        x = torch.sin(omega * z) if form.sine else torch.relu(z)
    y = torch.baddbmm(layers[-1][:, None], x, layers[-2].transpose(1, 2)) + offset
    return y if form.sine else torch.sigmoid(y)


def _fit_block(
    problem: Problem, rows: np.ndarray, nets: np.ndarray, found: Fitted, device: torch.device, dtype: torch.dtype
) -> None:
    """The nets `rows`, of which the first are `nets`, the others filling."""

    def on_device(array: np.ndarray, shape: Sequence[int] | None = None) -> torch.Tensor:
        tensor = torch.as_tensor(np.ascontiguousarray(array)).to(device, dtype)
        return tensor if shape is None else tensor.reshape(*shape)

    theta = on_device(problem.theta[rows]).requires_grad_()
    points, target = on_device(problem.points), on_device(problem.target[rows])
    omega, offset = (on_device(a[rows], (-1, 1, 1)) for a in (problem.omega, problem.offset))
    rate = on_device(problem.learning_rate[rows], (-1, 1))
    m, v = torch.zeros_like(theta, requires_grad=False), torch.zeros_like(theta, requires_grad=False)
    due = np.zeros(len(nets), int)  # record of each net
    records, goal = problem.records[nets], problem.goal[nets].astype(np.float32)
    S, step = records.shape[1], 0
    while True:
        loss = ((forward(problem.form, theta, points, omega, offset) - target) ** 2).mean((1, 2))
        now = loss.detach()[: len(nets)].to("cpu", torch.float32).numpy()
        over = (records[:, -1] <= step) | (now <= goal) | ~np.isfinite(now)
        weights = None
        for k in np.flatnonzero(due < S):
            while due[k] < S and (over[k] or records[k, due[k]] <= step):
                weights = theta.detach().to("cpu", torch.float32).numpy() if weights is None else weights
                found.theta[nets[k], due[k]] = weights[k]
                found.loss[nets[k], due[k]], found.steps[nets[k], due[k]] = now[k], step
                due[k] += 1
        if (due == S).all():
            return
        (gradient,) = torch.autograd.grad(loss.sum(), theta)
        step += 1
        with torch.no_grad():
            m.lerp_(gradient, 1 - BETA1)
            v.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
            denominator = v.sqrt().div_((1 - BETA2**step) ** 0.5).add_(EPSILON)
            theta -= rate / (1 - BETA1**step) * m / denominator
