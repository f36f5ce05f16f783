"""Probabilities that mean what they say, whatever was wrong with the votes."""

import json

import numpy as np
import pytest

from nws import auditing
from nws.auditing import calibration


def honest_votes(nets, classes=3):
    """(n, C) probabilities that mean what they say, and true columns."""
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(nets, classes)) * 1.5
    honest = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    return honest, np.array([rng.choice(classes, p=p) for p in honest])


def test_calibration_repairs_what_is_too_sure_or_not_sure_enough():
    honest, truth = honest_votes(4000)
    assert calibration.expected_calibration_error(honest, truth) < 0.03
    for sharpness in (0.3, 1.0, 4.0):
        votes = calibration.tempered(honest, 1 / sharpness)
        assert calibration.temperature(votes, truth) == pytest.approx(sharpness, rel=0.1)
        measured = calibration.calibrate(votes[:, None, None], truth, np.arange(4000) % 4)
        assert measured.ece_tempered < 0.04
        assert measured.ece_after < 0.04
        assert measured.ece_before > 0.1 or sharpness == 1
        assert measured.low < measured.accuracy < measured.high


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_calibration_repairs_votes_that_lean_to_one_class(classes):
    """Which no temperature can."""
    honest, truth = honest_votes(4000, classes)
    leaning = honest * np.array([20.0, *[1.0] * (classes - 1)])
    leaning /= leaning.sum(1, keepdims=True)
    measured = calibration.calibrate(leaning[:, None, None], truth, np.arange(4000) % 4)
    assert measured.weights
    assert measured.ece_after < 0.03 < 0.06 < measured.ece_tempered
    assert measured.accuracy == pytest.approx((honest.argmax(1) == truth).mean(), abs=0.02)
    assert np.abs(measured.probabilities(leaning[:, None]) - honest).mean() < 0.02
    assert calibration.Calibration.of(json.loads(json.dumps(measured.to_dict()))) == measured


def test_calibration_listens_to_the_one_slice_that_knows():
    """The mean over ten slices of which nine guess says little; together with the surest it says what is known."""
    honest, truth = honest_votes(4000)
    rng = np.random.default_rng(1)
    slices = rng.dirichlet([50, 50, 50], (4000, 1, 10))
    slices[np.arange(4000), 0, rng.integers(0, 10, 4000)] = honest
    measured = calibration.calibrate(slices, truth, np.arange(4000) % 4)
    assert measured.weights
    assert measured.ece_after < 0.04
    assert measured.accuracy == pytest.approx((honest.argmax(1) == truth).mean(), abs=0.02)


def test_nothing_is_certain():
    assert [auditing.percent(p) for p in (0.0, 0.876, 0.99, 0.9949, 0.9951, 1.0)] == ["0%", "88%", "99%", "99%", ">99%", ">99%"]


def test_few_nets_and_a_class_without_any_get_a_temperature():
    honest, truth = honest_votes(12)
    measured = calibration.calibrate(honest[:, None, None], truth, np.minimum(truth, 1))
    assert not measured.weights
    assert measured.probabilities(honest[:, None]).shape == (12, 3)
