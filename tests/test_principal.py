"""Principal components out of memory against those in memory."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nws.analysis.principal import components


def rows(n, size, seed, rank=None, offset=0.0):
    """Random rows (n, size) whose variances fall off, around `offset`."""
    rng = np.random.default_rng(seed)
    scale = 0.8 ** np.arange(min(n, size) if rank is None else rank)
    x = rng.standard_normal((n, len(scale))) * scale @ np.linalg.qr(rng.standard_normal((size, len(scale))))[0].T
    return (x + offset).astype(np.float32)


def chunked(x, step):
    return lambda: (x[a : a + step] for a in range(0, len(x), step))


@settings(max_examples=15)
@given(n=st.integers(20, 120), size=st.integers(30, 200), step=st.integers(1, 50), seed=st.integers(0, 99))
def test_the_same_as_a_whole_decomposition(n, size, step, seed):
    x = rows(n, size, seed, offset=3.0)
    found = components(chunked(x, step), 5)
    centred = x.astype(float) - x.astype(float).mean(0)
    _, values, vectors = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(found.mean, x.astype(float).mean(0), rtol=1e-9)
    np.testing.assert_allclose(found.variance, values[:5] ** 2 / n, rtol=1e-4)
    assert found.total == pytest.approx((values**2).sum() / n, rel=1e-6)
    np.testing.assert_allclose(np.abs((vectors[:5].T * found.vectors).sum(0)), 1, atol=1e-3)
    np.testing.assert_allclose(found.vectors.T @ found.vectors, np.eye(5), atol=1e-8)


def test_two_runs_agree_and_signs_are_fixed():
    x = rows(60, 80, 1)
    a, b = components(chunked(x, 7), 4), components(chunked(x, 7), 4)
    np.testing.assert_array_equal(a.vectors, b.vectors)
    np.testing.assert_allclose(a.vectors, components(chunked(x, 60), 4, seed=5).vectors, atol=1e-4)


def test_fewer_dimensions_than_components_are_wanted():
    x = rows(40, 50, 2, rank=3)
    found = components(chunked(x, 9), 10)
    assert found.variance[:3].min() > 1e-3
    assert found.variance[3:].max() < 1e-10
    assert np.isfinite(found.vectors).all()
    assert components(chunked(rows(40, 6, 2), 9), 10).vectors.shape == (6, 6)


def test_identical_rows_have_no_variance():
    found = components(chunked(np.ones((30, 20), np.float32) * 1e3, 4), 3)
    assert found.total == 0
    assert found.variance.max() < 1e-12
