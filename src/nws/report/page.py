"""Data -> one HTML file that needs nothing else: styles, scripts and data are inside, and no request can leave it."""

from __future__ import annotations

import base64
import hashlib
import html as escaping
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from nws.errors import NwsError
from nws.report.data import gather
from nws.tasks.results import write as write_text
from nws.zoo import Zoo

# In the order of their imports: a module stands after all that it uses.
SCRIPTS = (
    "bytes", "element", "colour", "nets", "state", "csv", "curve", "card", "points", "lasso", "scatter", "legend", "filters",
    "table", "overview", "bars", "heatmap", "maps", "importance", "regression", "main",
)  # fmt: skip
POLICY = "default-src 'none'; img-src data: blob:; base-uri 'none'; form-action 'none'"
_IMPORT = re.compile(r"^import .*?;\n", re.MULTILINE | re.DOTALL)
_EXPORT = re.compile(r"^export ", re.MULTILINE)
_UNSAFE = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


@dataclass(frozen=True)
class Written:
    """What `write` made. `sections`: those that have something to show; `absent`: those that wait for a table."""

    path: str
    bytes: int
    nets: int
    points: int
    sections: tuple[str, ...]
    absent: tuple[str, ...]


def write(
    zoo: Zoo, out: str | Path, tables: str | Path | None = None, on_progress: Callable[[str], None] = lambda doing: None
) -> Written:
    """Write the page about a zoo to `out`, whole or not at all.

    tables: a folder that `nws figures` made; without it the page shows what is cheap to compute: overview, accuracy curves
    and a plane by PCA. NwsError when zoo, tables or `out` cannot be used.
    """
    out = Path(out)
    if out.is_dir():
        raise NwsError(f"{out} is a folder: name a file, such as {out / 'report.html'}")
    if not out.parent.is_dir():
        raise NwsError(f"{out.parent} is no folder: make it, or name another file")
    data = gather(zoo, tables, on_progress)
    text = html(data)
    write_text(out, text)
    asked = ("plane", "meta_classification", "local", "maps", "importance", "regression")
    present = tuple(name for name in asked if data[name])
    absent = tuple(name for name in asked if not data[name])
    points = data["plane"]["count"] if data["plane"] else 0
    return Written(str(out), len(text.encode()), data["nets"]["count"], points, ("overview", *present), absent)


def html(data: Mapping[str, Any]) -> str:
    """The page as text. `data` is what `gather` returns."""
    static = files("nws.report") / "static"
    style = (static / "page.css").read_text(encoding="utf-8")
    script = _script({name: (static / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS})
    page = Template((static / "page.html").read_text(encoding="utf-8"))
    return page.substitute(
        title=escaping.escape(str(data["title"])),
        policy=f"{POLICY}; script-src {digest(script)}; style-src {digest(style)}",
        style=style,
        script=script,
        pictures=_pictures(data.get("pictures")),
        data=embedded({name: value for name, value in data.items() if name != "pictures"}),
    )


def _pictures(found: Mapping[str, Any] | None) -> str:
    """The section of what the nets show, or nothing."""
    if not found:
        return ""
    notes = "".join(f'<p class="quiet">{escaping.escape(note)}</p>' for note in found["notes"])
    picture = f'<img src="data:image/png;base64,{found["png"]}" alt="{escaping.escape(found["text"])}" class="strip">'
    heading = f'<h2 id="shown-h">What the nets show</h2><p class="quiet">{escaping.escape(found["text"])}</p>'
    return f'<section id="pictures" aria-labelledby="shown-h"><div class="heading">{heading}</div>{picture}{notes}</section>'


def embedded(value: Any) -> str:
    """JSON that may stand inside a script element: it cannot close it, nor open a comment."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return re.sub("[<>&\u2028\u2029]", lambda found: _UNSAFE[found[0]], text)


def _script(modules: Mapping[str, str]) -> str:
    """All modules as one: imports go, since what they name stands above."""
    return "\n" + "\n".join(_EXPORT.sub("", _IMPORT.sub("", text)) for text in modules.values())


def digest(text: str) -> str:
    """How a content security policy names this text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
