"""The zoo on disk: what is written comes back, is whole whatever happens, and says what is wrong when it is not."""

import errno
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from nws import FIXED, Layout, Net, NwsError
from nws.zoo import DamagedFileError, Zoo, read_header, read_net, split
from nws.zoo.atomic import strays
from nws.zoo.netfile import encode

LAYOUT = Layout(
    [
        ("conv1", "weight", (2, 3, 3, 3), "conv"),
        ("conv1", "bias", (2,), "conv"),
        ("fc1", "weight", (4, 8), "fc", (2, 2)),
        ("fc1", "bias", (4,), "fc"),
    ]
)  # 56 conv + 36 FC weights
WIDE = Layout([("conv1", "weight", (5, 3, 3, 3), "conv"), ("fc1", "weight", (4, 8), "fc")])  # 135 + 32
SNAPSHOTS = 5


def tiny(number, layout=LAYOUT, **changes):
    """A fabricated net: a function of its number."""
    rng = np.random.default_rng(number)
    history = rng.random((9, 5))
    made = Net(
        number=number,
        hp=FIXED.net(0, number),
        layout=layout,
        theta=rng.standard_normal((SNAPSHOTS, layout.size)).astype(np.float32),
        epoch=np.array([0, 2, 4, 6, 8]),
        history=history,
        seconds=0.1 * number,
        about={"seed": 0, "engine": "none", "images": {"sha256": "é"}},
    )
    return replace(made, **changes)


def diverged(number):
    net = tiny(number)
    net.theta[-1] = np.nan
    return replace(net, status="diverged", history=np.full((9, 5), np.nan))


def assert_same_net(a, b):
    assert (a.number, a.hp, a.layout, a.status, a.seconds, a.about) == (b.number, b.hp, b.layout, b.status, b.seconds, b.about)
    for name in ("theta", "epoch", "history"):
        assert getattr(a, name).tobytes() == getattr(b, name).tobytes()


@pytest.fixture
def zoo(tmp_path):
    """Twelve nets: number 4 diverged, number 5 has a longer conv part."""
    zoo = Zoo.create(tmp_path / "zoo", FIXED, seed=3, nets=12, images={"mnist": {"sha256": "ab"}}, epochs=8, limit=None)
    for number in range(12):
        zoo.append(zoo_net(number))
    return zoo


def zoo_net(number):
    return diverged(4) if number == 4 else tiny(number, WIDE if number == 5 else LAYOUT)


def file_of(zoo, number):
    return zoo.path / zoo.index.loc[number, "path"]


# -- nets in, nets out --------------------------------------------------------------------------------------------------------


def test_a_net_comes_back_bit_for_bit(zoo):
    for number in (0, 4, 5, 11):
        expected = zoo_net(number)
        assert_same_net(zoo.net(number), expected)
        assert zoo.layout(number) == expected.layout
        assert_array_equal(zoo.theta(number), expected.theta)
        for snapshot in range(1, SNAPSHOTS + 1):
            assert_array_equal(zoo.theta(number, snapshot), expected.theta[snapshot - 1])


def test_real_theta_and_a_history_never_measured(tmp_path):
    from nws import cnn

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
        (lambda z: z.slices([0], [1], [83], 10), "start at 0 to 82, not 83 to 83"),
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


# -- making, opening, resuming ------------------------------------------------------------------------------------------------


