"""A net refuses nonsense when built; 20 of T records are kept."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nws import FIXED, Net, NwsError
from nws.families import cnn2020 as cnn
from nws.net import HISTORY, snapshot_records

HP = FIXED.net(0, 0).with_(filter_size=3, width_conv=1, depth_fc=1, width_fc=2)
P = cnn.layout(HP).size


def net(**changes: object) -> Net:
    """A net of three snapshots after 0, 1 and 4 epochs."""
    history = np.linspace(0, 1, 5 * len(HISTORY)).reshape(5, -1)
    good = {"theta": np.zeros((3, P), np.float32), "epoch": np.array([0, 1, 4]), "history": history, "number": 7}
    return Net(**{"hp": HP, "layout": cnn.layout(HP), **good, **changes})  # type: ignore[arg-type]


def test_a_good_net_is_accepted() -> None:
    assert net().test_accuracy == net().history[-1, 3]
    assert np.isnan(net(history=np.empty((0, len(HISTORY)))).test_accuracy)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"theta": np.zeros((3, P))}, "float32"),
        ({"theta": np.zeros(P, np.float32)}, "snapshots, weights"),
        ({"theta": np.zeros((0, P), np.float32)}, "snapshots, weights"),
        ({"theta": np.zeros((3, P + 1), np.float32)}, "its layout"),
        ({"theta": np.full((3, P), np.nan, np.float32)}, "NaN"),
        ({"theta": np.full((3, P), -np.inf, np.float32)}, "NaN"),
        ({"epoch": np.array([0, 1])}, "one number per snapshot"),
        ({"epoch": np.array([0, 2, 1])}, "not falling"),
        ({"history": np.zeros((5, 4))}, "history"),
        ({"history": np.zeros(5)}, "history"),
        ({"status": "fine"}, "use one of "),
        ({"number": -7}, "numbered from 0"),
    ],
)
def test_nonsense_is_refused_with_the_net_s_number(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(NwsError, match=reason) as caught:
        net(**changes)
    assert str(caught.value).startswith(f"net {changes.get('number', 7)}")


def test_a_diverged_net_may_hold_nan() -> None:
    assert net(theta=np.full((3, P), np.nan, np.float32), status="diverged").status == "diverged"


@given(st.integers(1, 2000), st.integers(2, 60))
def test_kept_records_span_the_training_evenly(records: int, snapshots: int) -> None:
    kept = snapshot_records(records, snapshots)
    assert kept.shape == (snapshots,)
    assert (kept[0], kept[-1]) == (0, records - 1)
    assert np.ptp(np.diff(kept)) <= 1
    assert np.diff(kept).min() >= 0


def test_twenty_of_the_records_as_in_the_2020_files() -> None:
    for records in range(20, 400):  # its history row of snapshot k is round(linspace(0, n - 1, 20))[k - 1]
        np.testing.assert_array_equal(snapshot_records(records, 20), np.round(np.linspace(0, records - 1, 20)))
    np.testing.assert_array_equal(snapshot_records(20, 20), np.arange(20))
