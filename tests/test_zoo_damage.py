"""Nets are whole whatever happens, and what is not what was written is found."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fabricated import assert_same_net, diverged, fabricated_zoo, file_of, tiny, zoo_net
from hypothesis import given, settings
from hypothesis import strategies as st

from nws import FIXED, NwsError
from nws.families.base import HISTORY
from nws.zoo import DamagedFileError, Zoo, read_header, read_net
from nws.zoo.netfile import encode
from nws.zoo.scan import abandoned


@pytest.fixture
def zoo(tmp_path):
    return fabricated_zoo(tmp_path / "zoo")


# -- whole files or none --

WRITER = """
import sys
sys.path.insert(0, sys.argv[2])
from nws.zoo import Zoo
from fabricated import tiny
zoo = Zoo.create(sys.argv[1], seed=3, nets=100_000)
number = max(zoo.numbers(), default=-1)
while True:
    number += 1
    zoo.append(tiny(number))
    print("ready", flush=True)
    if number % 7 == 0:
        zoo.index
"""


def test_kill_at_any_moment_leaves_whole_nets(tmp_path):
    rng, before = np.random.default_rng(0), 0
    for _ in range(6):
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
    assert before >= 6
    for number in range(before):
        assert_same_net(zoo.net(number), tiny(number))


def test_temporary_files_of_killed_processes_are_removed_by_the_next_writer_only(zoo):
    child = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], check=True, capture_output=True, text=True)
    ours = next(iter(_temporary_names(zoo)))
    dead = ours.with_name(ours.name.replace(f".{os.getpid()}.", f".{child.stdout.strip()}."))
    for path in (ours, dead):
        path.write_bytes(b"half a net")
    assert abandoned(zoo.path) == [dead]
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
        patch.setattr(os, "link", fail)
        with pytest.raises(NwsError, match="could not be written"):
            zoo.append(tiny(99))
    return seen


@pytest.mark.parametrize("where", ["os.link", "os.fsync", "nws.atomic.flush_folder", "nws.atomic.open"])
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
    assert abandoned(small_disk) == []
    assert len(zoo.index) == number  # kept in memory where it cannot be written


# -- damage --

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
        for flip in (1, 32) if position < HEADER else (1,):
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
    from nws.zoo.container import metadata_sha256

    header = json.loads(GOOD[8:HEADER])
    change(header)
    header["__metadata__"]["metadata_sha256"] = metadata_sha256(header["__metadata__"])
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + GOOD[HEADER:]


def test_a_header_made_anew_is_read_the_same():
    assert_same_net(read_both(with_header(lambda header: None))[1], tiny(3))


ONE = {"layer": "a", "role": "weight", "shape": [92], "part": "fc"}  # a layout's row


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
        lambda h: h["__metadata__"].update(measured='{"train_accuracy": 0.5}'),
        lambda h: h["__metadata__"].update(measures='["step"]'),
        lambda h: h["__metadata__"].update(measures='["step", "step"]'),
        lambda h: h["__metadata__"].update(measures="{}"),
        lambda h: h["__metadata__"].update(hyper_parameters="[]"),
        lambda h: h["__metadata__"].update(family_version="one"),
        lambda h: h["__metadata__"].update(layout='[{"layer": "a"}]'),
        lambda h: h["__metadata__"].update(
            layout='[{"layer": "a", "role": "weight", "shape": [92], "part": "fc", "axes": [3, 4]}]'
        ),
        lambda h: h["__metadata__"].update(
            layout='[{"layer": "a", "role": "weight", "shape": [92], "part": "fc", "axes": [["u", 3, 1]]}]'
        ),
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
    measured = dict.fromkeys(HISTORY[1:], 1.0)
    with pytest.raises(DamagedFileError, match="accuracies are not those of its history"):
        read_both(with_header(lambda h: h["__metadata__"].update(measured=json.dumps(measured))))
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
    assert report.lines()[-2] == f"to move damaged files aside and list what is missing, run `nws verify {zoo.path} --repair`"
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


def test_a_net_that_is_gone_is_told_from_one_still_to_be_trained(zoo):
    Zoo.create(zoo.path, FIXED, 3, nets=14, epochs=8)
    path = file_of(zoo, 9)
    report = Zoo(zoo.path).verify()
    assert (report.ok, report.lost, report.missing) == (True, [], [12, 13])
    path.unlink()
    report = Zoo(zoo.path).verify()
    assert (report.ok, report.lost, report.missing) == (False, [9], [9, 12, 13])
    assert f"{zoo.path}: net 9 is in the index, but its file is gone" in report.lines()
    assert Zoo(zoo.path).verify(repair=True).ok
    report = Zoo(zoo.path).verify()
    assert (report.ok, report.lost, report.missing) == (True, [], [9, 12, 13])


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
    monkeypatch.setattr("nws.zoo.netfile.FORMAT", 4)
    zoo.append(tiny(12))
    monkeypatch.undo()
    with pytest.raises(NwsError, match="format 4 was written by a newer nws: upgrade nws"):
        zoo.net(12)
    report = zoo.verify(repair=True)
    assert len(report.damaged) == 1
    assert not report.moved
    assert not report.ok
    assert 12 in zoo.numbers()
