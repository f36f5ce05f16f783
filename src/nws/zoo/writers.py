"""Who is at a zoo: each process that writes has a file in ZOO/claims that it renews every few seconds (docs/format.md).

No locks of the file system and no agreement of clocks: what counts is the file's time as the file system gives it, against that
of a file one has just renewed oneself, or that it stood still while one was watching. A process of this machine that has ended is
known at once. Whoever is wrong about a writer trains some nets twice; no net is ever lost or damaged by it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from nws.atomic import host_name, temporary
from nws.errors import NwsError
from nws.recorded import printable

FOLDER = "claims"
BEAT = 10.0  # seconds between heartbeats
# Without a heartbeat for so long, a writer on another machine is taken for dead. Caches of NFS keep what they know of a file for up
# to 60 s, but not across an open; a network that is away for longer costs nets trained twice.
STALE = 60.0
_NAME = re.compile(r"([A-Za-z0-9-]{1,64})\.(\d{1,9})\.[0-9a-f]{8}\.json")
_LARGEST = 1 << 16  # bytes of a writer's file; ours have 300 and 8 for each net in hand
_MOST_IN_HAND = 1000


@dataclass(frozen=True)
class Writer:
    """One process, as its file told when it was read. `beat`: seconds since its last heartbeat. `rate`: nets an hour."""

    name: str  # of its file
    host: str
    pid: int
    doing: str
    share: str | None
    workers: int | None
    done: int
    rate: float
    in_hand: tuple[int, ...]
    since: str
    beat: float
    alone: bool = False
    alive: bool = True

    def to_dict(self) -> dict[str, Any]:
        """As `nws info --json` has it."""
        told = {"host": self.host, "pid": self.pid, "doing": self.doing, "share": self.share, "workers": self.workers}
        told |= {"done": self.done, "rate": self.rate, "in_hand": list(self.in_hand), "since": self.since}
        return {**told, "heartbeat": round(self.beat, 1)}

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} is {self.doing} it"


class Presence:
    """`with Presence(root, "filling"): ...`: others see that this process writes, until the block is left or the process dies.

    alone   nobody else may write meanwhile: NwsError when somebody does. Without, NwsError when somebody has to be alone.
    """

    def __init__(self, root: Path, doing: str, alone: bool = False, **told: Any):
        self.root, self.folder = root, root / FOLDER
        self.name = f"{host_name()}.{os.getpid()}.{secrets.token_hex(4)}.json"
        self.path = self.folder / self.name
        since = datetime.now(UTC).isoformat(timespec="seconds")
        self.told = {"doing": doing, "alone": alone, **_this_process(), "since": since, **told}
        self.buried = False  # somebody took us for dead: what we had in hand may be another's
        self._over = threading.Event()
        self._watched: dict[str, tuple[int, float]] = {}  # writer -> its file's time, and when we first saw that one
        self._thread = threading.Thread(target=self._beat, name="nws-heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self.renew()
        try:
            for other in self.others():
                if other.alone or self.told["alone"]:
                    cure = "wait for it to end, or end it (what is finished is kept), and run this again"
                    raise NwsError(f"{self.root}: {other}: {cure}")
        except BaseException:
            self._leave()
            raise
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()
        self._leave()

    def _leave(self) -> None:
        with contextlib.suppress(OSError):
            self.path.unlink()
        with contextlib.suppress(OSError):
            self.folder.rmdir()  # the last one turns off the light; not empty: somebody else is here

    def renew(self) -> None:
        """A heartbeat: the file anew with what is to be told. Raises OSError only when even its time cannot be set."""
        part = temporary(self.path)
        try:
            self.folder.mkdir(exist_ok=True)
            part.write_text(json.dumps(self.telling()), encoding="utf-8")
            os.replace(part, self.path)
        except OSError:  # a full disk: the time is what matters
            with contextlib.suppress(OSError):
                part.unlink()
            os.utime(self.path)

    def telling(self) -> Mapping[str, Any]:
        return self.told

    def _beat(self) -> None:
        while not self._over.wait(BEAT):
            if not self.path.exists():
                self.buried = True
            with contextlib.suppress(OSError):  # a network that is away comes back, or we are buried
                self.renew()

    def others(self) -> list[Writer]:
        """The other writers that are alive."""
        found = []
        now = self._now()
        for writer, changed in _read(self.root, now):
            if writer.name == self.name:
                continue
            if writer.alive and not self._stood_still(writer.name, changed):
                found.append(writer)
            else:
                self.bury(writer.name)
        return found

    def bury(self, name: str) -> None:
        """A writer is dead: who fills the zoo removes what it left (`Claims`)."""

    def _now(self) -> float:
        """The file system's own time."""
        try:
            os.utime(self.path)
            return self.path.stat().st_mtime
        except OSError:
            return time.time()

    def _stood_still(self, name: str, changed: int) -> bool:
        """Whether we have watched a writer's file for long enough without seeing a heartbeat: also where times make no sense."""
        before = self._watched.get(name)
        if before is None or before[0] != changed:
            self._watched[name] = changed, time.monotonic()
            return False
        return time.monotonic() - before[1] > STALE


