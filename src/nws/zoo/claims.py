"""Which process trains which nets: blocks of numbers, claimed by files in ZOO/claims (docs/format.md).

A claim is a file that only one process can have made (O_EXCL), named after the block: `000064-16` is nets 64 to 79. A block is a
power of two of nets and begins at a multiple of its size, so that two blocks are apart, or one holds the other; that case is seen
by looking after the claim is made, and the later one gives way. What listings of a network file system overlook costs nets that
are trained twice; the first file of a net stays.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from nws.atomic import temporary
from nws.errors import NwsError
from nws.shift import Shift
from nws.zoo import writers
from nws.zoo.writers import Presence

LARGEST = 64  # nets in a block
# Seconds of this process's work in a block: a claim costs 0.1 ms on a disk and some on a network, a hundredth at most. More would
# only make others wait at the end, and a block of 16 nets of the paper's size would be two hours.
WORTH = 1.0
_NAME = re.compile(r"(\d{6,9})-(\d{1,4})")
_OWNER = 200  # bytes: the name of a writer's file


class Claims(Presence):
    """The claims of this process on nets below `nets`; leaving the block (`with`) gives back what is not done.

    missing   asks the zoo which numbers are not there: all of them at the start of a pass, and again of a block that was claimed
    shift     whose nets come first: the k-th of n equal parts. Then what is left of the others' is taken, from its end. And when
              all must be over: nothing is begun that would not fit

    NwsError when the zoo is being repaired or imported into.
    """

    def __init__(self, root: Path, nets: int, missing: Callable[[range], list[int]], shift: Shift, workers: int = 1):
        share = shift.share
        super().__init__(root, "filling", share=f"{share[0]}/{share[1]}" if share else None, workers=workers)
        self.nets, self.missing, self.shift, self.workers = nets, missing, shift, workers
        self.made, self.elsewhere = 0, 0  # nets by us, and by others since we began
        self.missing_first = self.left = len(missing(range(nets)))  # nets that the zoo lacked at first, and at the last look
        self._blocks: dict[str, set[int]] = {}  # claim -> its nets that are not done
        self._begun: set[int] = set()  # handed out and not done
        self._settled: set[int] = set()  # done, whatever an old listing says, or given up by us; others may try those
        self._taken: set[int] = set()  # what others have claimed, as last seen
        self._crowd = 1  # writers, with us
        self._made_before = 0  # by us, at the last look
        self._seconds: list[float] = []  # of the last nets
        self._since = time.monotonic()
        self._lock = threading.Lock()  # the heartbeat reads what we have in hand

    def __exit__(self, *ended: Any) -> None:
        with contextlib.suppress(OSError):
            for name in list(self._blocks):
                self._release(name)
        super().__exit__(*ended)

    def telling(self) -> Mapping[str, Any]:
        with self._lock:
            in_hand = sorted(self._begun)
        if self._thread.is_alive() and self._company():
            self._look()
        hours = (time.monotonic() - self._since) / 3600
        return {**self.told, "done": self.made, "rate": round(self.made / hours, 3) if hours else 0.0, "in_hand": in_hand}

    # -- nets to train -------------------------------------------------------------------------------------------------------

    def numbers(self) -> Iterator[int]:
        """One net after another, each claimed when it is asked for, until none is left that nobody has, or time is up."""
        claimed = True
        while claimed and not self.over():
            claimed = False
            for number in self._pass():
                if number in self._taken:
                    continue
                for given in self._claim(number):
                    if self.over():
                        return
                    claimed = True
                    with self._lock:
                        self._begun.add(given)
                    yield given

    def done(self, number: int, seconds: float, ours: bool = True) -> None:
        """A net is on disk; `ours`: it is not another writer's. seconds: what its training took."""
        self.made += ours
        self._seconds = [*self._seconds[-15:], seconds]
        self._settle(number)

    def refused(self, number: int) -> None:
        """A net that we could not train, and do not try again."""
        self._settle(number)

    def wait(self) -> bool:
        """Wait while others have the last nets in hand. True when some are free again, because their writer died."""
        pause = 0.1
        while not self.over():
            free = self._pass()
            if free or not self.left:
                return bool(free)
            if not self._taken:
                return False  # only such as we have given up
            time.sleep(pause)
            pause = min(pause * 1.5, 5.0)
        return False

    def over(self) -> bool:
        """Whether nothing more is to be begun."""
        until = self.shift.until
        return self.shift.enough or (until is not None and time.monotonic() + self._usual() > until)

    # -- blocks --------------------------------------------------------------------------------------------------------------

    def _pass(self) -> list[int]:
        """Numbers that are missing and that nobody has in hand, in our order; what dead writers left is given free."""
        self._crowd = 1 + len(self.others())
        others = {n: block for n, block in self._listed().items() if n not in self._blocks}
        self._taken = {net for name, block in others.items() if not self._orphaned(name) for net in block}
        missing = self._look()
        ours = set().union(*self._blocks.values(), self._settled)
        free = [n for n in missing if n not in ours and n not in self._taken]
        return _ordered(free, self.nets, self.shift.share, self._crowd)

    def _look(self) -> list[int]:
        made, missing = self.made, self.missing(range(self.nets))
        self.left, self._made_before = len(missing), made
        self.elsewhere = max(0, self.missing_first - self.left - made)
        return missing

    def _company(self) -> bool:
        with contextlib.suppress(OSError):
            return any(writers.is_writer(name) and name != self.name for name in os.listdir(self.folder))
        return False

    def _claim(self, number: int) -> Iterator[int]:
        """The nets to train of a block around this number that we have claimed; none when others have it."""
        size = self._size()
        while size:
            start = number - number % size
            name, block = f"{start:06d}-{size}", range(start, min(start + size, self.nets))
            if not self._create(name):
                self._taken |= set(block)
                return
            over = [b for n, b in self._listed().items() if n not in self._blocks and n != name and _overlap(b, block)]
            if not over:
                break
            self._remove(name)
            if any(number in b for b in over):
                self._taken = self._taken.union(*over)
                return
            size //= 2
        ours = set().union(*self._blocks.values(), self._settled)
        nets = [n for n in self.missing(block) if n not in ours]  # since the last look others may have been here and gone
        self._blocks[name] = set(nets)
        if not nets:
            self._release(name)
        for given in nets:
            if given not in self._blocks.get(name, ()):
                return  # we were taken for dead meanwhile
            yield given

    def _size(self) -> int:
        """A second's worth of nets, a power of two; less near the end, so that all come to it together."""
        if not self._seconds:
            return 1
        worth = WORTH * self.workers / max(self._usual(), 1e-6)
        fair = (self.left - self.made + self._made_before) / (4 * self._crowd)
        return 1 << (int(max(1.0, min(worth, fair, LARGEST))).bit_length() - 1)

    def _usual(self) -> float:
        """Seconds that a net took: of the last 16 the longest but two. One in eight takes longer and is dropped at the end."""
        found = sorted(self._seconds)
        return found[max(0, len(found) - 3)] if found else 0.0

    def _settle(self, number: int) -> None:
        with self._lock:
            self._begun.discard(number)
        self._settled.add(number)
        for name, nets in list(self._blocks.items()):
            nets.discard(number)
            if not nets:
                self._release(name)
        if self.buried:  # others may have claimed what we had: go on with it only once it is claimed again
            self.buried = False
            self._blocks = {name: nets & self._begun for name, nets in self._blocks.items() if nets & self._begun}

    # -- files ---------------------------------------------------------------------------------------------------------------

    def _create(self, name: str) -> bool:
        """Make the claim; False when somebody has. NwsError when the disk is full."""
        while True:
            try:
                file = os.open(self.folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
                break
            except FileExistsError:
                return False
            except FileNotFoundError:  # another writer was the last one, as it thought
                self.renew()
            except OSError as error:
                raise self._unwritable(error) from None
        try:
            os.write(file, self.name.encode())
        except OSError as error:
            self._remove(name)
            raise self._unwritable(error) from None
        finally:
            os.close(file)
        return True

    def _unwritable(self, error: OSError) -> NwsError:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return NwsError(f"{self.root}: disk full: what is finished is kept; free space and run the same command again")
        return NwsError(f"{self.folder}: cannot be written ({error.strerror}): see that the folder is writable")

    def _release(self, name: str) -> None:
        del self._blocks[name]
        if self._owner(name) == self.name:  # else it was given to somebody else, as if we were dead
            self._remove(name)

    def _remove(self, name: str) -> None:
        with contextlib.suppress(OSError):
            (self.folder / name).unlink()

    def _listed(self) -> dict[str, range]:
        try:
            names = os.listdir(self.folder)
        except OSError:
            return {}
        found = {name: _NAME.fullmatch(name) for name in names}
        return {name: range(int(m[1]), int(m[1]) + int(m[2])) for name, m in found.items() if m}

    def _owner(self, name: str) -> str:
        try:
            with open(self.folder / name, "rb") as file:
                return file.read(_OWNER).decode(errors="replace")
        except OSError:
            return ""

    def bury(self, name: str) -> None:
        for claim in self._listed():
            if self._owner(claim) == name:
                self._free(claim, name)
        self._remove(name)  # last: who dies at this leaves something to begin with

    def _orphaned(self, claim: str) -> bool:
        """Whether nobody renews this claim: its writer left no file. Such a one, too, is given free."""
        owner = self._owner(claim)
        if writers.is_writer(owner) and (self.folder / owner).exists():
            return False
        try:
            status = (self.folder / claim).stat()
        except OSError:
            return True
        if self._now() - status.st_mtime <= writers.STALE and not self._stood_still(claim, status.st_mtime_ns):
            return False
        self._free(claim, owner)
        return True

    def _free(self, claim: str, owner: str) -> None:
        """Take a dead writer's claim away. Another may have done so and a third claimed the block anew: then it is put back."""
        aside = temporary(self.folder / claim)
        with contextlib.suppress(OSError):
            os.rename(self.folder / claim, aside)
            if self._owner(aside.name) != owner:
                with contextlib.suppress(OSError):
                    os.link(aside, self.folder / claim)
            aside.unlink()


def _ordered(free: list[int], nets: int, share: tuple[int, int] | None, crowd: int) -> list[int]:
    """Our own part first, from its beginning; then the parts after it in turn, each from its end, where its owner comes last."""
    if not share:
        if crowd == 1 or not free:
            return free
        at = random.randrange(len(free))
        return free[at:] + free[:at]
    k, n = share
    parts: dict[int, list[int]] = {}
    for net in free:
        parts.setdefault(net * n // nets, []).append(net)
    others = sorted(set(parts) - {k}, key=lambda part: (part - k) % n)
    return parts.get(k, []) + [net for part in others for net in reversed(parts[part])]


def _overlap(a: range, b: range) -> bool:
    return a.start < b.stop and b.start < a.stop
