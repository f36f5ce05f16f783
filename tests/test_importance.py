"""The importance of a feature is where the property was written."""

import pandas as pd
import pytest
from test_study import TINY
from written_zoo import SPACE, written_zoo

from nws.analysis.importance import importance, importance_local
from nws.analysis.study import Study
from nws.representations import statistics as features
from nws.tables import NotForThisZooError
from nws.tasks.inputs import Inputs


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return Study(Inputs(written_zoo(tmp_path_factory.mktemp("zoos") / "zoo")), TINY, tmp_path_factory.mktemp("out"))


def test_biases_tell_the_optimizer_and_nothing_tells_the_image_set(study):
    table = importance(study)
    assert len(table) == 2 * 480
    assert list(table) == ["property", "layer", "type", "statistic", "mean", "spread"]
    groups = table[table["property"] == "optimizer"].groupby("type")["mean"].max()
    assert groups.idxmax() == "bias"
    assert (table["spread"] >= 0).all()


def test_a_constant_feature_has_no_importance(study):
    table = importance(study)
    variance = table[(table["type"] == "bias") & (table["statistic"] == "variance")]  # all biases of a net are equal
    assert variance["mean"].max() < 1e-9


def test_local_has_the_16_statistics_of_each_property(study):
    table = importance_local(study)
    assert table["statistic"].tolist() == [*features.STATISTICS] * 2
    assert table["property"].unique().tolist() == ["dataset", "optimizer"]
    by = table.groupby("property")["mean"].sum()
    assert by["optimizer"] != by["dataset"]


def test_made_once(study, monkeypatch):
    first = importance(study)
    monkeypatch.setattr("nws.analysis.importance.fits", lambda *a, **k: pytest.fail("computed twice"))
    pd.testing.assert_frame_equal(importance(study), first)


def test_nets_of_many_architectures_have_no_common_layers(tmp_path):
    zoo = written_zoo(tmp_path / "zoo", SPACE.with_(depth_conv=[3, 4]), nets=16)
    with pytest.raises(NotForThisZooError, match="one architecture, the zoo has 2"):
        importance(Study(Inputs(zoo), TINY))
