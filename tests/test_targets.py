"""Targets: numbers measured at the very snapshot that is read, with R2, tau and an error, never an accuracy."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from written_zoo import SNAPSHOTS, SPACE, written_net

from nws import Recorded, cli, terminal
from nws.errors import NwsError
from nws.net import HISTORY
from nws.tasks import results
from nws.tasks.evaluation import evaluate, held_out
from nws.tasks.inputs import Inputs
from nws.tasks.protocol import Task
from nws.zoo import Zoo, targets

NETS = 40
RECORDS = 10


def accuracies(number):
    """(T,) test accuracies of the records of a net: they grow, each net's at its own pace."""
    return np.linspace(0.1, 0.2 + 0.7 * np.random.default_rng([number, 3]).random(), RECORDS)


def told(number, hp, signal=True):
    """A net whose scale is its test accuracy, at each snapshot; snapshots are of records 0, 3, 6, 9."""
    net = written_net(number, hp)
    history = np.full((RECORDS, len(HISTORY)), 0.5)
    history[:, HISTORY.index("test_accuracy")] = accuracies(number)
    epoch = np.array([0, 3, 6, 9])
    theta = net.theta / net.theta.std(1, keepdims=True) * (accuracies(number)[epoch, None] if signal else 1)
    return replace(net, theta=theta.astype(np.float32), epoch=epoch, history=history)


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    space = SPACE.with_(learning_rate=[0.0002, 0.005])
    zoo = Zoo.create(tmp_path_factory.mktemp("targets") / "zoo", space=space, nets=NETS)
    for number, hp in enumerate(space.sample(NETS)):
        zoo.append(told(number, hp))
    return zoo


def test_a_measured_number_is_that_of_the_snapshot(zoo):
    nets = np.array([5, 2])
    found = targets.values(zoo, "test_accuracy", nets, (1, 4))
    np.testing.assert_array_equal(found, [accuracies(5)[[0, 9]], accuracies(2)[[0, 9]]])
    assert found[0, 1] == zoo.index.loc[5, "test_accuracy"]
    learning = targets.values(zoo, "learning_rate", nets, (1, 4))
    np.testing.assert_array_equal(learning, np.repeat(zoo.index.loc[nets, ["learning_rate"]], 2, 1))
    assert targets.values(zoo, "optimizer", nets, (1,)).tolist() == [[zoo.index.loc[n, "optimizer"]] for n in nets]


def test_of_imported_nets_it_is_the_row_of_the_snapshot(tmp_path):
    zoo = Zoo.create(tmp_path / "zoo", nets=1)
    net = told(0, SPACE.net(0, 0))
    zoo.append(replace(net, hp=Recorded({"a": 1}), epoch=np.array([10, 20, 30, 40]), history=net.history[[1, 3, 5, 7]]))
    np.testing.assert_array_equal(targets.values(zoo, "test_accuracy", np.array([0]), (2, 4)), [accuracies(0)[[3, 7]]])


def test_what_is_written_in_each_snapshot_is_read(zoo):
    task = Task("test_accuracy", (1, 2, 3, 4))
    (row,) = evaluate("svm-rbf-16", task, zoo, rounds=3)
    assert row.accuracy is None
    assert row.unit == "accuracy"
    assert row.error < row.chance / 3
    assert 0.7 < row.r2_low <= row.r2 <= row.r2_high <= 1
    assert 0.7 < row.tau_low <= row.tau <= row.tau_high <= 1
    (sliced,) = evaluate("svm-rbf-16", replace(task, slice_length=200), zoo, rounds=2)
    assert sliced.r2 > 0.8
    (last,) = evaluate("svm-rbf-16", Task("test_accuracy", (4,)), zoo, rounds=3)
    assert last.r2 > 0.8


def test_what_is_not_written_is_not_read(tmp_path):
    zoo = Zoo.create(tmp_path / "zoo", space=SPACE, nets=NETS)
    for number, hp in enumerate(SPACE.sample(NETS)):
        zoo.append(told(number, hp, signal=False))
    (row,) = evaluate("svm-linear-16", Task("test_accuracy", (4,)), zoo, rounds=5)
    assert row.r2_low < 0.1
    assert row.r2 < 0.3
    assert row.low < row.chance


