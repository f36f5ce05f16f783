"""Columns that a user adds to a zoo: properties like any other, that outlive the index and refuse what cannot be right."""

import json
import sys

import numpy as np
import pandas as pd
import pytest
from fabricated import fabricated_zoo, tiny
from written_zoo import written_zoo

from nws import NwsError, Recorded, cli
from nws.tasks.evaluation import evaluate
from nws.tasks.protocol import Task
from nws.zoo import Zoo, targets

OWN = {"name": ["a", "b", "a"], "size": [3, 4, 5], "share": [0.5, np.nan, 0.25], "odd": [True, False, None]}


@pytest.fixture
def zoo(tmp_path):
    return fabricated_zoo(tmp_path / "zoo")


def own(**columns):
    return pd.DataFrame(columns or OWN, index=[0, 5, 7])


def test_columns_come_back_in_their_types_and_outlive_the_index(zoo):
    zoo.annotate(own())
    (zoo.path / "index.parquet").unlink(missing_ok=True)
    for opened in (zoo, Zoo(zoo.path)):
        frame = opened.index
        assert len(frame) == 12
        assert frame.loc[[0, 5, 7], "name"].tolist() == ["a", "b", "a"]
        assert frame.loc[[0, 5, 7], "size"].tolist() == [3, 4, 5]
        assert frame.loc[7, "share"] == 0.25
        assert bool(frame.loc[0, "odd"]) is True
        assert frame.loc[1, list(OWN)].isna().all()
        assert frame.loc[[5, 7], ["share", "odd"]].isna().to_numpy().tolist() == [[True, False], [False, True]]
        assert set(OWN) < set(opened.properties)
        assert opened.verify().ok
    zoo.append(tiny(12))
    assert zoo.index.loc[0, "size"] == 3, "and the next net"
    zoo.verify(repair=True)
    assert zoo.index.loc[0, "size"] == 3
    assert "size" not in pd.read_parquet(zoo.path / "index.parquet"), "of the index they are no part"


def test_more_columns_join_those_that_are_there(zoo):
    zoo.annotate(own(size=[3, 4, 5]))
    zoo.annotate(pd.DataFrame({"net": [0, 1], "colour": ["red", "blue"]}))
    assert zoo.annotations.columns.tolist() == ["size", "colour"]
    assert zoo.annotations.index.tolist() == [0, 1, 5, 7]
    with pytest.raises(NwsError, match=r"column 'size' is there already: .* --replace"):
        zoo.annotate(own(size=[1, 1, 1]))
    zoo.annotate(own(size=[1, 1, 1]), replace=True)
    assert zoo.index.loc[[0, 5, 7], "size"].tolist() == [1, 1, 1]
    assert zoo.index.loc[1, "colour"] == "blue"


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (own(optimizer=["a", "b", "c"]), "column 'optimizer': the zoo's nets have it themselves"),
        (own(test_accuracy=[0.1, 0.2, 0.3]), "column 'test_accuracy'"),
        (pd.DataFrame({"a": [1]}, index=[99]), "the zoo has no net 99"),
        (pd.DataFrame({"a": [1, 2]}, index=[3, 3]), "net 3 has two rows"),
        (pd.DataFrame({"a": [1]}, index=["x"]), "numbered by net"),
        (pd.DataFrame({"net": [0.5], "a": [1]}), "numbered by net"),
        (pd.DataFrame({"a": [1]}, index=[10**12]), "numbered by net"),
        (own(a=[1, 2, np.inf]), "net 7: a='?inf"),
        (own(a=[1, [2], 3]), "net 5: a="),
        (own(a=["x" * 2000, "", ""]), "net 0: a="),
        (own(**{"a\nb": [1, 2, 3]}), "cannot be the name"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "different names"),
    ],
)
def test_what_cannot_be_right_is_refused_and_changes_nothing(zoo, frame, message):
    zoo.annotate(own(size=[3, 4, 5]))
    before = (zoo.path / "annotations.json").read_bytes()
    with pytest.raises(NwsError, match=message) as error:
        zoo.annotate(frame)
    assert "\n" not in str(error.value)
    assert (zoo.path / "annotations.json").read_bytes() == before


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "null",
        '{"format": 2, "nets": [], "columns": {}}',
        '{"format": 1, "nets": [0], "columns": {"a": [1, 2]}}',
        '{"format": 1, "nets": [0, 0], "columns": {"a": [1, 2]}}',
        '{"format": 1, "nets": [-1], "columns": {"a": [1]}}',
        '{"format": 1, "nets": [1e300], "columns": {"a": [1]}}',
        '{"format": 1, "nets": [[1]], "columns": {"a": [1]}}',
        '{"format": 1, "nets": [0], "columns": {"a": [{"b": 1}]}}',
        '{"format": 1, "nets": [0], "columns": {"a": [1e999]}}',
        '{"format": 1, "nets": [0], "columns": {"a\\u001b": [1]}}',
        '{"format": 1, "nets": [0], "columns": {"a": "x"}}',
        "[" * 100_000,
    ],
)
def test_a_strangers_file_is_named_in_one_line(zoo, text):
    (zoo.path / "annotations.json").write_text(text)
    with pytest.raises(NwsError, match=r"annotations.json cannot be read as annotations \(.*move it away") as error:
        _ = Zoo(zoo.path).index
    assert str(error.value).isprintable()


