"""Small residual nets: shape, symmetries, training."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

import nws
from nws.families import ResNet8
from nws.families import resnet_training as training

FEW = {"images": "digits", "limit": 60, "limit_test": 20, "snapshots": 2, "epochs": 1, "workers": 1}
CONFIG = ResNet8.space.net(0, 0)
SMALL = ResNet8.space.with_(width=4, batch_size=20)


def test_its_shape_is_the_published_one() -> None:
    layout, module = ResNet8.layout(CONFIG), ResNet8.module(CONFIG)
    assert layout.size == 78_042
    assert len(layout.tensors) == 29
    state = module.state_dict()
    assert {t.torch_name: t.shape for t in layout.tensors} == {name: tuple(value.shape) for name, value in state.items()}
    assert ResNet8.layout(CONFIG.with_(width=8)).size == 19_954


def test_relabelled_channels_compute_the_same() -> None:
    config, rng = CONFIG.with_(width=4), np.random.default_rng(0)
    layout = ResNet8.layout(config)
    theta = ResNet8.init(config, rng) + rng.normal(0, 0.1, layout.size).astype(np.float32)
    pictures = torch.from_numpy(rng.random((3, 3, 32, 32)))
    said = []
    for weights in (theta, layout.permute(theta, rng)):
        module = ResNet8.module(config).double()
        module.load_state_dict({name: torch.from_numpy(value) for name, value in layout.state_dict(weights).items()})
        said.append(module(pictures).detach().numpy())
    assert np.abs(theta - layout.permute(theta, rng)).max() > 0.1
    assert set(layout.groups) == {"input", "output", "stream1", "stream2", "stream3", "block1", "block2", "block3"}
    assert_allclose(said[0], said[1], atol=1e-10)


def test_it_begins_as_kaiming_says() -> None:
    named = ResNet8.layout(CONFIG).unflatten(ResNet8.init(CONFIG, np.random.default_rng(0)))
    assert named["block3.conv2.weight"].std() == pytest.approx(np.sqrt(2 / (64 * 9)), rel=0.02)
    assert (named["block3.conv2.gamma"] == 1).all()
    assert (named["block3.conv2.beta"] == 0).all()
    assert np.abs(named["out.bias"]).max() <= 1 / 8


def test_the_learning_rate_is_a_triangle() -> None:
    assert [training.triangle(done, 0.25) for done in (0, 0.125, 0.25, 0.625, 1)] == [0, 0.5, 1, 0.5, 0]


def test_pictures_are_flipped_moved_and_cut() -> None:
    x = torch.arange(32 * 32 * 3, dtype=torch.int64).reshape(1, 32, 32, 3).remainder(251).to(torch.uint8).repeat(400, 1, 1, 1)
    plain = training._normalised(x[:1])[0]
    found = training.changed(x, np.random.default_rng(0))
    blank = (found == 0).all(1).sum((1, 2))
    assert (blank == training.CUT**2).all()  # what is moved in from outside is black, which is not the mean
    inner = plain[:, 8:24, 8:24]
    seen = set()
    for picture in found:
        for flipped in (False, True):
            for down in range(-2, 3):
                for across in range(-2, 3):
                    back = picture.flip(2) if flipped else picture
                    part = back[:, 8 - down : 24 - down, 8 - across : 24 - across]
                    if (part == inner).float().mean() > 0.9:
                        seen.add((flipped, down, across))
    assert len(seen) == 50


def test_a_zoo_is_sampled_resumed_and_verified(tmp_path: Path) -> None:
    nws.sample(tmp_path / "a", SMALL, 1, **FEW)
    zoo = nws.sample(tmp_path / "a", SMALL, 2, **FEW)
    whole = nws.sample(tmp_path / "b", SMALL, 2, **{**FEW, "workers": 2})
    for number in range(2):
        assert_array_equal(zoo.theta(number), whole.theta(number))
    assert zoo.verify().ok
    assert zoo.index["test_accuracy"].between(0, 1).all()
    assert zoo.net(0).history[-1][0] == 3  # steps


def test_it_learns(tmp_path: Path) -> None:
    space = ResNet8.space.with_(width=4, batch_size=20, passes=6, learning_rate=(0.02,), weight_decay=(1e-4,))
    zoo = nws.sample(tmp_path / "zoo", space, 1, **{**FEW, "limit": 400, "limit_test": 100, "epochs": 6})
    assert zoo.index["test_accuracy"][0] > 0.3  # a tenth by guessing
