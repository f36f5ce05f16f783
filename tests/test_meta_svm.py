"""Support vector machines: scikit-learn's, and what ours add."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose

from nws.meta import SVM


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_an_svm_is_scikit_learns(kernel, classes):
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC, LinearSVC

    rng = np.random.default_rng(0)
    x, y = rng.normal(3, 5, (90, 8)), np.arange(90) % classes
    machine = LinearSVC(C=0.5, dual=False, tol=1e-12, max_iter=100_000) if kernel == "linear" else SVC(C=0.5, gamma=1 / 8)
    theirs = make_pipeline(StandardScaler(), OneVsRestClassifier(machine)).fit(x, y).decision_function(x)
    ours = SVM(kernel, C=0.5).fit(x, y)._scores(x)
    # liblinear ends 4e-8 away: at its machines the gradient is 1e-6, at ours 1e-15.
    near = 1e-7 if kernel == "linear" else 1e-9
    assert_allclose(ours, theirs if classes > 2 else np.column_stack([-theirs, theirs]), rtol=1e-6, atol=near)


@pytest.mark.parametrize("regression", [False, True])
def test_machines_that_share_kernel_values_are_those_that_do_not(monkeypatch, regression):
    rng = np.random.default_rng(0)
    x, y = rng.normal(3, 5, (90, 8)), np.arange(90) % 3
    shared = SVM("rbf", regression=regression).fit(x, y)
    monkeypatch.setattr("nws.meta.svm._SHARED", 0)
    alone = SVM("rbf", regression=regression).fit(x, y)
    assert_allclose(shared.support_vectors_, alone.support_vectors_)
    assert_allclose(shared.dual_coefficients_, alone.dual_coefficients_, rtol=1e-6, atol=1e-9)
    assert_allclose(shared.intercept_, alone.intercept_, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_svms_pass_scikit_learns_own_checks(kernel):
    from sklearn.utils.estimator_checks import check_estimator

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # checks that do not apply
        results = check_estimator(SVM(kernel), on_fail=None)
    failed = {result["check_name"] for result in results if result["status"] == "failed"}
    # The others fail over the wording of errors, and over columns (n, 1) as y.
    vital = (
        "idempotent",
        "overwrite",
        "unchanged",
        "invariance",
        "pickle",
        "classifiers_train",
        "clone",
        "params",
        "readonly",
        "tags",
    )
    assert not [name for name in failed if any(word in name for word in vital)]


def test_importance_finds_the_feature_that_tells():
    rng = np.random.default_rng(0)
    y = np.arange(120) % 3
    x = rng.normal(size=(120, 20))
    x[:, 13] += 3 * (y == 1)
    model = SVM().fit(x, y)
    assert model.coefficients_.shape == (3, 20)
    assert model.importance_.argmax() == 13
    assert SVM().fit(x, y > 0).coefficients_.shape == (2, 20)


@pytest.mark.parametrize("regression", [False, True])
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_wild_scales_and_constant_features_are_no_trouble(kernel, regression):
    rng = np.random.default_rng(0)  # any warning would fail here
    x = rng.standard_t(1.2, (90, 60)) * 10.0 ** rng.uniform(-30, 30, 60)
    x[:, 7] = 1e7
    model = SVM(kernel, regression=regression).fit(x, np.arange(90) % 3)
    assert np.isfinite(model.predict(x * 1e6)).all()


def test_an_rbf_machine_learns_from_max_samples_rows_and_says_so() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 16))
    y = np.where(x[:, 0] > 0, "above", "below")
    y[:2] = "rare"
    machine = SVM("rbf", max_samples=200).fit(x, y)
    assert len(machine.support_vectors_) <= 201
    assert machine.classes_.tolist() == ["above", "below", "rare"]
    assert machine.notes_ == ("RBF SVMs learn from at most 200 rows",)
    assert machine.score(x, y) > 0.85


@pytest.mark.parametrize("regression", [False, True])
def test_as_many_max_samples_as_rows_are_all_rows(regression: bool) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 16))
    y = x[:, 0] if regression else x[:, 0] > 0
    enough, every = (SVM("rbf", max_samples=most, regression=regression).fit(x, y) for most in (200, None))
    assert np.array_equal(enough.predict(x), every.predict(x))
    assert not hasattr(enough, "notes_")
    fewer = SVM("rbf", max_samples=50, regression=regression).fit(x, y)
    assert len(fewer.support_vectors_) <= 50 < len(every.support_vectors_)