def test_a_name_that_the_nets_have_by_now_steps_aside(tmp_path):
    zoo = Zoo.create(tmp_path / "zoo", nets=2)
    zoo.append(tiny(0, hp=Recorded({"a": 1})))
    zoo.annotate(pd.DataFrame({"decay": [7]}, index=[0]))
    zoo.append(tiny(1, hp=Recorded({"decay": 0.5})))
    assert zoo.index.loc[1, "decay"] == 0.5
    assert zoo.index.loc[0, "annotated.decay"] == 7


def test_a_full_disk_leaves_the_old_columns(zoo, monkeypatch):
    zoo.annotate(own(size=[3, 4, 5]))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nws.atomic.os.fsync", full)
    with pytest.raises(NwsError, match=r"No space left on device\): nothing was changed"):
        zoo.annotate(own(other=[1, 2, 3]))
    assert zoo.annotations.columns.tolist() == ["size"]


def test_they_are_read_from_weights_like_any_property(tmp_path):
    zoo = written_zoo(tmp_path / "zoo")
    scale = [float(zoo.theta(n, 4).std()) for n in zoo.numbers()]
    kind = ["wide" if s > np.median(scale) else "narrow" for s in scale]
    zoo.annotate(pd.DataFrame({"scale": scale, "kind": kind}, index=zoo.numbers()))
    assert {"scale", "kind"} < set(targets.names(zoo))
    assert {"scale", "kind"} < set(zoo.varying())
    number, classes = evaluate("svm-linear-16", [Task("scale", (4,)), Task("kind", (4,))], zoo, rounds=2)
    assert number.r2 > 0.8
    assert number.unit == "scale"
    assert classes.classes == ("narrow", "wide")
    assert classes.accuracy > 0.7


def test_other_values_are_another_question(tmp_path):
    zoo = written_zoo(tmp_path / "zoo")
    rng = np.random.default_rng(0)
    found = []
    for _ in range(2):
        zoo.annotate(pd.DataFrame({"kind": rng.permutation(["a", "b"] * 16)}, index=zoo.numbers()), replace=True)
        found += evaluate(["svm-linear-16"], [Task("kind", (4,))], zoo, rounds=1, out=tmp_path / "out")
    assert found[0].key != found[1].key


def test_the_command(zoo, tmp_path, capsys, monkeypatch):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["nws", "annotate", str(zoo.path), *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, capsys.readouterr()

    table = tmp_path / "table.csv"
    table.write_text("net,kind,share\n0,wide,0.5\n5,narrow,\n")
    code, said = run(table, "--json")
    assert (code, json.loads(said.out)["columns"]) == (0, ["kind", "share"])
    assert zoo.index.loc[[0, 5], "kind"].tolist() == ["wide", "narrow"]
    assert np.isnan(zoo.index.loc[5, "share"])
    assert run(table, "--replace")[0] == 0
    for text, word in [
        ("a,b\n1,2\n", "column net"),
        ("net,a\n0\n", "line 2"),
        ("net,kind\n0,x\n", "--replace"),
        ("net,a\nx,1\n", "numbered"),
    ]:
        table.write_text(text)
        code, said = run(table)
        assert code == 2
        assert said.err.startswith("nws: ")
        assert said.err.count("\n") == 1
        assert word in said.err
    assert run(tmp_path / "nowhere.csv")[0] == 2