def test_create_resumes_with_the_same_settings_and_names_the_others(zoo):
    again = {"images": {"mnist": {"sha256": "ab", "found": "elsewhere"}}, "epochs": 8}
    assert len(Zoo.create(zoo.path, FIXED, 3, nets=12, **again)) == 12
    assert Zoo.create(zoo.path, FIXED, 3, nets=20, **again).missing() == list(range(12, 20))
    assert Zoo.create(zoo.path, FIXED, 3, nets=5, **again).planned == 20
    for wrong, named in [
        ({"seed": 1}, "was made with seed=3, not 1: use another folder, or the same settings"),
        ({"epochs": 9}, "epochs=8, not 9"),
        ({"limit": 100}, "limit=None, not 100"),
        ({"images": {"mnist": {"sha256": "cd"}}}, "images={'mnist': 'ab'}"),
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
    monkeypatch.setattr("nws.zoo.atomic.open", refuse, raising=False)
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
        ('{"format": 2}', "format 2 was written by a newer nws: upgrade nws"),
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


# -- split --------------------------------------------------------------------------------------------------------------------


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


# -- index --------------------------------------------------------------------------------------------------------------------


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


# -- slices, vectors, load ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("via", ["auto", "pread", "memmap"])
@pytest.mark.parametrize("kept", [1, 100])
def test_slices_are_cut_from_theta(zoo, via, kept):
    zoo._reader._kept = kept  # files held open at a time
    rng = np.random.default_rng(0)
    nets, snapshots, starts = rng.integers(12, size=200), rng.integers(1, 6, size=200), rng.integers(92 - 17 + 1, size=200)
    got = zoo.slices(nets, snapshots, starts, 17, via=via)
    assert got.dtype == np.float32
    for row, net, snapshot, start in zip(got, nets, snapshots, starts):
        assert_array_equal(row, zoo.theta(net, snapshot)[start : start + 17])
    assert_array_equal(zoo.slices(3, [1, 5], 75, 17, via=via), tiny(3).theta[[0, 4], 75:92])
    assert zoo.slices([], [], [], 17, via=via).shape == (0, 17)


@pytest.mark.parametrize("part", ["all", "conv", "fc"])
def test_vectors_are_views(zoo, part):
    vectors = zoo.vectors([0, 5, 0], [1, 5, 2], part)
    for vector, (net, snapshot) in zip(vectors, [(0, 1), (5, 5), (0, 2)]):
        assert_array_equal(vector, zoo.theta(net, snapshot)[zoo.layout(net).part(part)])
        assert not vector.flags.writeable
        assert not vector.flags.owndata


def test_load_gives_every_usable_net_in_order(zoo):
    x, y = zoo.load("optimizer", [4, 5], part="fc", split="train")
    usable = [n for n in range(12) if n != 4 and split(3, n) == "train"]
    assert len(x) == len(y) == 2 * len(usable)
    assert y.tolist() == [tiny(n).hp.optimizer for n in usable for _ in range(2)]
    for row, (number, snapshot) in zip(x, [(n, s) for n in usable for s in (4, 5)]):
        assert_array_equal(row, zoo.theta(number, snapshot)[zoo.layout(number).part("fc")])
    last, _ = zoo.load("optimizer", part="fc", slice_length=30, split="test")
    five, _ = zoo.load("optimizer", 5, "fc", slice_length=30, split="test")
    assert_array_equal(last, five)


def test_load_gives_an_array_when_sizes_agree_else_a_list(zoo):
    assert isinstance(zoo.load("augmentation")[0], list)
    assert zoo.load("augmentation", slice_length=30)[0].shape == (11, 30)
    file_of(zoo, 5).unlink()
    x, y = zoo.load("augmentation")
    assert (x.shape, x.dtype, y.dtype) == ((10, 92), np.float32, bool)
    assert zoo.load("batch_size")[1].dtype == np.int64
    assert zoo.load("learning_rate")[1].dtype == np.float64


@pytest.mark.parametrize("part", ["conv", "fc"])
def test_loaded_slices_lie_in_their_part(zoo, part):
    x, _ = zoo.load("optimizer", [1, 2], part=part, slice_length=20, seed=1)
    for row, (number, snapshot) in zip(x, [(n, s) for n in range(12) if n != 4 for s in (1, 2)]):
        inside = zoo.theta(number, snapshot)[zoo.layout(number).part(part)]
        assert row.tobytes() in inside.tobytes()
    assert_array_equal(x, zoo.load("optimizer", [1, 2], part=part, slice_length=20, seed=1)[0])
    assert not np.array_equal(x, zoo.load("optimizer", [1, 2], part=part, slice_length=20, seed=2)[0])


def test_nets_too_short_for_a_slice_are_left_out_and_counted(zoo):
    frame, notes = zoo.select("optimizer", part="conv", slice_length=100)
    assert frame.index.tolist() == [5]
    assert notes[:2] == [
        "1 net left out: training diverged (weights not finite)",
        "10 nets left out: their conv part is shorter than a slice of 100",
    ]
    assert notes[2].startswith("no net has optimizer=")
    assert zoo.load("optimizer", part="conv", slice_length=100)[0].shape == (1, 100)


def test_converged_filter(tmp_path):
    zoo = Zoo.create(tmp_path)
    for number, (dataset, accuracy) in enumerate(
        [("mnist", 0.8), ("mnist", 0.79), ("kmnist", 0.25), ("kmnist", 0.24), ("svhn", 0.3)]
    ):
        history = np.full((2, 5), accuracy)
        zoo.append(tiny(number, hp=tiny(number).hp.with_(dataset=dataset), history=history))
    zoo.append(tiny(5, history=np.full((2, 5), np.nan)))
    assert zoo.select(converged=True)[0].index.tolist() == [0, 2]
    assert zoo.select(converged={"svhn": 0.3, "kmnist": 0.1})[0].index.tolist() == [0, 2, 3, 4]
    assert len(zoo.select()[0]) == 6
    with pytest.raises(NwsError, match=r"no net is left \(6 nets left out: not converged"):
        zoo.select(converged=dict.fromkeys(FIXED.options["dataset"] + ("kmnist",), 1.0))


def test_balance_gives_every_option_the_same_number_of_nets(tmp_path):
    zoo = Zoo.create(tmp_path)
    for number in range(12):
        zoo.append(tiny(number, hp=tiny(number).hp.with_(optimizer="adam" if number % 3 else "rmsprop")))
    _, y = zoo.load("optimizer", [1, 2], balance=True)
    assert sorted(y) == ["adam"] * 8 + ["rmsprop"] * 8
    assert "no net has optimizer=momentum" in zoo.select("optimizer")[1]


@pytest.mark.skipif(sys.platform != "linux", reason="limits of open files differ")
def test_more_nets_than_files_may_be_open(zoo):
    code = (
        "import resource, sys; from nws.zoo import Zoo\n"
        "zoo = Zoo(sys.argv[1])\n"
        "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (10, int(sys.argv[2]) or hard))\n"
        "views = zoo.vectors(range(12), 1)\n"
        "assert views[11][0] == zoo.theta(11, 1)[0]\n"
    )
    run = [sys.executable, "-c", code, str(zoo.path)]
    assert subprocess.run([*run, "0"], check=False).returncode == 0
    limited = subprocess.run([*run, "10"], check=False, capture_output=True, text=True)
    assert "NwsError: too many open files (10): raise the limit with `ulimit -n`" in limited.stderr


# -- whole files or none ------------------------------------------------------------------------------------------------------

WRITER = """
import sys
sys.path.insert(0, sys.argv[2])
from nws.zoo import Zoo
from test_zoo import tiny
zoo = Zoo.create(sys.argv[1], seed=3, nets=100_000)
number = max(zoo.numbers(), default=-1)
print("ready", flush=True)
while True:
    number += 1
    zoo.append(tiny(number))
    if number % 7 == 0:
        zoo.index
"""


def test_kill_at_any_moment_leaves_whole_nets(tmp_path):
    rng, before = np.random.default_rng(0), 0
    for _ in range(8):
        command = [sys.executable, "-c", WRITER, str(tmp_path), str(Path(__file__).parent)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            assert writer.stdout.readline() == b"ready\n"
            time.sleep(rng.uniform(0.01, 0.1))
            writer.send_signal(signal.SIGKILL)
        zoo = Zoo(tmp_path)
        numbers = zoo.index.index.tolist()
        assert len(numbers) >= before
        assert numbers == list(range(len(numbers)))
        assert zoo.damaged == []
        assert zoo.verify().damaged == []
        before = len(numbers)
    assert before > 8
    for number in range(before):
        assert_same_net(zoo.net(number), tiny(number))


def test_temporary_files_of_killed_processes_are_removed_by_the_next_writer_only(zoo):
    child = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], check=True, capture_output=True, text=True)
    ours = next(iter(_temporary_names(zoo)))
    dead = ours.with_name(ours.name.replace(f".{os.getpid()}.", f".{child.stdout.strip()}."))
    for path in (ours, dead):
        path.write_bytes(b"half a net")
    assert strays(zoo.path) == [dead]
    assert len(Zoo(zoo.path).index) == 12
    report = zoo.verify()
    assert report.ok
    assert report.strays == [f"nets/000/{dead.name}"]
    Zoo.create(zoo.path, FIXED, 3, epochs=8)
    assert ours.exists()
    assert not dead.exists()


