"""A source into a zoo: one net in memory at a time, going on where an earlier run stopped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nws.errors import NwsError, unknown
from nws.importers import checkpoints, inrs, model_zoos, nws2020, small_cnn_zoo
from nws.importers.source import Source
from nws.zoo import Zoo

_OPENERS: dict[str, Callable[..., Source]] = {
    "nws2020": nws2020.open_source,
    "small-cnn-zoo": small_cnn_zoo.open_source,
    "model-zoos": model_zoos.open_source,
    "checkpoints": checkpoints.open_source,
    "inrs": inrs.open_source,
}
KINDS = tuple(_OPENERS)

OnProgress = Callable[[int, int, str], None]


@dataclass
class Summary:
    """What an import did.

    nets      that the zoo holds now; `imported` of them by this call, `already` before it
    skipped   (where, why) of each net that could not be read
    largest_rounding_difference  of any weight that this call made float32
    notes     what was assumed or left out -> in how many nets
    """

    zoo: str
    kind: str
    nets: int = 0
    imported: int = 0
    already: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    largest_rounding_difference: float = 0.0
    notes: Counter[str] = field(default_factory=Counter)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


_OPTIONS = {"checkpoints": {"table", "net"}, "nws2020": {"root"}}


def open_source(kind: str, path: str | Path, **options: str | Path | None) -> Source:
    """Look through a source without reading its weights. NwsError when it is none of that kind.

    options  table: a CSV of properties for "checkpoints", net: which net of files that hold several (actor and critic ...);
             root: a further folder that the paths of "nws2020" may lie in
    """
    if kind not in _OPENERS:
        raise unknown("kind", kind, KINDS)
    given: dict[str, Any] = {n: value if n == "net" else Path(value) for n, value in options.items() if value is not None}
    if wrong := set(given) - _OPTIONS.get(kind, set()):
        raise NwsError(f"--{min(wrong)}: {kind} has no use for it, leave it out")
    return _OPENERS[kind](Path(path), **given)


def fill(source: Source, path: str | Path, strict: bool = False, on_progress: OnProgress = lambda done, of, where: None) -> Summary:
    """Import the nets that the zoo at `path` lacks; a zoo is made when there is none.

    strict  end with the first net that cannot be read, instead of listing it
    on_progress  receives (done, of, where) after each net

    Raises NwsError for a zoo made from something else, a full disk, or when no net at all could be read.
    """
    zoo = Zoo.create(path, family=source.family, imported=source.kind, source=source.fingerprint)
    summary = Summary(str(path), source.kind, notes=Counter(dict.fromkeys(source.notes, 1)))
    with zoo.only_writer():
        present = set(zoo.numbers())
        for done, item in enumerate(source.items(), 1):
            if item.number in present:
                summary.already += 1
            else:
                try:
                    found = item.load()
                except (NwsError, OSError) as error:  # OSError: a file or folder that may not be read
                    if strict:
                        raise
                    summary.skipped.append((item.where, " ".join(str(error).split())))
                else:
                    zoo.append(found.net, found.split)  # a full disk ends the import, it is not the net's fault
                    present.add(item.number)
                    summary.imported += 1
                    summary.largest_rounding_difference = max(summary.largest_rounding_difference, found.difference)
                    summary.notes.update(set(found.notes))
            on_progress(done, source.count, item.where)
    summary.nets = len(present)
    if not present:
        why = f" ({summary.skipped[0][1]})" if summary.skipped else ""
        raise NwsError(f"none of {source.count} nets could be read{why}")
    return summary
