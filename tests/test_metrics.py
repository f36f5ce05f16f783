"""Metrics: what is known of them in every case, scipy's and scikit-learn's values, and intervals that hold the truth."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as theirs

from nws.tasks import metrics
from nws.tasks.metrics import ERROR, R2, TAU, Answers, estimate

NUMBERS = st.lists(st.integers(0, 6), min_size=3, max_size=40)


def noisy(rng, n, snapshots=1, slices=1, noise=1.0):
    """(y, said) of n nets with the same y at all their snapshots."""
    y = np.repeat(rng.normal(size=(n, 1)), snapshots, 1)
    twin = noise * rng.normal(size=(n, 1, 1))  # a net's snapshots err alike
    return y, y[..., None] + twin + 0.1 * rng.normal(size=(n, snapshots, slices))


@given(NUMBERS)
def test_what_is_perfect_and_what_is_constant(y):
    y = np.array(y, float)
    if len(set(y)) == 1:
        assert np.isnan(R2(y, y))
        assert np.isnan(TAU(y, y))
        return
    assert (ERROR(y, y), R2(y, y), TAU(y, y)) == (0, 1, pytest.approx(1))
    assert TAU(y, -y) == pytest.approx(-1)
    assert R2(y, np.full(len(y), y.mean())) == pytest.approx(0)
    assert R2(y, np.full(len(y), y.mean() + 1)) < 0
    assert TAU(y, np.zeros(len(y))) == 0


@given(NUMBERS, st.integers(0, 1000))
def test_values_are_those_of_scipy_and_scikit_learn_ties_included(y, seed):
    y = np.array(y, float)
    said = np.random.default_rng(seed).integers(0, 5, len(y)).astype(float)
    if len(set(y)) == 1 or len(set(said)) == 1:
        return
    assert TAU(y, said) == pytest.approx(stats.kendalltau(y, said).statistic)
    assert R2(y, said) == pytest.approx(theirs.r2_score(y, said))
    assert ERROR(y, said) == pytest.approx(theirs.mean_absolute_error(y, said))


def test_tau_of_snapshots_is_that_of_all_their_pairs():
    y, said = noisy(np.random.default_rng(0), 40, snapshots=3)
    y = y + np.arange(3)  # as an accuracy that grows during the training
    assert TAU(y, said) == pytest.approx(stats.kendalltau(y.ravel(), said.ravel()).statistic)


@given(st.integers(0, 1000))
def test_tau_cares_for_the_order_only_and_r2_not_for_units(seed):
    y, said = noisy(np.random.default_rng(seed), 30, noise=0.5)
    assert TAU(np.exp(y), said**3) == pytest.approx(TAU(y, said))
    assert R2(100 * y - 7, 100 * said - 7) == pytest.approx(R2(y, said))
    assert R2(y + 1e6, said + 1e6) == pytest.approx(R2(y, said), abs=1e-6)


def test_a_net_with_more_rows_does_not_count_more():
    rng = np.random.default_rng(1)
    y, said = noisy(rng, 30, snapshots=2, slices=3)
    for metric in metrics.NUMBERS:
        again = metric(np.repeat(y, 4, 1), np.repeat(said, 4, 1))
        assert metric(y, said) == pytest.approx(again), metric.name
        rounds = [Answers(np.arange(30), y, said)]
        more = [Answers(np.arange(30), np.repeat(y, 4, 1), np.repeat(said, 4, 1))]
        a, b = estimate(metric, rounds), estimate(metric, more)
        assert (a.low, a.high) == pytest.approx((b.low, b.high)), "the same nets, no more certain"


def test_a_net_drawn_twice_counts_twice():
    y, said = noisy(np.random.default_rng(2), 12, snapshots=2, slices=2)
    weights = np.random.default_rng(3).multinomial(12, np.full(12, 1 / 12), size=5)
    for metric in metrics.NUMBERS:
        found = metric.of(y, said, weights)
        for value, times in zip(found, weights, strict=True):
            assert value == pytest.approx(metric(np.repeat(y, times, 0), np.repeat(said, times, 0))), metric.name


def test_rounds_are_averaged_and_repeat_by_seed():
    rng = np.random.default_rng(4)
    rounds = [Answers(rng.permutation(40)[:10], *noisy(rng, 10)) for _ in range(5)]
    for metric in metrics.NUMBERS:
        found = estimate(metric, rounds, seed=1)
        assert found.value == pytest.approx(np.mean([metric(r.y, r.predicted) for r in rounds]))
        assert found.low < found.value < found.high
        assert found == estimate(metric, rounds, seed=1)
        assert found != estimate(metric, rounds, seed=2)


@pytest.mark.parametrize("metric", metrics.NUMBERS, ids=lambda m: m.name)
def test_intervals_hold_the_truth_95_percent_of_the_time(metric):
    truth = metric(*noisy(np.random.default_rng(0), 2000))
    held = 0
    for k in range(150):
        y, said = noisy(np.random.default_rng([5, k]), 60, snapshots=3)
        found = estimate(metric, [Answers(np.arange(60), y, said)], seed=k, resamples=300)
        held += found.low <= truth <= found.high
    assert 0.88 <= held / 150 <= 0.99


def test_2000_nets_take_seconds():
    y, said = noisy(np.random.default_rng(0), 2000)
    started = time.process_time()
    for metric in metrics.NUMBERS:
        estimate(metric, [Answers(np.arange(2000), y, said)])
    assert time.process_time() - started < 6, "0.6 s on two busy cores"


def test_more_pairs_than_are_compared_still_tell_the_order(monkeypatch):
    y, said = noisy(np.random.default_rng(0), 400, snapshots=4, slices=5)
    every = TAU(y, said)
    monkeypatch.setattr(metrics, "_MOST_PAIRS", 500_000)
    monkeypatch.setattr(metrics, "_MOST_NETS", 300)
    assert TAU(y, said) == pytest.approx(every, abs=0.05)


# Classes


def test_scores_of_probabilities():
    rng = np.random.default_rng(0)
    probability = rng.dirichlet(np.ones(3), 500)
    y = np.array([rng.choice(3, p=p) for p in probability])
    prior = np.full(3, 1 / 3)
    sure = np.eye(3)[y]
    assert metrics.skill(sure, y, prior) == pytest.approx(1)
    assert metrics.skill(np.tile(prior, (500, 1)), y, prior) == pytest.approx(0)
    assert metrics.skill(probability, y, prior) == pytest.approx(1 - theirs.log_loss(y, probability) / np.log(3))
    assert metrics.skill(0.98 * sure + 0.02 / 3, (y + 1) % 3, prior) < 0
    assert (metrics.brier(sure, y), metrics.brier(sure, (y + 1) % 3)) == (0, 2)


def test_calibrated_answers_err_by_the_floor_and_too_sure_ones_by_more():
    rng = np.random.default_rng(0)
    errors, floors = [], []
    for _ in range(20):
        probability = rng.dirichlet(np.ones(3), 200)
        y = np.array([rng.choice(3, p=p) for p in probability])
        errors.append(metrics.expected_calibration_error(probability, y))
        floors.append(metrics.calibration_floor(probability))
    assert np.mean(errors) == pytest.approx(np.mean(floors), rel=0.2)
    sharp = probability**4 / (probability**4).sum(1, keepdims=True)
    assert metrics.expected_calibration_error(sharp, y) > 3 * metrics.calibration_floor(sharp)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=40))
def test_auc_is_that_of_scikit_learn(rows):
    y, score = (np.array(column) for column in zip(*rows, strict=True))
    if len(set(y.tolist())) == 1:
        assert np.isnan(metrics.auc(score, y))
    else:
        assert metrics.auc(score, y) == pytest.approx(theirs.roc_auc_score(y, score))
