"""Which properties the nets of a zoo have: ours, and those that only a foreign zoo's source recorded."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from nws.errors import NwsError
from nws.families.base import Family
from nws.families.space import Property

if TYPE_CHECKING:
    import pandas as pd

    from nws.zoo.index import View

# A number with more different values than this is a quantity, to be regressed; with fewer its values are classes, but for
# fractions of which most nets have one of their own.
MOST_OPTIONS = 20
MOST_CLASSES = 100  # a text with more different values names a net rather than describes it
_RECORDED = "recorded by the zoo's source"


def properties(frame: pd.DataFrame | View, family: Family, recorded: Iterable[str]) -> dict[str, Property]:
    """name -> property, of those that any net has. `recorded`: the columns beyond the family's.

    Ours stay ours while all values are possible in our space; any other is described by the values that occur.
    """
    own = {p.name: p for p in family.properties}
    if frame.empty:
        return own
    found: dict[str, Property] = {}
    for name in [*own, *recorded]:
        column = frame[name].dropna()
        if column.empty:
            continue
        number = name in own and not own[name].closed and column.dtype in ("int64", "float64")
        ends = [column.min().item(), column.max().item()] if number else []
        if ends and _is_ours(own[name], ends):  # of a million learning rates two are enough
            found[name] = own[name]
            continue
        values = column.unique().tolist()
        if name in own and _is_ours(own[name], values):
            found[name] = own[name]
        elif not isinstance(values[0], str) or len(values) <= MOST_CLASSES:
            found[name] = _described(name, sorted(values), len(column))
    return found


def _is_ours(own: Property, values: list[Any]) -> bool:
    try:
        return all(type(own.check(value)) is type(value) for value in values)
    except NwsError:
        return False


def _described(name: str, values: list[Any], nets: int) -> Property:
    """values: those that occur, in rising order, of so many nets."""
    measured = len(values) > max(2, nets // 2) and any(isinstance(v, float) and v != int(v) for v in values)
    if (len(values) > MOST_OPTIONS or measured) and not isinstance(values[0], str):
        return Property(name, (float(values[0]), float(values[-1])), _RECORDED, continuous=True)
    return Property(name, tuple(values), _RECORDED, closed=False)