def _temporary_names(zoo):
    """The name `append` would write to just now, caught in the act."""
    seen = []

    def fail(path, target):
        seen.append(Path(path))
        raise OSError(errno.EIO, "caught")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(NwsError, match="could not be written"):
            zoo.append(tiny(99))
    return seen


@pytest.mark.parametrize("where", ["os.replace", "os.fsync", "nws.zoo.atomic.flush_folder", "nws.zoo.atomic.open"])
def test_disk_full_drops_the_net_whole(zoo, monkeypatch, where):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    before = sorted(zoo.path.rglob("*.*"))
    monkeypatch.setattr(where, full, raising=False)
    with pytest.raises(
        NwsError, match="disk full while writing net 12: the net was dropped whole, the zoo stays valid; free space"
    ):
        zoo.append(tiny(12))
    monkeypatch.undo()
    assert sorted(zoo.path.rglob("*.*")) == before
    zoo.append(tiny(12))
    assert_same_net(zoo.net(12), tiny(12))


@pytest.fixture
def small_disk():
    """A real file system of 128 KiB."""
    folder = Path(tempfile.mkdtemp())
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, check=False, capture_output=True).returncode:
        folder.rmdir()
        pytest.skip("mounting a small file system takes root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
    folder.rmdir()


def test_a_disk_that_is_really_full(small_disk):
    zoo = Zoo.create(small_disk)
    with pytest.raises(NwsError, match="disk full while writing net"):
        any(zoo.append(tiny(number)) for number in range(100))
    number = len(zoo)
    assert 1 < number < 100
    assert Zoo(small_disk).numbers() == list(range(number))
    assert zoo.verify().damaged == []
    assert strays(small_disk) == []
    assert len(zoo.index) == number  # kept in memory where it cannot be written


# -- damage -------------------------------------------------------------------------------------------------------------------

GOOD = encode(tiny(3), "train")
HEADER = 8 + int.from_bytes(GOOD[:8], "little")


def read_both(data):
    with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:
        Path(file.name).write_bytes(data)
        return read_header(file.name), read_net(file.name)


def test_every_flipped_byte_is_found(tmp_path):
    """Of the header each byte, of the data some, each changed to a few others."""
    path = tmp_path / "net.safetensors"
    for position in [*range(HEADER), *range(HEADER, len(GOOD), 97), len(GOOD) - 1]:
        for flip in (1, 32, 255) if position < HEADER else (1,):
            data = bytearray(GOOD)
            data[position] ^= flip
            path.write_bytes(data)
            with pytest.raises(DamagedFileError):
                read_net(path)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, HEADER - 1, HEADER, HEADER + 1, len(GOOD) - 1])
