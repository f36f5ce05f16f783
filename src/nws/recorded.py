"""What somebody else recorded about the training of a net: names and values of their own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nws.errors import NwsError

Value = str | float | int | bool
_MOST, _LONGEST_NAME, _LONGEST_TEXT = 256, 200, 1000


@dataclass(frozen=True, eq=True)
class Recorded:
    """The properties of a net that nws did not train: name -> text, number or switch. Refuses nonsense when built.

    A name of the paper's hyper-parameters means the same here, but any of them may be absent, and a value outside our options (the
    optimizer "sgd") stays what it is. Text is data: whoever prints it escapes it.
    """

    values: Mapping[str, Value]

    def __post_init__(self) -> None:
        if len(self.values) > _MOST:
            raise NwsError(f"{len(self.values):,} properties of one net: at most {_MOST} are kept, leave out what is no property")
        for name, value in self.values.items():
            if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
                raise NwsError(
                    f"{str(name)[:40]!r} cannot be the name of a property: use 1 to {_LONGEST_NAME} printable characters"
                )
            text = isinstance(value, str) and len(value) <= _LONGEST_TEXT and value.isprintable()
            number = isinstance(value, int | float) and abs(value) < 1 << 63 and math.isfinite(value)
            if not text and not number:
                raise NwsError(
                    f"{name}={str(value)[:40]!r}: must be a finite number, a switch, or at most {_LONGEST_TEXT} characters"
                )
        object.__setattr__(self, "values", dict(self.values))

    @classmethod
    def of(cls, values: Mapping[Any, Any]) -> Recorded:
        """From whatever a stranger's file says: what is absent or not finite is left out, nested values become text."""
        return cls({printable(name)[:_LONGEST_NAME]: kept for name, value in values.items() if (kept := _kept(value)) is not None})

    def to_dict(self) -> dict[str, Any]:
        return dict(self.values)

    def get(self, name: str, default: Any = None) -> Any:
        return self.values.get(name, default)

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and name in self.__dict__.get("values", ()):
            return self.values[name]
        raise AttributeError(f"nobody recorded {name!r} of this net")


def printable(text: Any) -> str:
    """The text as it is where it can be printed; else line ends, stray bytes and the like as \\n, \\udcff ..."""
    text = str(text)
    return text if text.isprintable() else "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def parsed(cell: str) -> Value | None:
    """A cell of a table as the number or the switch it is, or as text; None when it is empty."""
    cell = cell.strip()
    if cell.lower() in ("", "nan", "none", "null"):
        return None
    if cell in ("True", "False", "true", "false"):
        return cell in ("True", "true")
    if cell.isascii() and "_" not in cell:  # Python would read 1_000 as a number
        for kind in (int, float):
            try:
                return kind(cell)
            except ValueError:
                pass
    return cell


def _kept(value: Any) -> Value | None:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return value if abs(value) < 1 << 63 and math.isfinite(value) else None  # in this order: isfinite is for floats
    if value is None or value == "":
        return None
    return printable(value)[:_LONGEST_TEXT]
