"""Shards whose bytes are not what was written: damage is one net's, and a stranger's lies are refused in one line."""

import io
import json
import shutil
from itertools import pairwise

import numpy as np
import pytest
from fabricated import assert_same_net, fabricated_zoo, tiny, zoo_net
from hypothesis import given, settings
from hypothesis import strategies as st
from sharded import NETS, packed_zoo, shards

from nws import NwsError
from nws.zoo import Zoo
from nws.zoo.shardfile import Shard, encode

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
