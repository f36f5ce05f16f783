"""The zoo on disk: what is written comes back, the index follows, and bad requests are one line."""

import errno
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fabricated import LAYOUT, SNAPSHOTS, assert_same_net, fabricated_zoo, file_of, tiny, zoo_net
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from nws import FIXED, Layout, Net, NwsError
from nws.zoo import Zoo, split


@pytest.fixture
def zoo(tmp_path):
    return fabricated_zoo(tmp_path / "zoo")


# -- nets in, nets out --


def test_a_net_comes_back_bit_for_bit(zoo):
    for number in (0, 4, 5, 11):
        expected = zoo_net(number)
        assert_same_net(zoo.net(number), expected)
        assert zoo.layout(number) == expected.layout
        assert_array_equal(zoo.theta(number), expected.theta)
        for snapshot in range(1, SNAPSHOTS + 1):
            assert_array_equal(zoo.theta(number, snapshot), expected.theta[snapshot - 1])


def test_real_theta_and_a_history_never_measured(tmp_path):
    from nws.families import cnn2020 as cnn

    hp = FIXED.net(0, 0).with_(filter_size=3, width_conv=1, width_fc=4)
    net = Net(0, hp, cnn.layout(hp), cnn.initialize(hp, np.random.default_rng(0))[None], np.zeros(1, int), np.empty((0, 5)))
    zoo = Zoo.create(tmp_path)
    zoo.append(net)
    assert_same_net(zoo.net(0), net)
    assert zoo.index.loc[0, "epochs"] == 0
    assert np.isnan(zoo.index.loc[0, "test_accuracy"])
    assert zoo.verify().ok


def test_files_open_with_the_safetensors_library(zoo):
    from safetensors import safe_open

    with safe_open(file_of(zoo, 7), "np") as file:
        metadata = file.metadata()
        assert_array_equal(file.get_tensor("theta"), tiny(7).theta)
        assert_array_equal(file.get_tensor("history"), tiny(7).history)
        assert_array_equal(file.get_slice("theta")[2, 10:20], tiny(7).theta[2, 10:20])
    assert Layout.from_json(metadata["layout"]) == LAYOUT
    assert json.loads(metadata["hyper_parameters"]) == tiny(7).hp.to_dict()


def test_theta_is_where_the_contract_says(zoo):
    """The recipe of docs/format.md, without any library."""
    raw = file_of(zoo, 7).read_bytes()
    length = int.from_bytes(raw[:8], "little")
    begin, end = json.loads(raw[8 : 8 + length])["theta"]["data_offsets"]
    assert raw[8 + length + begin : 8 + length + end] == tiny(7).theta.tobytes()


