"""What nws says when it cannot go on: one line with the address and the cure."""

import difflib
from collections.abc import Iterable


class NwsError(ValueError):
    """Bad input or a bad file. The message is one line: what, where, and what to do. The CLI prints it and exits with 2."""


def unknown(what: str, name: object, valid: Iterable[object]) -> NwsError:
    """The error for a name outside a closed list: the valid names, nearest first."""
    valid = [str(v) for v in valid]
    near = difflib.get_close_matches(str(name), valid, n=len(valid), cutoff=0.0)
    return NwsError(f"{what} {str(name)!r} is unknown: use one of {', '.join(near + [v for v in valid if v not in near])}")