def test_files_cut_short_or_too_long(size):
    for data in (GOOD[:size], GOOD + b"x" * (size + 1)):
        with pytest.raises(DamagedFileError, match="run `nws verify ZOO --repair`"):
            read_both(data)


def with_header(change):
    """A file whose header went through `change`, its length and metadata checksum put right: what a stranger could make."""
    from nws.zoo.netfile import _metadata_sha256

    header = json.loads(GOOD[8:HEADER])
    change(header)
    header["__metadata__"]["metadata_sha256"] = _metadata_sha256(header["__metadata__"])
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + GOOD[HEADER:]


def test_a_header_made_anew_is_read_the_same():
    assert_same_net(read_both(with_header(lambda header: None))[1], tiny(3))


@pytest.mark.parametrize(
    "change",
    [
        lambda h: h["theta"].update(shape=[-5, -92]),
        lambda h: h["theta"].update(shape=[460]),
        lambda h: h["theta"].update(shape=[10**30, 92]),
        lambda h: h["theta"].update(shape=[5.0, 92]),
        lambda h: h["theta"].update(dtype="F16"),
        lambda h: h["theta"].update(dtype="O"),
        lambda h: h["theta"].update(data_offsets=[10**18, 10**18 + 1840]),
        lambda h: h["epoch"].update(data_offsets=h["history"]["data_offsets"]),
        lambda h: h["epoch"].update(extra=1),
        lambda h: h.pop("epoch"),
        lambda h: h.update(more=h["epoch"]),
        lambda h: h["__metadata__"].pop("layout"),
        lambda h: h["__metadata__"].update(layout="[]"),
        lambda h: h["__metadata__"].update(layout=json.dumps([["a", "weight", [float("inf")], "fc"]])),
        lambda h: h["__metadata__"].update(layout="[" * 50_000),
        lambda h: h["__metadata__"].update(hyper_parameters="{}"),
        lambda h: h["__metadata__"].update(hyper_parameters=json.dumps({**tiny(3).hp.to_dict(), "batch_size": 2**70})),
        lambda h: h["__metadata__"].update(number="-3"),
        lambda h: h["__metadata__"].update(number="9" * 5000),
        lambda h: h["__metadata__"].update(format="one"),
        lambda h: h["__metadata__"].update(status="fine"),
        lambda h: h["__metadata__"].update(split="valid"),
        lambda h: h["__metadata__"].update(about="[]"),
        lambda h: h["__metadata__"].update(accuracies='{"train_accuracy": 0.5}'),
        lambda h: h["__metadata__"].update(seconds="fast"),
    ],
)
def test_hostile_headers(change):
    data = with_header(change)
    with pytest.raises(DamagedFileError, match=r"^[^\n]*$"):
        read_both(data)