def test_what_about_holds_becomes_json(tmp_path):
    zoo = Zoo.create(tmp_path)
    about = {"loss": float("nan"), "n": np.int64(3), "at": Path("a"), "v": np.arange(2), 5: (1, None)}
    zoo.append(tiny(0, about=about))
    assert zoo.net(0).about == {"loss": None, "n": 3, "at": "a", "v": [0, 1], "5": [1, None]}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda z: z.append(tiny(3)), "has a net 3 already"),
        (lambda z: z.append(tiny(20), split="valid"), "split 'valid' is unknown"),
        (lambda z: z.net(12), "has no net 12"),
        (lambda z: z.theta(-1, 1), "has no net -1"),
        (lambda z: z.theta(0, 0), "net 0 has no snapshot 0: use 1 to 5"),
        (lambda z: z.theta(0, 6), "net 0 has no snapshot 6: use 1 to 5"),
        (lambda z: z.vectors([0], [6]), "net 0 has no snapshot 6"),
        (lambda z: z.vectors([0], [1], "head"), "part 'head' is unknown"),
        (lambda z: z.slices([0], [1], [0], 93), "slice 93 is longer than net 0 (92 weights)"),
        (lambda z: z.slices([0], [1], [83], 10), "start at 0 to 82, not at 83"),
        (lambda z: z.slices([0], [1], [-1], 10), "start at 0 to 82"),
        (lambda z: z.slices([0], [1.5], [0], 10), "must be whole numbers"),
        (lambda z: z.slices([0], [1], [0], 0), "a slice of 0 weights"),
        (lambda z: z.slices([0], [1], [0], 9, via="mmap"), "via 'mmap' is unknown: use one of memmap"),
        (lambda z: z.load("optimiser"), "property 'optimiser' is unknown: use one of optimizer"),
        (lambda z: z.load("optimizer", [1, 6]), "net 0 has no snapshot 6: use 1 to 5"),
        (lambda z: z.load("optimizer", [0]), "has no snapshot 0"),
        (lambda z: z.load("optimizer", []), "name at least one"),
        (lambda z: z.load("optimizer", part="head"), "part 'head' is unknown"),
        (lambda z: z.load("optimizer", split="valid"), "split 'valid' is unknown"),
        (lambda z: z.load("optimizer", converged={"mnist": 80}), "threshold 80 of mnist"),
        (
            lambda z: z.load("optimizer", part="conv", slice_length=136),
            "slice 136 is longer than the conv part of net 5 (135 weights)",
        ),
        (lambda z: z.load("learning_rate", balance=True), "learning_rate is continuous"),
    ],
)
def test_bad_requests_are_one_line(zoo, call, message):
    with pytest.raises(NwsError) as error:
        call(zoo)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


# -- making, opening, resuming --


def test_create_resumes_with_the_same_settings_and_names_the_others(zoo):
    again = {"images": {"mnist": {"sha256": "ab", "found": "elsewhere"}}, "epochs": 8}
    assert len(Zoo.create(zoo.path, FIXED, 3, nets=12, **again)) == 12
    assert Zoo.create(zoo.path, FIXED, 3, nets=20, **again).missing() == list(range(12, 20))
    assert Zoo.create(zoo.path, FIXED, 3, nets=5, **again).planned == 20
    for wrong, named in [
        ({"seed": 1}, "was made with seed=3, not 1: use another folder, or the same settings"),
        ({"epochs": 9}, "epochs=8, not 9"),
        ({"limit": 100}, "limit=None, not 100"),
        ({"images": {"mnist": {"sha256": "cd"}}}, "other images of mnist (sha256 'ab', not 'cd')"),
        ({"space": FIXED.with_(optimizer="adam")}, "optimizer=['adam', 'rmsprop', 'momentum'], not ['adam']"),
    ]:
        with pytest.raises(NwsError) as error:
            Zoo.create(**{"path": zoo.path, "space": FIXED, "seed": 3, "nets": 12, **again, **wrong})
        assert named in str(error.value)
    reopened = Zoo(zoo.path)
    assert (reopened.seed, reopened.space, reopened.settings) == (3, FIXED, {"epochs": 8})


def test_paths_that_are_no_zoo(tmp_path, zoo):
    file = tmp_path / "file"
    file.write_text("x")
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.txt").write_text("x")
    for call, message in [
        (lambda: Zoo(tmp_path / "none"), "does not exist"),
        (lambda: Zoo(file), "is a file"),
        (lambda: Zoo(full), "is no zoo"),
        (lambda: Zoo.create(file), "is a file"),
        (lambda: Zoo.create(full), "is not empty and no zoo"),
        (lambda: Zoo.create(file / "zoo"), "cannot be written (Not a directory)"),
    ]:
        with pytest.raises(NwsError, match=r"^[^\n]*$") as error:
            call()
        assert message in str(error.value)


