"""What nws says when it cannot go on: one line with the address and the cure."""

import difflib
from collections.abc import Iterable
from typing import Any

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


def imported(text: str, option: str) -> Any:
    """What a user names as "module:name", from the folder where the command is given or from what is installed.

    NwsError, one line, when there is none; what the module itself raises is the user's to see.
    """
    import importlib
    import sys
    from pathlib import Path

    module, colon, name = text.partition(":")
    if not colon or not name:
        raise NwsError(f"{option} {text}: write module:name, a Python module and what it defines")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)  # as python -m does
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name.partition(".")[0]):
            raise
        raise NwsError(f"{module}.py is neither in this folder nor installed: go to its folder, or install it") from None
    except AttributeError:
        raise NwsError(f"{module} has no {name}: name a class, a function or an object of it") from None
