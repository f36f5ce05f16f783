"""What nws says when it cannot go on: one line with the address and the cure."""

import difflib
from collections.abc import Iterable


class NwsError(ValueError):
    """Bad input or a bad file. The message is one line: what, where, and what to do. The CLI prints it and exits with 2."""


def unknown(what: str, name: object, valid: Iterable[object]) -> NwsError:
    """The error for a name outside a closed list: the valid names, nearest first."""
    names = [str(v) for v in valid]
    nearest = sorted(names, key=lambda v: -difflib.SequenceMatcher(None, str(name), v).ratio())
    return NwsError(f"{what} {str(name)!r} is unknown: use one of {', '.join(nearest)}")