def test_folder_not_writable(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    zoo = Zoo.create(tmp_path / "zoo")
    monkeypatch.setattr("nws.atomic.open", refuse, raising=False)
    with pytest.raises(NwsError, match=r"cannot be written \(Permission denied\): name a folder"):
        Zoo.create(tmp_path / "other")
    with pytest.raises(NwsError, match=r"net 1 could not be written \(Permission denied\): the net was dropped whole"):
        zoo.append(tiny(1))
    monkeypatch.undo()
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(NwsError, match="cannot be written"):
        Zoo.create(tmp_path / "zoo")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"format": 5}', "format 5 was written by a newer nws: upgrade nws"),
        ("", "cannot be read as the plan"),
        ("[" * 100_000, "cannot be read as the plan"),
        ('{"format": "1"}', "cannot be read as the plan"),
        ('{"seed": 1}', "cannot be read as the plan"),
        ('{"format": 1, "seed": -1}', "seed=-1"),
        ('{"format": 1, "seed": true}', "seed=True"),
        ('{"format": 1, "nets": 1e99}', "nets=1e+99"),
        ('{"format": 1, "nets": 100000000000}', "must be 0 to 10,000,000"),
        ('{"format": 1, "space": {"dataset": ["mnist"]}}', "the space lacks"),
        ('{"format": 1, "space": {"dataset": 5}}', "the space"),
        ('{"format": 1, "images": []}', "images=[]"),
    ],
)
def test_bad_zoo_json(tmp_path, text, message):
    (tmp_path / "zoo.json").write_text(text)
    with pytest.raises(NwsError, match=r"^[^\n]*zoo\.json[^\n]*$") as error:
        Zoo(tmp_path)
    assert message in str(error.value)


def test_what_zoo_json_holds_beside_ours_is_kept(zoo):
    path = zoo.path / "zoo.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "owner": "me"}))
    Zoo.create(zoo.path, FIXED, 3, nets=99, epochs=8)
    assert json.loads(path.read_text())["owner"] == "me"
    assert json.loads(path.read_text())["nets"] == 99


# -- split --


@given(st.integers(0, 2**63), st.integers(0, 2**30))
@example(0, 0)
def test_one_net_in_four_is_a_test_net(seed, block):
    assert [split(seed, 4 * block + i) for i in range(4)].count("test") == 1


def test_split_is_random_stable_and_stored(zoo, tmp_path):
    sides = [split(0, n) for n in range(4000)]
    assert all(200 < sides[place::4].count("test") < 300 for place in range(4))
    assert [split(1, n) for n in range(4000)] != sides
    assert "".join(side[1] for side in sides[:12]) == "errrrerrrrer"  # for ever
    assert zoo.index["split"].tolist() == [split(3, n) for n in range(12)]
    other = Zoo.create(tmp_path / "other")
    other.append(tiny(0), split="test")
    other.append(tiny(1), split="train")
    assert Zoo(other.path).index["split"].tolist() == ["test", "train"]


# -- index --


def test_index_describes_the_nets(zoo):
    frame = zoo.index
    assert frame.index.tolist() == list(range(12))
    assert frame.index.name == "net"
    for number in (0, 5, 11):
        net, row = zoo.net(number), frame.loc[number]
        assert {name: row[name] for name in net.hp.to_dict()} == net.hp.to_dict()
        assert row["weights"] == net.layout.size
        assert row["weights_conv"] == net.layout.size_of("conv")
        assert (row["snapshots"], row["epochs"], row["seconds"]) == (5, 8, net.seconds)
        assert row["test_accuracy"] == net.test_accuracy
        assert row["bytes"] == (zoo.path / row["path"]).stat().st_size
    assert frame.loc[4, "status"] == "diverged"
    assert frame["batch_norm"].dtype == bool
    assert frame["batch_size"].dtype == np.int64
    assert frame["learning_rate"].dtype == np.float64


