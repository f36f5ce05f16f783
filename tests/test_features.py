"""Statistics against a plain reference, their names, and what they do not change under."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import skew

import nws
from nws.representations.statistics import MEASURES, STATISTICS, feature_names, layer_statistics, statistics

FIXED = nws.cnn.layout(nws.FIXED.net(0, 0))
PLAIN = nws.cnn.layout(nws.MAIN.net(0, 0).with_(batch_norm=False))


def reference(x):
    """The 16 statistics of one vector (L,), written as the paper says them."""
    measured = []
    for v in (x.astype(np.float64), np.diff(x.astype(np.float64))):
        measured += [v.mean(), v.var(), skew(v) if v.std() > 0 else 0.0, *np.percentile(v, [1, 25, 50, 75, 99])]
    return measured


def random_theta(layout, n, rng):
    return rng.normal(0.1, 1, (n, layout.size)).astype(np.float32) ** 3


@pytest.mark.parametrize("length", [2, 3, 10, 101, 5000])
def test_statistics_are_the_reference(length):
    x = np.random.default_rng(length).gamma(2.0, size=(7, length)).astype(np.float32)
    assert_allclose(statistics(x), [reference(v) for v in x], rtol=1e-9, atol=1e-12)


def test_the_shape_in_front_is_kept_and_long_input_is_cut_into_chunks():
    x = np.random.default_rng(0).normal(size=(3, 200, 1500)).astype(np.float32)  # several chunks, the last one short
    got = statistics(x)
    assert got.shape == (3, 200, 16)
    assert got.dtype == np.float64
    assert_array_equal(got[2, 150:160], statistics(x[2, 150:160]))
    assert statistics(x[0, 0]).shape == (16,)
    assert statistics(x[:0]).shape == (0, 200, 16)


def test_constant_and_single_weights_have_no_skewness_and_no_gradient():
    got = dict(zip(STATISTICS, statistics(np.full(1001, np.float32(0.1))), strict=True))
    assert got == {name: np.float32(0.1) if name in ("mean", "p1", "p25", "p50", "p75", "p99") else 0 for name in STATISTICS}
    single = statistics(np.array([[7.0], [-2.0]]))
    assert_array_equal(single[:, 8:], 0)
    assert_array_equal(single[:, 0], [7, -2])


@pytest.mark.parametrize("scale", [1e-30, 1e6, 1e38])
def test_skewness_does_not_depend_on_the_scale(scale):
    x = np.random.default_rng(0).gamma(1.0, size=500) / 10
    got = statistics((x * scale).astype(np.float32))
    assert_allclose(got[[2, 10]], statistics(x)[[2, 10]], rtol=1e-4)


def test_weights_that_are_not_finite_show_and_spoil_only_their_own_vector():
    x = np.random.default_rng(0).normal(size=(3, 50)).astype(np.float32)
    clean = statistics(x)
    x[1, 10], x[2, 3] = np.nan, np.inf
    got = statistics(x)
    assert_array_equal(got[0], clean[0])
    assert not np.isfinite(got[1:]).all(axis=1).any()


def test_no_weights_is_an_error():
    with pytest.raises(nws.NwsError, match="at least one weight"):
        statistics(np.empty((3, 0)))


def test_the_fixed_architecture_has_480_features_in_the_order_of_theta():
    names = feature_names(FIXED)
    assert len(names) == len(set(names)) == 480
    assert names[:2] == ["conv1.weight/mean", "conv1.weight/variance"]
    assert names[16] == "conv1.bias/mean"
    assert names[-1] == "fc2.var/p99_d"
    assert len(feature_names(FIXED, output=True)) == 512
    assert {name.split("/")[0].split(".")[1] for name in feature_names(PLAIN)} == {"weight", "bias"}


@pytest.mark.parametrize("layout", [FIXED, PLAIN], ids=["fixed", "no batch norm"])
@pytest.mark.parametrize("output", [False, True])
def test_layer_statistics_are_the_statistics_of_each_tensor(layout, output):
    theta = random_theta(layout, 3, np.random.default_rng(0))
    got = layer_statistics(theta[None], layout, output)
    assert got.shape == (1, 3, len(feature_names(layout, output)))
    for column, name in enumerate(feature_names(layout, output)[::16]):
        tensor = layout.unflatten(theta)[name.split("/")[0]].reshape(3, -1)
        assert_allclose(got[0, :, 16 * column : 16 * column + 16], [reference(v) for v in tensor], rtol=1e-9, atol=1e-12)


def test_a_net_does_not_depend_on_its_company():
    theta = random_theta(FIXED, 70, np.random.default_rng(0))  # two chunks
    assert_array_equal(layer_statistics(theta, FIXED)[66], layer_statistics(theta[66], FIXED))


def test_relabelling_hidden_units_changes_gradients_only():
    rng = np.random.default_rng(0)
    theta = random_theta(FIXED, 1, rng)[0]
    before, after = (layer_statistics(t, FIXED).reshape(-1, 16) for t in (theta, FIXED.permute(theta, rng)))
    plain = len(MEASURES)
    assert_allclose(before[:, :plain], after[:, :plain], rtol=1e-9, atol=1e-12)
    assert not np.allclose(before[:, plain:], after[:, plain:])


def test_theta_of_another_layout_is_refused():
    with pytest.raises(nws.NwsError, match="92,868"):
        layer_statistics(np.zeros((2, 100), np.float32), FIXED)
