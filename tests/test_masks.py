"""Pruning masks: scores in files, readers of edges, metrics, results, and how accurate pruned nets are."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.tree import DecisionTreeClassifier

import nws
from nws import NwsError
from nws.analysis import pruning
from nws.families import KAN, masks, splines
from nws.images import load
from nws.meta.edges import NormThreshold
from nws.representations import edges
from nws.tasks import per_weight

FEW = {"images": "digits", "limit": 100, "limit_test": 60, "snapshots": 2, "workers": 1}
SPACE = KAN.space.with_(passes=[1, 8], share=1.0, width=6, side=5, label_noise=[0.0, 0.5], batch_size=16, learning_rate=(0.01,))


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> nws.Zoo:
    return nws.sample(tmp_path_factory.mktemp("masks") / "zoo", SPACE, 12, **FEW)


def test_a_mask_is_what_the_net_puts_out_over_training_images(zoo: nws.Zoo) -> None:
    net = zoo.net(1)
    pixels = load("digits", limit=100, limit_test=60).resized(5, 1).x_train.reshape(100, -1)
    wanted = splines.scores(splines.layers(net.theta[-1].astype(float), net.layout), pixels, 5)
    for name in ("mean", "std"):
        assert_allclose(masks.scores(net.about, net.layout, name), wanted[name], atol=1e-6)
    sure = np.abs(wanted["std"] - 0.01) > 1e-5
    assert_array_equal(masks.mask(net.about, net.layout, "mask_std")[sure], (wanted["std"] > 0.01)[sure])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "has no edge score"),
        ("AAAA", "one number per edge"),
        ("!" * 1120, "not base64"),
        (masks.packed({"mean": np.full(210, np.nan)})[masks.KEY]["mean"], "finite"),
        (masks.packed({"mean": np.full(210, -1.0)})[masks.KEY]["mean"], "at least 0"),
        (7, "one number per edge"),
    ],
)
def test_scores_of_a_strangers_file_are_checked(text: object, said: str) -> None:
    layout = KAN.layout(SPACE.net(0, 0))
    assert masks.edge_count(layout) == 210
    about = {} if text is None else {masks.KEY: {"mean": text}}
    with pytest.raises(NwsError, match=said):
        masks.scores(about, layout, "mean")


def test_dropped_edges_put_out_nothing() -> None:
    rng = np.random.default_rng(0)
    config = SPACE.net(0, 0)
    layers = splines.layers(KAN.init(config, rng).astype(float), KAN.layout(config))
    score = rng.random(210)
    keep = masks.strongest(score, 0.3)
    assert keep.sum() == 63
    assert score[keep].min() > score[~keep].max()
    left, x = masks.pruned(layers, keep), rng.uniform(-1, 1, (4, 25))
    out = splines.phi(left[0], x, 5)
    assert (out[:, ~keep[:150].reshape(6, 25)] == 0).all()
    assert_allclose(out[:, keep[:150].reshape(6, 25)], splines.phi(layers[0], x, 5)[:, keep[:150].reshape(6, 25)])
    with pytest.raises(NwsError, match="209 entries"):
        masks.pruned(layers, keep[1:])


def test_areas_are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    said = {n: np.round(rng.random(300), 2) for n in range(3)}  # with ties
    keep = {n: rng.random(300) < p for n, p in said.items()}
    auc, ap = per_weight.areas(*(counts.sum(0)[None] for counts in per_weight._binned(said, keep)))
    truth, score = np.concatenate(list(keep.values())), np.concatenate(list(said.values()))
    assert auc[0] == pytest.approx(roc_auc_score(truth, score), abs=1e-12)
    assert ap[0] == pytest.approx(average_precision_score(truth, score), abs=1e-12)
    many = {n: rng.random(20_000) for n in range(2)}
    kept = {n: rng.random(20_000) < p for n, p in many.items()}
    auc, ap = per_weight.areas(*(counts.sum(0)[None] for counts in per_weight._binned(many, kept)))
    truth, score = np.concatenate(list(kept.values())), np.concatenate(list(many.values()))
    assert auc[0] == pytest.approx(roc_auc_score(truth, score), abs=1e-3)
    assert ap[0] == pytest.approx(average_precision_score(truth, score), abs=1e-3)
    assert np.isnan(per_weight.areas(np.ones((1, 3)), np.zeros((1, 3)))[0][0])


def test_the_trivial_reader_finds_the_best_threshold_of_each_layer() -> None:
    rng = np.random.default_rng(0)
    X = np.zeros((400, len(edges.NAMES)), np.float32)
    norm, layer = rng.random(400).round(2), rng.integers(0, 2, 400)
    X[:, edges.NAMES.index("norm")], X[:, edges.NAMES.index("layer")] = norm, layer
    y = norm + rng.normal(0, 0.2, 400) > np.where(layer, 0.3, 0.7)
    fitted = NormThreshold().fit(X, y)
    for one in (0, 1):
        here = layer == one
        best = max(((norm[here] > t) == y[here]).mean() for t in np.arange(-0.005, 1.01, 0.01))
        assert (fitted.predict(X[here]) == y[here]).mean() == pytest.approx(best)
    p = fitted.predict_proba(X)[layer == 0, 1]
    assert (np.diff(p[np.argsort(norm[layer == 0], kind="stable")]) >= 0).all()
    assert NormThreshold().fit(X, np.ones(400, bool)).predict(X).all()
    assert not NormThreshold().fit(X, np.zeros(400, bool)).predict(X).any()


def test_features_of_an_edge_do_not_notice_the_scale_gauge() -> None:
    rng = np.random.default_rng(0)
    config = SPACE.net(0, 0)
    layers = splines.layers(KAN.init(config, rng).astype(float), KAN.layout(config))
    other = [splines.rescaled(e, rng.choice([-2.0, 0.5], e.scale.shape)) for e in layers]
    table = edges.table(layers, 5)
    assert table.shape == (210, len(edges.NAMES))
    assert np.isfinite(table).all()
    assert_allclose(edges.table(other, 5), table, rtol=1e-5, atol=1e-6)


def test_masks_are_read_by_every_kind_of_reader(zoo: nws.Zoo, tmp_path: Path) -> None:
    readers = {"norm-threshold": "norm-threshold", "edge-boosting": "edge-boosting", "tree": DecisionTreeClassifier()}
    settings = {"edge-boosting": {"rows": 1500, "iterations": 20}}
    rows = nws.evaluate(readers, "mask", zoo, rounds=2, out=tmp_path / "out", settings=settings)
    assert [r.meta for r in rows] == list(readers)
    for r in rows:
        assert 0 < r.prevalence < 1
        assert r.chance >= 0.5
        assert r.low <= r.accuracy <= r.high
        assert r.auc_low <= r.auc <= r.auc_high
        assert r.ap is not None
        assert r.accuracy > r.chance
        assert np.sum(r.confusion) == 2 * 3 * 210
        assert r.snapshots == (2,)
    assert rows[0].n_test == 3
    assert rows[0].auc > 0.8
    before = (tmp_path / "out" / "results.json").read_text()
    again = nws.evaluate(readers, "mask", zoo, rounds=2, out=tmp_path / "out", settings=settings)
    assert [r.auc for r in again] == [r.auc for r in rows]
    assert (tmp_path / "out" / "results.json").read_text() == before
    assert {"auc", "ap", "prevalence"} <= set(rows.frame.columns)


@pytest.mark.parametrize(
    ("reader", "task", "said"),
    [
        ("svm-linear-16", "mask", "says nothing of single edges"),
        ("norm-threshold", "passes", "one value per net"),
        ("norm-threshold", nws.Task("mask", snapshots=(1,)), "last snapshot"),
        ("norm-threshold", nws.Task("mask", part="fc"), "leave part"),
        ("norm-threshold", nws.Task("mask", slice_length=50), "leave part"),
        ("norm-threshold", "mesk", "mask"),
    ],
)
def test_questions_that_make_no_sense_are_refused(zoo: nws.Zoo, reader: str, task: object, said: str) -> None:
    with pytest.raises(NwsError, match=rf"^[^\n]*{said}[^\n]*$"):
        nws.evaluate(reader, task, zoo, rounds=1)


def test_the_command_line_reads_masks(zoo: nws.Zoo) -> None:
    command = [sys.executable, "-m", "nws", "classify", str(zoo.path), "--property", "mask_std", "--rounds", "1"]
    done = subprocess.run([*command, "--meta", "norm-threshold", "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert row["prevalence"] > 0
    done = subprocess.run([*command, "--meta", "norm-threshold"], capture_output=True, text=True, check=False)
    assert "majority" in done.stdout


def test_pruned_nets_lose_accuracy_later_when_strong_edges_are_kept(zoo: nws.Zoo) -> None:
    images = load("digits", limit=100, limit_test=60)
    best = zoo.index["test_accuracy"].nlargest(3).index
    table = pruning.curve(zoo, images, best, shares=(1.0, 0.5, 0.0))
    by = table.set_index(["order", "share"])["accuracy"]
    wanted = zoo.index.loc[best, "test_accuracy"].mean()
    for order in pruning.ORDERS:
        assert by[order, 1.0] == pytest.approx(wanted, abs=1e-6)
        assert by[order, 0.0] < 0.25
    assert by["std", 0.5] > by["random", 0.5]
    assert (table["low"] <= table["accuracy"]).all()
