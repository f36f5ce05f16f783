"""Arrays as short text: quantised, then base64. The page's bytes.js reads them."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

MISSING = 65535  # the code of a value that was never measured
_LEVELS = MISSING - 1


def packed(values: np.ndarray) -> dict[str, str]:
    """An array as {"type": "u1", "b64": ...}, little-endian, in the narrowest type that holds it: u1, u2, u4 or f4."""
    values = np.asarray(values)
    if values.dtype.kind == "f":
        kind = "f4"
    else:
        top = int(values.max(initial=0))
        kind = "u1" if top < 1 << 8 else "u2" if top < 1 << 16 else "u4"
    return {"type": kind, "b64": base64.b64encode(values.astype(f"<{kind}").tobytes()).decode()}


def quantised(values: np.ndarray, low: float | None = None, high: float | None = None) -> dict[str, Any]:
    """Floats as 65,535 levels from low to high (their own range by default); what is not finite becomes `MISSING`.

    The price is at most 1/131,068 of the range per value: less than a pixel of a plot, at half the size of float32.
    """
    values = np.asarray(values, float)
    finite = values[np.isfinite(values)]
    low = float(finite.min(initial=math.inf)) if low is None else low
    high = float(finite.max(initial=-math.inf)) if high is None else high
    if not low < high:  # nothing, or one value again and again
        low, high = (low, low + max(1.0, abs(low))) if math.isfinite(low) else (0.0, 1.0)
    with np.errstate(invalid="ignore", over="ignore"):
        levels = np.clip((values - low) / (high - low), 0, 1) * _LEVELS
    codes = np.where(np.isfinite(values), np.round(levels), MISSING).astype(np.uint16)
    return {"low": low, "high": high, **packed(codes)}


def plain(value: Any) -> Any:
    """A cell of a table as JSON can hold it; null for what is not finite."""
    value = value.item() if isinstance(value, np.generic) else value
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return str(value)


def rows(frame: Any, columns: Iterable[str]) -> list[dict[str, Any]]:
    """The rows of a DataFrame with those of the columns that it has."""
    present = [name for name in columns if name in frame]
    return [dict(zip(present, map(plain, row), strict=True)) for row in frame[present].astype(object).to_numpy().tolist()]