@pytest.mark.parametrize("spoil", ["remove", "garbage", "foreign", "behind", "lying"])
def test_index_is_rebuilt_when_missing_or_stale(zoo, spoil):
    expected, path = zoo.index, zoo.path / "index.parquet"
    if spoil == "remove":
        path.unlink()
    elif spoil == "garbage":
        path.write_bytes(path.read_bytes()[:-100])
    elif spoil == "foreign":
        pd.DataFrame({"a": [1]}).to_parquet(path)
    elif spoil == "behind":
        zoo.path.joinpath("nets/000/000003.safetensors").unlink()
        zoo.append(tiny(12))
        expected = Zoo(zoo.path).index
        assert expected.index.tolist() == [0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12]
    else:
        pd.read_parquet(path).assign(path="../../elsewhere").to_parquet(path)
    again = Zoo(zoo.path).index
    pd.testing.assert_frame_equal(again, expected)
    pd.testing.assert_frame_equal(pd.read_parquet(path)[again.columns.tolist()], expected)


def test_a_fresh_index_reads_no_net(zoo, monkeypatch):
    expected = zoo.index
    before = (zoo.path / "index.parquet").stat().st_mtime_ns
    monkeypatch.setattr("nws.zoo.index.read_header", lambda *_: pytest.fail("read a net"))
    pd.testing.assert_frame_equal(Zoo(zoo.path).index, expected)
    assert (zoo.path / "index.parquet").stat().st_mtime_ns == before


def test_an_empty_zoo_has_an_index(tmp_path):
    zoo = Zoo.create(tmp_path)
    assert len(zoo.index) == len(zoo) == 0
    assert zoo.index.dtypes.equals(Zoo(tmp_path).index.dtypes)
    assert zoo.summary()["nets"] == 0
    with pytest.raises(NwsError, match="holds no nets yet"):
        zoo.load("optimizer")


def test_two_zoos_see_each_others_nets(tmp_path):
    one, two = Zoo.create(tmp_path), Zoo(tmp_path)
    for number in range(6):
        (one, two)[number % 2].append(tiny(number))
        for zoo in (one, two):
            assert zoo.index.index.tolist() == list(range(number + 1))
            assert_array_equal(zoo.theta(number), tiny(number).theta)


def test_an_old_folder_is_not_scanned_again(zoo, monkeypatch):
    for folder in (zoo.path / "nets", zoo.path / "nets/000"):
        os.utime(folder, (1e9, 1e9))
    zoo.refresh()
    monkeypatch.setattr("nws.zoo.index.scan", lambda *_: pytest.fail("scanned"))
    assert len(zoo.index) == 12
    monkeypatch.undo()
    zoo.append(tiny(12))
    assert len(zoo.index) == 13


def test_a_zoo_one_may_only_read(zoo, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("nws.zoo.index.write_whole", refuse)
    assert len(Zoo(zoo.path).index) == 12
    assert not (zoo.path / "index.parquet").exists()


def test_a_zoo_goes_to_another_process(zoo):
    assert_array_equal(pickle.loads(pickle.dumps(zoo)).theta(3), tiny(3).theta)


# -- in words --


def test_summary_is_json_and_adds_up(zoo):
    facts = json.loads(json.dumps(zoo.summary(), allow_nan=False))
    assert (facts["nets"], facts["planned"], facts["seed"], facts["format"]) == (12, 12, 3, 3)
    assert facts["status"] == {"diverged": 1, "ok": 11}
    assert facts["split"] == {"test": 3, "train": 9}
    for name, counts in facts["properties"].items():
        assert name == "learning_rate" or sum(counts.values()) == 12
    assert facts["weights"] == {"min": 92, "max": 167}
    assert facts["bytes"] == sum(path.stat().st_size for path in zoo.path.rglob("*.safetensors"))
    assert sum(part["nets"] for part in facts["accuracies"].values()) == 11
    assert all(0 <= part["converged"] <= 1 for part in facts["accuracies"].values())
    assert facts["settings"] == {"epochs": 8}


def test_card_names_the_index(zoo):
    head, body = zoo.card().removeprefix("---\n").split("---\n", 1)
    assert "configs:\n- config_name: default\n  data_files: index.parquet\n" in head
    assert "| optimizer | adam (" in body
