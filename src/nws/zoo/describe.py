"""A zoo in numbers (`nws info`), and as a Hugging Face data set."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nws.families import CNN2020, MLP
from nws.families.space import Property
from nws.zoo.netfile import ACCURACIES
from nws.zoo.plan import FORMAT
from nws.zoo.select import converged_mask

if TYPE_CHECKING:
    import pandas as pd

    from nws.zoo.index import View
    from nws.zoo.zoo import Zoo


def summary(zoo: Zoo) -> dict[str, Any]:
    """See `Zoo.summary`."""
    import pandas as pd

    frame = zoo.view()
    of_sets = pd.DataFrame({name: frame[name] for name in ("dataset", "status", "test_accuracy")})
    return {
        "path": str(zoo.path),
        "format": max(FORMAT, zoo.format),
        "nets": len(frame),
        "planned": zoo.planned,
        "writers": [writer.to_dict() for writer in zoo.writers],
        "damaged": len(zoo.damaged),
        "failed": zoo.failed,
        "status": _counts(frame["status"]),
        "split": _counts(frame["split"]),
        "properties": {name: _property(frame, known) for name, known in zoo.properties.items()},
        "measured": {name: _range(frame[name]) for name in zoo.family.measures[1:] if name in frame and name not in ACCURACIES},
        "accuracies": {str(name): _accuracy(group) for name, group in of_sets.groupby(of_sets["dataset"].fillna("not recorded"))},
        "snapshots": _range(frame["snapshots"]),
        "weights": _range(frame["weights"]),
        "epochs": _range(frame["epochs"]),
        "bytes": int(frame["bytes"].sum()),
        "seconds": _number(frame["seconds"].sum()),
        "seed": zoo.seed,
        "images": dict(zoo.images),
        "settings": dict(zoo.settings),
    }


def card(zoo: Zoo) -> str:
    """See `Zoo.card`."""
    facts = summary(zoo)
    rows = [
        f"| {_cell(name)} | {', '.join(f'{_cell(option)} ({n})' for option, n in counts.items())} |"
        for name, counts in facts["properties"].items()
        if "min" not in counts
    ]
    sets = ", ".join(map(_cell, facts["accuracies"])) or "none yet"
    made = f"with random hyper-parameters (seed {zoo.seed})" if "imported" not in zoo.settings else "elsewhere"
    lines = [
        "---",
        f"pretty_name: {json.dumps(f'Zoo of neural networks: {zoo.path.name}')}",
        "tags: [weight-space, model-zoo, hyper-parameters]",
        "configs:",
        "- config_name: default",
        "  data_files: index.parquet",
        "---",
        "",
        f"# {zoo.path.name}",
        "",
        f"{facts['nets']:,} {_kind(zoo)} with {facts['snapshots']['max'] or 0} snapshots of their weights each, "
        f"trained on {sets} {made}, to study what weights tell about training.",
        "`index.parquet` has a row per net, `nets/` a safetensors file per net. Read with `nws.Zoo(folder)`.",
        "",
        "| property | options (nets) |",
        "|---|---|",
        *rows,
        "",
    ]
    return "\n".join(lines)


def _kind(zoo: Zoo) -> str:
    if zoo.family is CNN2020:
        return "small convolutional networks"
    return "fully connected networks" if zoo.family is MLP else f"small neural networks of the family {_cell(zoo.family.name)}"


def html_table(zoo: Zoo) -> str:
    """For notebooks: what `nws info` prints, as a table."""
    facts = summary(zoo)
    rows = [("nets", f"{facts['nets']:,}"), ("family", zoo.family.name), ("weights", _span(facts["weights"]))]
    rows += [("snapshots", _span(facts["snapshots"])), ("size", f"{facts['bytes'] / 1e6:.1f} MB")]
    for name, counts in facts["properties"].items():
        rows.append((name, _span(counts) if "min" in counts else ", ".join(f"{option} {n}" for option, n in counts.items())))
    cells = "".join(f"<tr><td>{html.escape(name)}</td><td>{html.escape(text)}</td></tr>" for name, text in rows)
    return f"<table><caption>{html.escape(str(zoo.path))}</caption>{cells}</table>"


def _span(ends: Mapping[str, Any]) -> str:
    low, high = (f"{n:,}" if isinstance(n, int) else f"{n:.3g}" if n is not None else "none" for n in (ends["min"], ends["max"]))
    return low if low == high else f"{low} to {high}"


def _property(frame: pd.DataFrame | View, property: Property) -> dict[str, Any]:
    return _range(frame[property.name]) if property.continuous else _counts(frame[property.name])


def _cell(text: str) -> str:
    """In a Markdown table, where a foreign zoo's names may be anything."""
    return html.escape(text).replace("|", "&#124;")


def _counts(column: pd.Series) -> dict[str, int]:
    return {str(option): int(n) for option, n in column.value_counts().sort_index().items()}


def _range(column: pd.Series) -> dict[str, Any]:
    return {"min": _number(column.min()), "max": _number(column.max())} if len(column) else {"min": None, "max": None}


def _accuracy(group: pd.DataFrame) -> dict[str, Any]:
    """Of the nets of one image set that did not diverge: test accuracy at the last snapshot, of those `measured` on test images."""
    usable = group[group["status"] == "ok"]
    measured = usable[usable["test_accuracy"].notna()]  # whether the others converged, nobody knows
    accuracy = measured["test_accuracy"]
    return {
        "nets": len(usable),
        "measured": len(measured),
        "mean": _number(accuracy.mean()),
        **_range(accuracy),
        "converged": _number(converged_mask(measured).mean()),
    }


def _number(value: Any) -> int | float | None:
    number = value.item() if hasattr(value, "item") else value
    return None if isinstance(number, float) and not math.isfinite(number) else number