@contextlib.contextmanager
def only_writer(root: Path, doing: str = "writing to") -> Iterator[None]:
    """Nobody else writes to the zoo meanwhile. NwsError that names who does already."""
    with Presence(root, doing, alone=True):
        yield


def is_writer(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def at_work(root: Path) -> list[Writer]:
    """The writers that are alive, for people: nothing is changed but, where one may write, a file made and removed for its time."""
    part = temporary(root / FOLDER / "now")
    now = time.time()
    with contextlib.suppress(OSError):
        try:
            part.touch(exist_ok=False)
            now = part.stat().st_mtime
        finally:
            part.unlink(missing_ok=True)
    return [writer for writer, _ in _read(root, now) if writer.alive]


def _read(root: Path, now: float) -> Iterator[tuple[Writer, int]]:
    """Every writer's file, as (what it tells, its time in ns)."""
    folder = root / FOLDER
    try:
        names = sorted(entry.name for entry in folder.iterdir())
    except OSError:
        return
    for name in names:
        if match := _NAME.fullmatch(name):
            try:
                with open(folder / name, "rb") as file:  # opened: caches of NFS must ask the server
                    status, text = os.fstat(file.fileno()), file.read(_LARGEST)
            except OSError:
                continue  # it left just now
            yield _writer(name, match[1], int(match[2]), text, now - status.st_mtime), status.st_mtime_ns


def _writer(name: str, host: str, pid: int, text: bytes, age: float) -> Writer:
    """Whatever stands in a file that may be a stranger's."""
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        told = {}
    told = told if isinstance(told, dict) else {}

    def of(kind: type | tuple[type, ...], key: str, default: Any) -> Any:
        value = told.get(key, default)
        return value if isinstance(value, kind) and not (isinstance(value, bool) and kind is not bool) else default

    numbers = [n for n in of(list, "in_hand", []) if type(n) is int]
    rate = float(of((int, float), "rate", 0.0))
    return Writer(
        name,
        host,
        pid,
        printable(of(str, "doing", "writing to"))[:100],
        printable(told["share"])[:30] if isinstance(told.get("share"), str) else None,
        of(int, "workers", None),
        of(int, "done", 0),
        rate if 0 <= rate < 1e12 else 0.0,
        tuple(numbers[:_MOST_IN_HAND]),
        printable(of(str, "since", ""))[:40],
        age,
        told.get("alone") is True,
        age <= STALE and not _ended(told, pid),
    )


def _this_process() -> dict[str, str]:
    return {"place": _place(), "born": _born(os.getpid())}


def _place() -> str:
    """Where process numbers mean the same: one start of one machine, one container. "" where nobody knows."""
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _born(pid: int) -> str:
    """When the process of this number began, in ticks since the machine's start; "" when there is none, or it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]
    except (OSError, IndexError):
        return ""


def _ended(told: Mapping[str, Any], pid: int) -> bool:
    """Whether a writer was a process of this very machine, and is no more: no heartbeat need be waited for."""
    return told.get("place") == _place() != "" and told.get("born") != _born(pid)
