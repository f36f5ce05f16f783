"""A zoo and its tables -> what the page holds: JSON values, with arrays as base64 (see `packing`)."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nws import tables as stored_tables
from nws.analysis import statistics
from nws.errors import NwsError
from nws.families.space import Property
from nws.figures import pictures
from nws.figures.reading import effort
from nws.progress import within
from nws.report import findings, glance
from nws.report.packing import packed, plain, quantised, rows
from nws.tasks import results
from nws.zoo import Zoo
from nws.zoo.select import converged_mask

if TYPE_CHECKING:
    import pandas as pd

UNRECORDED = "not recorded"
_MEASURED = {  # columns of the index that are numbers, and how the page writes them
    "test_accuracy": "percent",
    "validation_accuracy": "percent",
    "train_accuracy": "percent",
    "weights": "count",
    "weights_conv": "count",
    "epochs": "count",
    "seconds": "seconds",
}
# Sections that only a table can fill: the columns they need, and those they also show.
_READING = ("property", "meta", "accuracy", "low", "high", "chance")
_NUMBERS = ("error", "unit", "r2", "r2_low", "r2_high", "tau", "tau_low", "tau_high")
_MORE = ("part", "slice_length", *_NUMBERS, "n_train", "n_test", "n_tested", "rounds")
_SECTIONS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "meta_classification": (_READING, _MORE),
    "local": (_READING, _MORE),
    "numbers": (_READING, _MORE),
    "importance": (("property", "layer", "type", "statistic", "mean"), ("spread",)),
    "regression": (("dataset", "property", "option", "coefficient"), ("p", "nets", "r2")),
}
_MAP = ("property", "meta", "part", "position", "snapshot", "accuracy", "n", "chance")


def gather(zoo: Zoo, tables: str | Path | None = None, on_progress: Callable[[str], None] = lambda doing: None) -> dict[str, Any]:
    """Everything the page shows. NwsError when the zoo is empty, damaged, or a table lacks a column."""
    source = Tables(tables)
    frame = zoo.index
    if frame.empty:
        raise NwsError(f"{zoo.path} holds no nets yet: run `nws sample` first")
    known = zoo.properties
    table, method = _plane(zoo, source, within(on_progress, "the picture", 0, 0.9))
    found = {name: source.read(name, needs) for name, (needs, _) in _SECTIONS.items()}
    maps = source.read("maps", _MAP)
    sections = {name: None if t is None else rows(t, sum(_SECTIONS[name], ())) for name, t in found.items()}
    sections["local"] = _not_in(sections["local"], sections["meta_classification"])
    names = [name for name in zoo.varying() if not known[name].continuous and frame[name].notna().all()]
    shared = findings.shared_neighbours(frame, table, names) if table is not None else {}
    numbers = sections.pop("numbers")
    sections["meta_classification"] = [*(sections["meta_classification"] or []), *(numbers or [])] or None
    reading = [*(sections["meta_classification"] or []), *(sections["local"] or [])]
    return {
        "title": zoo.path.resolve().name,
        "sentence": findings.sentence(frame, reading, shared),
        "origin": results.provenance(),
        "settings": {"seed": zoo.seed, "images": sorted(zoo.images), **zoo.settings},
        "colour": findings.clearest(shared) or ("test_accuracy" if frame["test_accuracy"].notna().any() else "progress"),
        "nets": _nets(frame, known, zoo.family.measures[1:]),
        "curves": _curves(frame, _curve_table(zoo, source, within(on_progress, "curves", 0.9, 1))),
        "plane": None if table is None else _points(frame, table),
        "method": method,
        "shared": {name: list(pair) for name, pair in shared.items()},
        "notes": {name: _notes(t) for name, t in {**found, "maps": maps}.items() if t is not None},
        "pictures": _pictures(zoo),
        **sections,
        "maps": None if maps is None else _maps(maps),
    }


def _pictures(zoo: Zoo) -> dict[str, Any] | None:
    """Of nets that are pictures some, as a PNG in base64; None of others."""
    if not pictures.can(zoo):
        return None
    figure, notes = pictures.strip(zoo)
    text = "Each image, what its net says of it, and the error: red where the net is too bright, blue where it is too dark."
    return {"png": base64.b64encode(pictures.png(figure)).decode(), "text": text, "notes": notes}


def _plane(zoo: Zoo, source: Tables, on_progress: Callable[[str], None]) -> tuple[pd.DataFrame | None, str]:
    """(table or None, how it was made, or why there is none)."""
    table = source.read("embedding", ("net", "snapshot", "x", "y"))
    if table is not None:
        return table, "; ".join(table.attrs["notes"]) or "Coordinates of the table embedding"
    try:
        return glance.plane(zoo, on_progress)
    except NwsError as error:
        return None, str(error)


def _curve_table(zoo: Zoo, source: Tables, on_progress: Callable[[str], None]) -> pd.DataFrame:
    table = source.read("curves", ("net", "snapshot", "epoch", "train", "validation", "test"))
    return statistics.curves(zoo, on_progress) if table is None else table


def _not_in(mine: list[dict[str, Any]] | None, others: list[dict[str, Any]] | None) -> list[dict[str, Any]] | None:
    """The rows that the others lack: of a quick run the DMC on slices stands in both tables."""
    return mine if mine is None or others is None else [row for row in mine if row not in others]


def _notes(table: pd.DataFrame) -> list[str]:
    """What a reader must know of a table before believing it."""
    return [*filter(None, [effort(table)]), *table.attrs["notes"]]


def _maps(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Accuracies (snapshots x positions) per property, meta-classifier and part: rows of JSON take ten times the space."""
    found = []
    for (name, meta, part), group in table.groupby(["property", "meta", "part"], sort=False):
        grid = group.pivot_table(index="snapshot", columns="position", values="accuracy")
        axes = {"snapshots": list(map(plain, grid.index)), "positions": list(map(plain, grid.columns))}
        about = {"property": str(name), "meta": str(meta), "part": str(part)}
        sure = {"n": int(group["n"].min()), "chance": float(group["chance"].iloc[0])}
        found.append({**about, **sure, **axes, "accuracy": quantised(grid.to_numpy(float), 0.0, 1.0)})
    return found


