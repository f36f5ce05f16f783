"""Who is at a zoo: several may fill it, one may be alone with it, and the dead hold nothing."""

import json
import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
from fabricated import fabricated_zoo

from nws import FIXED, NwsError, Zoo
from nws.shift import Shift
from nws.zoo import writers
from nws.zoo.claims import Claims

HOLD = """
import sys, time
from nws import Zoo
from nws.shift import Shift
from nws.zoo.claims import Claims
zoo = Zoo(sys.argv[1])
with zoo.only_writer() if sys.argv[2] == "alone" else Claims(zoo.path, 2, zoo.missing, Shift()) as held:
    if sys.argv[2] == "filling":
        next(held.numbers())
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def zoo(tmp_path):
    return Zoo.create(tmp_path / "zoo", FIXED, seed=0, nets=2)


@pytest.fixture
def hold(zoo):
    started = []

    def start(how):
        process = subprocess.Popen([sys.executable, "-c", HOLD, zoo.path, how], stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def filling(zoo, **more):
    return Claims(zoo.path, zoo.planned, zoo.missing, Shift(**more))


def leftovers(zoo):
    return sorted(path.name for path in zoo.path.rglob("*") if path.name != "zoo.json")


def test_who_has_to_be_alone_is_told_who_is_there(zoo, hold):
    holder = hold("filling")
    with pytest.raises(NwsError, match=rf"process {holder.pid} on .* is filling it: .*run this again"), zoo.only_writer():
        pytest.fail("two writers, one of them alone")


def test_nobody_fills_a_zoo_with_which_somebody_is_alone(zoo, hold):
    holder = hold("alone")
    with pytest.raises(NwsError, match=rf"process {holder.pid} on .* is writing to it"), filling(zoo):
        pytest.fail("somebody was to be alone")
    with pytest.raises(NwsError, match=rf"process {holder.pid} "), zoo.only_writer():
        pytest.fail("two alone")


@pytest.mark.parametrize("how", ["alone", "filling"])
def test_a_killed_writer_holds_nothing(zoo, hold, how):
    holder = hold(how)
    assert [writer.pid for writer in zoo.writers] == [holder.pid]
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert zoo.writers == []
    with zoo.only_writer():
        pass
    with filling(zoo) as claims:
        assert list(claims.numbers()) == [0, 1]
    assert leftovers(zoo) == []


def test_one_process_may_take_it_again(zoo):
    for _ in range(2):
        with zoo.only_writer():
            pass
        assert leftovers(zoo) == []


def test_a_zoo_in_use_is_neither_repaired_nor_annotated(tmp_path, hold):
    zoo = fabricated_zoo(tmp_path / "busy")
    frame = pd.DataFrame({"net": [0, 1], "mine": ["a", "b"]})
    before = sorted(path.name for path in zoo.path.iterdir())
    with filling(zoo):
        for refused in (lambda: zoo.verify(repair=True), lambda: zoo.annotate(frame)):
            with pytest.raises(NwsError, match=rf"process {os.getpid()} on .* is filling it: wait for it to end"):
                refused()
        assert zoo.verify().ok  # to look is always allowed
    zoo.annotate(frame)
    assert zoo.verify(repair=True).ok
    assert {path.name for path in zoo.path.iterdir()} == {*before, "annotations.json", "index.parquet"}


def test_info_tells_who_is_at_it(zoo):
    with filling(zoo, share=(1, 2)) as claims:
        assert next(claims.numbers()) == 1
        claims.renew()
        (told,) = zoo.summary()["writers"]
        expected = {"pid": os.getpid(), "share": "1/2", "in_hand": [1], "done": 0, "rate": 0.0, "workers": 1, "doing": "filling"}
        assert {name: told[name] for name in expected} == expected
        assert told["heartbeat"] < 5
        claims.done(1, 0.1)
        claims.renew()
        (told,) = json.loads(json.dumps(zoo.summary()["writers"]))
        assert (told["done"], told["in_hand"]) == (1, [])
        assert told["rate"] > 0
    assert zoo.summary()["writers"] == []


@pytest.mark.parametrize("skew", [-(10**6), 10**6], ids=["behind", "ahead"])
def test_clocks_do_not_matter(zoo, monkeypatch, skew):
    """Only the file system's times count: with a clock that is days off a writer is neither taken for dead nor kept alive."""
    right = time.time
    with filling(zoo) as first, filling(zoo) as second:
        monkeypatch.setattr(time, "time", lambda: right() + skew)
        assert [w.name for w in second.others()] == [first.name]
        old = (zoo.path / writers.FOLDER / first.name).stat().st_mtime - writers.STALE - 1
        os.utime(zoo.path / writers.FOLDER / first.name, (old, old))
        assert second.others() == []


def test_a_heartbeat_that_stands_still_is_none_whatever_its_time_says(zoo, monkeypatch):
    with filling(zoo) as first, filling(zoo) as second:
        later = time.time() + 10**7
        os.utime(first.path, (later, later))
        assert [w.name for w in second.others()] == [first.name]
        monkeypatch.setattr(writers, "STALE", 0.05)
        time.sleep(0.1)
        assert second.others() == []


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff",
        b"[]",
        b"[" * 60_000,
        b'{"doing": 3, "rate": NaN, "in_hand": ["x", true], "share": 5, "workers": "a"}',
        b"{" * 70_000,
    ],
)
def test_a_strangers_file_about_a_writer_harms_nobody(zoo, text):
    folder = zoo.path / writers.FOLDER
    folder.mkdir()
    (folder / "host.12.0123abcd.json").write_bytes(text)
    (folder / "..json").write_bytes(text)
    (folder / "000000-2").write_bytes(b"../../zoo.json")
    (told,) = zoo.summary()["writers"]
    assert (told["host"], told["pid"], told["rate"], told["in_hand"]) == ("host", 12, 0.0, [])
    assert json.loads(json.dumps(told)) == told