def test_classes_have_no_r2_and_numbers_no_accuracy(zoo):
    classes, number = evaluate("svm-linear-16", [Task("optimizer"), Task("learning_rate")], zoo, rounds=2)
    assert (classes.r2, classes.tau, classes.error, classes.unit) == (None, None, None, "")
    assert (number.accuracy, number.unit) == (None, "learning rate")


def test_nets_that_nobody_measured_are_left_out(tmp_path):
    zoo = Zoo.create(tmp_path / "zoo", space=SPACE, nets=NETS)
    for number, hp in enumerate(SPACE.sample(NETS)):
        net = told(number, hp)
        if number % 4 == 0:
            net.history[6, HISTORY.index("test_accuracy")] = np.nan
        zoo.append(net)
    (row,) = evaluate("svm-linear-16", Task("test_accuracy", (3, 4)), zoo, rounds=1)
    assert row.n_train + row.n_test == NETS * 3 // 4
    assert "10 nets left out: their test_accuracy was not measured at each of these snapshots" in row.notes
    (row,) = evaluate("svm-linear-16", Task("test_accuracy", (4,)), zoo, rounds=1)
    assert row.n_train + row.n_test == NETS
    with pytest.raises(NwsError, match=r"filtered_validation_accuracy' is unknown: use one of .*test_accuracy"):
        evaluate("svm-linear-16", Task("filtered_validation_accuracy"), zoo)
    with pytest.raises(NwsError, match=r"train_accuracy cannot be told apart in .* all have train_accuracy=0.5"):
        evaluate("svm-linear-16", Task("train_accuracy"), zoo)


def test_a_number_has_no_probabilities_to_be_calibrated(zoo):
    with pytest.raises(NwsError, match="test_accuracy is a number"):
        held_out("svm-linear-16", Task("test_accuracy"), Inputs(zoo))


def test_rows_of_numbers_come_back_and_older_ones_too(zoo, tmp_path):
    rows = evaluate(["svm-linear-16"], [Task("test_accuracy"), Task("optimizer")], zoo, rounds=2, out=tmp_path)
    assert results.load(tmp_path / "results.json") == rows
    stored = json.loads((tmp_path / "results.json").read_text())
    for row in stored:
        for name in ("unit", "r2", "r2_low", "r2_high", "tau", "tau_low", "tau_high"):
            del row[name]
    (tmp_path / "results.json").write_text(json.dumps(stored))
    old = results.load(tmp_path / "results.json")
    assert [(r.property, r.r2, r.tau, r.unit) for r in old] == [("test_accuracy", None, None, ""), ("optimizer", None, None, "")]
    with terminal.out.capture() as shown:
        terminal.out.print(terminal.results(old))
    assert "none" in shown.get()


@pytest.mark.parametrize("names", ["learning_rate", "test_accuracy", "learning_rate,optimizer"])
def test_the_table_of_numbers_is_its_own(zoo, capsys, monkeypatch, names):
    monkeypatch.setattr(terminal.out, "_width", 160)
    with terminal.out.capture() as shown:
        terminal.out.print(terminal.results(evaluate("svm-linear-16", [Task(n) for n in names.split(",")], zoo, rounds=2)))
    classes, _, numbers = " ".join(shown.get().split()).partition("Numbers that can be read")
    assert "R2 (95% interval)" in numbers
    assert "always the median" in numbers
    assert "better than chance" not in numbers
    assert ("accuracy" in classes) == ("optimizer" in names)
    assert ("in accuracy" in numbers) == ("test_accuracy" in names)


def test_the_command_line_asks_for_measured_numbers(zoo, capsys, monkeypatch):
    arguments = ["classify", str(zoo.path), "--property", "test_accuracy,learning_rate", "--meta", "svm-rbf-16", "--rounds", "2"]
    monkeypatch.setattr(sys, "argv", ["nws", *arguments, "--snapshots", f"1:{SNAPSHOTS}", "--json"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["property"], row["unit"]) for row in rows] == [("test_accuracy", "accuracy"), ("learning_rate", "learning rate")]
    assert rows[0]["r2"] > 0.8
    assert rows[0]["tau"] > 0.7
    assert rows[0]["error"] < 0.1


def test_help_names_what_was_measured(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["nws", "classify", "--help"])
    with pytest.raises(SystemExit):
        cli.main()
    shown = "".join(capsys.readouterr().out.split())
    assert all(name in shown for name in targets.MEASURED)
