"""The regression of accuracy: a known law is found, and p-values are those of a few lines of linear algebra."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from studied import EFFECTS, LEARNING_RATE, SPACE, studied_zoo

from nws.analysis import regression
from nws.tables import NotForThisZooError


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    return studied_zoo(tmp_path_factory.mktemp("regression") / "zoo", noise=0.002)


@pytest.fixture(scope="module")
def table(zoo):
    return regression.regression(zoo)


def rows_of(table, dataset, name):
    return table[(table["dataset"] == dataset) & (table["property"] == name)].set_index("option")


def by_hand(d):
    """Coefficients that add up to zero within a property, and their p-values: least norm, then the means taken off."""
    inverse = np.linalg.pinv(d.x)
    names = [name for name, _ in d.columns]
    centre = np.eye(len(names))
    for name in set(names) - {"constant", "learning_rate"}:
        mine = [k for k, other in enumerate(names) if other == name]
        centre[np.ix_(mine, mine)] -= 1 / len(mine)
        centre[0, mine] += 1 / len(mine)  # what the options lose, the constant gains
    tau, freedom = centre @ inverse @ d.y, len(d.y) - np.linalg.matrix_rank(d.x)
    noise = np.sum((d.y - d.x @ tau) ** 2) / freedom
    error = np.sqrt(noise * np.diag(centre @ inverse @ inverse.T @ centre.T))
    return tau, 2 * stats.t.sf(np.abs(tau) / error, freedom)


def test_coefficients_and_p_values_are_those_of_a_version_by_hand(zoo, table):
    found, _ = regression.designs(zoo)
    for name, d in found.items():
        tau, p = by_hand(d)
        mine = table[table["dataset"] == name]
        np.testing.assert_allclose(mine["coefficient"], tau, atol=1e-10)
        np.testing.assert_allclose(mine["p"], p, atol=1e-10)
        assert (mine["star"] == (mine["p"] > 0.05)).all()


def test_the_whole_space_has_the_paper_s_34_coefficients(table):
    assert set(table.groupby("dataset").size()) == {34}
    assert table.attrs["notes"] == ["34 coefficients"]


def test_options_of_a_property_add_up_to_zero(table):
    for (_, name), rows in table.groupby(["dataset", "property"]):
        if name not in ("constant", "learning_rate"):
            assert rows["coefficient"].sum() == pytest.approx(0, abs=1e-10)


def test_the_law_is_found(zoo, table):
    frame = zoo.index[lambda f: (f["dataset"] == "kmnist") & (f["test_accuracy"] > 0.25)]
    deviation = frame["test_accuracy"].std(ddof=0)
    for name, effects in EFFECTS.items():
        rows = rows_of(table, "kmnist", name)
        truth = np.array([effects.get({"on": True, "off": False}.get(o, o), 0.0) for o in rows.index])
        np.testing.assert_allclose(rows["coefficient"] * deviation, truth - truth.mean(), atol=0.003)
        assert not rows["star"][np.abs(truth - truth.mean()) > 0.01].any()
    slope = rows_of(table, "kmnist", "learning_rate")["coefficient"].iloc[0] * deviation / frame["learning_rate"].std(ddof=0)
    assert slope == pytest.approx(LEARNING_RATE, rel=0.2)
    assert rows_of(table, "kmnist", "batch_size")["coefficient"].abs().max() * deviation < 0.003


def test_unseen_nets_are_predicted_better_than_by_their_mean(zoo):
    table = regression.error(zoo).set_index(["dataset", "model"])["error"]
    for name in ("mnist", "kmnist"):
        assert table[name, "linear"] < 0.4
        assert table[name, "constant"] == pytest.approx(1, abs=0.05)


def test_noise_is_not_predicted(zoo, monkeypatch):
    designs, notes = regression.designs(zoo)
    rng = np.random.default_rng(0)
    noise = {name: replace(d, y=stats.zscore(rng.standard_normal(len(d.y)))) for name, d in designs.items()}
    monkeypatch.setattr(regression, "designs", lambda _: (noise, notes))
    table = regression.error(zoo).set_index(["dataset", "model"])["error"]
    for name in noise:
        assert table[name, "linear"] > table[name, "constant"]


def test_correlations_between_image_sets(table):
    found = regression.correlation(table).set_index(["a", "b"])
    assert found.loc[("mnist", "mnist"), "correlation"] == pytest.approx(1)
    assert 0.9 < found.loc[("mnist", "kmnist"), "correlation"] == found.loc[("kmnist", "mnist"), "correlation"]
    assert set(found["coefficients"]) == {33}
    with pytest.raises(NotForThisZooError, match="needs two of them"):
        regression.correlation(table[table["dataset"] == "mnist"])


def test_absent_options_have_no_coefficient_and_that_is_said(tmp_path):
    space = SPACE.with_(filter_size=5, depth_conv=3, depth_fc=2, width_conv=8, width_fc=128, optimizer=["adam", "momentum"])
    table = regression.regression(studied_zoo(tmp_path / "zoo", nets=80, space=space))
    assert set(table.groupby("dataset").size()) == {1 + 1 + 4 + 2 + 2 + 4 + 4}
    assert "18 coefficients (the paper's whole space has 34; the same in all nets: filter size," in table.attrs["notes"][0]


def test_too_few_nets_are_refused_with_the_number_needed(tmp_path):
    with pytest.raises(NotForThisZooError, match=r"no regression: .*converged nets, \d+ free coefficients need \d+"):
        regression.regression(studied_zoo(tmp_path / "zoo", nets=20))
