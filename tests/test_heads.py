"""One trunk, a head per property: each head reads its own property, and the contract is that of one DMC."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from nws.errors import NwsError
from nws.meta import DMC, MultiDMC

LENGTH = 40
QUICK = {"slice_length": LENGTH, "batch_size": 16, "epochs": 60, "max_steps": 60}


@pytest.fixture(scope="module")
def told():
    """x (48, 90): its mean tells one property, its width, independently, another one."""
    rng = np.random.default_rng(0)
    mean, width = np.arange(48) % 2, np.arange(48) // 2 % 3
    x = rng.normal(size=(48, 90)) * np.array([0.3, 1, 4])[width, None] + 6.0 * mean[:, None]
    return x.astype(np.float32), {"side": np.array(["left", "right"])[mean], "width": width}


def test_each_head_reads_its_own_property(told):
    x, y = told
    fitted = MultiDMC(**QUICK).fit(list(x), y)
    shares = fitted.predict_proba(x[:, :LENGTH])
    assert {name: share.shape for name, share in shares.items()} == {"side": (48, 2), "width": (48, 3)}
    for name, share in shares.items():
        assert_allclose(share.sum(1), 1, rtol=1e-5)
        predicted = fitted.predict(x[:, :LENGTH])[name]
        assert_array_equal(predicted, fitted.classes_[name][share.argmax(1)])
        assert np.mean(predicted == y[name]) > 0.8, name


def test_with_one_head_it_is_the_dmc_bit_for_bit(told):
    x, y = told
    quick = {**QUICK, "max_steps": 3}
    one = MultiDMC(**quick).fit(list(x), {"side": y["side"]}).predict_proba(x[:, :LENGTH])["side"]
    assert_array_equal(one, DMC(**quick).fit(list(x), y["side"]).predict_proba(x[:, :LENGTH]))


def test_scikit_learns_contract_and_complaints(told):
    x, y = told
    unfitted = clone(MultiDMC(**QUICK))
    assert unfitted.get_params()["slice_length"] == LENGTH
    with pytest.raises(NotFittedError):
        unfitted.predict_proba(x[:, :LENGTH])
    with pytest.raises(NwsError, match="no property"):
        unfitted.fit(list(x), {})
    with pytest.raises(NwsError, match="one label per row"):
        unfitted.fit(list(x), {"side": y["side"][1:]})
    with pytest.raises(NwsError, match="batch_size"):
        MultiDMC(batch_size=1).fit(list(x), y)
