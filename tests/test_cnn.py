"""Algorithm 1: sizes, initial values, and the module against a forward pass written out by hand."""

from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (PyTorch's own name for it)
from numpy.testing import assert_array_equal
from scipy.stats import kstest, truncnorm

from nws import FIXED, MAIN, HyperParameters
from nws.families import cnn2020 as cnn
from nws.families.cnn2020 import ARCHITECTURE

HP = FIXED.net(0, 0)
BIG = HP.with_(width_conv=12, width_fc=192, filter_size=7)  # enough values per tensor for statistics


def loaded(hp: HyperParameters, theta: np.ndarray, seed: int = 0) -> torch.nn.Module:
    module = cnn.module(hp, torch.Generator().manual_seed(seed))
    state = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in cnn.layout(hp).state_dict(theta).items()}
    module.load_state_dict(state, strict=False)
    return module


def pictures(n: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


# Sizes


def test_sizes_of_the_paper() -> None:
    sizes = []
    for values in product(*(MAIN.options[name] for name in ARCHITECTURE)):
        sizes.append((cnn.layout(HP.with_(**dict(zip(ARCHITECTURE, values, strict=True)))).size, values))
    assert len(sizes) == 243
    assert min(sizes) == (21_260, (3, 3, 2, 4, 64))
    assert max(sizes) == (388_172, (7, 5, 4, 12, 192))
    assert round(np.mean([size for size, _ in sizes])) == 125_270
    layout = cnn.layout(HP)
    assert (layout.size, layout.size_of("conv"), layout.size_of("fc")) == (92_868, 16_880, 75_988)


def test_36_architectures_have_fewer_than_5000_conv_weights() -> None:
    architectures = [dict(zip(ARCHITECTURE, v, strict=True)) for v in product(*(MAIN.options[name] for name in ARCHITECTURE))]
    assert sum(cnn.layout(HP.with_(**a)).size_of("conv") < 5000 for a in architectures) == 36


@pytest.mark.parametrize(("depth", "expected"), [(3, [1, 1, 1]), (4, [1, 1, 2]), (5, [1, 2, 2]), (6, [2, 2, 2]), (7, [2, 2, 3])])
def test_convolutions_of_the_blocks(depth: int, expected: list[int]) -> None:
    assert cnn.blocks(depth) == expected


@pytest.mark.parametrize("batch_norm", [True, False])
def test_the_module_has_the_layout_s_values_and_no_others(batch_norm: bool) -> None:
    for hp in MAIN.sample(12, seed=5):
        hp = hp.with_(batch_norm=batch_norm)
        state = cnn.module(hp).state_dict()
        sizes = [tensor.numel() for name, tensor in state.items() if not name.endswith("num_batches_tracked")]
        assert sum(sizes) == cnn.layout(hp).size


# The forward pass


def by_hand(hp: HyperParameters, theta: np.ndarray, x: torch.Tensor) -> torch.Tensor:
    """Logits (B, 20) of the net with convolutions 1+1+2 and two hidden FC layers, read off theta from front to back."""
    values, place = torch.from_numpy(theta), 0

    def take(*shape: int) -> torch.Tensor:
        nonlocal place
        place += int(np.prod(shape))
        return values[place - int(np.prod(shape)) : place].reshape(shape)

    def take_norm(units: int) -> dict[str, torch.Tensor]:
        beta, gamma, mean, var = (take(units) for _ in range(4))
        return {"running_mean": mean, "running_var": var, "weight": gamma, "bias": beta}

    w, s = hp.width_conv, hp.filter_size
    for channels, width, last_of_block in [(3, w, True), (w, 2 * w, True), (2 * w, 4 * w, False), (4 * w, 4 * w, True)]:
        x = F.conv2d(x, take(width, channels, s, s), take(width), padding=s // 2)
        x = F.elu(F.batch_norm(x, **take_norm(width), eps=1e-5))
        x = F.max_pool2d(x, 2) if last_of_block else x
    x = x.permute(0, 2, 3, 1).reshape(len(x), -1)  # row, column, channel
    for units, width in [(64 * w, hp.width_fc), (hp.width_fc, hp.width_fc // 2)]:
        x = F.elu(F.linear(x, take(width, units), take(width)))
        x = F.batch_norm(x, **take_norm(width), eps=1e-5)
    x = F.linear(x, take(20, hp.width_fc // 2), take(20))
    assert place == len(theta)
    return x


def test_the_module_equals_the_net_written_out() -> None:
    hp = HP.with_(depth_conv=4, width_conv=4, width_fc=64, filter_size=3, activation="elu")
    layout, rng = cnn.layout(hp), np.random.default_rng(1)
    theta = (0.2 * rng.standard_normal(layout.size)).astype(np.float32)
    for t in layout.tensors:
        if t.role in ("gamma", "var"):
            theta[t.start : t.stop] = rng.uniform(0.3, 2, t.shape)
    x = pictures(5)
    with torch.no_grad():
        expected, actual = by_hand(hp, theta, x), loaded(hp, theta).eval()(x)
    assert expected.std(0).max() > 1e-2  # the net tells the pictures apart
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("activation", "function"), [("relu", F.relu), ("elu", F.elu), ("sigmoid", torch.sigmoid), ("tanh", torch.tanh)]
)
def test_activations(activation: str, function: torch.nn.Module) -> None:
    module = cnn.module(HP.with_(activation=activation))
    x = torch.linspace(-3, 3, 13)
    assert_array_equal(module.conv1_activation(x), function(x))
    assert_array_equal(module.fc1_activation(x), function(x))


def test_batch_norm_keeps_nine_tenths() -> None:
    module = loaded(HP, cnn.initialize(HP, np.random.default_rng(0)))
    x = pictures(8)
    batch = module.conv1(x)
    module.train()(x)
    torch.testing.assert_close(module.conv1_norm.running_mean, 0.1 * batch.mean((0, 2, 3)))


def test_dropout_has_a_stream_of_its_own() -> None:
    theta, x = cnn.initialize(HP, np.random.default_rng(0)), pictures(8)
    first = loaded(HP, theta, seed=1).train()(x)
    torch.rand(100)  # what else the process does
    assert_array_equal(loaded(HP, theta, seed=1).train()(x).detach(), first.detach())
    assert not torch.equal(loaded(HP, theta, seed=2).train()(x), first)
    module = loaded(HP, theta)
    assert_array_equal(module.eval()(x).detach(), module(x).detach())


def test_dropout_drops_half_and_keeps_the_mean() -> None:
    dropped = cnn.module(HP, torch.Generator().manual_seed(0)).fc1_dropout.train()(torch.ones(100, 1000))
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert abs(dropped.mean().item() - 1) < 0.02


# The initialization


def weights(hp: HyperParameters, seed: int) -> dict[str, np.ndarray]:
    return cnn.layout(hp).unflatten(cnn.initialize(hp, np.random.default_rng(seed)))


@pytest.mark.parametrize("rule", MAIN.options["initialization"])
def test_initial_values_follow_their_rule(rule: str) -> None:
    for name, tensor in weights(BIG.with_(initialization=rule), 4).items():
        if not name.endswith(".weight"):
            continue
        window = int(np.prod(tensor.shape[2:]))
        deviation = np.sqrt(2 / (window * (tensor.shape[0] + tensor.shape[1])))  # Glorot's
        if rule == "constant":
            assert_array_equal(tensor, np.float32(0.1))
            continue
        law = {
            "normal": ("norm", (0, 1)),
            "glorot_uniform": ("uniform", (-np.sqrt(3) * deviation, 2 * np.sqrt(3) * deviation)),
            "glorot_normal": (truncnorm(-2, 2, scale=deviation / truncnorm(-2, 2).std()).cdf, ()),
        }[rule]
        assert kstest(tensor.ravel(), *law).pvalue > 1e-3, name
        spread = 1.0 if rule == "normal" else deviation
        assert abs(tensor.std() / spread - 1) < 4 / np.sqrt(tensor.size), name


@pytest.mark.parametrize("rule", MAIN.options["initialization"])
def test_biases_and_batch_norm_start_at_rest_but_for_gamma(rule: str) -> None:
    start = weights(BIG.with_(initialization=rule), 4)
    for role, value in {"bias": 0, "beta": 0, "mean": 0, "var": 1}.items():
        for name in (n for n in start if n.endswith(f".{role}")):
            assert_array_equal(start[name], value)
    gamma = np.concatenate([tensor for name, tensor in start.items() if name.endswith(".gamma")])
    assert kstest(gamma, "norm", (1, 0.002)).pvalue > 1e-3


def test_gamma_noise_tells_the_channels_of_a_constant_net_apart() -> None:
    start = weights(HP.with_(initialization="constant"), 0)
    assert len(np.unique(start["conv1.gamma"])) == 8
    x = loaded(HP, cnn.initialize(HP.with_(initialization="constant"), np.random.default_rng(0))).eval()[:2](pictures(2))
    assert not torch.equal(x[:, 0], x[:, 1])


@pytest.mark.parametrize("rule", MAIN.options["initialization"])
def test_initial_theta_is_a_function_of_its_generator(rule: str) -> None:
    hp = HP.with_(initialization=rule)
    first, again, other = (cnn.initialize(hp, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.dtype == np.float32
    assert_array_equal(first, again)
    assert not np.array_equal(first, other)
