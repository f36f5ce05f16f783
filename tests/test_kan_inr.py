"""KANs that are one picture each."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

import nws
from nws import NwsError
from nws.families import KAN_INR, kan_training
from nws.images import load
from nws.zoo import targets

FEW = {"images": "digits", "limit": 20, "limit_test": 10, "workers": 1}
SPACE = KAN_INR.spaces["main"].with_(steps=30, width=8)
native = pytest.mark.skipif(kan_training._native is None, reason="the native trainer of KANs is not built")


def test_a_zoo_of_pictures_is_sampled_resumed_and_read(tmp_path: Path) -> None:
    nws.sample(tmp_path / "a", SPACE, 7, **FEW)
    zoo = nws.sample(tmp_path / "a", SPACE, 40, **FEW)
    whole = nws.sample(tmp_path / "b", SPACE, 40, **{**FEW, "workers": 2})
    for number in range(40):
        assert_array_equal(zoo.theta(number), whole.theta(number))
    assert zoo.verify().ok
    assert zoo.index["image"].tolist() == [n % 30 for n in range(40)]
    assert zoo.index["view"].tolist() == [0] * 30 + [1] * 10
    assert set(zoo.index["side"]) == {"train", "val", "test"}
    assert zoo.index["psnr"].min() > 8
    assert {"label", "psnr"} <= set(targets.names(zoo))
    assert not np.array_equal(zoo.theta(0), zoo.theta(30))  # another view of the same image
    layout = zoo.layout(0)
    theta = zoo.theta(0, 1)
    assert_allclose(
        KAN_INR.render(zoo.net(0).hp, KAN_INR.canonical(theta, layout)[None]), KAN_INR.render(zoo.net(0).hp, theta[None]), atol=1e-5
    )


def test_a_net_is_its_picture(tmp_path: Path) -> None:
    zoo = nws.sample(tmp_path / "zoo", KAN_INR.spaces["main"].with_(steps=150), 2, **FEW)
    images = load("digits", limit=20, limit_test=10, original=True)
    for number in range(2):
        net = zoo.net(number)
        picture = KAN_INR.target(net.hp, images.numbered(number)[0])
        said = KAN_INR.render(net.hp, net.theta).reshape(picture.shape)
        psnr = -10 * np.log10(((said - picture) ** 2).mean())
        assert psnr > 20
        assert zoo.index["psnr"][number] == pytest.approx(psnr, abs=0.01)
        module = KAN_INR.module(net.hp)
        module.load_state_dict({k: torch.from_numpy(v) for k, v in net.layout.state_dict(net.theta[0]).items()})
        with torch.no_grad():
            assert_allclose(module(torch.from_numpy(KAN_INR.points(net.hp))).numpy(), said, atol=1e-4)
    assert KAN_INR.layout(KAN_INR.space.net(0, 0)).size == 11_200
    assert KAN_INR.render(net.hp, net.theta, 16, 24).shape == (1, 16, 24, 1)


@native
def test_the_native_trainer_and_pytorch_make_the_same_picture(tmp_path: Path) -> None:
    ours, theirs = (nws.sample(tmp_path / e, SPACE.with_(steps=10), 1, engine=e, **FEW) for e in ("native", "torch"))
    assert_allclose(ours.theta(0), theirs.theta(0), atol=2e-3)
    assert [z.net(0).about["engine"] for z in (ours, theirs)] == ["native", "torch"]


def test_a_goal_ends_a_training_and_snapshots_are_spread(tmp_path: Path) -> None:
    space = KAN_INR.spaces["main"].with_(steps=100, width=8, target_psnr=12.0)
    net = nws.sample(tmp_path / "zoo", space, 1, snapshots=5, **FEW).net(0)
    steps = net.history[:, 0]
    assert steps[0] == 0
    assert steps[-1] < 100
    assert net.history[-1, 1] >= 12
    spread = nws.sample(tmp_path / "other", SPACE, 1, snapshots=4, **FEW).net(0)
    assert spread.history[:, 0].tolist() == [0, 10, 20, 30]
    once = nws.sample(tmp_path / "once", SPACE, 1, **FEW).net(0)
    assert_array_equal(once.theta[-1], spread.theta[-1])  # how often one looks changes nothing


def test_engines_that_cannot_are_refused(tmp_path: Path) -> None:
    assert "CPU" in (KAN_INR.why_no_engine("gpu", SPACE.net(0, 0)) or "")
    with pytest.raises(NwsError, match="order 2"):
        nws.sample(tmp_path / "zoo", SPACE.with_(order=2), 1, engine="native", **FEW)
