"""What nws says when it cannot go on: one line with the address and the cure."""

import difflib
from collections.abc import Iterable

_ALIKE = 0.5  # from here on a valid name may be what was meant


class NwsError(ValueError):
    """Bad input or a bad file. The message is one line: what, where, and what to do. The CLI prints it and exits with 2."""


def unknown(what: str, name: object, valid: Iterable[object]) -> NwsError:
    """The error for a name outside a closed list: the valid name most like it, then the others in the order they always have."""
    names = [str(v) for v in valid]
    if isinstance(valid, set | frozenset):  # which has another order in every process
        names.sort()
    nearest = max(names, key=lambda v: difflib.SequenceMatcher(None, str(name), v).ratio(), default="")
    if difflib.SequenceMatcher(None, str(name), nearest).ratio() >= _ALIKE:
        names = [nearest, *(v for v in names if v != nearest)]
    return NwsError(f"{what} {str(name)!r} is unknown: use one of {', '.join(names)}")
