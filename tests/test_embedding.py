"""The embedding: the table's components are those of the weights, whatever is installed to draw them in the plane."""

import importlib.util

import numpy as np
import pytest
from fabricated import WIDE, diverged, fabricated_zoo, tiny

from nws import FIXED
from nws.analysis import embedding
from nws.tables import NotForThisZooError
from nws.zoo import Zoo


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """Twenty-one nets of one architecture, number 20 diverged: 100 usable snapshots of 56 conv weights."""
    made = Zoo.create(tmp_path_factory.mktemp("embedding") / "zoo", FIXED, seed=0, nets=21)
    for number in range(20):
        made.append(tiny(number))
    made.append(diverged(20))
    return made


@pytest.fixture
def without(monkeypatch):
    """Pretend that a package is not installed."""
    find = importlib.util.find_spec

    def hide(*names):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name in names else find(name, *rest))

    return hide


def test_components_are_those_of_the_conv_part(zoo, without):
    without("umap", "openTSNE")
    table = embedding.embedding(zoo)
    assert table["net"].tolist() == np.repeat(range(20), 5).tolist()
    assert table["snapshot"].tolist() == [1, 2, 3, 4, 5] * 20
    weights = np.concatenate([zoo.theta(n)[:, zoo.layout(n).part("conv")] for n in range(20)]).astype(float)
    u, values, _ = np.linalg.svd(weights - weights.mean(0), full_matrices=False)
    scores = table[[f"pc{k}" for k in range(1, 11)]].to_numpy()
    np.testing.assert_allclose(np.abs(scores), np.abs(u * values)[:, :10], atol=1e-4)
    np.testing.assert_array_equal(table[["x", "y"]], scores[:, :2])
    method, explained, left_out = table.attrs["notes"]
    assert "pip install nws[embed]" in method
    assert f"hold {(values[:10] ** 2).sum() / (values**2).sum():.0%} of its variance" in explained
    assert left_out.startswith("1 net left out")


def test_chunks_of_any_size_give_the_same(zoo, without, monkeypatch):
    without("umap", "openTSNE")
    whole = embedding.embedding(zoo)
    monkeypatch.setattr(embedding, "CHUNK_BYTES", 1)  # a net at a time
    np.testing.assert_allclose(embedding.embedding(zoo), whole, atol=1e-6)


@pytest.mark.slow  # numba's first import and compilation, a quarter of a minute
@pytest.mark.parametrize(("package", "hidden", "said"), [("umap", (), "UMAP"), ("openTSNE", ("umap",), "t-SNE")])
def test_the_plane_is_of_the_best_method_installed(zoo, without, package, hidden, said):
    pytest.importorskip(package)
    without(*hidden)
    table = embedding.embedding(zoo)
    assert table.attrs["notes"][0].startswith(said)
    assert np.isfinite(table[["x", "y"]].to_numpy()).all()
    np.testing.assert_array_equal(embedding.embedding(zoo)[["x", "y"]], table[["x", "y"]])


def test_zoos_without_a_common_weight_space_are_refused(tmp_path):
    with pytest.raises(NotForThisZooError, match="nets of 2 architectures have no common weight space"):
        embedding.embedding(fabricated_zoo(tmp_path / "mixed"))
    few = Zoo.create(tmp_path / "few", FIXED, seed=0, nets=1)
    few.append(tiny(0, WIDE))
    with pytest.raises(NotForThisZooError, match="5 snapshots are too few"):
        embedding.embedding(few)
