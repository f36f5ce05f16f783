"""A zoo and its tables -> what the page holds: JSON values, with arrays as base64 (see `packing`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nws import results
from nws.errors import NwsError
from nws.report import findings, glance
from nws.report.packing import packed, plain, quantised, rows
from nws.report.tables import Tables
from nws.space import ARCHITECTURE, PROPERTIES
from nws.zoo import Zoo
from nws.zoo.select import converged_mask

if TYPE_CHECKING:
    import pandas as pd

_ORDERED = {"batch_size", *ARCHITECTURE}  # options with an order: coloured along a scale
_MEASURED = {  # columns of the index that are numbers, and how the page writes them
    "test_accuracy": "percent",
    "validation_accuracy": "percent",
    "train_accuracy": "percent",
    "learning_rate": "number",
    "weights": "count",
    "weights_conv": "count",
    "epochs": "count",
    "seconds": "seconds",
}
# Sections that only a table can fill: the columns they need, and those they also show.
_SECTIONS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "meta_classification": (
        ("property", "meta", "accuracy", "low", "high", "chance"),
        ("part", "slice_length", "vote", "error", "n_train", "n_test", "n_tested", "rounds"),
    ),
    "local": (
        ("property", "meta", "accuracy", "low", "high", "chance"),
        ("part", "slice_length", "vote", "error", "n_tested", "rounds"),
    ),
    "importance": (("property", "layer", "type", "statistic", "mean"), ("spread",)),
    "regression": (("dataset", "term", "coefficient"), ("p", "p_value", "low", "high")),
}


def gather(zoo: Zoo, tables: str | Path | None = None, tell: Callable[[str], None] = lambda doing: None) -> dict[str, Any]:
    """Everything the page shows. NwsError when the zoo is empty, damaged, or a table lacks a column."""
    source = Tables(tables)
    frame = zoo.index
    if frame.empty:
        raise NwsError(f"{zoo.path} holds no nets yet: run `nws sample` first")
    names = [name for name in zoo.varying() if not PROPERTIES[name].continuous]
    table, method = _plane(zoo, source, tell)
    sections = {name: _section(source, name) for name in _SECTIONS}
    shared = findings.shared_neighbours(frame, table, names) if table is not None else {}
    reading = [*(sections["meta_classification"] or []), *(sections["local"] or [])]
    return {
        "title": zoo.path.resolve().name,
        "sentence": findings.sentence(frame, reading, shared),
        "origin": results.provenance(),
        "settings": {"seed": zoo.seed, "images": sorted(zoo.images), **zoo.settings},
        "colour": findings.clearest(shared) or "test_accuracy",
        "nets": _nets(frame),
        "curves": _curves(frame, _curve_table(zoo, source, tell)),
        "plane": None if table is None else _points(frame, table),
        "method": method,
        "shared": {name: list(pair) for name, pair in shared.items()},
        **sections,
        "maps": _maps(source.read("maps", ("property", "position", "snapshot", "accuracy"))),
    }


def _plane(zoo: Zoo, source: Tables, tell: Callable[[str], None]) -> tuple[pd.DataFrame | None, str]:
    """(table or None, how it was made, or why there is none)."""
    table = source.read("embedding", ("net", "snapshot", "x", "y"))
    if table is not None:
        return table, "UMAP of the first 10 principal components of the convolutional weights (table embedding)"
    try:
        return glance.plane(zoo, tell)
    except NwsError as error:
        return None, str(error)


def _curve_table(zoo: Zoo, source: Tables, tell: Callable[[str], None]) -> pd.DataFrame:
    table = source.read("curves", ("snapshot", "train", "validation", "test"))
    return table if table is not None and "net" in table else glance.curves(zoo, tell)


def _section(source: Tables, name: str) -> list[dict[str, Any]] | None:
    needs, more = _SECTIONS[name]
    table = source.read(name, needs)
    return None if table is None else rows(table, [*needs, *more])


def _maps(table: pd.DataFrame | None) -> list[dict[str, Any]] | None:
    """Accuracies (snapshots x positions) per property, meta-classifier and part: rows of JSON take ten times the space."""
    if table is None:
        return None
    table = table.assign(**{name: other for name, other in (("meta", ""), ("part", "all"), ("n", 0)) if name not in table})
    found = []
    for (name, meta, part), group in table.groupby(["property", "meta", "part"], sort=False):
        grid = group.pivot_table(index="snapshot", columns="position", values="accuracy")
        axes = {"snapshots": list(map(plain, grid.index)), "positions": list(map(plain, grid.columns))}
        about = {"property": str(name), "meta": str(meta), "part": str(part), "n": plain(group["n"].max())}
        found.append({**about, **axes, "accuracy": quantised(grid.to_numpy(float), 0.0, 1.0)})
    return found


def _nets(frame: pd.DataFrame) -> dict[str, Any]:
    """Numbers and columns of the nets: categories as codes, the rest as floats."""
    columns: list[dict[str, Any]] = [
        _category(name, frame[name].tolist(), p.label, ordered=name in _ORDERED)
        for name, p in PROPERTIES.items()
        if not p.continuous
    ]
    columns += [_category(name, frame[name].tolist(), str) for name in ("split", "status")]
    converged = ["yes" if c else "no" for c in converged_mask(frame).tolist()]
    columns.append(_category("converged", converged, str))
    for name, style in _MEASURED.items():
        column = {"name": name, "label": findings.word(name), "kind": "number", "style": style}
        columns.append({**column, **packed(frame[name].to_numpy(np.float32))})
    return {"count": len(frame), "number": packed(frame.index.to_numpy()), "columns": columns, "bytes": int(frame["bytes"].sum())}


def _category(name: str, values: list[Any], label: Callable[[Any], str], ordered: bool = False) -> dict[str, Any]:
    planned = {option: i for i, option in enumerate(PROPERTIES[name].options)} if name in PROPERTIES and not ordered else {}
    options = sorted(set(values), key=lambda v: (planned.get(v, len(planned)), v))
    codes = {option: i for i, option in enumerate(options)}
    column = {
        "name": name,
        "label": findings.word(name),
        "kind": "category",
        "ordered": ordered,
        "options": list(map(label, options)),
    }
    return {**column, **packed(np.array([codes[v] for v in values]))}


def _curves(frame: pd.DataFrame, table: pd.DataFrame) -> dict[str, Any]:
    """(N, S) accuracies and epochs at the snapshots, net by net; what no row tells is missing."""
    shape = len(frame), int(frame["snapshots"].max())
    row, column, table = _places(frame, table, shape[1])
    out: dict[str, Any] = {"snapshots": shape[1]}
    for name in ("train", "validation", "test"):
        values = np.full(shape, np.nan)
        values[row, column] = table[name].to_numpy(float)
        out[name] = quantised(values, 0.0, 1.0)
    epoch = np.zeros(shape, np.int64)
    epoch[row, column] = table.get("epoch", column)
    return {**out, "epoch": packed(epoch)}


def _points(frame: pd.DataFrame, table: pd.DataFrame) -> dict[str, Any]:
    """Every snapshot that has a place, net by net in the order of training."""
    row, column, table = _places(frame, table, int(frame["snapshots"].max()))
    x, y = (table[name].to_numpy(float) for name in ("x", "y"))
    keep = np.isfinite(x) & np.isfinite(y)
    order = np.lexsort((column[keep], row[keep]))
    net, snapshot, x, y = (values[keep][order] for values in (row, column, x, y))
    return {"count": len(x), "net": packed(net), "snapshot": packed(snapshot + 1), "x": quantised(x), "y": quantised(y)}


def _places(frame: pd.DataFrame, table: pd.DataFrame, snapshots: int) -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    """(row of the net, snapshot from 0, the table's rows that belong to nets of this zoo)."""
    import pandas as pd

    row = frame.index.get_indexer(pd.Index(table["net"]))
    column = table["snapshot"].to_numpy(np.int64) - 1
    keep = (row >= 0) & (column >= 0) & (column < snapshots)
    return row[keep], column[keep], table[keep]
