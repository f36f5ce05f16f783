"""The questions of later papers at the smallest scale: zoos are made, readers asked, rows kept."""

import json
from dataclasses import replace

import numpy as np
import pytest

from nws import NwsError, cli
from nws.benchmark import benchmark_related, related
from nws.benchmark.vectors import OfVectors, Permuted
from nws.zoo import Zoo

MODELS = ("majority", "mean", "rendering + svm", "mlp", "mlp-permuted", "norm-threshold")
TINY = replace(related.SCALES["tiny"], nets={"siren": 240, "kan": 8}, steps=2)


@pytest.fixture(scope="module", autouse=True)
def scale():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(related, "SCALES", {**related.SCALES, "tiny": TINY})
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("related")
    return folder, benchmark_related(folder, scale="tiny", models=MODELS, seeds=1, workers=1)


def value(rows, task, model, metric="accuracy"):
    (found,) = (r.value for r in rows if (r.task, r.model, r.metric) == (task, model, metric))
    return found


def test_each_task_has_its_metrics(made):
    _, rows = made
    metrics = {(row.task, row.metric) for row in rows}
    assert {("INR classification", "accuracy"), ("KAN accuracy", "r2"), ("KAN accuracy", "tau")} <= metrics
    assert {("KAN pruning mask", metric) for metric in ("accuracy", "auc", "average precision", "majority")} <= metrics


def test_a_picture_that_is_rendered_is_recognised_and_weights_as_they_lie_are_not(made):
    _, rows = made
    assert value(rows, "INR classification", "rendering + svm") > 0.6
    assert value(rows, "INR classification", "majority") == pytest.approx(0.1)
    assert value(rows, "INR classification", "mlp") < 0.4


def test_the_same_call_goes_on_with_what_is_known(made, monkeypatch):
    folder, rows = made
    monkeypatch.setattr("nws.tasks.rounds.fit", lambda *a, **k: pytest.fail("learned twice"))
    assert benchmark_related(folder, scale="tiny", models=MODELS, seeds=1, workers=1) == rows


def test_permuted_copies_are_of_the_same_nets(made):
    folder, _ = made
    zoo = Zoo(folder / "tiny" / "siren-digits")
    layout = zoo.layout(0)
    orders = np.stack([layout.permutation(np.random.default_rng(k)) for k in range(2)])
    seen = []

    class Seen(OfVectors):
        def fit(self, X, y):
            seen.append((X, y))
            return self

    x = np.stack([zoo.theta(n, 1) for n in range(3)])
    Permuted(Seen(None), orders).fit(x, np.arange(3))
    ((rows, labels),) = seen
    np.testing.assert_array_equal(labels, np.tile(np.arange(3), 3))
    np.testing.assert_array_equal(rows[:3], x)
    np.testing.assert_array_equal(rows[3:6], x[:, orders[0]])


def test_what_is_unknown_is_refused(tmp_path):
    for wrong, words in ({"scale": "huge"}, "scale 'huge' is unknown"), ({"tasks": ["x"], "scale": "tiny"}, "task 'x' is unknown"):
        with pytest.raises(NwsError, match=words):
            benchmark_related(tmp_path, **wrong)


def test_the_command_prints_rows(made, capsys, monkeypatch):
    folder, _ = made
    line = [
        "nws",
        "benchmark",
        "related",
        "--scale",
        "tiny",
        "--out",
        str(folder),
        "--seeds",
        "1",
        "--tasks",
        "INR",
        "--models",
        "majority",
    ]
    monkeypatch.setattr("sys.argv", [*line, "--json"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert {"task", "images", "model", "metric", "value", "low", "high", "seeds", "seconds", "parameters"} <= set(row)