def _nets(frame: pd.DataFrame, known: Mapping[str, Property], measures: Iterable[str] = ()) -> dict[str, Any]:
    """Numbers and columns of the nets: categories as codes, the rest, and a family's own measures, as floats."""
    classes = [name for name in known if not known[name].continuous]
    columns = [_category(name, frame[name].tolist(), known[name]) for name in classes]
    columns += [_category(name, frame[name].tolist()) for name in ("split", "status")]
    columns.append(_category("converged", _converged(frame)))
    numbers = [name for name in known if known[name].continuous] + [name for name in measures if name in frame]
    for name, style in {**dict.fromkeys(numbers, "number"), **_MEASURED}.items():
        column = {"name": name, "label": findings.word(name), "kind": "number", "style": style, "property": name in known}
        columns.append({**column, **packed(frame[name].to_numpy(np.float32, na_value=np.nan))})
    return {"count": len(frame), "number": packed(frame.index.to_numpy()), "columns": columns, "bytes": int(frame["bytes"].sum())}


def _converged(frame: pd.DataFrame) -> list[str | None]:
    """Whether each net converged; None where nobody measured it."""
    measured = frame["test_accuracy"].notna() | (frame["status"] != "ok")
    return [("yes" if c else "no") if m else None for c, m in zip(converged_mask(frame).tolist(), measured.tolist(), strict=True)]


def _category(name: str, values: list[Any], known: Property | None = None) -> dict[str, Any]:
    """Codes of the options that occur, numbers in their order, others in the family's; what nobody recorded comes last."""
    ordered = known is not None and known.type in (int, float)  # coloured along a scale
    planned = {option: i for i, option in enumerate(known.options)} if known and not ordered else {}
    present = {v for v in values if _is_recorded(v)}
    options = sorted(present, key=lambda v: (planned.get(v, len(planned)), v))
    labels = [known.label(option) if known else str(option) for option in options]
    codes = {option: i for i, option in enumerate(options)}
    found = [codes[v] if _is_recorded(v) else len(codes) for v in values]
    if len(codes) in found:
        labels.append(UNRECORDED)
    column = {"name": name, "label": findings.word(name), "kind": "category", "ordered": ordered, "options": labels}
    return {**column, **packed(np.array(found))}


def _is_recorded(value: Any) -> bool:
    import pandas as pd

    return not pd.isna(value)  # None, NaN, or the NA of a switch, of which even == is no answer


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


class Tables:
    """The tables of a folder of `nws figures`: DIR/tables/NAME.json, or DIR/NAME.json. None: no tables at all."""

    def __init__(self, folder: str | Path | None):
        self.folder = None if folder is None else Path(folder)
        if self.folder is None:
            return
        if not self.folder.is_dir():
            raise NwsError(f"{self.folder} is no folder: `nws figures ZOO --out DIR` makes one")
        if (self.folder / "tables").is_dir():
            self.folder = self.folder / "tables"
        if not any(self.folder.glob("*.json")):
            raise NwsError(f"{self.folder} holds no tables: `nws figures ZOO --out DIR` makes them")

    def read(self, name: str, needs: Iterable[str]) -> pd.DataFrame | None:
        """The table with at least these columns, or None when there is none. NwsError when there is one that cannot be read."""
        if self.folder is None or not (self.folder / f"{name}.json").is_file():
            return None
        frame = stored_tables.load(self.folder, name)
        missing = [column for column in needs if column not in frame]
        if missing:
            raise NwsError(f"{self.folder / name}.json lacks the column {', '.join(missing)}: make it anew with `nws figures`")
        return frame
