"""KANs: the function against SciPy's splines, the native trainer against float64 PyTorch, symmetries, a zoo of them."""

import hashlib
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.interpolate import BSpline
from torch.nn import functional

import nws
from nws import NwsError
from nws.families import KAN, kan_training, splines
from nws.families.kan_torch import TorchTrainer

WIDTHS, GRID, ORDER = [9, 20, 5], 5, 3
CONFIG = KAN.space.net(0, 0).with_(side=3, width=20, classes=5)
FEW = {"images": "digits", "limit": 200, "limit_test": 50, "snapshots": 2, "workers": 1}
native = pytest.mark.skipif(kan_training._native is None, reason="the native trainer of KANs is not built")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def grown(rng: np.random.Generator, config: nws.Config = CONFIG) -> np.ndarray:
    """theta with splines that matter, as after a training."""
    theta = KAN.init(config, rng)
    return theta + rng.normal(0, 0.3, theta.shape).astype(np.float32)


@pytest.mark.parametrize(("grid", "order"), [(5, 3), (1, 3), (8, 2), (4, 1), (3, 5)])
def test_bases_are_scipys(grid: int, order: int, rng: np.random.Generator) -> None:
    x = np.concatenate([rng.uniform(-4, 4, 500), np.linspace(-1, 1, 57), [-1.0, 1.0]])
    x = x[np.abs(x[:, None] - splines.knots(grid, order)).min(1) > 1e-12]  # at a knot an interval's end is a convention
    found, t = splines.bases(x, grid, order), splines.knots(grid, order)
    for i in range(grid + order):
        wanted = BSpline.basis_element(t[i : i + order + 2], extrapolate=False)(x)
        assert_allclose(found[:, i], np.nan_to_num(wanted), atol=1e-12)
    assert_allclose(found[np.abs(x) < 1].sum(1), 1, atol=1e-12)


def test_a_net_computes_what_scipys_splines_do(rng: np.random.Generator) -> None:
    theta = grown(rng).astype(float)
    edges, x = splines.layers(theta, KAN.layout(CONFIG)), rng.uniform(-1, 1, (7, 9))
    values = x
    for e in edges:
        total = np.zeros((len(values), e.base.shape[0]))
        for p, q in np.ndindex(e.base.shape):
            spline = BSpline(splines.knots(GRID, ORDER), e.coefficients[p, q], ORDER, extrapolate=False)
            v = values[:, q]
            inside = np.nan_to_num(spline(np.clip(v, -1, 1))) if np.abs(v).max() <= 1 else _beyond(e.coefficients[p, q], v)
            total[:, p] += e.base[p, q] * v / (1 + np.exp(-v)) + e.scale[p, q] * inside
        values = total
    assert_allclose(splines.forward(edges, x, GRID)[-1], values, atol=1e-12)
    module = TorchTrainer(WIDTHS, GRID, ORDER, theta, torch.float64)
    assert_allclose(module.net(torch.from_numpy(x)).detach().numpy(), values, atol=1e-12)


def _beyond(coefficients: np.ndarray, v: np.ndarray) -> np.ndarray:
    t = splines.knots(GRID, ORDER)
    found = [np.nan_to_num(BSpline.basis_element(t[i : i + ORDER + 2], extrapolate=False)(v)) for i in range(GRID + ORDER)]
    return np.asarray(coefficients @ np.array(found))


def test_a_net_begins_as_in_efficient_kan(rng: np.random.Generator) -> None:
    config = KAN.space.net(0, 0)
    first, second = splines.layers(KAN.init(config, rng).astype(float), KAN.layout(config))
    for e, inputs in ((first, 196), (second, 32)):
        for weights in (e.base, e.scale):
            assert np.abs(weights).max() <= 1 / np.sqrt(inputs)
            assert weights.std() == pytest.approx(1 / np.sqrt(3 * inputs), rel=0.1)
        at_knots = e.coefficients @ splines.bases(np.linspace(-1, 1, 6), 5, 3).T
        assert np.abs(at_knots).max() <= 0.1 / 5 / 2 * (1 + 1e-6)
        assert at_knots.std() == pytest.approx(0.1 / 5 / np.sqrt(12), rel=0.1)
    assert KAN.layout(config).size == 65_920


