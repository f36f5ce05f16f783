"""The fast convolution of the DMC against PyTorch's, and the DMC's module against the plain one."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import nn

from nws.bench.meta import plain_module
from nws.meta.batch_norm import BatchNorm
from nws.meta.dmc import glorot, module
from nws.meta.winograd import NARROW, TAPS, TILE, Convolution, matrices

WIDE = 2 * NARROW


def test_the_algorithm_is_the_definition():
    bt, g, at = matrices()
    x, w = np.random.default_rng(0).normal(size=len(bt)), np.random.default_rng(1).normal(size=TAPS)
    assert_allclose(at @ ((g @ w) * (bt @ x)), [x[i : i + TAPS] @ w for i in range(TILE)], rtol=1e-12)


def outputs_and_gradients(convolve, x, weight, bias, gradient):
    x, weight, bias = (t.detach().requires_grad_() for t in (x, weight, bias))
    y = convolve(x, weight, bias)
    y.backward(gradient)
    return y.detach(), x.grad, weight.grad, bias.grad


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 39, 625])  # shorter than a tile, a part of a tile left, long
@pytest.mark.parametrize("batch", [1, 7])
def test_outputs_and_gradients_are_those_of_the_plain_convolution(length, batch):
    torch.manual_seed(length)
    layer = Convolution(NARROW, WIDE)
    x = torch.randn(batch, NARROW, 1, length).contiguous(memory_format=torch.channels_last)
    gradient = torch.randn(batch, WIDE, 1, length)
    fast = outputs_and_gradients(
        lambda x, w, b: torch.func.functional_call(layer, {"weight": w, "bias": b}, x), x, layer.weight, layer.bias, gradient
    )
    exact = outputs_and_gradients(
        lambda x, w, b: nn.functional.conv2d(x, w, b, padding=(0, 2)),
        *(t.double() for t in (x, layer.weight, layer.bias, gradient)),
    )
    for ours, definition in zip(fast, exact):
        assert ours.shape == definition.shape
        assert (ours - definition).norm() < 5e-6 * definition.norm()


def test_wide_layers_take_the_fast_way_and_nothing_else_does():
    def way(layer, x):
        return type(layer(x).grad_fn).__name__

    wide, narrow = Convolution(NARROW, 8), Convolution(NARROW - 1, 8)
    x = torch.randn(2, NARROW, 1, 9)
    assert "Winograd" in way(wide, x)
    assert "Winograd" not in way(narrow, x[:, 1:])
    assert "Winograd" not in way(wide.double(), x.double())
    with torch.autocast("cpu", torch.bfloat16):
        assert "Winograd" not in way(wide.float(), x)


def test_input_that_needs_no_gradient_and_inference():
    layer = Convolution(NARROW, 8)
    x = torch.randn(2, NARROW, 1, 9)
    layer(x).sum().backward()
    assert layer.weight.grad is not None
    with torch.inference_mode():
        assert_allclose(layer(x).numpy(), nn.functional.conv2d(x, layer.weight, layer.bias, padding=(0, 2)).numpy(), atol=1e-5)


def passed(net, x):
    """Outputs of training and of evaluation, and all gradients."""
    out = net(x)
    nn.functional.cross_entropy(out, torch.arange(len(x)) % 3).backward()
    evaluated = net.eval()(x)
    return [t.detach().double() for t in (out, evaluated, torch.cat([p.grad.flatten() for p in net.parameters()]))]


def test_the_dmc_is_the_plain_module():
    """As exact as the same layers in Conv1d, measured against float64. A ReLU near 0 may flip: hence the median."""
    errors = []
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        ours, plain, exact = (make(400, 3, dropout=0.0) for make in (module, plain_module, plain_module))
        glorot(ours, generator)
        for other in (plain, exact.double()):
            for a, b in zip(ours.parameters(), other.parameters(), strict=True):
                b.data.copy_(a.data.reshape(b.shape))
        x = torch.randn(16, 400, generator=generator)
        reference = passed(exact, x.double())
        errors.append([[(a - b).norm() / b.norm() for a, b in zip(passed(net, x), reference)] for net in (ours, plain)])
    of_ours, of_plain = np.median(errors, axis=0)
    assert (of_ours[:2] < 5 * of_plain[:2] + 1e-6).all()
    assert of_ours[2] < 1e-2


@pytest.mark.parametrize("length", [1, 39, 5000])
def test_batch_norm_is_that_of_a_signal(length):
    torch.manual_seed(0)
    x, gradient = torch.rand(16, 6, 1, length) ** 3, torch.randn(16, 6, 1, length)
    results = []
    for norm, kind in ((BatchNorm(6), torch.float32), (nn.BatchNorm2d(6).double(), torch.float64)):
        with torch.no_grad():
            norm.weight.copy_(torch.linspace(-1, 2, 6))
            norm.bias.copy_(torch.linspace(0, 1, 6))
        own = x.to(kind).contiguous(memory_format=torch.channels_last).detach().requires_grad_()
        norm(own).backward(gradient.to(kind))
        after = norm(own).detach()
        results.append(
            [after, own.grad, norm.weight.grad, norm.bias.grad, norm.running_mean, norm.running_var, norm.eval()(own).detach()]
        )
    for ours, exact in zip(*results):
        assert_allclose(ours, exact, rtol=1e-5, atol=1e-5 * float(exact.abs().max()))
