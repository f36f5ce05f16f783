"""Many nets into one file: straight from memory, or out of the files that they have (`nws pack`)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nws.atomic import flush_folder, write_whole
from nws.errors import NwsError
from nws.zoo.netfile import net_path, packed_at
from nws.zoo.scan import scan
from nws.zoo.shardfile import BLOCK, BYTES, Packed, Shard, encode, folder_of, name_of

Progress = Callable[[int, int], None]
_SHOWN = 10  # reasons why nets stay as they are


@dataclass
class Summary:
    """What `Zoo.pack` did.

    nets    that lie in shards now which it wrote; `shards`: how many these are
    freed   files that their nets needed before, and that are gone
    left    net -> why it stays where it is: a file that is damaged, or too large to share one
    """

    nets: int = 0
    shards: int = 0
    freed: int = 0
    left: dict[int, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def lines(self, zoo: Path) -> list[str]:
        """In words, as `nws pack` has it."""
        found = [f"{zoo}: {_count(self.nets, 'net')} in {_count(self.shards, 'new shard')}, {_count(self.freed, 'file')} fewer"]
        if not self.nets and not self.freed:
            found = [f"{zoo}: nothing to pack"]
        reasons: dict[str, list[int]] = {}
        for number, why in self.left.items():
            reasons.setdefault(why, []).append(number)
        for why, numbers in list(reasons.items())[:_SHOWN]:
            which = (
                f"net {numbers[0]} stays" if len(numbers) == 1 else f"nets {numbers[0]} to {numbers[-1]} ({len(numbers):,}) stay"
            )
            found.append(f"{which}: {why}")
        if len(reasons) > _SHOWN:
            found.append(f"and {len(reasons) - _SHOWN:,} more: `--json` lists them")
        return found


def write_shard(root: Path, nets: Sequence[Packed], instead_of: str = "") -> Path:
    """Nets of one folder's numbers, in rising order, into a new shard: read back from the disk and compared before it counts.

    instead_of: the name of a damaged one, which the new one does not get.
    Raises OSError, and NwsError when the disk does not give back what was written; then there is no such shard.
    """
    folder = folder_of(root, int(nets[0][0]["number"]))
    for made in (folder.parent, folder):
        if not made.is_dir():
            made.mkdir(exist_ok=True)
            flush_folder(made.parent)
    path = folder / name_of(nets, instead_of)
    if path.exists() and _holds(path, nets):
        return path
    write_whole(path, encode(nets), new=True)
    if not _holds(path, nets):
        path.unlink(missing_ok=True)
        raise NwsError(f"{path}: the disk gives back something else than was written: look after the disk, nothing was removed")
    return path


def groups(nets: Iterable[Packed], per_shard: int) -> Iterator[list[Packed]]:
    """Nets as they come, in groups that become a shard each: of one folder, in rising order, `per_shard` and 64 MB at most."""
    held: list[Packed] = []
    size = 0
    for net in nets:
        number, more = int(net[0]["number"]), _size(net)
        last = int(held[-1][0]["number"]) if held else number
        if held and (len(held) == per_shard or size + more > BYTES or last // BLOCK != number // BLOCK or number <= last):
            yield held
            held, size = [], 0
        held.append(net)
        size += more
    if held:
        yield held


def pack(root: Path, per_shard: int, on_progress: Progress | None) -> Summary:
    """See `Zoo.pack`. Whatever stops it, each net is whole in at least one file, and the next call goes on."""
    if not 2 <= per_shard <= BLOCK:
        raise NwsError(f"{per_shard} nets per shard: use 2 to {BLOCK:,}")
    summary, found = Summary(), scan(root)
    singles: dict[int, list[int]] = {}
    for number in sorted(found.nets):
        singles.setdefault(number // BLOCK, []).append(number)
    shards: dict[int, list[Path]] = {}
    for name in found.shards:
        shards.setdefault(int(Path(name).parent.name), []).append(root / name)
    done = 0
    for block in sorted({*singles, *shards}):
        try:
            _pack_folder(root, singles.get(block, []), shards.get(block, []), per_shard, summary)
        except OSError as error:
            raise NwsError(f"{root}: cannot be packed ({error.strerror}): no net was lost, run it again") from None
        done += len(singles.get(block, []))
        if on_progress:
            on_progress(done, len(found.nets))
    return summary


def _pack_folder(root: Path, singles: list[int], shards: list[Path], per_shard: int, summary: Summary) -> None:
    whole: dict[int, Path] = {}  # net -> the shard that has it
    small: list[Shard] = []
    for path in shards:
        try:
            shard = Shard(path)
        except (NwsError, OSError):
            continue  # `nws verify` tells, and mends
        whole |= dict.fromkeys(shard.numbers, path)
        if 2 * len(shard) <= per_shard and 2 * shard.bytes <= BYTES:
            small.append(shard)
    sources: dict[int, Shard | None] = {}
    for number in singles:
        if number not in whole:
            sources[number] = None
        elif _same(root, number, whole[number]):  # a call was stopped between writing the shard and removing this file
            _remove(net_path(root, number), summary)
        else:
            summary.left[number] = f"{whole[number]} holds another net {number}, or a damaged one"
    if len(small) > 1 or (small and sources):  # what many writers left is put together
        sources |= {number: shard for shard in small for number in shard.numbers if number not in summary.left}
    else:
        small = []
    stored = set[int]()
    for group in groups(_sound(root, sources, summary), per_shard):
        numbers = [int(metadata["number"]) for metadata, _ in group]
        if len(group) == 1 and sources[numbers[0]] is None:
            summary.left[numbers[0]] = "no other net of its thousand numbers fits into a shard with it"
            continue
        if not any(shard.numbers == numbers for shard in small):
            write_shard(root, group)
            summary.nets, summary.shards = summary.nets + len(group), summary.shards + 1
            stored |= set(numbers)
        for number in numbers:
            if sources[number] is None:
                _remove(net_path(root, number), summary)
    for shard in small:
        if set(shard.numbers) <= stored:
            _remove(shard.path, summary)


def _sound(root: Path, sources: dict[int, Shard | None], summary: Summary) -> Iterator[Packed]:
    """The nets in rising order, each read whole and checked; `left` says of the others why they stay."""
    for number in sorted(sources):
        shard = sources[number]
        try:
            if shard is not None:
                shard.net(number)
                yield shard.packed(number)
            else:
                packed = packed_at(net_path(root, number), number)
                if 2 * _size(packed) > BYTES:
                    summary.left[number] = "it is large enough for a file of its own"
                else:
                    yield packed
        except NwsError as error:
            summary.left[number] = str(error)


def _holds(path: Path, nets: Sequence[Packed]) -> bool:
    """Whether a shard holds exactly these nets, whole, as the disk has them."""
    try:
        shard = Shard(path)
        os.posix_fadvise(shard.descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        for metadata, _ in nets:
            shard.net(int(metadata["number"]))
        return shard.numbers == [int(m["number"]) for m, _ in nets] and all(
            shard.metadata(int(m["number"])) == dict(m) for m, _ in nets
        )
    except (NwsError, OSError):
        return False


def _same(root: Path, number: int, path: Path) -> bool:
    try:
        shard = Shard(path)
        shard.net(number)
        return dict(packed_at(net_path(root, number), number)[0]) == shard.metadata(number)
    except (NwsError, OSError):
        return False


def _remove(path: Path, summary: Summary) -> None:
    path.unlink(missing_ok=True)
    summary.freed += 1


def _size(net: Packed) -> int:
    metadata, tensors = net
    return sum(map(len, metadata.values())) + sum(tensor.nbytes for tensor in tensors.values())


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
