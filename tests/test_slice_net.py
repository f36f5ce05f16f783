"""The light net for slices: small, blind to what it cannot see, and its vote is learned from nets that were held out."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

import nws
from nws.meta import DMC, SliceNet
from nws.meta.slice_net import PATCH, Patches, SliceModule, _held_out, _slice

QUICK = {"slice_length": 80, "steps": 40, "batch_size": 16}


def nets(n, rng):
    """n nets of 800 weights with two snapshots; the kind shows in the spread of one stretch of 160 weights. Vectors, y, nets."""
    kind = np.arange(n) % 2
    x = rng.normal(0, 0.1, (n, 2, 800))
    for net, begin in enumerate(rng.integers(0, 640, n)):
        x[net, :, begin : begin + 160] *= 1 + 9 * kind[net]
    return list(x.reshape(2 * n, 800).astype(np.float32)), np.repeat(kind, 2), np.repeat(np.arange(n), 2)


def test_it_has_about_a_hundred_thousand_values_and_the_dmc_a_hundred_times_as_many():
    values = sum(p.numel() for p in SliceModule(4).parameters())
    assert 80_000 < values < 110_000


def test_patches_stay_in_a_few_units_whatever_the_scale():
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 1000)).astype(np.float32))
    for scale in (0, 1e-30, 1e-3, 1, 1e6, 1e30):
        tokens = Patches()(x * scale)
        assert tokens.shape == (3, 25, 3 * PATCH + 9)
        assert torch.isfinite(tokens).all()
        assert tokens.abs().max() < 60
    relative = [Patches()(x * scale)[..., :PATCH] for scale in (0.5, 4.0)]
    assert_allclose(relative[0], relative[1], atol=1e-3)


def test_its_vote_is_better_than_a_plain_mean_and_sums_to_one():
    x, y, of = nets(80, np.random.default_rng(0))
    model = SliceNet(**{**QUICK, "steps": 150}).fit(x, y, groups=of)
    x, y, _ = nets(60, np.random.default_rng(1))
    starts = np.linspace(0, 720, 10).round().astype(int)
    said = model.predict_proba(np.stack([v[a : a + 80] for v in x for a in starts])).reshape(len(x), 10, 2)
    voted = model.vote(said)
    assert_allclose(voted.sum(1), 1, rtol=1e-9)
    assert (voted.argmax(1) == y).mean() > 0.9
    assert (voted.argmax(1) == y).mean() >= (said.mean(1).argmax(1) == y).mean()
    mixed = np.random.default_rng(2).permuted(np.arange(10))
    assert_allclose(model.vote(said[:, mixed]), voted, rtol=1e-9)


def test_a_number_is_voted_on_in_its_own_unit():
    x, y, of = nets(40, np.random.default_rng(0))
    model = SliceNet(**QUICK, regression=True).fit(x, 1000 + 64.0 * y, groups=of)
    said = model.predict(np.stack([v[:80] for v in x])).reshape(-1, 1).repeat(10, 1)
    assert 900 < model.vote(said).mean() < 1160


def test_held_out_nets_are_whole_and_of_every_class():
    of, y = np.repeat(np.arange(60), 4), np.repeat(np.arange(60) % 3, 4)
    held = _held_out(of, y, False, np.random.default_rng(0))
    assert_array_equal(held.reshape(60, 4), np.repeat(held[::4, None], 4, 1))
    assert_array_equal(np.bincount(y[held]), [12, 12, 12])
    assert not _held_out(of[:40], y[:40], False, np.random.default_rng(0)).any()  # ten nets: none can be spared
    with pytest.raises(nws.NwsError, match="the net of each"):
        _held_out(of[1:], y, False, np.random.default_rng(0))


def test_one_slice_in_ten_is_the_first_and_one_the_last():
    vector, rng = np.arange(100_000, dtype=np.float32), np.random.default_rng(0)
    starts = np.array([_slice(vector, 100, rng)[0] for _ in range(2000)])
    assert 150 < (starts == 0).sum() < 250
    assert 150 < (starts == 99_900).sum() < 250


def test_slices_shorter_than_a_patch_are_refused():
    x, y, _ = nets(4, np.random.default_rng(0))
    with pytest.raises(nws.NwsError, match="patches of 40"):
        SliceNet(slice_length=39, steps=1).fit(x, y)
    for wrong in ({"steps": 0}, {"batch_size": 1.5}, {"learning_rate": -1}):
        with pytest.raises(nws.NwsError, match=next(iter(wrong))):
            SliceNet(**wrong).fit(x, y)


def test_a_zoo_is_read_and_the_result_has_its_vote(tmp_path):
    space = nws.FIXED.with_(dataset="digits", width_conv=2, width_fc=16)
    zoo = nws.sample(
        tmp_path, space.sample(24, seed=1), images="digits", limit=200, limit_test=50, snapshots=4, epochs=3, workers=1
    )
    task = nws.Task("initialization", slice_length=300)
    made = {"slice-net": SliceNet(steps=40, batch_size=16), "dmc": DMC(max_steps=2)}
    net, dmc = nws.evaluate(made, task, zoo, rounds=1)
    assert net.accuracy > 0.35  # chance 0.25
    assert 0 <= net.vote <= 1
    assert dmc.slice_length == net.slice_length == 300