def test_the_layout_is_that_of_the_module(rng: np.random.Generator) -> None:
    module, layout, theta = KAN.module(CONFIG), KAN.layout(CONFIG), grown(rng)
    assert list(module.state_dict()) == [t.torch_name for t in layout.tensors]
    module.load_state_dict({name: torch.from_numpy(value) for name, value in layout.state_dict(theta).items()})
    pictures = rng.random((6, 1, 3, 3)).astype(np.float32)
    with torch.no_grad():
        said = module(torch.from_numpy(pictures)).numpy()
    edges = splines.layers(theta.astype(float), layout)
    assert_allclose(said, splines.forward(edges, 2 * pictures.reshape(6, 9) - 1.0, GRID)[-1], atol=1e-5)


@native
@pytest.mark.parametrize("widths", [WIDTHS, [40, 33, 17, 3]])  # also blocks of inputs, outputs that fill no vector, more layers
def test_native_gradients_outputs_and_scores_are_those_of_float64(widths: list[int], rng: np.random.Generator) -> None:
    theta = rng.normal(0, 0.2, sum(10 * a * b for a, b in pairwise(widths))).astype(np.float32)
    pixels, labels = rng.integers(0, 256, (150, widths[0]), np.uint8), rng.integers(0, widths[-1], 150).astype(np.int32)
    ours, theirs = kan_training._native.Net(widths, 5, -1, 1, theta), TorchTrainer(widths, 5, 3, theta, torch.float64)
    assert_array_equal(ours.theta(), theta)
    assert_allclose(ours.of_bytes(pixels), theirs.of_bytes(pixels), atol=2e-5)
    loss = functional.cross_entropy(theirs.net(theirs._pictures(pixels)), torch.from_numpy(labels.astype(np.int64)))
    wanted = theirs.gradient(loss)
    found = ours.gradient_of_classes(pixels, labels, np.arange(150).reshape(1, -1))
    assert_allclose(found, wanted, atol=2e-5 * np.abs(wanted).max())
    layers, start = [], 0
    for inputs, outputs in pairwise(widths):
        sizes = [(outputs, inputs), (outputs, inputs), (outputs, inputs, 8)]
        ends = np.cumsum([start, *map(np.prod, sizes)])
        layers.append(splines.Edges(*(theta[a:b].astype(float).reshape(s) for a, b, s in zip(ends, ends[1:], sizes))))
        start = ends[-1]
    numpy = splines.scores(layers, pixels, 5)
    for name, found in zip(("mean", "std"), ours.scores(pixels)):
        assert_allclose(found, numpy[name], atol=2e-6)


@native
def test_native_training_follows_float64(rng: np.random.Generator) -> None:
    theta = grown(rng) * np.float32(0.3)
    pixels, labels = rng.integers(0, 256, (300, 9), np.uint8), rng.integers(0, 5, 300).astype(np.int32)
    batches = rng.permutation(300)[:297].reshape(3, 99)  # more than one tile, the last not full
    ours, theirs = kan_training._native.Net(WIDTHS, 5, -1, 1, theta), TorchTrainer(WIDTHS, 5, 3, theta, torch.float64)
    for rate in (1e-3, 5e-4):
        a, b = (net.train_classes(pixels, labels, batches, rate, 0.1) for net in (ours, theirs))
        assert a == pytest.approx(b, abs=1e-5)
    assert_allclose(ours.theta(), theirs.theta(), atol=2e-5)
    places, values = rng.uniform(-1, 1, (130, 9)).astype(np.float32), rng.random((130, 5)).astype(np.float32)
    rates = np.full(5, 1e-3, np.float32)
    assert ours.fit(places, values, rates, 0.0, 0.0) == theirs.fit(places, values, rates, 0.0, 0.0) == 5
    assert_allclose(ours.of_places(places), theirs.of_places(places), atol=1e-4)
    before = ours.theta()
    goal = 1.001 * float(((ours.of_places(places) - values) ** 2).mean())
    assert ours.fit(places, values, rates, 0.0, goal) == theirs.fit(places, values, rates, 0.0, goal) == 0
    assert_array_equal(ours.theta(), before)
    ours.fit(places, values, rates, 0.0, 0.0)  # nothing of the gradient that was not used is left
    theirs.fit(places, values, rates, 0.0, 0.0)
    assert_allclose(ours.of_places(places), theirs.of_places(places), atol=1e-4)


