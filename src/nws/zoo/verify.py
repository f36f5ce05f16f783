"""Every byte of a zoo checked; what is damaged is moved aside, never deleted."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nws.errors import NwsError
from nws.zoo import failed, index, writers
from nws.zoo.netfile import DamagedFileError, advice, net_path, read_net
from nws.zoo.plan import Plan

Progress = Callable[[int, int], None]


@dataclass
class Report:
    """What `Zoo.verify` found, and did.

    imported  the nets come from elsewhere: what is missing is imported, not trained
    checked   nets' files read, each to the last byte
    damaged   (path in the zoo, why) of each file that is not what was written
    lost      numbers that the index lists and nets/ lacks: they were there once
    missing   numbers that zoo.json plans, or that are lost, and nets/ lacks
    failed    net -> why it could not be trained; such nets are among the missing
    strays    temporary files of killed processes
    index     "fresh", "stale" or "missing", before a repair
    moved     where a repair put damaged files
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

    @property
    def ok(self) -> bool:
        """Whether every net that is listed is there and whole. Nets still to be trained and temporary files harm nobody."""
        return len(self.damaged) == len(self.moved) and (self.repaired or not self.lost)

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
    found = index.scan(root)
    state, listed = _index_state(root, found, index.Columns.of(plan.family))
    report = Report(root, repair, imported, index=state, lost=sorted(listed - set(found.nets)))
    bad: list[Path] = []
    for path in found.misplaced:
        report.damaged.append((_relative(root, path), f"{path}: its name is not that of a net"))
        bad.append(path)
    for done, number in enumerate(sorted(found.nets), 1):
        path = net_path(root, number)
        try:
            read_net(path, number)
        except NwsError as error:
            report.damaged.append((_relative(root, path), str(error).removesuffix(advice(path))))  # said once, at the end
            if isinstance(error, DamagedFileError):  # not one of a newer format, which an upgrade will read
                bad.append(path)
        report.checked += 1
        if progress:
            progress(done, len(found.nets))
    gone = index.abandoned(root)
    report.strays = [_relative(root, path) for path in gone]
    if repair:
        report.moved = [_relative(root, _move_aside(root, path)) for path in bad]
        for path in gone:
            path.unlink(missing_ok=True)
    present = index.scan(root).nets
    report.missing = sorted((set(range(nets or 0)) | set(report.lost)) - set(present))
    report.failed = {number: why for number, why in failed.marks(root).items() if number not in present}
    return report


def _index_state(root: Path, found: index.Scan, columns: index.Columns) -> tuple[str, set[int]]:
    """How the stored index is, and the nets that it lists."""
    frame = index.read(root, columns)
    if frame is None:
        return ("stale" if (root / "index.parquet").exists() else "missing"), set()
    return ("fresh" if index.is_fresh(frame, found) else "stale"), set(frame.index.tolist())


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
