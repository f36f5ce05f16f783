"""Zoos of which nobody measured accuracies, or not of all nets, and properties that one net lacks: shown as they are."""

import json
from dataclasses import replace

import numpy as np
import pytest
from fabricated import tiny

from nws import Recorded, cli, report
from nws.report import data
from nws.zoo import Zoo

UNMEASURED = np.full((5, 5), np.nan)


@pytest.fixture
def zoo(tmp_path):
    """Six foreign nets without accuracies; of net 3 nobody recorded the switch."""
    zoo = Zoo.create(tmp_path / "zoo", nets=6)
    for number in range(6):
        values = {"dropout": 0.1 * number, "nesterov": bool(number % 2), "decay": number}
        lacking = {name: value for name, value in values.items() if number != 3 or name == "dropout"}
        zoo.append(tiny(number, hp=Recorded(lacking), history=UNMEASURED))
    return zoo


@pytest.mark.parametrize("arguments", [[], ["--card"], ["--json"]])
def test_info_says_that_nothing_was_measured(zoo, capsys, monkeypatch, arguments):
    monkeypatch.setattr("sys.argv", ["nws", "info", str(zoo.path), *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    said = capsys.readouterr().out
    if "--json" in arguments:
        assert json.loads(said)["accuracies"]["not recorded"] == {
            "nets": 6, "measured": 0, "mean": None, "min": None, "max": None, "converged": None
        }  # fmt: skip
    else:
        assert "not measured" in said
    if "--card" in arguments:
        assert "6 small convolutional networks" in (zoo.path / "README.md").read_text()


def test_who_was_not_measured_did_not_fail_to_converge(tmp_path):
    zoo = Zoo.create(tmp_path / "zoo", nets=8)
    good, bad = np.full((5, 5), 0.9), np.full((5, 5), 0.1)
    for number in range(8):
        history = (good, UNMEASURED, bad, UNMEASURED)[number % 4]
        zoo.append(replace(tiny(number, history=history), hp=tiny(0).hp))
    (accuracy,) = zoo.summary()["accuracies"].values()
    assert (accuracy["nets"], accuracy["measured"], accuracy["converged"]) == (8, 4, 0.5)


def test_the_report_of_a_zoo_where_one_net_lacks_a_switch_and_a_number(zoo, tmp_path):
    columns = {column["name"]: column for column in data.gather(zoo)["nets"]["columns"]}
    assert columns["nesterov"]["options"] == ["off", "on", data.UNRECORDED]
    assert columns["converged"]["options"] == [data.UNRECORDED]
    assert report.write(zoo, tmp_path / "report.html").nets == 6


def test_the_report_of_a_quantity_that_one_net_lacks(tmp_path):
    zoo = Zoo.create(tmp_path / "zoo", nets=30)
    for number in range(30):  # more different values than classes: a number
        zoo.append(tiny(number, hp=Recorded({"steps": 10 * number} if number else {"other": True})))
    assert zoo.properties["steps"].continuous
    (steps,) = (column for column in data.gather(zoo)["nets"]["columns"] if column["name"] == "steps")
    assert steps["kind"] == "number"
