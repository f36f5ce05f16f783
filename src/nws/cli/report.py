"""The command that makes a page to explore a zoo: report."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from nws.cli.app import Json, ZooPath, app, exists, print_json


@app.command
def report(
    zoo: ZooPath,
    /,
    *,
    out: Annotated[Path, Parameter(help="The HTML file to write.")] = Path("report.html"),
    tables: Annotated[
        Path | None, Parameter(help="Folder that `nws figures` made; default: only what is cheap to compute is shown.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make one self-contained interactive page about a zoo: it opens from disk, with no network."""
    from nws.zoo import Zoo

    opened = Zoo(zoo)
    if tables is not None:
        exists(tables)
    from nws import report as reports  # after everything that may be wrong: it brings PyTorch and scikit-learn
    from nws import terminal

    with terminal.progress(quiet=as_json) as tell:
        written = reports.write(opened, out, tables, tell)
    if as_json:
        print_json(asdict(written))
        return
    terminal.out.print(
        f"{written.path}: {written.nets:,} nets, {written.points:,} points, {written.bytes / 1e6:.1f} MB", markup=False
    )
    if written.absent:
        made_by = "nws figures ZOO --out DIR, then nws report ZOO --tables DIR"
        terminal.console.print(f"not shown, no table: {', '.join(written.absent)} ({made_by})", markup=False)