@native
@pytest.mark.parametrize(
    ("pixels", "labels", "batches", "said"),
    [
        (np.zeros((4, 8), np.uint8), np.zeros(4, np.int32), [[0]], "do not suit"),
        (np.zeros((4, 9), np.uint8), np.full(4, 5, np.int32), [[0]], "label"),
        (np.zeros((4, 9), np.uint8), np.zeros(4, np.int32), [[4]], "index"),
        (np.zeros((4, 9), np.uint8), np.zeros(4, np.int32), [[-1]], "index"),
    ],
)
def test_the_native_trainer_checks_what_it_is_given(pixels, labels, batches, said, rng) -> None:
    net = kan_training._native.Net(WIDTHS, 5, -1, 1, grown(rng))
    with pytest.raises(ValueError, match=said):
        net.train_classes(pixels, labels, np.array(batches), 1e-3, 0.0)
    with pytest.raises(ValueError, match="theta"):
        kan_training._native.Net(WIDTHS, 5, -1, 1, grown(rng)[1:])


@native
def test_weights_that_are_no_numbers_reach_nothing_outside(rng: np.random.Generator) -> None:
    net = kan_training._native.Net(WIDTHS, 5, -1, 1, np.full(grown(rng).shape, np.nan, np.float32))
    net.train_classes(np.zeros((4, 9), np.uint8), np.zeros(4, np.int32), np.zeros((1, 4), np.int64), 1e-3, 0.0)
    assert np.isnan(net.theta()).all()


def test_gauges_leave_outputs_as_they_are(rng: np.random.Generator) -> None:
    layout, theta = KAN.layout(CONFIG), grown(rng).astype(float)
    edges, x = splines.layers(theta, layout), rng.uniform(-1, 1, (50, 9))
    factor = rng.choice([-3.0, 0.2, 7.0], edges[0].scale.shape)
    constant = rng.normal(size=edges[0].scale.shape)
    constant -= constant.mean(-1, keepdims=True)
    other = [splines.shifted(splines.rescaled(edges[0], factor), constant), splines.rescaled(edges[1], np.float64(2.0))]
    assert np.abs(splines.flatten(other) - theta).max() > 0.1
    wanted = splines.forward(edges, x, GRID)[-1]
    assert_allclose(splines.forward(other, x, GRID)[-1], wanted, atol=1e-11)
    settled = splines.layers(KAN.canonical(theta, layout), layout)
    assert_allclose(splines.forward(settled, x, GRID)[-1], wanted, atol=1e-11)
    assert_allclose(KAN.canonical(splines.flatten(other), layout), KAN.canonical(theta, layout), atol=1e-11)
    assert_allclose(KAN.edges(splines.flatten(other), layout), KAN.edges(theta, layout), atol=1e-11)
    assert KAN.edges(theta, layout).shape == (280, 9)
    scored, again = splines.scores(edges, x, GRID), splines.scores(other, x, GRID)
    assert_allclose(again["std"], scored["std"], atol=1e-6)
    assert np.abs(again["mean"] - scored["mean"]).max() > 0.1  # the mean notices constants
    with pytest.raises(NwsError, match="sum to 0"):
        splines.shifted(edges[0], np.ones_like(edges[0].scale))


def test_relabelled_units_compute_the_same_and_canonical_forms_follow(rng: np.random.Generator) -> None:
    config = CONFIG.with_(depth=2)
    layout = KAN.layout(config)
    theta = grown(rng, config).astype(float)
    order = layout.permutation(rng)
    assert not np.array_equal(order, np.arange(layout.size))
    x = rng.uniform(-1, 1, (20, 9))
    one, two = (splines.forward(splines.layers(t, layout), x, GRID)[-1] for t in (theta, theta[order]))
    assert_allclose(one, two, atol=1e-11)
    assert_allclose(KAN.canonical(theta[order], layout), KAN.canonical(theta, layout)[order], atol=1e-11)


def test_canonical_without_a_layout_knows_the_usual_shapes(rng: np.random.Generator) -> None:
    usual = KAN.init(KAN.space.net(0, 0), rng)
    assert KAN.canonical(usual).dtype == np.float32
    assert KAN.canonical(np.stack([usual, usual])).shape == (2, 65_920)
    assert KAN.edges(usual).shape == (6_592, 9)
    with pytest.raises(NwsError, match="give its layout"):
        KAN.canonical(usual[1:])
    with pytest.raises(NwsError, match="not one of a KAN"):
        KAN.canonical(np.zeros(10, np.float32), nws.Layout([("fc1", "weight", (2, 5), "fc")]))


