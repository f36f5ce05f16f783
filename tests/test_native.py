"""The native engine against the torch engine, and against the written-out augmentation; gradients: test_native_gradients.py."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from native_nets import SMALL, pictures, theta_with_norms
from torch.nn import functional

from nws import augment
from nws.errors import NwsError
from nws.families import cnn2020 as cnn
from nws.families.cnn2020 import MAIN, PROPERTIES, HyperParameters
from nws.images import ImageSet
from nws.train import engines, native_engine
from nws.train.native_engine import NativeEngine, _native, why_not
from nws.train.torch_engine import TorchEngine

needs_it = pytest.mark.skipif(why_not() is not None, reason=why_not() or "")


def weights_after(make: type, hp: HyperParameters, theta: np.ndarray, steps: int) -> dict[str, np.ndarray]:
    """tensor -> float64 values after some steps without dropout.

    A convolution's bias before batch norm moves by rounding noise alone and takes the running mean along: it is left out,
    and the mean is given without it.
    """
    engine = make(hp, theta, pictures(), 0, dropout=0.0)
    engine.train(np.random.default_rng(4).integers(0, 320, (steps, hp.batch_size)), hp.learning_rate)
    named = cnn.layout(hp).unflatten(engine.theta().astype(np.float64))
    for layer, roles in cnn.layout(hp).layers.items():
        if hp.batch_norm and roles["bias"].part == "conv":
            named[f"{layer}.mean"] = named[f"{layer}.mean"] - named.pop(f"{layer}.bias")
    return named


def assert_same_training(hp: HyperParameters, steps: int = 50) -> None:
    """Both engines move every tensor the same way, up to what a change of the start in its last digit does to the torch engine.

    (Under Adam and constant initialization some gradients are 0 but for rounding, and are blown up to full steps.)
    """
    differences = []
    for seed in range(3):
        theta = cnn.initialize(hp, np.random.default_rng(seed))
        nudged = theta * (1 + np.float32(1e-7) * np.random.default_rng(9).standard_normal(theta.size, np.float32))
        exact, chaos, ours = (
            weights_after(make, hp, start, steps)
            for make, start in ((TorchEngine, theta), (TorchEngine, nudged), (NativeEngine, theta))
        )
        begin = cnn.layout(hp).unflatten(theta)
        change = {name: max(float(np.linalg.norm(exact[name] - begin[name])), 1e-4) for name in exact}
        differences.append(
            {name: [float(np.linalg.norm(other[name] - exact[name])) / change[name] for other in (ours, chaos)] for name in exact}
        )
    for name in differences[0]:
        of_engine, of_chaos = np.median([d[name] for d in differences], axis=0)
        assert of_engine < 0.01 + 10 * of_chaos, name


@needs_it
@pytest.mark.parametrize("initialization", PROPERTIES["initialization"].options)
@pytest.mark.parametrize("optimizer", PROPERTIES["optimizer"].options)
def test_fifty_steps_are_those_of_the_torch_engine(optimizer, initialization):
    assert_same_training(SMALL.with_(optimizer=optimizer, initialization=initialization, learning_rate=2e-4))


@needs_it
def test_fifty_steps_without_batch_norm():
    assert_same_training(SMALL.with_(batch_norm=False, learning_rate=2e-4))


@needs_it
def test_repeats_are_equal_bit_for_bit():
    hp = SMALL.with_(augmentation=True)
    ends = []
    for seed in (5, 5, 6):
        engine = NativeEngine(hp, cnn.initialize(hp, np.random.default_rng(0)), pictures(), seed)
        engine.train(np.arange(160).reshape(10, 16), 1e-3)
        ends.append(engine.theta())
    np.testing.assert_array_equal(ends[0], ends[1])
    assert np.any(ends[0] != ends[2])


@needs_it
@pytest.mark.parametrize("n", [1, 15, 33, 77])
@pytest.mark.parametrize("batch_norm", [True, False])
def test_evaluation_is_that_of_the_torch_engine_for_any_count(n, batch_norm):
    hp = SMALL.with_(batch_norm=batch_norm)
    theta = theta_with_norms(hp, 0, np.random.default_rng(1))
    native, torch_ = (make(hp, theta, pictures(), 0) for make in (NativeEngine, TorchEngine))
    index = np.random.default_rng(n).permutation(77)[:n]
    assert native.accuracy("test", index) == torch_.accuracy("test", index)
    assert native.accuracy("train") == torch_.accuracy("train")
    np.testing.assert_array_equal(native.theta(), theta)  # evaluation changes nothing


@needs_it
def test_it_learns():
    hp = SMALL.with_(activation="relu", width_fc=64, initialization="glorot_normal", learning_rate=3e-3)
    engine = NativeEngine(hp, cnn.initialize(hp, np.random.default_rng(0)), pictures(), 1)
    batches = np.random.default_rng(1).permuted(np.tile(np.arange(320), (10, 1)), axis=1).reshape(-1, 16)
    first, last = engine.train(batches[:20], 3e-3), engine.train(np.concatenate([batches] * 2), 3e-3)
    assert last < first - 0.3
    assert engine.accuracy("test") > 0.3


def engine_with_lanes() -> tuple[NativeEngine, int]:
    hp = SMALL.with_(augmentation=True)
    return NativeEngine(hp, cnn.initialize(hp, np.random.default_rng(0)), photographs(), 3), _native.LANES


@functools.cache
def photographs() -> ImageSet:
    """Pictures as smooth as photographs; pure noise would amplify the rounding of a coordinate a hundredfold."""
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.random((64, 3, 8, 8)))
    x = functional.interpolate(coarse, size=(32, 32), mode="bicubic").clamp(0, 1).permute(0, 2, 3, 1)
    pixels = np.ascontiguousarray((x * 255).round().numpy().astype(np.uint8))
    return ImageSet("smooth", pixels, np.zeros(64, np.int64), pixels, np.zeros(64, np.int64), ("0",))


@needs_it
@pytest.mark.parametrize("seed", range(5))
def test_augmentation_follows_the_written_out_rule(seed):
    engine, lanes = engine_with_lanes()
    rng = np.random.default_rng(seed)
    index = rng.integers(0, 64, lanes)
    changes = augment.draw(lanes, torch.Generator().manual_seed(seed))
    noise = torch.from_numpy(rng.standard_normal((lanes, 3, 32, 32), dtype=np.float32))
    clean = torch.from_numpy(photographs().x_train[index]).permute(0, 3, 1, 2).float() / 255
    expected = augment.apply(clean, changes, noise).numpy()
    ours = engine.augmented(index, changes.numpy(), noise.numpy())
    np.testing.assert_allclose(ours, expected, atol=1e-5)


@needs_it
def test_no_change_gives_the_picture_back():
    engine, lanes = engine_with_lanes()
    changes = np.tile(np.array([0, 0, 0, 1, 0, 0, 0, 1, 0, 1, 0], np.float32), (lanes, 1))
    ours = engine.augmented(np.arange(lanes), changes, np.zeros((lanes, 3, 32, 32), np.float32))
    np.testing.assert_allclose(ours, photographs().x_train[:lanes].transpose(0, 3, 1, 2) / 255, atol=2e-6)


@needs_it
def test_drawn_changes_and_noise_are_distributed_as_they_should_be(monkeypatch):
    """On a grey picture that stays where it is: the mean shows the brightness (uniform), the rest the noise (sigma uniform)."""
    still = {
        name: (1.0, 1.0) if name in ("zoom", "contrast", "saturation") else (0.0, 0.0) for name in native_engine.cnn.AUGMENTATION
    }
    shown = {name: native_engine.cnn.AUGMENTATION[name] for name in ("brightness", "noise")}
    monkeypatch.setattr(native_engine.cnn, "AUGMENTATION", {**still, **shown})
    grey, label = np.full((32, 32, 32, 3), 128, np.uint8), np.zeros(32, np.int64)
    images = ImageSet("grey", grey, label, grey, label, ("0",))
    hp = SMALL.with_(augmentation=True)
    engine, lanes = NativeEngine(hp, cnn.initialize(hp, np.random.default_rng(0)), images, 11), _native.LANES
    drawn = np.concatenate([engine.augmented(np.arange(lanes) % 16) for _ in range(2048 // lanes)])
    brightness = drawn.mean((1, 2, 3)) - 128 / 255
    low, high = native_engine.cnn.AUGMENTATION["brightness"]
    assert low - 0.01 < brightness.min() < low + 0.01
    assert high - 0.01 < brightness.max() < high + 0.01
    counts = np.histogram(brightness, 8, (low, high))[0]
    assert np.all(np.abs(counts - 256) < 5 * 16)
    away = drawn - drawn.mean((2, 3), keepdims=True)
    sigma = away.std((1, 2, 3))
    assert abs(sigma.mean() - 0.015) < 0.001
    assert 0 <= sigma.min() < 0.001
    assert 0.029 < sigma.max() < 0.032
    noise = away[sigma > 0.005] / sigma[sigma > 0.005][:, None, None, None]
    np.testing.assert_allclose((noise**3).mean(), 0, atol=0.02)  # normal: skewness 0, kurtosis 3
    np.testing.assert_allclose((noise**4).mean(), 3, atol=0.05)
    shifted = (noise[..., :-1] * noise[..., 1:]).mean()  # neighbours and channels know nothing of each other
    assert abs(shifted) < 0.01
    assert abs((noise[:, 0] * noise[:, 1]).mean()) < 0.01


@needs_it
def test_dropout_leaves_out_half_of_the_units():
    # With dropout the loss of one and the same batch differs from call to call, without it not.
    hp = SMALL.with_(width_fc=64)
    theta = cnn.initialize(hp, np.random.default_rng(0))
    x, y = np.random.default_rng(1).random((16, 3, 32, 32), dtype=np.float32), np.arange(16)
    engine = NativeEngine(hp, theta, pictures(), 0)
    layer = cnn.layout(hp).layers["out"]["weight"]
    seen = [engine.gradient(x, y) for _ in range(20)]
    assert len({loss for loss, _ in seen}) == 20
    still = NativeEngine(hp, theta, pictures(), 0, dropout=0.0)
    assert len({still.gradient(x, y)[0] for _ in range(3)}) == 1
    mean = np.mean([g[layer.start : layer.stop] for _, g in seen], 0)
    exact = still.gradient(x, y)[1][layer.start : layer.stop]
    assert np.corrcoef(mean, exact)[0, 1] > 0.6  # what is kept is scaled up: the mean gradient points the same way


@needs_it
def test_every_architecture_of_the_paper_fits_its_theta():
    options = MAIN.options
    for hp in MAIN.sample(40, seed=2):
        hp = hp.with_(batch_size=16, dataset="noise")
        engine = NativeEngine(hp, cnn.initialize(hp, np.random.default_rng(0)), pictures(), 0)
        assert engine.theta().size == cnn.layout(hp).size
    assert options["filter_size"] == (3, 5, 7)


@needs_it
def test_numbers_outside_the_images_are_refused():
    engine = NativeEngine(SMALL, cnn.initialize(SMALL, np.random.default_rng(0)), pictures(), 0)
    with pytest.raises(IndexError):
        engine.train(np.full((1, 16), 320), 1e-3)
    with pytest.raises(IndexError):
        engine.accuracy("test", np.array([-1]))


@needs_it
def test_what_it_cannot_do_goes_to_torch():
    few = ImageSet("few", pictures().x_train[:10], np.arange(10), pictures().x_test, pictures().y_test, tuple("0123456789"))
    for hp, images in ((SMALL.with_(batch_size=10), pictures()), (SMALL, few)):
        assert why_not(hp, images)
        theta = cnn.initialize(hp, np.random.default_rng(0))
        assert engines.make("auto", hp, theta, images, 0).name == "torch"
        with pytest.raises(NwsError, match="--engine torch"):
            engines.make("native", hp, theta, images, 0)
    theta = cnn.initialize(SMALL, np.random.default_rng(0))
    assert engines.make("auto", SMALL, theta, pictures(), 0).name == "native"


@needs_it
@pytest.mark.parametrize("wrong", [{"activation": "swish"}, {"optimizer": "sgd"}, {"activation": ""}])
def test_an_option_that_the_engine_does_not_know_is_refused_by_the_engine_itself(wrong):
    given = {"filter": 3, "batch": 16, "conv_widths": [4, 8, 16], "pools": [True] * 3, "fc_widths": [8, 20]}
    given |= {"batch_norm": False, "augmentation": False, "dropout": 0.0, "activation": "relu", "optimizer": "adam"}
    given |= {"ranges": [(0.0, 0.0)] * 11, "theta": np.zeros(10, np.float32), "seed": 0, "direct": False}
    with pytest.raises(ValueError, match="the native engine has no"):
        _native.Engine(**{**given, **wrong})
