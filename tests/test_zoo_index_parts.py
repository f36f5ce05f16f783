"""The index in parts: the same as in one, each part made anew by itself, and zoos that had all in one file."""

import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fabricated import fabricated_zoo, tiny
from sharded import NETS, half_packed_zoo, many_at_once, packed_zoo

from nws import FIXED
from nws.recorded import Recorded
from nws.zoo import Zoo, index
from nws.zoo.properties import properties


def foreign_zoo(path):
    """Columns that are whole numbers in some nets, fractions, text, switches or nothing in others."""
    zoo = Zoo.create(path, imported="checkpoints")
    values = [3, 4, 0.5, "a", True, None]
    for number in range(NETS):
        more = {"wd": values[number // 3], "on": bool(number % 2)} | ({"late": number} if number > 8 else {})
        recorded = Recorded.of({"dataset": "cifar", "optimizer": "sgd" if number < 6 else "adam", "batch_size": number, **more})
        zoo.append(tiny(number, hp=recorded, epoch=np.arange(5)))
    return zoo


MADE = (fabricated_zoo, packed_zoo, half_packed_zoo, many_at_once, foreign_zoo)


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(index, "PART", 4)
    monkeypatch.setattr(index, "_SEVERAL", 2)


def files(zoo):
    parts = (*zoo.path.glob("index.parquet"), *zoo.path.glob("index/*"))
    return {part.relative_to(zoo.path).as_posix(): part.stat().st_mtime_ns for part in parts}


@pytest.mark.parametrize("make", MADE)
def test_parts_say_what_one_index_says(tmp_path, monkeypatch, make):
    zoo = make(tmp_path / "zoo")
    expected, facts = zoo.index, zoo.summary()
    assert set(files(zoo)) == {"index.parquet"}
    monkeypatch.setattr(index, "PART", 4)
    monkeypatch.setattr(index, "_SEVERAL", 2)
    if make in (packed_zoo, half_packed_zoo, many_at_once):  # a shard is of one part, as numbers of a folder are
        monkeypatch.setattr(index, "by_part", lambda found: {0: index.Files(found.nets, found.shards)})
    for _ in range(2):  # divided, then as it was stored
        again = Zoo(zoo.path)
        assert again.summary() == facts
        pd.testing.assert_frame_equal(again.index, expected)
        assert again.properties == zoo.properties
    if make is fabricated_zoo:
        assert set(files(zoo)) == {"index.parquet", "index/001.parquet", "index/002.parquet"}
        assert pd.read_parquet(zoo.path / "index/001.parquet").index.tolist() == [4, 5, 6, 7]


@pytest.mark.parametrize("make", [fabricated_zoo, foreign_zoo])
def test_columns_one_by_one_are_those_of_the_frame(tmp_path, small_parts, make):
    zoo = make(tmp_path)
    expected = zoo.index
    again = Zoo(tmp_path)
    view = again.view()
    assert isinstance(view, index.View)
    assert [name for name in view.columns if name != "mtime_ns"] == expected.columns.tolist()
    assert len(view) == NETS
    path = tmp_path / "index/002.parquet"  # a text that is none is seen, though nobody reads all of the part
    path.write_bytes(path.read_bytes().replace(b"adam", b"ad\xffm").replace(b"rmsprop", b"rmspr\xffp"))
    for name in expected.columns:
        assert name in view
        pd.testing.assert_series_equal(view[name], expected[name].reset_index(drop=True), check_names=False)
    assert properties(view, zoo.family, ["wd"] if "wd" in view else []) == properties(
        expected, zoo.family, ["wd"] if "wd" in expected else []
    )


def test_a_net_more_costs_one_part(tmp_path, small_parts, monkeypatch):
    zoo = fabricated_zoo(tmp_path)
    _ = zoo.index
    before = files(zoo)
    zoo.append(tiny(13))
    assert zoo.index.index.tolist() == [*range(12), 13]
    after = files(zoo)
    assert {name for name in after if after[name] != before.get(name)} == {"index/003.parquet"}
    (tmp_path / "nets/000/000005.safetensors").unlink()
    assert Zoo(tmp_path).summary()["nets"] == 12
    assert {name for name in files(zoo) if files(zoo)[name] != after[name]} == {"index/001.parquet"}
    (tmp_path / "nets/000/000013.safetensors").unlink()
    assert len(Zoo(tmp_path).index) == 11
    assert "index/003.parquet" not in files(zoo)
    for folder in ("nets", "nets/000"):
        os.utime(tmp_path / folder, (1e9, 1e9))
    monkeypatch.setattr("nws.zoo.index.read_header", lambda *_: pytest.fail("read a net"))
    assert len(Zoo(tmp_path).index) == 11


@pytest.mark.parametrize("spoil", ["remove", "garbage", "foreign", "text", "numbers", "paths", "twice"])
def test_a_part_that_is_spoilt_is_made_anew(tmp_path, small_parts, spoil):
    zoo = fabricated_zoo(tmp_path)
    expected, facts = zoo.index, zoo.summary()
    path = tmp_path / "index/001.parquet"
    frame, whole = pd.read_parquet(path), path.read_bytes()
    if spoil == "remove":
        path.unlink()
    elif spoil == "garbage":
        path.write_bytes(whole[:-100])
    elif spoil == "foreign":
        pd.DataFrame({"a": [1]}).to_parquet(path)
    elif spoil == "text":
        sha256 = frame["sha256"].iloc[1].encode()
        path.write_bytes(whole.replace(sha256, sha256[:7] + b"\xff" + sha256[8:]))
    elif spoil == "numbers":
        frame.set_index(pd.Index([4, 5, 6, 3], name="net")).to_parquet(path)
    elif spoil == "paths":
        frame.assign(path="../../elsewhere").to_parquet(path)
    else:
        frame.set_index(pd.Index([4, 4, 6, 7], name="net")).to_parquet(path)
    assert Zoo(tmp_path).summary() == facts
    pd.testing.assert_frame_equal(Zoo(tmp_path).index, expected)
    assert Zoo(tmp_path).verify().index == "fresh"


def test_an_index_of_before_there_were_parts_is_divided(tmp_path, monkeypatch):
    zoo = fabricated_zoo(tmp_path)
    expected = zoo.index
    assert len(pd.read_parquet(tmp_path / "index.parquet")) == NETS
    monkeypatch.setattr(index, "PART", 4)
    monkeypatch.setattr("nws.zoo.index.read_header", lambda *_: pytest.fail("read a net"))
    pd.testing.assert_frame_equal(Zoo(tmp_path).index, expected)
    assert len(pd.read_parquet(tmp_path / "index.parquet")) == 4
    pd.testing.assert_frame_equal(Zoo(tmp_path).index, expected)


@pytest.mark.parametrize("name", ["zoo", "imported"])
def test_zoos_of_0_1_0_open_with_their_index(tmp_path, name):
    shutil.copytree(Path(__file__).parent / "written_by_0_1_0" / name, tmp_path / name)
    zoo = Zoo(tmp_path / name)
    assert zoo.index.index.tolist() == zoo.numbers()
    assert zoo.verify().ok


def test_rows_of_a_shard_are_believed_only_if_they_are_its_nets(tmp_path):
    """A stranger's index neither hides nor invents nets, whether numbers follow one another or have gaps."""
    zoo = Zoo.create(tmp_path, FIXED)
    zoo.append_many(map(tiny, (0, 1, 2)))
    zoo.append_many(map(tiny, (5, 6, 9)))
    expected, path = zoo.index, tmp_path / "index.parquet"
    stored = pd.read_parquet(path)
    for numbers in ([0, 1, 2, 5, 7, 9], [0, 1, 2, 5, 6, 8], [0, 1, 3, 5, 6, 9], [10, 1, 2, 5, 6, 9]):
        stored.set_index(pd.Index(numbers, name="net")).to_parquet(path)
        pd.testing.assert_frame_equal(Zoo(tmp_path).index, expected)
    stored.iloc[[0, 1, 2, 3, 5]].to_parquet(path)
    pd.testing.assert_frame_equal(Zoo(tmp_path).index, expected)
