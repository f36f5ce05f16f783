"""Nets in shards: the same zoo to whoever reads it, and whole whatever happens while they are packed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fabricated import LAYOUT, assert_same_net, fabricated_zoo, tiny, zoo_net
from numpy.testing import assert_array_equal
from sharded import NETS, half_packed_zoo, many_at_once, packed_zoo, shards, singles
from test_cli import run

from nws import FIXED, NwsError, exporters
from nws.auditing.reference import Reference
from nws.recorded import Recorded
from nws.zoo import Zoo, packing
from nws.zoo.shardfile import Shard, encode

MADE = {"packed": packed_zoo, "half packed": half_packed_zoo, "at once": many_at_once}


@pytest.fixture(params=MADE)
def pair(request, tmp_path):
    """The same nets in files and in shards."""
    return fabricated_zoo(tmp_path / "plain" / "zoo"), Zoo(MADE[request.param](tmp_path / "shards" / "zoo").path)


# -- the same zoo --


def test_the_zoos_of_this_file_are_what_they_say(tmp_path):
    plain, half = fabricated_zoo(tmp_path / "a"), half_packed_zoo(tmp_path / "b")
    assert not shards(plain)
    assert singles(half) == [f"nets/000/{n:06d}.safetensors" for n in (0, 3, 4, 5)]
    assert [Shard(path).numbers for path in shards(half)] == [[1, 2, 5, 6], [7, 8, 9, 10, 11]]
    for make in (packed_zoo, many_at_once):
        zoo = make(tmp_path / make.__name__)
        assert not singles(zoo)
        assert len(zoo) == NETS


def test_nets_are_the_same(pair):
    plain, zoo = pair
    assert zoo.numbers() == plain.numbers() == list(range(NETS))
    assert zoo.missing() == []
    assert len(zoo) == NETS
    for number, net in enumerate(zoo):
        assert_same_net(net, zoo_net(number))
        assert_same_net(zoo[number], net)
        assert zoo.layout(number) == plain.layout(number)
        assert [t.axes for t in zoo.layout(number).tensors] == [t.axes for t in plain.layout(number).tensors]
        assert_array_equal(zoo.theta(number), plain.theta(number))
        assert_array_equal(zoo.theta(number, 3), plain.theta(number, 3))
        for one, other in zip(zoo.records(number), plain.records(number), strict=True):
            assert_array_equal(one, other)
        for name, values in plain.measured(number).items():
            assert_array_equal(zoo.measured(number)[name], values)
    assert zoo.layouts() == plain.layouts()


@pytest.mark.parametrize("via", ["pread", "memmap", "auto"])
def test_slices_and_vectors_are_the_same(pair, via):
    plain, zoo = pair
    rng = np.random.default_rng(0)
    nets, snapshots, starts = rng.integers(NETS, size=200), rng.integers(1, 6, 200), rng.integers(0, 83, 200)
    assert_array_equal(zoo.slices(nets, snapshots, starts, 10, via), plain.slices(nets, snapshots, starts, 10, via))
    for part in ("all", "conv", "fc"):
        for one, other in zip(zoo.vectors(nets, snapshots, part), plain.vectors(nets, snapshots, part), strict=True):
            assert_array_equal(one, other)
            assert not one.flags.writeable


WHERE = ["path", "bytes"]  # of the file, not of the net


def test_the_index_is_the_same(pair):
    plain, zoo = pair
    pd.testing.assert_frame_equal(zoo.index.drop(columns=WHERE), plain.index.drop(columns=WHERE))
    assert zoo.damaged == []
    assert all((zoo.path / path).is_file() for path in zoo.index["path"])
    pd.testing.assert_frame_equal(Zoo(zoo.path).index, zoo.index)  # as it was stored
    (zoo.path / "index.parquet").unlink()
    pd.testing.assert_frame_equal(Zoo(zoo.path).index, zoo.index)  # as it is made anew


def test_what_is_said_of_the_zoo_is_the_same(pair):
    plain, zoo = pair
    said, other = zoo.summary(), plain.summary()
    assert (said.pop("format"), other.pop("format")) == (4, 3)
    for name in ("path", "bytes"):
        said.pop(name), other.pop(name)
    assert said == other
    assert zoo.properties == plain.properties
    assert zoo.varying() == plain.varying()
    report = zoo.verify()
    assert (report.ok, report.checked, report.damaged, report.lost, report.missing) == (True, NETS, [], [], [])
    assert report.index in ("fresh", "stale")


@pytest.mark.parametrize("view", ["slices", "tokens"])
def test_data_sets_and_arrays_are_the_same(pair, view):
    plain, zoo = pair
    options = {"slice_length": 20, "per_vector": 3} if view == "slices" else {}
    for target in ("optimizer", "test_accuracy"):
        one, other = (z.torch(target, view, snapshots=[2, 5], **options) for z in (zoo, plain))
        assert len(one) == len(other) > 0
        for i in range(len(one)):
            assert all(bool((a == b).all()) for a, b in zip(one[i], other[i], strict=True))
    for part in ("all", "conv"):
        (x, y), (u, v) = (z.load("optimizer", [1, 5], part=part, slice_length=30) for z in (zoo, plain))
        assert_array_equal(x, u)
        assert_array_equal(y, v)


def test_own_columns_and_marks_are_the_same(pair):
    plain, zoo = pair
    for z in pair:
        z.annotate(pd.DataFrame({"net": [0, 7], "cost": [0.5, 2.0]}))
        z.mark_failed(3, "memory ran out")
        z.mark_failed(40, "memory ran out")
    assert zoo.index["cost"].equals(plain.index["cost"])
    assert zoo.failed == plain.failed == {40: "memory ran out"}
    with pytest.raises(NwsError, match="has no net 12"):
        zoo.annotate(pd.DataFrame({"net": [12], "cost": [0.5]}), replace=True)


def test_exports_and_references_are_the_same(pair, tmp_path):
    for z, name in zip(pair, ("plain", "shards"), strict=True):
        exporters.export(z, "numpy", tmp_path / "out" / name)
    one, other = ({p.name: p for p in (tmp_path / "out" / name).rglob("*.np*")} for name in ("plain", "shards"))
    assert set(one) == set(other) != set()
    for name, path in one.items():
        if name.endswith(".npy"):
            assert path.read_bytes() == other[name].read_bytes()
    rows = [Reference.of_zoo(z).rows for z in pair]
    assert_array_equal(*rows)


def test_foreign_nets_and_old_formats_are_packed_as_they_are(tmp_path):
    shutil.copytree(Path(__file__).parent / "written_by_0_1_0/imported", tmp_path / "old")
    shutil.copytree(Path(__file__).parent / "written_by_0_1_0/zoo", tmp_path / "own")
    recorded = Recorded({"dataset": "cifar", "optimizer": "sgd", "status": 3})
    new = Zoo.create(tmp_path / "new", imported="checkpoints")
    for number in range(3):
        new.append(tiny(number, hp=recorded, epoch=np.arange(5)), "test")
    for name in ("old", "own", "new"):
        before = Zoo(tmp_path / name)
        index, nets = before.index, list(before)
        before.pack()
        after = Zoo(tmp_path / name)
        assert not singles(after)
        pd.testing.assert_frame_equal(after.index.drop(columns=WHERE), index.drop(columns=WHERE))
        for one, other in zip(after, nets, strict=True):
            assert_same_net(one, other)
        assert after.verify().ok


def test_the_safetensors_library_opens_a_shard(tmp_path):
    from safetensors import safe_open

    with safe_open(shards(packed_zoo(tmp_path))[0], "np") as file:
        table = file.get_tensor("nets")
        theta = file.get_tensor("theta")
    assert table[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert_array_equal(theta[: 5 * LAYOUT.size].reshape(5, -1), tiny(0).theta)


# -- packing --


def test_what_is_packed_and_what_is_not(tmp_path, monkeypatch):
    zoo = Zoo.create(tmp_path, FIXED)
    for number in (*range(996, 1003), 2000, 5000):
        zoo.append(tiny(number))
    (tmp_path / "nets/000/000998.safetensors").write_bytes(b"damaged")
    heard = []
    summary = zoo.pack(4, on_progress=lambda done, of: heard.append((done, of)))
    assert [Shard(path).numbers for path in shards(zoo)] == [[996, 997, 999], [1000, 1001, 1002]]
    assert (summary.nets, summary.shards, summary.freed) == (6, 2, 6)
    assert list(summary.left) == [998, 2000, 5000]
    assert heard[-1] == (9, 9)
    again = zoo.pack(4)
    assert (again.nets, again.shards, again.freed) == (0, 0, 0)
    assert zoo.numbers() == [*range(996, 1003), 2000, 5000]
    monkeypatch.setattr(packing, "BYTES", 6000)
    other = Zoo.create(tmp_path / "large", FIXED)
    for number in range(3):
        other.append(tiny(number))
    assert "large enough" in other.pack().left[0]
    for wrong in (0, 1, 1001):
        with pytest.raises(NwsError, match="use 2 to 1,000"):
            zoo.pack(wrong)


def test_small_shards_are_put_together(tmp_path):
    """What many writers leave, a block of nets each."""
    zoo = Zoo.create(tmp_path, FIXED)
    for first in range(0, 30, 3):
        zoo.append_many(map(tiny, range(first, first + 3)))
    zoo.append(tiny(30))
    assert len(shards(zoo)) == 10
    summary = zoo.pack(20)
    assert [len(Shard(path)) for path in shards(zoo)] == [20, 11]
    assert summary.freed == 11
    for number in range(31):
        assert_same_net(zoo.net(number), tiny(number))
    assert zoo.pack(20).nets == 0
    assert zoo.verify().ok


def test_nets_that_are_there_are_refused_and_others_may_follow(tmp_path):
    zoo = packed_zoo(tmp_path)
    for call in (lambda: zoo.append(tiny(3)), lambda: zoo.append_many([tiny(20), tiny(3)])):
        with pytest.raises(NwsError, match="has a net 3 already"):
            call()
    zoo.append(tiny(12))
    other = Zoo(zoo.path)
    assert other.append_many([tiny(14), (tiny(13), "test"), (tiny(1500), "train")]) == 3
    assert zoo.index.loc[[13, 1500], "split"].tolist() == ["test", "train"]
    assert zoo.numbers() == [*range(15), 1500]
    assert zoo.index.index.tolist() == zoo.numbers()
    assert_same_net(zoo.net(13), tiny(13))
    with pytest.raises(NwsError, match="split 'valid' is unknown"):
        zoo.append(tiny(20), split="valid")
    with pytest.raises(NwsError, match="has no net 20"):
        zoo.theta(20)
    with pytest.raises(IndexError):
        zoo[20]


def test_an_older_nws_asks_for_an_upgrade_before_there_is_a_shard(tmp_path, monkeypatch):
    zoo = fabricated_zoo(tmp_path)
    seen = []
    monkeypatch.setattr(
        packing, "encode", lambda nets: seen.append(json.loads((tmp_path / "zoo.json").read_text())["format"]) or encode(nets)
    )
    zoo.pack()
    assert set(seen) == {4}
    Zoo.create(tmp_path, FIXED, 3, nets=20, epochs=8)
    assert json.loads((tmp_path / "zoo.json").read_text())["format"] == 4


def test_packing_waits_for_no_writer(tmp_path):
    zoo = fabricated_zoo(tmp_path)
    with Zoo(tmp_path).only_writer(), pytest.raises(NwsError, match="is writing to it"):
        zoo.pack()
    assert len(singles(zoo)) == NETS
    assert not shards(zoo)


@pytest.mark.parametrize("where", ["unlink", "replace", "fsync"])
def test_packing_may_stop_anywhere_and_goes_on(tmp_path, monkeypatch, where):
    """At each step in turn something fails; nothing is lost, and the next call ends with the same files."""
    expected = None
    for stop in range(40):
        zoo = fabricated_zoo(tmp_path / str(stop))
        calls, real = [0], getattr(os, where)

        def stops(*given, stop=stop, calls=calls, real=real, **more):
            calls[0] += "claims" not in str(given[0])  # a process that was stopped has ended, and its heartbeat with it
            if calls[0] > stop and "claims" not in str(given[0]):
                raise KeyboardInterrupt
            return real(*given, **more)

        with monkeypatch.context() as patch:
            patch.setattr(os, where, stops)
            try:
                zoo.pack(5)
                done = True
            except KeyboardInterrupt:
                done = False
        for number in range(NETS):
            assert_same_net(Zoo(zoo.path).net(number), zoo_net(number))
        assert Zoo(zoo.path).index.index.tolist() == list(range(NETS))
        Zoo(zoo.path).pack(5)
        names = [path.name for path in shards(zoo)]
        expected = expected or names
        assert names == expected
        assert not singles(zoo)
        if done:
            break
    assert stop > 2
    assert done


PACKER = "import sys; from nws.zoo import Zoo; zoo = Zoo(sys.argv[1]); print('ready', flush=True); zoo.pack(5)"


def test_a_packer_is_killed_at_any_moment(tmp_path):
    whole = fabricated_zoo(tmp_path / "whole")
    for number in range(NETS, 60):
        whole.append(tiny(number))
    rng, between = np.random.default_rng(0), 0
    for turn in range(6):
        zoo = Zoo(shutil.copytree(whole.path, tmp_path / str(turn)))
        with subprocess.Popen([sys.executable, "-c", PACKER, str(zoo.path)], stdout=subprocess.PIPE) as packer:
            assert packer.stdout.readline() == b"ready\n"
            time.sleep(rng.uniform(0.0, 0.3))
            packer.send_signal(signal.SIGKILL)
        between += bool(singles(zoo)) and bool(shards(zoo))
        assert zoo.verify().ok
        assert zoo.index.index.tolist() == list(range(60))
        zoo.pack(5)
        assert not singles(zoo)
        for number in range(60):
            assert_same_net(zoo.net(number), zoo_net(number) if number < NETS else tiny(number))


def test_a_shard_that_comes_back_wrong_removes_nothing(tmp_path, monkeypatch):
    zoo = fabricated_zoo(tmp_path)

    def flipped(nets):
        data = bytearray(encode(nets))
        data[-5] ^= 1
        return bytes(data)

    monkeypatch.setattr(packing, "encode", flipped)
    with pytest.raises(NwsError, match="the disk gives back something else"):
        zoo.pack()
    assert len(singles(zoo)) == NETS
    assert not shards(zoo)


def test_two_writers_of_shards_at_once(tmp_path):
    """Each writes its own; a net that both have is the same in both."""
    one, two = Zoo.create(tmp_path, FIXED), Zoo(tmp_path)
    monkey = iter([False] * 100)
    one._reader.has = lambda number: next(monkey)  # neither sees the other
    two.append_many(map(tiny, range(6)))
    one.append_many(map(tiny, range(3, 9)))
    zoo = Zoo(tmp_path)
    assert zoo.numbers() == zoo.index.index.tolist() == list(range(9))
    assert zoo.verify().ok
    zoo.pack(20)
    assert [Shard(path).numbers for path in shards(zoo)] == [list(range(9))]


def test_a_reader_follows_nets_that_move(tmp_path):
    zoo = fabricated_zoo(tmp_path)
    reader = Zoo(tmp_path)
    before = [reader.theta(n) for n in range(0, NETS, 2)]  # these files are open
    zoo.pack(5)
    for number in range(NETS):
        assert_array_equal(reader.theta(number), zoo_net(number).theta)
        assert_same_net(reader.net(number), zoo_net(number))
    assert len(before) == NETS // 2
    assert reader.index.index.tolist() == list(range(NETS))


def test_the_command(tmp_path, capsys, monkeypatch):
    zoo = fabricated_zoo(tmp_path)
    (tmp_path / "nets/000/000003.safetensors").write_bytes(b"damaged")
    assert run(capsys, monkeypatch, "pack", tmp_path, "--nets-per-shard", "6")[0] == 0
    assert len(shards(zoo)) == 2
    code, out, _ = run(capsys, monkeypatch, "pack", tmp_path)
    assert code == 0
    assert "net 3 stays" in out
    assert json.loads(run(capsys, monkeypatch, "pack", tmp_path, "--json")[1])["nets"] == 0
    code, _, err = run(capsys, monkeypatch, "pack", tmp_path, "--nets-per-shard", "1")
    assert code == 2
    assert "use 2 to 1,000" in err
    with zoo.only_writer():
        code, _, err = run(capsys, monkeypatch, "pack", tmp_path)
    assert code == 2
    assert "is writing to it" in " ".join(err.split())
