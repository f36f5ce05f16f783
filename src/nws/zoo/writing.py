"""Nets into a zoo's folder: a file each, or many to a shard; whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from nws.atomic import flush_folder, write_once
from nws.errors import NwsError, unknown
from nws.families import Family
from nws.families.space import Config
from nws.net import Net
from nws.zoo import failed, packing
from nws.zoo.netfile import TakenError, encode, metadata_of, net_path, tensors_of, write_error
from nws.zoo.plan import PACKED, Plan
from nws.zoo.scan import abandoned
from nws.zoo.select import SPLITS
from nws.zoo.shardfile import NETS, Packed

_NUMBER_LIMIT = 10**9


def make(root: Path, wanted: Plan, compare_images: bool) -> None:
    """The zoo's folder, or the one that was made by the same plan. NwsError when it holds something else or cannot be written."""
    try:
        if not wanted.begun(root):
            wanted.joined(root, compare_images)
            for path in abandoned(root):
                path.unlink(missing_ok=True)
    except OSError as error:
        raise NwsError(f"{root}: cannot be written ({error.strerror}): name a folder that you may write to") from None


def append(root: Path, net: Net, split: str, family: Family, taken: Callable[[int], bool]) -> None:
    """See `Zoo.append`. taken: whether the zoo has a net of a number."""
    _check(root, net, split, family)
    path, data = net_path(root, net.number), encode(net, split)
    try:
        if taken(net.number):
            raise _taken(root, net.number)
        for folder in (path.parent.parent, path.parent):
            if not folder.is_dir():
                folder.mkdir(exist_ok=True)
                flush_folder(folder.parent)
        placed = write_once(path, data)
        failed.clear(root, net.number)
    except OSError as error:
        raise write_error(root, net.number, error) from None
    if not placed:
        raise _taken(root, net.number)


def _taken(root: Path, number: int) -> TakenError:
    return TakenError(f"{root} has a net {number} already: give this one another number, or another zoo")


def append_many(root: Path, nets: Iterable[tuple[Net, str]], family: Family, taken: Callable[[int], bool]) -> int:
    """See `Zoo.append_many`; a net with its side. Returns how many were stored."""
    stored, layouts = 0, dict[int, tuple[object, str]]()

    def packed() -> Iterable[Packed]:
        for net, split in nets:
            _check(root, net, split, family)
            if taken(net.number):
                raise _taken(root, net.number)
            tensors = tensors_of(net)
            layout = layouts.setdefault(id(net.layout), (net.layout, net.layout.to_json()))[1]
            yield metadata_of(net, split, tensors, layout), tensors

    for group in packing.groups(packed(), NETS):
        numbers = [int(metadata["number"]) for metadata, _ in group]
        try:
            packing.write_shard(root, group)
            for number in numbers:
                failed.clear(root, number)
        except OSError as error:
            raise write_error(root, numbers[0], error, f"nets {numbers[0]} to {numbers[-1]}") from None
        stored += len(group)
    return stored


def mark_packed(root: Path, plan: Plan) -> Plan:
    """zoo.json says that there are shards before there are: an older nws would take their nets for missing."""
    if plan["format"] == PACKED:
        return plan
    try:
        now = Plan.read(root).packed()
        now.write(root)
    except OSError as error:
        raise NwsError(f"{root}: cannot be written ({error.strerror}): nothing was changed") from None
    return now


def _check(root: Path, net: Net, split: str, family: Family) -> None:
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    if net.number >= _NUMBER_LIMIT:
        raise NwsError(f"net {net.number}: a zoo's nets are numbered below {_NUMBER_LIMIT:,}")
    if isinstance(net.hp, Config) and net.hp.family.name != family.name:
        raise NwsError(f"net {net.number} is one of {net.hp.family.name}, {root} holds nets of {family.name}")
