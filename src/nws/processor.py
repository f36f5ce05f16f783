"""Which build of a compiled module this processor can run: CMakeLists.txt makes one for each instruction set."""

from __future__ import annotations

import importlib
import os
from types import ModuleType

CHOICE = "NWS_INSTRUCTION_SET"  # in the environment: one of those that the processor has, for measurements and comparisons

_NOT_BUILT = "is not built for this processor: install a C++ compiler, then reinstall nws"
_UNSUITABLE = "needs a processor with AVX2 and FMA (x86-64-v3, since 2013) or a 64-bit ARM"


def instruction_sets() -> list[str]:
    """Those that modules can be built for and that this processor has, best first. Raises ImportError where nothing was built."""
    found: list[str] = importlib.import_module("nws._processor").instruction_sets()
    chosen = os.environ.get(CHOICE)
    if chosen and chosen not in found:
        raise ImportError(f"is switched off: {CHOICE}={chosen}, and this processor has {' and '.join(found) or 'none'}")
    return [chosen] if chosen else found


def native(name: str) -> ModuleType:
    """The compiled module `name`, such as nws.train._native, in its build for the best instruction set.

    A file compiled by hand, without an instruction set in its name, is taken where there is no other. Raises ImportError, whose
    text is the end of a sentence that begins with what the module does, and says why not.
    """
    levels, reason = [], _NOT_BUILT
    try:
        levels = instruction_sets()
        reason = reason if levels else _UNSUITABLE
    except ModuleNotFoundError:
        pass
    for candidate in [*(f"{name}_{level.replace('-', '_')}" for level in levels), name]:
        try:
            return importlib.import_module(candidate)
        except ModuleNotFoundError as error:
            if error.name != candidate:
                raise
    raise ImportError(reason)
