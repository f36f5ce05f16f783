"""Nets that could not be trained: marked, listed, tried again, and unmarked."""

import json
import shutil

import pytest
from fabricated import fabricated_zoo, tiny

import nws
from nws import sampling
from nws.train.runners.processes import GivenUp
from nws.zoo import Zoo

SPACE = nws.FIXED.with_(filter_size=3, width_conv=1, width_fc=8, batch_size=32)
QUICK = {"images": "digits", "limit": 60, "limit_test": 20, "epochs": 1, "snapshots": 2, "workers": 1}


@pytest.fixture
def zoo(tmp_path):
    zoo = fabricated_zoo(tmp_path / "zoo")
    zoo.mark_failed(12, "its worker died 2 times, exit code -9")
    return zoo


def test_a_mark_is_listed_until_the_net_is_there(zoo):
    assert zoo.failed == {12: "its worker died 2 times, exit code -9"}
    assert zoo.summary()["failed"] == zoo.failed
    report = zoo.verify()
    assert report.ok  # nothing that is there is wrong
    assert "net 12 could not be trained: its worker died 2 times, exit code -9" in report.lines()
    assert 12 not in zoo.numbers()
    zoo.append(tiny(12))
    assert zoo.failed == Zoo(zoo.path).verify().failed == {}
    assert not list((zoo.path / "failed").iterdir())


@pytest.mark.parametrize(
    "text", [b"", b"\xff", b"[]", b"{}", b"[" * 50_000, b'{"why": 3}', json.dumps({"why": "a\nb" * 999}).encode()]
)
def test_a_mark_that_makes_no_sense_still_marks(zoo, text):
    (zoo.path / "failed" / "000013.json").write_bytes(text)
    (zoo.path / "failed" / "13.json").write_bytes(b"not a mark")
    assert list(zoo.failed) == [12, 13]
    assert zoo.failed[13].isprintable()
    assert len(zoo.failed[13]) <= 300


def test_a_run_goes_on_without_the_net_and_the_next_tries_it_again(tmp_path, monkeypatch):
    whole = sampling.train

    def failing(jobs, *given, gave_up, **more):
        gave_up(GivenUp(1, "memory ran out"))
        yield from whole([job for job in jobs if job.number != 1], *given, **more)
        raise nws.NwsError("1 of 3 nets could not be trained: net 1 (memory ran out)")

    monkeypatch.setattr(sampling, "train", failing)
    with pytest.raises(nws.NwsError, match="net 1"):
        nws.sample(tmp_path / "zoo", SPACE.sample(3), **QUICK)
    zoo = Zoo(tmp_path / "zoo")
    assert (zoo.numbers(), zoo.failed) == ([0, 2], {1: "memory ran out"})
    monkeypatch.undo()
    nws.sample(tmp_path / "zoo", SPACE.sample(3), **QUICK)
    assert (zoo.numbers(), zoo.failed) == ([0, 1, 2], {})


def test_a_file_in_the_place_of_the_folder_stops_nobody(zoo):
    shutil.rmtree(zoo.path / "failed")
    (zoo.path / "failed").write_text("")
    assert zoo.failed == {}
    zoo.append(tiny(12))
    assert 12 in zoo.numbers()
    with pytest.raises(nws.NwsError, match="cannot be written"):
        zoo.mark_failed(13, "memory ran out")