def test_text_that_is_no_text():
    """A lone surrogate is valid JSON, but has no bytes to take a checksum of."""
    with pytest.raises(DamagedFileError, match=r"^[^\n]*$"):
        read_both(GOOD.replace(b'"status":"ok"', b'"s": "\\ud800"'))


def test_a_lie_about_the_weights_is_found_by_reading_them():
    accuracies = {"train_accuracy": 1.0, "validation_accuracy": 1.0, "test_accuracy": 1.0}
    with pytest.raises(DamagedFileError, match="accuracies are not those of its history"):
        read_both(with_header(lambda h: h["__metadata__"].update(accuracies=json.dumps(accuracies))))
    lie = replace(diverged(3), status="diverged")
    data = encode(lie, "train")
    object.__setattr__(lie, "status", "ok")
    assert read_both(data)[1].status == "diverged"
    with pytest.raises(DamagedFileError, match="NaN or infinite weights, but its status is 'ok'"):
        read_both(encode(lie, "train"))


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_a_mutated_file_is_refused_or_means_the_same(data):
    mutated = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 3))):
        limit = data.draw(st.sampled_from([8, HEADER, len(mutated)]))
        begin = data.draw(st.integers(0, min(limit, len(mutated))))
        length = data.draw(st.integers(0, 20))
        mutated[begin : begin + length] = data.draw(st.binary(max_size=20))
    try:
        header, net = read_both(bytes(mutated))
    except NwsError as error:
        message = str(error)
    else:
        message = ""
        assert_same_net(net, tiny(3))
        assert replace(header, bytes=0, offsets={}) == replace(read_both(GOOD)[0], bytes=0, offsets={})
    assert "\n" not in message


