"""Statistics of a zoo: tables against what the nets' own files say."""

import numpy as np
import pytest
from fabricated import diverged, fabricated_zoo, tiny
from studied import SPACE, studied_zoo

from nws import FIXED
from nws.analysis import statistics
from nws.tables import NotForThisZooError
from nws.zoo import Zoo


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    return studied_zoo(tmp_path_factory.mktemp("statistics") / "zoo", nets=60)


def test_nets_are_the_index_without_files(zoo):
    table = statistics.nets(zoo)
    assert table["net"].tolist() == zoo.numbers()
    assert not {"path", "bytes", "sha256"} & set(table)
    assert not table["converged"][table["test_accuracy"] < 0.2].any()


def test_curves_are_the_records_of_the_snapshots(zoo):
    table = statistics.curves(zoo)
    assert len(table) == 5 * len(zoo)
    mine = table[table["net"] == 3]
    epoch, history = zoo.records(3)
    assert mine["epoch"].tolist() == epoch.tolist()
    assert mine["progress"].tolist() == [0, 0.25, 0.5, 0.75, 1]
    np.testing.assert_array_equal(mine[["train", "validation", "test"]], history[epoch][:, 1:4])
    assert mine["test"].iloc[-1] == zoo.index.loc[3, "test_accuracy"]


def test_curves_of_nets_with_a_row_per_snapshot(tmp_path):
    """As importers write them: epochs far apart, as many rows as snapshots."""
    zoo = Zoo.create(tmp_path / "zoo", SPACE, seed=0, nets=2)
    history = np.linspace([0, 0.1, 0.1, 0.1, 0.1], [40, 0.9, 0.8, 0.7, 0.8], 5)
    zoo.append(tiny(0, epoch=np.array([0, 10, 20, 30, 40]), history=history))
    zoo.append(tiny(1, epoch=np.array([1, 2, 3, 4, 5]), history=history))  # shifted by one, and wrong without any error
    table = statistics.curves(zoo)
    for number in (0, 1):
        np.testing.assert_array_equal(table[table["net"] == number][["train", "validation", "test"]], history[:, 1:4])


def test_records_are_those_of_the_whole_net(zoo):
    net = zoo.net(5)
    epoch, history = zoo.records(5)
    np.testing.assert_array_equal(epoch, net.epoch)
    np.testing.assert_array_equal(history, net.history)


def test_accuracies_have_their_set_s_threshold_and_chance(zoo):
    table = statistics.accuracy(zoo)
    assert set(table["threshold"][table["dataset"] == "mnist"]) == {0.8}
    assert set(table["chance"]) == {0.1}
    assert (table["converged"] == (table["test_accuracy"] >= table["threshold"])).all()
    assert any("no threshold for kmnist" in note for note in table.attrs["notes"])


def test_nets_without_an_accuracy_are_counted(tmp_path):
    table = statistics.accuracy(fabricated_zoo(tmp_path / "zoo"))  # net 4 diverged
    assert 4 not in table["net"].tolist()
    assert table.attrs["notes"][0] == "1 nets without a test accuracy are left out"


def test_pairs_are_means_over_the_nets_with_both_options(zoo):
    table = statistics.pairs(zoo)
    row = table[(table["figure"] == "figure10") & (table["dataset"] == "mnist")].iloc[0]
    frame = zoo.index
    mine = frame[
        (frame["dataset"] == "mnist") & (frame["initialization"] == row["option_a"]) & (frame["optimizer"] == row["option_b"])
    ]["test_accuracy"]
    assert row["nets"] == len(mine)
    assert row["mean"] == pytest.approx(mine.mean())
    for _, rows in table.groupby("figure"):
        assert rows["nets"].sum() == len(zoo)
    assert table["low"].isna().equals(table["nets"] < 3)


def test_what_a_zoo_cannot_show_is_said(tmp_path):
    alike = Zoo.create(tmp_path / "alike", SPACE, seed=0, nets=3)
    for number in range(3):
        alike.append(tiny(number, hp=FIXED.net(0, 0)))
    with pytest.raises(NotForThisZooError, match="no two of initialization"):
        statistics.pairs(alike)
    failed = Zoo.create(tmp_path / "failed", SPACE, seed=0, nets=1)
    failed.append(diverged(0))
    for table in (statistics.accuracy, statistics.pairs):
        with pytest.raises(NotForThisZooError):
            table(failed)
