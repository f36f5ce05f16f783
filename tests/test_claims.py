"""Many writers of one zoo: every net once, whoever dies, and right, if wasteful, where file systems tell old news."""

import errno
import os
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from fabricated import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from nws import FIXED, NwsError, Zoo, atomic
from nws.shift import Shift
from nws.zoo import TakenError, claims, writers
from nws.zoo.claims import Claims


def made(path, nets):
    return Zoo.create(path, FIXED, seed=0, nets=nets)


def joined(zoo, **more):
    return Claims(zoo.path, zoo.planned, zoo.missing, Shift(**more))


def fill(zoo, claimed, seconds=1e-3):
    """As `sampling.fill` does. Numbers whose training was begun, numbers that were kept."""
    begun, kept = [], []
    while True:
        for number in claimed.numbers():
            begun.append(number)
            time.sleep(seconds)
            try:
                zoo.append(tiny(number))
                kept.append(number)
            except TakenError:
                pass
            claimed.done(number, seconds, number in kept[-1:])
        if not claimed.wait():
            return begun, kept


def together(zoo, processes, fill=fill, shares=None):
    """Several writers at once, a thread each, which know as little of each other as processes do."""
    found = [None] * processes

    def work(i):
        with Claims(zoo.path, zoo.planned, Zoo(zoo.path).missing, Shift(share=shares[i] if shares else None)) as claimed:
            found[i] = fill(Zoo(zoo.path), claimed)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(processes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


@pytest.mark.parametrize("shares", [None, [(0, 3), (1, 3), (2, 3)], [(0, 3), (0, 3), (0, 3)]], ids=["none", "own", "all the same"])
def test_every_net_is_trained_once(tmp_path, shares):
    zoo = made(tmp_path / "zoo", 150)
    found = together(zoo, 3, shares=shares)
    assert sorted(number for begun, _ in found for number in begun) == list(range(150))
    assert zoo.missing() == []
    assert sorted(path.name for path in zoo.path.iterdir()) == ["nets", "zoo.json"]


@given(st.data())
@settings(max_examples=40)
def test_claims_of_one_another_never_overlap(data):
    """Whatever the sizes, orders and ends: what one has in hand no other has."""
    done = set()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        crews = []
        for k in range(3):
            shift = Shift(share=(k, 3) if data.draw(st.booleans()) else None)
            claimed = Claims(Path(folder), 40, lambda among: [n for n in among if n not in done], shift)
            claimed._seconds = [data.draw(st.sampled_from([1e-4, 0.2, 10.0]))]
            crews.append((stack.enter_context(claimed), claimed.numbers(), set()))
        for _ in range(30):
            claimed, numbers, hand = data.draw(st.sampled_from(crews))
            number = next(numbers, None)
            assert number not in set().union(done, *(h for _, _, h in crews)), "two have it in hand"
            if number is not None:
                hand.add(number)
            if hand and data.draw(st.booleans()):
                number = hand.pop()
                done.add(number)
                claimed.done(number, data.draw(st.sampled_from([1e-4, 0.2, 10.0])))


def test_ones_own_share_comes_first_and_then_the_end_of_the_others(tmp_path):
    zoo = made(tmp_path / "zoo", 12)
    with joined(zoo, share=(1, 3)) as claimed:
        numbers = [number for number in claimed.numbers() if claimed.done(number, 10.0) is None][:12]
    assert numbers[:4] == [4, 5, 6, 7]
    assert numbers[4:] == [11, 10, 9, 8, 3, 2, 1, 0]


def test_a_block_is_a_second_of_work_and_small_at_the_end(tmp_path):
    zoo = made(tmp_path / "zoo", 2000)
    with joined(zoo) as claimed:
        sizes = []
        for number in claimed.numbers():
            sizes.append(max((stop.stop - stop.start for stop in claimed._listed().values()), default=0))
            claimed.done(number, 0.01)
            if len(sizes) == 500:
                break
        assert sizes[0] == 1
        assert max(sizes) == 64
        claimed._seconds = [430.0]
        assert claimed._size() == 1, "of slow nets each alone"
        claimed._seconds, claimed.left = [1e-4], 20
        assert claimed._size() <= 4, "and near the end"


def test_the_nets_of_a_writer_that_died_are_taken_over(tmp_path):
    zoo = made(tmp_path / "zoo", 6)
    folder = zoo.path / "claims"
    with joined(zoo) as claimed:
        dead = "elsewhere.77.0123abcd.json"
        (folder / dead).write_text('{"doing": "filling"}')
        (folder / "000000-4").write_text(dead)
        assert sorted(claimed.numbers()) == [4, 5], "alive until it is known to be dead"
        for number in (4, 5):
            zoo.append(tiny(number))
            claimed.done(number, 0.1)
        past = folder.joinpath(dead).stat().st_mtime - writers.STALE - 1
        os.utime(folder / dead, (past, past))
        assert claimed.wait()
        assert list(claimed.numbers()) == [0, 1, 2, 3]
        assert not (folder / dead).exists()
    assert not folder.exists()


def test_a_claim_that_nobody_renews_is_given_free_once_it_is_old(tmp_path):
    """Made just before its process was killed: empty, or of a writer without a file."""
    zoo = made(tmp_path / "zoo", 2)
    with joined(zoo) as claimed:
        for name, text in (("000000-1", ""), ("000001-1", "gone.1.0123abcd.json")):
            (zoo.path / "claims" / name).write_text(text)
        assert list(claimed.numbers()) == []
        for name in ("000000-1", "000001-1"):
            os.utime(zoo.path / "claims" / name, (1, 1))
        assert sorted(claimed.numbers()) == [0, 1]


def test_who_was_taken_for_dead_gives_way(tmp_path):
    """A process that slept through its heartbeats goes on with the net it is at, and claims the others anew or leaves them."""
    zoo = made(tmp_path / "zoo", 2000)
    with joined(zoo) as sleeper, joined(zoo) as other:
        sleeper._seconds = [0.01]
        numbers = sleeper.numbers()
        block = [next(numbers)]
        (held,) = sleeper._blocks.values()
        assert len(held) == 64
        past = sleeper.path.stat().st_mtime - writers.STALE - 1
        os.utime(sleeper.path, (past, past))
        other._pass()
        assert not sleeper.path.exists(), "buried"
        other._seconds = [0.01]
        other._blocks_taken = list(other._claim(10))
        sleeper.buried = True  # as the heartbeat finds out
        sleeper.renew()
        zoo.append(tiny(block[0]))
        sleeper.done(block[0], 0.01)
        following = [next(numbers) for _ in range(5)]
        assert not set(following) & set(other._blocks_taken)


def test_the_first_file_of_a_net_stays(tmp_path):
    zoo = made(tmp_path / "zoo", 2)
    zoo.append(tiny(0))
    before = (zoo.path / "nets/000/000000.safetensors").read_bytes()
    with pytest.raises(TakenError, match="has a net 0 already"):
        zoo.append(tiny(0, seconds=3.0))
    assert (zoo.path / "nets/000/000000.safetensors").read_bytes() == before
    assert [path.name for path in (zoo.path / "nets/000").iterdir()] == ["000000.safetensors"]


def test_where_there_are_no_hard_links_the_first_file_stays_as_well(tmp_path, monkeypatch):
    def refused(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    assert atomic.write_once(tmp_path / "a", b"first")
    assert not atomic.write_once(tmp_path / "a", b"second")
    assert (tmp_path / "a").read_bytes() == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_full_disk_is_one_line_and_leaves_no_claim(tmp_path, monkeypatch):
    zoo = made(tmp_path / "zoo", 2)
    with joined(zoo) as claimed:

        def full(*_):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "write", full)
        with pytest.raises(NwsError, match="disk full: what is finished is kept"):
            next(claimed.numbers())
        monkeypatch.undo()
    assert not (zoo.path / "claims").exists()


class OldNews:
    """A network file system that shows each listing, and the absence of each file, as they were up to a second ago. Only making a
    file anew is always asked of the server, as NFS does with O_EXCL."""

    AGE = 0.05

    def __init__(self, zoo):
        self.zoo, self.known = zoo, {}

    def missing(self, among):
        return self._old(("missing", among), lambda: self.zoo.missing(among))

    def listed(self, claimed):
        return self._old(("listed", claimed.name), lambda: Claims._listed(claimed))

    def _old(self, key, look):
        now = time.monotonic()
        if key not in self.known or now - self.known[key][0] > self.AGE:
            self.known[key] = now, look()
        return self.known[key][1]


def test_old_news_costs_time_and_nothing_else(tmp_path):
    zoo = made(tmp_path / "zoo", 120)

    def late(own, claimed):
        news = OldNews(own)
        claimed.missing = news.missing
        claimed._listed = lambda: news.listed(claimed)
        return fill(own, claimed, 2e-3)

    found = together(zoo, 4, late)
    begun, kept = ([number for pair in found for number in pair[i]] for i in (0, 1))
    assert zoo.missing() == []
    assert sorted(kept) == list(range(120)), "each net is kept once"
    assert len(begun) < 120 * 1.5
    assert not zoo.verify().damaged


@pytest.mark.parametrize(("until", "nets"), [(-1.0, 0), (3600.0, 2)])
def test_nothing_is_begun_that_would_not_fit(tmp_path, until, nets):
    zoo = made(tmp_path / "zoo", 2)
    with joined(zoo, until=time.monotonic() + until) as claimed:
        assert len(list(claimed.numbers())) == nets
    with joined(zoo, until=time.monotonic() + 100) as claimed:
        claimed._seconds = [120.0]
        assert list(claimed.numbers()) == []
        assert not claimed.wait()


def test_many_zoos_begin_at_once_as_one(tmp_path):
    """Who makes the zoo first has made it; the others join it."""
    failed = []

    def begin():
        try:
            Zoo.create(tmp_path / "zoo", FIXED, seed=0, nets=5, epochs=3)
        except NwsError as error:
            failed.append(error)

    threads = [threading.Thread(target=begin) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert Zoo(tmp_path / "zoo").planned == 5


def test_blocks_are_named_as_documented():
    assert claims._NAME.fullmatch("000064-16")
    assert not claims._NAME.fullmatch("000064-16.tmp")