def test_verify_finds_everything_and_repair_loses_nothing(zoo):
    rng, nets = np.random.default_rng(0), zoo.path / "nets/000"
    _ = zoo.index
    whole = {path.name: path.read_bytes() for path in nets.iterdir()}
    for number, size in [(0, 0), (1, 5), (2, 500), (3, -1)]:
        (nets / f"{number:06d}.safetensors").write_bytes(whole[f"{number:06d}.safetensors"][:size])
    for number in (6, 7):
        changed = bytearray(whole[f"{number:06d}.safetensors"])
        changed[rng.integers(HEADER, len(changed))] ^= 1
        (nets / f"{number:06d}.safetensors").write_bytes(changed)
    shutil.copy(nets / "000008.safetensors", nets / "000012.safetensors")
    (nets / "000009.safetensors").rename(nets / "9.safetensors")
    fresh = Zoo(zoo.path)
    assert len(fresh.damaged) == 6  # what headers tell; bits flipped in weights only `verify` finds
    report = fresh.verify()
    assert sorted(path[9:] for path, _ in report.damaged) == [
        *(f"{number:06d}.safetensors" for number in (0, 1, 2, 3, 6, 7, 12)),
        "9.safetensors",
    ]
    assert not report.ok
    assert report.missing == [9]
    assert report.lines()[-2] == f"to move damaged files aside run `nws verify {zoo.path} --repair`"
    with pytest.raises(NwsError, match=r"run `nws verify .* --repair`"):
        fresh.net(6)
    steps = []
    report = fresh.verify(repair=True, progress=lambda done, of: steps.append((done, of)))
    assert steps[-1] == (12, 12)
    assert report.ok
    assert report.lines()[-1] == "run the same `nws sample` command: it trains the 7 missing nets again"
    assert len(list((zoo.path / "damaged").iterdir())) == 8
    assert fresh.index.index.tolist() == [4, 5, 8, 10, 11]
    assert fresh.missing() == report.missing == [0, 1, 2, 3, 6, 7, 9]
    for number in fresh.missing():
        fresh.append(tiny(number))
    for number in range(12):
        assert_same_net(fresh.net(number), zoo_net(number))
    again = fresh.verify(repair=True)
    assert (again.ok, again.damaged, again.missing, again.checked) == (True, [], [], 12)


def test_verify_says_how_the_index_was(zoo):
    assert zoo.verify().index == "missing"
    _ = zoo.index
    assert zoo.verify().index == "fresh"
    zoo.append(tiny(12))
    assert zoo.verify().index == "stale"
    assert "the index was stale and is made anew when next used" in zoo.verify().lines()
    zoo.verify(repair=True)
    assert Zoo(zoo.path).verify().index == "fresh"


def test_damage_in_place_is_seen_by_the_index_of_the_next_zoo(zoo):
    _ = zoo.index
    path = file_of(zoo, 3)
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(0, 0))
    fresh = Zoo(zoo.path)
    assert 3 not in fresh.index.index
    assert fresh.damaged[0][0] == "nets/000/000003.safetensors"
    with pytest.raises(NwsError, match="has a net 3 already"):
        fresh.append(tiny(3))


def test_a_net_of_a_newer_format_is_left_where_it_is(zoo, monkeypatch):
    monkeypatch.setattr("nws.zoo.netfile.FORMAT", 2)
    zoo.append(tiny(12))
    monkeypatch.undo()
    with pytest.raises(NwsError, match="format 2 was written by a newer nws: upgrade nws"):
        zoo.net(12)
    report = zoo.verify(repair=True)
    assert len(report.damaged) == 1
    assert not report.moved
    assert not report.ok
    assert 12 in zoo.numbers()


# -- in words -----------------------------------------------------------------------------------------------------------------


def test_summary_is_json_and_adds_up(zoo):
    facts = json.loads(json.dumps(zoo.summary(), allow_nan=False))
    assert (facts["nets"], facts["planned"], facts["seed"], facts["format"]) == (12, 12, 3, 1)
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
