"""Every byte of a zoo checked; what is damaged is moved aside, never deleted."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from nws.errors import NwsError
from nws.zoo import failed, writers
from nws.zoo.container import DamagedFileError, advice
from nws.zoo.index import state
from nws.zoo.netfile import net_path, read_net
from nws.zoo.packing import write_shard
from nws.zoo.plan import Plan
from nws.zoo.rows import Columns
from nws.zoo.scan import Scan, abandoned, scan
from nws.zoo.shardfile import Packed, Shard

Progress = Callable[[int, int], None]


@dataclass
class Report:
    """What `Zoo.verify` found, and did.

    imported  the nets come from elsewhere: what is missing is imported, not trained
    checked   nets read, each to the last byte
    damaged   (path in the zoo, why) of each file, or net in a shard, that is not what was written
    lost      numbers that the index lists and no file has: they were there once
    missing   numbers that zoo.json plans, or that are lost, and no file has
    failed    net -> why it could not be trained; such nets are among the missing
    strays    temporary files of killed processes
    index     "fresh", "stale" or "missing", before a repair
    moved     where a repair put damaged files; the sound nets of a shard are in a new one then
    kept      of `damaged`, how many are where they were
    """

    root: Path
    repaired: bool = False
    imported: bool = False
    checked: int = 0
    damaged: list[tuple[str, str]] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    missing: list[int] = field(default_factory=list)
    failed: dict[int, str] = field(default_factory=dict)
    strays: list[str] = field(default_factory=list)
    index: str = "fresh"
    moved: list[str] = field(default_factory=list)
    kept: int = 0

    @property
    def ok(self) -> bool:
        """Whether every net that is listed is there and whole. Nets still to be trained and temporary files harm nobody."""
        return not self.kept and (self.repaired or not self.lost)

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "root": str(self.root), "ok": self.ok, "advice": self.lines()}

    def lines(self) -> list[str]:
        """The report in words; the last lines say what to do."""
        words = [f"{_count(self.checked, 'net')} checked, {len(self.damaged)} damaged, {len(self.missing)} missing"]
        words += [why for _, why in self.damaged]
        words += [f"{self.root}: net {number} is in the index, but its file is gone" for number in self.lost]
        words += [f"moved to {path}" for path in self.moved]
        words += [f"net {number} could not be trained: {why}" for number, why in self.failed.items()]
        if self.strays:
            done = "removed" if self.repaired else "found; it does no harm" if len(self.strays) == 1 else "found; they do no harm"
            words.append(f"{_count(len(self.strays), 'temporary file')} of a killed process {done}")
        if self.index != "fresh":
            words.append(f"the index was {self.index} and {'was made anew' if self.repaired else 'is made anew when next used'}")
        if not self.ok and not self.repaired:
            words.append(f"to move damaged files aside and list what is missing, run `nws verify {self.root} --repair`")
        if self.missing:
            command, does = ("nws import", "imports") if self.imported else ("nws sample", "trains")
            again = f"it {does} the {_count(len(self.missing), 'missing net')}"
            words.append(f"run the same `{command}` command: {again}{' again' if self.moved or self.lost else ''}")
        return words


def verify(root: Path, plan: Plan, repair: bool, progress: Progress | None) -> Report:
    """See `Zoo.verify`."""
    with writers.only_writer(root, "repairing") if repair else contextlib.nullcontext():
        return _verified(root, plan, repair, progress)


def _verified(root: Path, plan: Plan, repair: bool, progress: Progress | None) -> Report:
    nets, imported = plan["nets"], "imported" in plan["settings"]
    found = scan(root)
    index, listed = state(root, found, Columns.of(plan.family))
    report = Report(root, repair, imported, index=index)
    shards, broken = _opened(root, found, report)
    present = set(found.nets).union(*(shard.numbers for shard in shards.values()))
    report.lost = sorted(listed - present)
    bad = list(found.misplaced)
    for path in found.misplaced:
        report.damaged.append((_relative(root, path), f"{path}: its name is not that of a net"))
    checked = set[int]()
    for number, read, path in _all(root, found, shards):
        try:
            read()
        except NwsError as error:
            report.damaged.append((_relative(root, path), _said(error, path)))
            if not isinstance(error, DamagedFileError):  # of a newer format, which an upgrade will read
                report.kept += 1
            elif path in shards:
                broken.setdefault(path, set()).add(number)
            else:
                bad.append(path)
        checked.add(number)
        if progress:
            progress(len(checked), len(present))
    report.checked = len(checked)
    gone = abandoned(root)
    report.strays = [_relative(root, path) for path in gone]
    if repair:
        for path, numbers in broken.items():
            _write_sound(root, path, numbers)
        report.moved = [_relative(root, _move_aside(root, path)) for path in (*bad, *broken)]
        for path in gone:
            path.unlink(missing_ok=True)
        found = scan(root)
        present = set(found.nets).union(*(shard.numbers for shard in _opened(root, found, Report(root))[0].values()))
    else:
        report.kept = len(report.damaged)
    report.missing = sorted((set(range(nets or 0)) | set(report.lost) | listed) - present)
    report.failed = {number: why for number, why in failed.marks(root).items() if number not in present}
    return report


def _opened(root: Path, found: Scan, report: Report) -> tuple[dict[Path, Shard], dict[Path, set[int]]]:
    """The shards, and those that are damaged as files, with no net named yet: what can be read of them is not lost."""
    shards, broken = {}, dict[Path, set[int]]()
    for path in (root / name for name in found.shards):
        try:
            shards[path] = Shard(path)
        except DamagedFileError as error:
            report.damaged.append((_relative(root, path), _said(error, path)))
            broken[path] = set()
        except NwsError as error:
            report.damaged.append((_relative(root, path), _said(error, path)))
            report.kept += 1
    return shards, broken


def _all(root: Path, found: Scan, shards: dict[Path, Shard]) -> Iterator[tuple[int, Callable[[], Any], Path]]:
    """Each net of each file: its number, what reads it, and the file."""
    for number in sorted(found.nets):
        path = net_path(root, number)
        yield number, partial(read_net, path, number), path
    for path, shard in shards.items():
        for number in shard.numbers:
            yield number, partial(shard.net, number), path


def _write_sound(root: Path, path: Path, damaged: set[int]) -> None:
    """A new shard of the nets of a damaged one that are whole, if its table can be read at all."""
    nets: list[Packed] = []
    try:
        shard = Shard(path, cut=True)
    except (NwsError, OSError):
        return
    for number in shard.numbers:
        try:
            shard.net(number)
            nets.append(shard.packed(number))
        except NwsError:
            damaged.add(number)
    if nets:
        write_shard(root, nets, path.name)


def _said(error: NwsError, path: Path) -> str:
    return str(error).removesuffix(advice(path))  # said once, at the end


def _move_aside(root: Path, path: Path) -> Path:
    folder = root / "damaged"
    folder.mkdir(exist_ok=True)
    target, copy = folder / path.name, 0
    while target.exists():
        copy += 1
        target = folder / f"{path.name}.{copy}"
    os.rename(path, target)
    return target


def _relative(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
