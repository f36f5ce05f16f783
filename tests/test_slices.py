"""Statistics of slices: against plain references, on slices whose content is known, and what they do not change under."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import nws
from nws.representations import REPRESENTATIONS
from nws.representations.slices import slices
from nws.representations.slices.blocks import find
from nws.representations.slices.rows import Rows
from nws.representations.slices.windows import longest_run, run_from, runs


def table(x):
    """Name -> (n,) of slices x (n, L)."""
    values, names = slices(x)
    return dict(zip(names, values.T, strict=True))


def first_layer(rng, side, width, pixel):
    """The beginning of a net: kernels, and a batch norm whose moving means are those of pictures of one grey."""
    kernels = rng.normal(0, 0.2, (width, 3 * side * side))
    bias, beta, gamma = rng.normal(0, 0.01, width), rng.normal(0, 0.05, width), rng.normal(1, 0.05, width)
    mean, variance = bias + pixel * kernels.sum(1), 0.05 * (kernels**2).sum(1)
    return np.concatenate([kernels.ravel(), bias, beta, gamma, mean, variance])


def a_slice(rng, length=5000, side=5, width=8, pixel=0.3, cut=0):
    begin = first_layer(rng, side, width, pixel)[cut:]
    return np.concatenate([begin, rng.normal(0, 0.1, length - len(begin))]).astype(np.float32)


def test_names_are_unique_and_the_same_for_every_length():
    known = None
    for length in (2, 3, 10, 100, 1000, 5000):
        values, names = slices(np.random.default_rng(length).normal(size=(3, length)).astype(np.float32))
        assert values.shape == (3, len(names))
        assert len(set(names)) == len(names)
        assert known in (None, names)
        assert not np.isnan(values).all(1).any()
        assert not np.isinf(values).any()
        known = names


def test_a_slice_has_its_own_values_in_any_company():
    rng = np.random.default_rng(0)
    x = np.stack([a_slice(rng, side=side, width=width) for side in (3, 5, 7) for width in (4, 8, 12)] * 7)
    x[::3] *= 3
    together = slices(x.reshape(7, 9, 5000))[0]
    assert together.shape[:2] == (7, 9)
    alone = np.stack([slices(row)[0] for row in x])
    assert_allclose(together.reshape(63, -1), alone, rtol=1e-3, atol=2e-3)
    assert_array_equal(np.isnan(together.reshape(63, -1)), np.isnan(alone))


def test_weights_that_are_not_finite_spoil_their_own_slice_and_no_other():
    x = np.random.default_rng(0).normal(size=(4, 500)).astype(np.float32)
    clean = slices(x)[0]
    x[1, 3], x[2, 7] = np.nan, np.inf
    got = slices(x)[0]
    assert np.isnan(got[1:3]).all()
    assert_allclose(got[[0, 3]], clean[[0, 3]], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("value", [0.0, 0.1, -1e30, 1e-30])
def test_constant_slices_have_finite_values(value):
    got = slices(np.full((2, 1000), value, np.float32))[0]
    assert not np.isinf(got).any()
    assert_array_equal(got[0], got[1])


def test_no_weights_is_an_error():
    for shape in ((3, 0), (3, 1), ()):
        with pytest.raises(nws.NwsError, match="at least two weights"):
            slices(np.zeros(shape, np.float32))


def test_quantiles_and_shares_are_numpys():
    x = np.random.default_rng(1).normal(0.2, 0.3, (5, 1000)).astype(np.float32)
    got = table(x)
    assert_allclose(got["value_p25.0"], np.percentile(x, 25, axis=1), rtol=1e-5)
    assert_allclose(got["value_p99.5"], np.percentile(x, 99.5, axis=1), rtol=1e-5)
    assert_allclose(got["log_p50.0"], np.percentile(np.log10(np.abs(x)), 50, axis=1), rtol=1e-4)
    assert_allclose(got["negative"], (x < 0).mean(1), atol=1e-6)
    assert_allclose(got["deviation_64_p100"], np.log10(x[:, :960].reshape(5, 15, 64).std(2).max(1)), rtol=1e-4)


def test_what_is_relative_to_the_spread_does_not_depend_on_the_scale():
    x = np.random.default_rng(2).normal(0.01, 0.1, (3, 2000)).astype(np.float32)
    small, large = table(x), table(x * 64)
    for name in small:
        if name.startswith(
            ("spread_", "side_", "mean_", "value_lag", "value_period", "value_band", "positive", "kurtosis", "repeated")
        ):
            assert_allclose(small[name], large[name], rtol=1e-3, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("period", [9, 25, 49, 75, 192])
def test_a_period_shows_at_its_own_length(period):
    rng = np.random.default_rng(period)
    x = np.tile(rng.normal(size=period), 5000 // period + 1)[:5000] + rng.normal(size=5000)
    got = table(x[None].astype(np.float32))
    assert got[f"value_period_{period}"] > 2 * max(
        got[f"value_period_{p}"] for p in (7, 11, 13, 48, 64, 80, 147) if period % p and p % period
    )


def test_runs_are_those_of_a_plain_loop():
    kind = np.random.default_rng(3).random((6, 200)) < 0.8
    kind[0], kind[1] = True, False
    found = {row: [] for row in range(6)}
    for row, begin, end in zip(*runs(kind, 3)):
        found[row].append((begin, end))
    for row, values in enumerate(kind):
        text = "".join("x" if v else " " for v in values)
        expected, at = [], 0
        for part in text.split(" "):
            if len(part) >= 3:
                expected.append((at, at + len(part)))
            at += len(part) + 1
        assert found[row] == expected
        assert longest_run(kind)[row] == max(map(len, text.split(" ")))
    row, place = np.repeat(np.arange(6), 201), np.tile(np.arange(201), 6)
    for r, p, got in zip(row, place, run_from(kind, row, place)):
        assert got == len("".join("x" if v else " " for v in kind[r, p:]).split(" ")[0])


@pytest.mark.parametrize(("side", "width"), [(3, 4), (5, 8), (7, 12)])
def test_a_batch_norm_is_found_where_it_stands(side, width):
    rng = np.random.default_rng(side)
    x = np.stack([a_slice(rng, side=side, width=width, cut=cut) for cut in (0, 5, 100)])
    found = find(x)
    gamma = width * (3 * side * side + 2)
    wanted = {(0, gamma), (1, gamma - 5), (2, gamma - 100)}
    assert wanted <= set(zip(found.row.tolist(), found.start.tolist()))
    at = [(row, start) in wanted for row, start in zip(found.row, found.start)]
    assert_array_equal(found.width[at], width)


def test_noise_holds_no_batch_norm():
    rng = np.random.default_rng(5)
    x = np.concatenate([rng.normal(0, scale, (20, 5000)) for scale in (0.01, 0.1, 1)]).astype(np.float32)
    assert len(find(x)) <= 6  # of N(0, 1) weights, four in a row may look like it


@pytest.mark.parametrize(("side", "width", "pixel"), [(3, 8, 0.13), (5, 4, 0.28), (7, 12, 0.43)])
def test_the_mean_training_pixel_is_solved_for(side, width, pixel):
    got = table(a_slice(np.random.default_rng(width), side=side, width=width, pixel=pixel)[None])
    assert got["pixel_side"] == side
    assert got["pixel_whole"] == 1
    assert_allclose(got["pixel_pixel"], pixel, rtol=1e-3)
    assert_allclose([got["pixel_red"][0], got["pixel_green"][0], got["pixel_blue"][0]], pixel, rtol=1e-3)
    assert_allclose(got[f"block_mean_first{side}_fit"], 1, atol=1e-4)
    assert_allclose(got["pixel_unlike_0.5"], 0, atol=0.2)


def test_where_the_first_filters_are_cut_off_the_others_still_tell():
    got = table(a_slice(np.random.default_rng(1), side=5, width=12, pixel=0.3, cut=400)[None])
    assert (got["pixel_side"], got["pixel_whole"], got["pixel_units"]) == (5, 0, 12 - 6)  # 400 weights are 5.3 filters
    assert_allclose(got["pixel_pixel"], 0.3, rtol=1e-3)


def test_rows_are_sorted_once():
    x = np.random.default_rng(0).normal(size=(2, 50)).astype(np.float32)
    rows = Rows.of(x)
    assert_array_equal(rows.ordered, np.sort(x, axis=1))
    assert_allclose(rows.sizes, np.sort(np.log10(np.abs(x)), axis=1), rtol=1e-5, atol=1e-6)
    assert_allclose(rows.median[:, 0], np.median(x, axis=1), rtol=1e-6)


def test_the_representation_reads_whole_nets_as_one_slice():
    layout = nws.cnn.layout(nws.MAIN.net(0, 0))
    theta = np.random.default_rng(0).normal(size=(2, layout.size)).astype(np.float32)
    shown = REPRESENTATIONS["slices"]
    assert_array_equal(shown.of_net(theta, layout, "fc"), slices(theta[:, layout.part("fc")])[0])
    assert shown.ends
    assert not shown.one_layout(5000)
