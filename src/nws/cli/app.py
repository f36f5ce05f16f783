"""The application that every command joins, and what several commands share."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from nws import __version__
from nws.errors import NwsError, unknown
from nws.families.space import Property

app = App(
    name="nws",
    help="Train zoos of neural nets, and read back from their weights how they were trained.",
    version=__version__,
    help_format="plaintext",
    result_action="return_value",
    suppress_keyboard_interrupt=False,  # `main` says what was kept
)


Json = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON for machines instead of tables.")]
ZooPath = Annotated[Path, Parameter(name="ZOO", help="Folder of the zoo.")]

Workers = Annotated[
    int | None, Parameter(help="Processes of one thread each that share the work; default: one per core. Results are the same.")
]


def named(text: str, what: str, valid: Iterable[str]) -> list[str]:
    found = [name.strip() for name in text.split(",") if name.strip()]
    valid = list(valid)
    for name in found:
        if name not in valid:
            raise unknown(what, name, valid)
    if not found:
        raise NwsError(f"name at least one {what}: {', '.join(valid)}")
    return list(dict.fromkeys(found))


def property_values(option: str, pairs: Iterable[str], properties: Mapping[str, Property]) -> dict[str, list[Any]]:
    """["optimizer=adam,rmsprop"] -> {"optimizer": ["adam", "rmsprop"]}; `option` is what the user wrote before each."""
    chosen = {}
    for pair in pairs:
        name, _, values = pair.partition("=")
        if name not in properties:
            raise unknown("property", name, properties)
        known = properties[name]
        if not values.strip():
            raise NwsError(f"{option} {name}: it needs a value, such as {option} {name}={known.label(known.options[0])}")
        chosen[name] = [known.parse(value.strip()) for value in values.split(",")]
    return chosen


def beside(zoo: Path, what: str) -> Path:
    """zoo/fashion, figures -> zoo/fashion-figures: where a command writes when it is not told."""
    named_ = zoo if zoo.name not in ("", "..") else zoo.resolve()
    return named_.parent / f"{named_.name}-{what}"


def exists(path: Path) -> None:
    if not path.exists():
        raise NwsError(f"{path} does not exist: name a file or folder that does")


def positive(**values: int | None) -> None:
    for name, value in values.items():
        if value is not None and value < 1:
            raise NwsError(f"--{name.replace('_', '-')} {value}: must be at least 1")


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=1, default=str))


def snapshot_numbers(text: str | None) -> tuple[int, ...]:
    """ "11:20" -> 11 to 20; "1,5,20" -> those; None -> ()"""
    if text is None:
        return ()
    try:
        first, colon, last = text.partition(":")
        numbers = tuple(range(int(first), int(last) + 1)) if colon else tuple(int(n) for n in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers:
        raise NwsError(f"--snapshots {text}: write 11:20, 20 or 1,5,20")
    return numbers
