"""Nets in shards: the same zoo to whoever reads it, whole whatever happens, and damage that is one net's."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fabricated import LAYOUT, assert_same_net, fabricated_zoo, tiny, zoo_net
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from nws import FIXED, NwsError, exporters
from nws.auditing.reference import Reference
from nws.recorded import Recorded
from nws.zoo import Zoo, packing
from nws.zoo.shardfile import Shard, encode

NETS = 12


def singles(zoo):
    return sorted(path.relative_to(zoo.path).as_posix() for path in (zoo.path / "nets").rglob("*.safetensors"))


def shards(zoo):
    return sorted(zoo.path.glob("shards/*/*.safetensors"))


def packed_zoo(path, nets_per_shard=5):
    zoo = fabricated_zoo(path)
    zoo.pack(nets_per_shard)
    return zoo


def half_packed_zoo(path):
    """Some nets in shards, some in files, one in both: what a call leaves that is killed in the middle."""
    zoo = fabricated_zoo(path)
    kept = {number: (zoo.path / zoo.index.loc[number, "path"]).read_bytes() for number in (0, 3, 4, 5, 9)}
    zoo.pack(7)
    for number, data in kept.items():
        if number != 9:
            (zoo.path / f"nets/000/{number:06d}.safetensors").write_bytes(data)
    for path_ in shards(zoo):  # the nets of the first shard but net 9 are now in files, too
        if 0 in Shard(path_):
            nets = [Shard(path_).packed(n) for n in Shard(path_).numbers if n not in (0, 3, 4)]
            path_.unlink()
            packing.write_shard(zoo.path, nets)
    return Zoo(zoo.path)


def many_at_once(path):
    zoo = Zoo.create(path, FIXED, seed=3, nets=NETS, images={"mnist": {"sha256": "ab"}}, epochs=8, limit=None)
    assert zoo.append_many(zoo_net(number) for number in range(NETS)) == NETS
    return zoo


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
    assert other.append_many([tiny(14), tiny(13), tiny(1500)]) == 3
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
    with Zoo(tmp_path).only_writer(), pytest.raises(NwsError, match="is filling it"):
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
            calls[0] += 1
            if calls[0] > stop:
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


# -- damage --


def test_damage_is_one_net_s_and_repair_keeps_the_others(tmp_path):
    zoo = packed_zoo(tmp_path, 7)
    path = shards(zoo)[0]
    data, shard = bytearray(path.read_bytes()), Shard(path)
    data[shard.header(2).offsets["theta"] + 100] ^= 1
    data[shard.header(4).offsets["epoch"]] ^= 1
    data[shard.offsets["metadata"] + shard._rows[5][0] + 30] ^= 1
    path.write_bytes(data)
    fresh = Zoo(tmp_path)
    name = path.relative_to(tmp_path).as_posix()
    report = fresh.verify()
    assert [(where, why.split(": ")[1]) for where, why in report.damaged] == [(name, f"net {n}") for n in (2, 4, 5)]
    assert not report.ok
    assert 5 not in fresh.index.index  # what its header tells
    assert fresh.damaged[0][0] == name
    with pytest.raises(NwsError, match=rf"net 2: theta is not what was written.*run `nws verify {tmp_path} --repair`"):
        fresh.net(2)
    assert_same_net(fresh.net(3), zoo_net(3))
    report = fresh.verify(repair=True)
    assert report.ok
    assert report.moved == [f"damaged/{path.name}"]
    assert report.missing == fresh.missing() == [2, 4, 5]
    assert (tmp_path / "damaged" / path.name).read_bytes() == data
    for number in (0, 1, 3, 6, *range(7, NETS)):
        assert_same_net(fresh.net(number), zoo_net(number))
    for number in (2, 4, 5):
        fresh.append(zoo_net(number))
    fresh.pack(7)
    assert fresh.verify().ok
    for number in range(NETS):
        assert_same_net(Zoo(tmp_path).net(number), zoo_net(number))


def test_of_a_shard_that_is_cut_short_the_whole_nets_are_kept(tmp_path):
    rng = np.random.default_rng(0)
    for turn in range(8):
        zoo = packed_zoo(tmp_path / str(turn), 12)
        (path,) = shards(zoo)
        whole = path.read_bytes()
        begin = Shard(path).offsets["theta"]
        size = len(whole) + 1 if turn == 7 else int(rng.integers(begin, len(whole)))
        ends = [Shard(path).header(n).offsets["theta"] + 4 * zoo_net(n).theta.size for n in range(NETS)]
        path.write_bytes((whole + b"x")[:size])
        fresh = Zoo(zoo.path)
        assert not fresh.verify().ok
        with pytest.raises(NwsError, match="repair"):
            fresh.theta(0)
        report = fresh.verify(repair=True)
        kept = [n for n in range(NETS) if ends[n] <= size]
        assert fresh.numbers() == kept
        assert report.missing == [n for n in range(NETS) if n not in kept]
        for number in kept:
            assert_same_net(fresh.net(number), zoo_net(number))


def test_every_flipped_byte_is_found(tmp_path):
    zoo = packed_zoo(tmp_path, 12)
    (path,) = shards(zoo)
    good, shard = path.read_bytes(), Shard(path)
    for position in [*range(8, shard.offsets["epoch"], 7), *range(shard.offsets["epoch"], len(good), 97), len(good) - 1]:
        data = bytearray(good)
        data[position] ^= 1
        path.write_bytes(data)
        report = zoo.verify()
        assert 1 <= len(report.damaged) <= 1 + ("net" not in report.damaged[0][1]), position


GOOD = io.BytesIO()


def good():
    """A shard of three nets, and where its header ends."""
    if not GOOD.getvalue():
        from nws.zoo.netfile import metadata_of, tensors_of

        nets = [tiny(n) for n in range(3)]
        GOOD.write(encode([(metadata_of(net, "train", tensors_of(net)), tensors_of(net)) for net in nets]))
    data = GOOD.getvalue()
    return data, 8 + int.from_bytes(data[:8], "little")


def rewritten(change=lambda header: None, table=None, text=None):
    """The shard with another header or table, and all checksums put right: what a stranger could make."""
    import hashlib

    from nws.zoo.container import metadata_sha256

    data, begin = good()
    header, body = json.loads(data[8:begin]), bytearray(data[begin:])
    said = header["__metadata__"]
    if table is not None:
        rows = np.frombuffer(bytes(body[: 3 * 6 * 8]), "<i8").reshape(3, 6).copy()
        table(rows)
        body[: rows.nbytes] = rows.tobytes()
        said["nets_sha256"] = hashlib.sha256(rows.tobytes()).hexdigest()
    if text is not None:
        at, end = header["metadata"]["data_offsets"]
        changed = text(bytes(body[at:end]))
        assert len(changed) == end - at
        body[at:end] = changed
    change(header)
    said["metadata_sha256"] = metadata_sha256(said)
    line = json.dumps(header).encode()
    line += b" " * (-len(line) % 8)
    return len(line).to_bytes(8, "little") + line + bytes(body)


def looked_at(data, folder):
    path = folder / "shards/000/000000-000002-00000000.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    shard = Shard(path)
    for number in shard.numbers:
        shard.layout(number)
        shard.records(number)
        shard.net(number)
        shard.packed(number)
    return shard


def test_a_shard_made_anew_is_read_the_same(tmp_path):
    for data in (good()[0], rewritten()):
        shard = looked_at(data, tmp_path)
        for number in range(3):
            assert_same_net(shard.net(number), tiny(number))


def set_row(row, column, value):
    def change(rows):
        rows[row, column] = value

    return change


def swapped(rows):
    rows[[0, 1]] = rows[[1, 0]]


def common(**changes):
    def change(header):
        said = header["__metadata__"]
        said["common"] = json.dumps({**json.loads(said["common"]), **changes})

    return change


@pytest.mark.parametrize(
    ("made", "why"),
    [
        # claims too much
        ({"change": lambda h: h["theta"].update(shape=[10**30])}, "do not hold a tensor"),
        ({"change": lambda h: h["theta"].update(shape=[10**12], data_offsets=[0, 4 * 10**12])}, "gap or overlap"),
        ({"change": lambda h: h["nets"].update(shape=[10**6, 6])}, "do not hold a tensor"),
        ({"change": lambda h: h["__metadata__"].update(shard="1000")}, "its table has the shape"),
        ({"change": lambda h: h["__metadata__"].update(shard="9" * 30)}, "no whole number"),
        ({"table": set_row(2, 2, 10**15)}, "does not fill"),
        ({"table": set_row(2, 2, 1 << 62)}, "does not fill"),
        ({"table": set_row(2, 3, 1 << 62)}, "does not fill"),
        ({"table": set_row(0, 5, 1 << 40)}, "does not fill"),
        # offsets outside, overlapping nets: two of a stranger's nets cannot share bytes, so what remains is sums that are wrong
        ({"change": lambda h: h["theta"].update(data_offsets=[10**18, 10**18 + 3 * 1840])}, "gap or overlap"),
        ({"change": lambda h: h["theta"].update(data_offsets=h["metadata"]["data_offsets"])}, "do not hold"),
        ({"table": set_row(0, 1, 4)}, "does not fill"),
        ({"table": set_row(1, 2, -92)}, "numbers below 0"),
        ({"table": set_row(0, 1, 0)}, "without weights"),
        ({"table": swapped}, "order of the numbers"),
        ({"table": set_row(1, 0, 0)}, "order of the numbers"),
        ({"table": set_row(2, 0, 7)}, "not those of its name"),
        # checksums and texts
        ({"change": lambda h: h["__metadata__"].update(nets_sha256="0" * 64)}, "checksum differs"),
        ({"change": lambda h: h["__metadata__"].pop("nets_sha256")}, "lacks 'nets_sha256'"),
        ({"change": lambda h: h["__metadata__"].update(common="[]")}, "common metadata"),
        ({"change": lambda h: h["__metadata__"].update(common="[" * 300_000)}, "nests more"),
        ({"change": lambda h: h["__metadata__"].update(common='{"layout": 3}')}, "common metadata"),
        ({"change": lambda h: h["__metadata__"].update(format="3")}, "not a shard's"),
        ({"change": lambda h: h.pop("epoch")}, "must hold the tensors"),
        ({"change": common(number="5")}, "twice"),
        ({"change": common(layout="[]")}, "a layout needs"),
        ({"change": common(layout=json.dumps([{"layer": "a", "role": "weight", "shape": [9], "part": "fc"}]))}, "its layout"),
        ({"change": common(more="x")}, "metadata are not what was written"),
        ({"text": lambda t: t.replace(b'"number": "1"', b'"number": "2"')}, "metadata are not what was written"),
        ({"text": lambda t: b"x" + t[1:]}, "net 0: "),
        ({"text": lambda t: b"[" * len(t)}, "net 0: "),
    ],
)  # fmt: skip
def test_hostile_shards_are_refused_in_one_line(tmp_path, made, why):
    with pytest.raises(NwsError, match=r"^[^\n]*$") as error:
        looked_at(rewritten(**made), tmp_path)
    assert why in str(error.value)
    assert f"run `nws verify {tmp_path} --repair`" in str(error.value)


def test_a_newer_shard_is_left_where_it_is(tmp_path):
    zoo = fabricated_zoo(tmp_path)
    path = tmp_path / "shards/000/000000-000002-00000000.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(rewritten(lambda h: h["__metadata__"].update(format="5")))
    report = zoo.verify(repair=True)
    assert "format 5 was written by a newer nws: upgrade nws" in report.damaged[0][1]
    assert not report.moved
    assert not report.ok
    assert path.exists()


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_mutated_shard_is_refused_or_means_the_same(tmp_path_factory, data):
    mutated = bytearray(good()[0])
    for _ in range(data.draw(st.integers(1, 3))):
        limit = data.draw(st.sampled_from([8, good()[1], good()[1] + 144, len(mutated)]))
        begin = data.draw(st.integers(0, min(limit, len(mutated))))
        length = data.draw(st.integers(0, 20))
        mutated[begin : begin + length] = data.draw(st.binary(max_size=20))
    try:
        shard = looked_at(bytes(mutated), tmp_path_factory.mktemp("zoo"))
    except NwsError as error:
        message = str(error)
    else:
        message = ""
        for number in shard.numbers:
            assert_same_net(shard.net(number), tiny(number))
    assert "\n" not in message


def test_files_that_are_no_shards_are_named(tmp_path):
    zoo = packed_zoo(tmp_path)
    (path, *_) = shards(zoo)
    for name in ("shards/000/a.safetensors", "shards/001/000000-000004-12345678.safetensors", "shards/x.safetensors"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(path, tmp_path / name)
    assert sorted(where for where, _ in Zoo(tmp_path).damaged) == sorted(
        ("shards/000/a.safetensors", "shards/001/000000-000004-12345678.safetensors", "shards/x.safetensors")
    )
    renamed = path.with_name("000000-000003-12345678.safetensors")
    path.rename(renamed)
    assert any("holds nets 0 to 4, not those of its name" in line for line in Zoo(tmp_path).verify().lines())
    assert zoo.verify(repair=True).ok
    assert zoo.numbers() == list(range(NETS))  # the renamed one was written anew by its right name


def test_offsets_of_nets_follow_one_another(tmp_path):
    shard = Shard(shards(packed_zoo(tmp_path, 12))[0])
    ends = [(first, first + s * p) for first, s, p in map(shard.span, shard.numbers)]
    assert all(a[1] == b[0] for a, b in pairwise(ends))
    assert (ends[0][0], ends[-1][1]) == (0, len(shard.floats))
