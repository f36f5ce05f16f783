"""The contract of every meta-classifier, run on all of them; then what is particular to each kind."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import nws
from nws.meta import DMC, METAS, SVM, load, make, save
from nws.meta.dmc import _absolute_error, _random_slice, architecture, module
from nws.meta.fit import epochs, falling, settle_norms
from nws.representations.statistics import statistics

LENGTH = 60  # of the slices here
QUICK = {"slice_length": LENGTH, "batch_size": 8, "max_steps": 3}


def vectors(n, rng):
    """n weight vectors of three kinds, easy to tell apart: plain, moved, wide; (n, 90) float32, and the kinds (n,)."""
    kind = np.arange(n) % 3
    x = rng.normal(size=(n, 90)) * np.array([1, 1, 5])[kind, None] + np.array([0, 4, 0])[kind, None]
    return x.astype(np.float32), kind


def what_it_reads(reads, x):
    """Vectors -> what is fitted, what is predicted."""
    if reads == "weights":
        return list(x), x[:, 10 : 10 + LENGTH]
    features = statistics(x) if reads == "statistics" else statistics(x.reshape(len(x), 3, 30)).reshape(len(x), 48)
    return features, features


# Readers of structure are given nets, not vectors: test_meta_structure.py.
OF_VECTORS = [name for name in METAS if not make(name).representation.placed and not make(name).representation.ragged]


@pytest.fixture(params=OF_VECTORS, scope="module")
def meta(request):
    """A meta-classifier (quick to fit; what it learns in three steps does not matter here) and data for it."""
    quick = {"dmc": QUICK, "slice-net": {"slice_length": LENGTH, "batch_size": 8, "steps": 3}}.get(request.param, {})

    def made(**arguments):
        return make(request.param, **quick, **arguments)

    x, kind = vectors(24, np.random.default_rng(0))
    fit_x, x = what_it_reads(made().reads, x)
    y = np.array(["adam", "momentum", "rmsprop"])[kind]
    return SimpleNamespace(name=request.param, make=made, fit_x=fit_x, x=x, y=y, kind=kind, fitted=made().fit(fit_x, y))


def test_the_constructor_only_stores(meta):
    model = meta.make()
    assert vars(model) == model.get_params()
    assert model.set_params(random_state=7).get_params() == meta.make(random_state=7).get_params()
    copy = clone(meta.fitted)
    assert copy.get_params() == meta.fitted.get_params()
    assert not hasattr(copy, "classes_")


def test_probabilities(meta):
    p = meta.fitted.predict_proba(meta.x)
    assert p.shape == (24, 3)
    assert (p >= 0).all()
    assert_allclose(p.sum(axis=1), 1, rtol=1e-6)
    assert_array_equal(meta.fitted.classes_[p.argmax(axis=1)], meta.fitted.predict(meta.x))
    assert meta.fitted.predict_proba(meta.x[:0]).shape == (0, 3)


@pytest.mark.parametrize("labels", [["b", "a", "c"], [64, 32, 256], [True, False, True], [0.5e1, 3.0, 1.0]], ids=str)
def test_labels_come_back_in_their_own_kind(meta, labels):
    y = np.array(labels)[meta.kind]
    model = meta.make().fit(meta.fit_x, y)
    assert_array_equal(model.classes_, np.unique(y))
    assert model.predict(meta.x).dtype == y.dtype
    p = model.predict_proba(meta.x)
    assert_array_equal(model.classes_[p.argmax(axis=1)], model.predict(meta.x))
    as_objects = meta.make().fit(meta.fit_x, y.astype(object))
    assert as_objects.classes_.dtype == y.dtype
    assert_array_equal(as_objects.predict_proba(meta.x), p)


def test_together_is_alone(meta):
    p = meta.fitted.predict_proba(meta.x)
    order = np.random.default_rng(0).permutation(24)
    near = 1e-3 if meta.name == "dmc" else 1e-5  # 17 layers of float32, each normalised: see the next test
    assert_allclose([meta.fitted.predict_proba(row[None])[0] for row in meta.x], p, atol=near)
    assert_allclose(meta.fitted.predict_proba(meta.x[order]), p[order], atol=near)


def test_what_the_dmc_reads_differs_with_company_by_rounding_alone():
    x, kind = vectors(24, np.random.default_rng(0))
    exact = DMC(**QUICK).fit(list(x), kind).module_.double()
    slices = torch.from_numpy(x[:, :LENGTH]).double()
    with torch.inference_mode():
        together, alone = exact(slices), torch.cat([exact(row[None]) for row in slices])
    assert_allclose(alone, together, atol=1e-9)


def test_the_same_seed_gives_the_same_bits_and_nothing_else_is_disturbed(meta):
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    again = meta.make().fit(meta.fit_x, meta.y)
    assert_array_equal(before[0], torch.get_rng_state())
    assert_array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002
    torch.rand(3)
    assert_array_equal(meta.fitted.predict_proba(meta.x), again.predict_proba(meta.x))
    assert_array_equal(again.predict_proba(meta.x), again.predict_proba(meta.x))


def test_a_second_fit_forgets_the_first(meta):
    model = meta.make(regression=True).fit(meta.fit_x, meta.kind * 1.0)
    model.set_params(regression=False).fit(meta.fit_x[::-1], meta.y[::-1])
    fresh = meta.make().fit(meta.fit_x[::-1], meta.y[::-1])
    assert set(vars(model)) == set(vars(fresh))
    assert_array_equal(model.predict_proba(meta.x), fresh.predict_proba(meta.x))


@pytest.mark.parametrize("regression", [False, True], ids=["classes", "regression"])
def test_learns_an_easy_task(meta, regression):
    longer = {
        "dmc": {"max_steps": 50, "batch_size": 16, "dropout": 0.0 if regression else 0.5},
        "slice-net": {"steps": 80, "batch_size": 16},
    }
    model = meta.make(regression=regression).set_params(**longer.get(meta.name, {}))
    x, kind = vectors(48, np.random.default_rng(1))
    model.fit(what_it_reads(model.reads, x)[0], kind * 0.002 if regression else kind)
    x, kind = vectors(60, np.random.default_rng(2))
    x = what_it_reads(model.reads, x)[1]
    if not regression:
        assert model.score(x, kind) > 0.8
        return
    error = np.abs(model.predict(x) - kind * 0.002).mean()
    assert error < 0.5 * np.abs(kind * 0.002 - 0.002).mean()  # 0.002 is the median
    assert model.score(x, kind * 0.002) > 0.5


def test_a_regression_predicts_in_the_unit_of_its_target(meta):
    small, large = (meta.make(regression=True).fit(meta.fit_x, y) for y in (meta.kind * 1.0, 1000 + 64 * meta.kind))
    assert small.predict(meta.x).shape == (24,)
    assert_allclose(1000 + 64 * small.predict(meta.x), large.predict(meta.x), rtol=1e-4)
    assert not hasattr(small, "predict_proba")
    assert not hasattr(small, "classes_")


@pytest.mark.parametrize("kind", ["classes", "two classes", "regression"])
def test_a_saved_model_predicts_the_same_bits(meta, kind, tmp_path):
    y = {"classes": meta.y, "two classes": meta.kind > 0, "regression": meta.kind / 7}[kind]
    model = meta.make(regression=kind == "regression", random_state=np.int64(3)).fit(meta.fit_x, y)
    about = {"property": "optimizer", "nets": np.arange(3), "note": "ü"}
    save(model, tmp_path / "new" / "optimizer.1", about)
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["optimizer.1.json", "optimizer.1.safetensors"]
    again = load(tmp_path / "new" / "optimizer.1")
    assert type(again) is type(model)
    assert again.get_params() == model.get_params()
    assert again.about_ == {"property": "optimizer", "nets": [0, 1, 2], "note": "ü"}
    assert_array_equal(again.predict(meta.x), model.predict(meta.x))
    if kind != "regression":
        assert again.classes_.dtype == model.classes_.dtype
        assert_array_equal(again.predict_proba(meta.x), model.predict_proba(meta.x))


def test_what_cannot_be_fitted_is_an_error(meta):
    def refused(message, x, y, **arguments):
        with pytest.raises(nws.NwsError, match=message) as error:
            meta.make().set_params(**arguments).fit(x, y)
        assert "\n" not in str(error.value)

    broken = [row.copy() for row in meta.fit_x]
    broken[5][7] = np.inf if meta.name == "slices" else np.nan  # there, NaN says that a slice has no such thing
    refused("leave diverged nets out", broken, meta.y)
    refused("one class only", meta.fit_x, np.full(24, "adam"))
    refused("one label per row", meta.fit_x, meta.y[:-1])
    refused("regression=True", meta.fit_x, meta.kind / 7)
    refused("missing", meta.fit_x, np.where(meta.kind, 1.0, np.nan))
    refused("finite numbers", meta.fit_x, meta.y, regression=True)
    refused("random_state", meta.fit_x, meta.y, random_state=-1)


def test_what_cannot_be_predicted_is_an_error(meta):
    with pytest.raises(NotFittedError):
        meta.make().predict(meta.x)
    with pytest.raises(nws.NwsError, match=r"this model|is expecting \d+ features"):
        meta.fitted.predict(meta.x[:, 1:])
    with pytest.raises(nws.NwsError):
        meta.fitted.predict(meta.x[0])
    broken = meta.x.copy()
    broken[3, 1] = np.inf
    with pytest.raises(nws.NwsError, match="leave diverged nets out"):
        meta.fitted.predict_proba(broken)
    assert meta.x.shape == (24, meta.fitted.n_features_in_)


def test_an_interrupted_fit_leaves_no_model_and_cannot_be_saved(tmp_path):
    def interrupt(step, steps, loss):
        raise KeyboardInterrupt

    x, kind = vectors(9, np.random.default_rng(0))
    model = DMC(**QUICK).fit(x, kind)
    with pytest.raises(KeyboardInterrupt):
        model.fit(x, kind, interrupt)
    with pytest.raises(NotFittedError):
        model.predict(x[:, :LENGTH])
    with pytest.raises(NotFittedError):
        save(model, tmp_path / "x")


def test_unknown_names_are_errors():
    with pytest.raises(nws.NwsError, match="'svm-rbf' is unknown: use one of svm-rbf-16"):
        make("svm-rbf")
    with pytest.raises(nws.NwsError, match="'epoch' is unknown: use one of epochs"):
        make("dmc", epoch=3)
    with pytest.raises(nws.NwsError, match="kernel 'cubic'"):
        SVM("cubic").fit(np.eye(3), [0, 1, 2])


# The DMC.


@pytest.mark.parametrize(("length", "values", "last"), [(5000, 10_407_685, 4864), (92_868, 10_948_997, 5632)])
def test_the_dmc_has_as_many_values_as_the_papers(length, values, last):
    with torch.device("meta"):
        state = module(length, 5).state_dict()
    # Batch norm's counts of batches are the only scalars.
    assert sum(v.numel() for v in state.values() if v.dim()) == values
    assert state["fc1.weight"].shape == (1024, last)


def test_every_slice_length_leaves_a_signal():
    for length in (*range(1, 300), 1000, 20_000, 40_000, 40_001, 388_172):
        left = length
        for _, pooled in architecture(length):
            left //= 1 + pooled
        assert left >= 1
    assert len(architecture(40_000)) == 12
    assert len(architecture(40_001)) == 15
    assert [pooled for _, pooled in architecture(100)] == [True, True, False, True, *[False] * 7, True]


def test_the_order_inside_a_layer_is_relu_then_norm_then_pool_or_dropout():
    names = list(dict(module(100, 2).named_children()))
    assert names[1:5] == ["conv1", "conv1_activation", "conv1_norm", "pool1"]
    assert names[-5:] == ["fc5", "fc5_activation", "fc5_norm", "fc5_dropout", "out"]


def test_an_epoch_reads_every_row_once():
    for n, batch_size, sizes in ((10, 4, [4, 4, 2]), (9, 4, [4, 4]), (3, 4, [3]), (8, 4, [4, 4])):
        batches = epochs(n, batch_size, np.random.default_rng(0))
        first, second = ([next(batches) for _ in sizes] for _ in range(2))
        assert [len(batch) for batch in first] == sizes
        assert len(set(np.concatenate(first))) == sum(sizes)
        assert not np.array_equal(np.concatenate(first), np.concatenate(second))


def test_the_learning_rate_falls_fifty_times():
    rates = [falling(1e-3, 50, 510)(step) for step in range(510)]
    assert rates[0] == 1e-3
    assert_allclose(rates[-1], 1e-3 * 0.95**50)
    assert [len(list(same)) for _, same in itertools.groupby(rates)] == [10] * 51
    assert falling(1e-3, 0, 10)(9) == 1e-3


def test_random_slices_reach_both_ends():
    vector = np.arange(12, dtype=np.float32)
    starts = {int(_random_slice(vector, 10, rng)[0]) for rng in [np.random.default_rng(0)] for _ in range(50)}
    assert starts == {0, 1, 2}


def test_absolute_error_compares_each_net_with_its_own_target():
    target = torch.tensor([1.0, 5.0, 9.0])
    assert _absolute_error(target[:, None], target) == 0


def test_the_dmc_reads_memory_maps_of_any_lengths_and_reports_progress(tmp_path):
    rng = np.random.default_rng(0)
    rng.normal(size=1000).astype(np.float32).tofile(tmp_path / "theta")
    theta = np.memmap(tmp_path / "theta", np.float32, "r")
    x = [theta[start : start + size] for start, size in ((0, 60), (60, 100), (160, 300), (460, 540))]
    seen = []
    model = DMC(LENGTH, epochs=3, batch_size=2).fit(x, [0, 1, 0, 1], lambda *step: seen.append(step))
    assert [step[:2] for step in seen] == [(step, 6) for step in range(1, 7)]
    assert model.predict(theta[:120].reshape(2, LENGTH)).shape == (2,)
    with pytest.raises(nws.NwsError, match=r"X\[0\] has 60 weights, less than a slice of 61"):
        DMC(61).fit(x, [0, 1, 0, 1])
    with pytest.raises(nws.NwsError, match="equally long"):
        DMC(None).fit(x, [0, 1, 0, 1])
    with pytest.raises(nws.NwsError, match="floats"):
        DMC(2).fit([np.arange(3), np.arange(3)], [0, 1])


def test_settled_norms_are_those_of_the_usual_batches():
    net = torch.nn.Sequential(torch.nn.BatchNorm1d(1), torch.nn.Dropout(0.5))
    widths = [1.0, 1e6, 2.0, 3.0, 1e3, 1e25]  # plain averages would be those of the widest, whose variance is infinite
    batches = [torch.tensor([[-w], [w]]) + w for w in widths]
    settle_norms(net, lambda rows: (batches[rows[0]], rows), iter([[k] for k in range(6)]), 6)
    assert net[0].running_mean.item() == 2
    assert net[0].running_var.item() == pytest.approx(2 * (1 + 2**2 + 3**2) / 3)  # of two values, unbiased
    assert (net[0].momentum, net.training, net[0].training) == (0.1, False, False)


def test_a_few_wide_vectors_do_not_blind_the_dmc_to_the_others():
    rng = np.random.default_rng(1)
    kind = np.arange(240) % 2
    noise = rng.standard_normal((240, 101)).astype(np.float32)
    x = noise[:, 1:] + np.where(kind, 0.9, -0.9)[:, None].astype(np.float32) * noise[:, :-1]
    wide = rng.random(240) < 0.03
    x[wide] *= 10.0 ** rng.uniform(2, 6, (wide.sum(), 1)).astype(np.float32)
    model = DMC(slice_length=LENGTH, batch_size=16, max_steps=60, random_state=1).fit(list(x[:160]), kind[:160])
    assert model.score(x[160:, :LENGTH][~wide[160:]], kind[160:][~wide[160:]]) > 0.75  # with running averages 0.49


def test_whole_vectors_are_slices_of_their_length():
    x, kind = vectors(9, np.random.default_rng(0))
    whole, sliced = (DMC(**(QUICK | {"slice_length": length})).fit(x, kind) for length in (None, 90))
    assert_array_equal(whole.predict_proba(x), sliced.predict_proba(x))


@pytest.mark.parametrize(
    "wrong",
    [
        {"slice_length": 0},
        {"epochs": 1.5},
        {"batch_size": 1},
        {"learning_rate": 0},
        {"dropout": 1},
        {"decays": -1},
        {"max_steps": 0},
    ],
)
def test_arguments_that_make_no_sense_are_errors(wrong):
    with pytest.raises(nws.NwsError, match=next(iter(wrong))):
        DMC(**wrong).fit(np.zeros((4, 6000), np.float32), [0, 1, 0, 1])


def test_a_loss_that_is_not_finite_is_an_error():
    x, kind = vectors(9, np.random.default_rng(0))
    with pytest.raises(nws.NwsError, match="smaller learning_rate"):
        DMC(**(QUICK | {"learning_rate": 1e30, "max_steps": 20})).fit(x, kind)


@pytest.mark.slow  # emulated where the processor has no instructions for it: minutes
def test_bfloat16_learns_as_float32_does_and_predicts_in_float32():
    x, kind = vectors(48, np.random.default_rng(1))
    settings = {**QUICK, "max_steps": 50, "batch_size": 16}
    models = [DMC(**settings, precision=precision).fit(list(x), kind) for precision in ("float32", "bfloat16")]
    x, kind = vectors(60, np.random.default_rng(2))
    for model in models:
        assert model.score(x[:, 10 : 10 + LENGTH], kind) > 0.8
        assert {p.dtype for p in model.module_.parameters()} == {torch.float32}
    scores = [model.predict_proba(x[:, :LENGTH]) for model in models]
    assert not np.array_equal(*scores)
    assert models[1].module_(torch.from_numpy(x[:, :LENGTH])).dtype == torch.float32
    with pytest.raises(nws.NwsError, match="precision 'float16' is unknown: use one of"):
        DMC(precision="float16").fit(list(x), kind)
