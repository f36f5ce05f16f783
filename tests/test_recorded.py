"""Nets of other zoos on disk: their properties in their own names and values, and old zoos as they were."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from fabricated import assert_same_net, fabricated_zoo, tiny

from nws import NwsError, Recorded
from nws.recorded import parsed
from nws.zoo import Zoo, read_header
from nws.zoo.netfile import encode


def foreign(number, **values):
    return tiny(number, hp=Recorded(values))


def metadata_of(data):
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]


def test_nets_are_written_as_before():
    """The checksum over all metadata, that of the weights among them: whatever changes it changes the format."""
    before = "b90f3560c7e4e237f2e4f9a91d9c8e175cfac4de1542e208f34d57f8f7c22a16"
    assert metadata_of(encode(tiny(0), "train"))["metadata_sha256"] == before


def test_a_foreign_net_comes_back(tmp_path):
    zoo = Zoo.create(tmp_path / "zoo")
    net = foreign(3, optimizer="sgd", wd=1e-4, nesterov=True, heads=4, name="a|<b>")
    zoo.append(net)
    assert_same_net(zoo.net(3), net)
    path = tmp_path / "zoo/nets/000/000003.safetensors"
    assert read_header(path).hp == net.hp
    metadata = metadata_of(path.read_bytes())
    assert (metadata["format"], metadata["epochs"]) == ("3", "8")


def test_columns_of_a_mixed_zoo_are_as_exact_as_can_be(tmp_path):
    zoo = fabricated_zoo(tmp_path / "zoo")
    before = zoo.index
    zoo.append(foreign(20, optimizer="sgd", batch_size=7, learning_rate=0.5, extra=3))
    index = Zoo(zoo.path).index
    assert list(index.columns) == [*before.columns, "extra"]
    pd.testing.assert_frame_equal(index.loc[:11, before.columns], before, check_dtype=False)
    assert index["batch_size"].dtype == "int64"
    assert index["depth_fc"].dtype == "Int64"
    assert index["batch_norm"].dtype == "boolean"
    assert index.loc[20, "optimizer"] == "sgd"
    assert index["extra"].notna().tolist() == [False] * 12 + [True]
    stored = pd.read_parquet(zoo.path / "index.parquet")
    pd.testing.assert_frame_equal(stored[index.columns], index)


def test_the_index_is_the_same_however_it_came_about(tmp_path):
    zoo = Zoo.create(tmp_path / "zoo")
    for number in range(6):
        zoo.append(foreign(number, **{f"p{number % 3}": number, "b": number > 2}))
        _ = zoo.index  # grows one by one
    one_by_one = zoo.index
    (zoo.path / "index.parquet").unlink()
    at_once = Zoo(zoo.path).index
    pd.testing.assert_frame_equal(one_by_one[sorted(one_by_one)], at_once[sorted(at_once)])
    assert at_once["p1"].dropna().tolist() == [1, 4]


def test_a_column_of_ours_is_not_overwritten(tmp_path):
    zoo = Zoo.create(tmp_path / "zoo")
    zoo.append(foreign(0, status="fine", path="/etc/passwd", test_accuracy="high"))
    index = zoo.index
    assert index.loc[0, "status"] == "ok"
    assert index.loc[0, "path"] == "nets/000/000000.safetensors"
    assert index.loc[0, "recorded.status"] == "fine"


def test_values_of_several_kinds_are_told_apart_as_text(tmp_path):
    zoo = Zoo.create(tmp_path / "zoo")
    for number, value in enumerate((1, "one", True)):
        zoo.append(foreign(number, x=value))
    assert zoo.index["x"].tolist() == ["1", "one", "True"]
    assert zoo.properties["x"].options == ("1", "True", "one")


def test_a_name_of_each_net_is_no_property(tmp_path):
    zoo = Zoo.create(tmp_path / "zoo")
    for number in range(101):
        zoo.append(replace(foreign(number, run=f"r{number}", lr=number / 7), theta=np.ones((5, 92), np.float32)))
    assert list(zoo.properties) == ["lr"]
    assert zoo.properties["lr"].continuous


@pytest.mark.parametrize(
    "values",
    [
        {"a": float("nan")},
        {"a": 1 << 70},
        {"a": [1]},
        {"a": None},
        {"a": "x\ny"},
        {"a": "x" * 2000},
        {"": 1},
        {"a\x1b[31m": 1},
        {"\udcff": 1},
        {f"p{k}": k for k in range(300)},
    ],
)
def test_nonsense_is_refused_at_birth(values):
    with pytest.raises(NwsError):
        Recorded(values)


def test_what_a_file_says_is_made_sense_of():
    said = {"a": np.float32(0.5), "b": None, "c": float("inf"), "d": "two\nlines", "e": [1, 2], "f": np.bool_(True), "g\udcff": 1}
    assert Recorded.of(said).to_dict() == {"a": 0.5, "d": r"two\nlines", "e": "[1, 2]", "f": True, "g\\udcff": 1}


def test_cells_of_a_table():
    cells = ["3", "3.0", "1e-4", "True", "", "nan", "adam", "1_000", " x "]
    assert [parsed(c) for c in cells] == [3, 3.0, 1e-4, True, None, None, "adam", "1_000", "x"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda m: m.update(hyper_parameters='{"a": [1]}'),
        lambda m: m.update(hyper_parameters="[]"),
        lambda m: m.update(epochs="-1"),
        lambda m: m.pop("epochs"),
        lambda m: m.update(format="0"),
    ],
)
def test_damage_to_a_foreign_net_is_found(tmp_path, damage):
    from nws.zoo import DamagedFileError
    from nws.zoo.container import metadata_sha256

    zoo = Zoo.create(tmp_path / "zoo")
    zoo.append(foreign(0, a=1))
    path = tmp_path / "zoo/nets/000/000000.safetensors"
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    metadata = header["__metadata__"]
    damage(metadata)
    metadata["metadata_sha256"] = metadata_sha256(metadata)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
    with pytest.raises(DamagedFileError):
        read_header(path)