def test_a_zoo_is_sampled_resumed_verified_and_read(tmp_path: Path) -> None:
    space = KAN.space.with_(passes=[1, 3], share=[0.2, 1.0], width=8, side=8)
    nws.sample(tmp_path / "a", space, 3, **FEW)
    zoo = nws.sample(tmp_path / "a", space, 10, **FEW)
    whole = nws.sample(tmp_path / "b", space, 10, **{**FEW, "workers": 2})
    for number in range(10):
        assert_array_equal(zoo.theta(number), whole.theta(number))
        assert zoo.net(number).about["edge_scores"] == whole.net(number).about["edge_scores"]
    assert zoo.verify().ok
    assert zoo.index["learning_rate"].between(1e-3, 1e-2).all()
    assert nws.evaluate("svm-linear-16", "passes", zoo, rounds=1)[0].accuracy is not None


def test_without_the_native_trainer_or_for_other_orders_pytorch_trains(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    one = KAN.space.with_(label_noise=(0.0,), learning_rate=(0.01,), share=1.0, passes=4, width=8, side=8, batch_size=16)
    ours = nws.sample(tmp_path / "a", one, 1, **FEW)
    other = nws.sample(tmp_path / "b", one.with_(order=2), 1, **FEW)
    monkeypatch.setattr(kan_training, "_native", None)
    slow = nws.sample(tmp_path / "c", one, 1, **FEW)
    for zoo in (ours, other, slow):
        assert zoo.index["test_accuracy"][0] > 0.5
    assert_allclose(slow.theta(0), ours.theta(0), atol=0.02)
    assert abs(slow.index["test_accuracy"][0] - ours.index["test_accuracy"][0]) < 0.1


def test_label_noise_lowers_what_is_learned(tmp_path: Path) -> None:
    clean = KAN.space.with_(label_noise=(0.0,), share=1.0, passes=20, learning_rate=(0.01,), batch_size=16, side=8)
    zoo = nws.sample(tmp_path / "clean", clean, 1, **FEW)
    noisy = nws.sample(tmp_path / "noisy", clean.with_(label_noise=(1.0,)), 1, **FEW)
    assert zoo.index["test_accuracy"][0] > noisy.index["test_accuracy"][0] + 0.3


@pytest.mark.parametrize("wrong", [{"share": 1.5}, {"label_noise": 2.0}, {"grid": 0}])
def test_nonsense_is_refused(wrong: dict) -> None:
    with pytest.raises(NwsError, match=next(iter(wrong))):
        CONFIG.with_(**wrong)


def test_the_command_line_makes_one(tmp_path: Path) -> None:
    few = (
        "--images",
        "digits",
        "--limit",
        "100",
        "--limit-test",
        "50",
        "--snapshots",
        "1",
        "--set",
        "passes=1",
        "--set",
        "width=4",
    )
    command = [sys.executable, "-m", "nws", "sample", str(tmp_path / "zoo"), "--family", "kan", "--nets", "2", *few]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(nws.Zoo(tmp_path / "zoo")) == 2


def test_a_property_can_be_drawn_evenly_in_the_logarithm() -> None:
    rate = next(p for p in KAN.properties if p.name == "learning_rate")
    assert rate.draw(0.5, (1e-4, 1e-2)) == pytest.approx(1e-3)
    assert replace(rate, log=False).draw(0.5, (1e-4, 1e-2)) == pytest.approx(5.05e-3)


@native
@pytest.mark.parametrize(("widths", "wanted"), [([40, 33, 17, 3], "c7629bb6e0d8"), ([2, 32, 32, 1], "07cf84268144")])
def test_every_build_gives_the_same_bits(widths: list[int], wanted: str) -> None:
    """Found with builds for AVX2 and for AVX-512 alike: sums have one order, and products join sums where the source says so."""
    rng = np.random.default_rng(0)
    theta = (rng.integers(-999, 1000, sum(10 * a * b for a, b in pairwise(widths))) / 8192).astype(np.float32)
    net = kan_training._native.Net(widths, 5, -1, 1, theta)
    if widths[0] == 2:
        places = (rng.integers(-64, 65, (100, 2)) / 64).astype(np.float32)
        net.fit(places, np.abs(places[:, :1]).copy(), np.full(20, 0.01, np.float32), 0.0, 0.0)
    else:
        pixels, labels = rng.integers(0, 256, (200, 40), np.uint8), rng.integers(0, 3, 200).astype(np.int32)
        net.train_classes(pixels, labels, rng.permutation(200).reshape(2, 100), 1e-3, 0.1)
    assert hashlib.sha256(net.theta().astype("<f4").tobytes()).hexdigest()[:12] == wanted
