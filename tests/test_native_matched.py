"""Whole trainings by both engines: the nets end equally good, in distribution."""

import numpy as np
import pytest
from scipy import stats

from nws import images
from nws.families.cnn2020 import MAIN
from nws.train.loop import Job, Schedule, train_net
from nws.train.native_engine import NativeEngine, why_not
from nws.train.torch_engine import TorchEngine


@pytest.mark.slow
@pytest.mark.skipif(why_not() is not None, reason=why_not() or "")
def test_forty_matched_trainings_end_equally_good():
    """Pairs have initial weights and batches in common; dropout and augmentation draw other numbers. Small nets that learn.

    What this would notice: an engine without dropout gave p = 0.0001 (Wilcoxon), one without augmentation p = 0.001.
    """
    space = MAIN.with_(
        dataset="digits", batch_size=32, initialization=["glorot_uniform", "glorot_normal"], filter_size=[3, 5], width_conv=4
    )
    digits, schedule = images.load("digits"), Schedule(seed=1, snapshots=1, epochs=4)
    jobs = [Job(number, space.net(seed=1, number=number)) for number in range(40)]
    native, torch = (
        np.array([train_net(job, digits, make, schedule).history[-1, 3] for job in jobs]) for make in (NativeEngine, TorchEngine)
    )
    assert stats.wilcoxon(native, torch).pvalue > 0.01
    assert stats.ks_2samp(native, torch).pvalue > 0.01
    assert np.mean(torch) > 0.3  # they learn: nothing is shown by nets that guess
