"""The command that makes a page to explore a zoo: report."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from nws.cli.app import Json, ZooPath, app, beside, print_json


@app.command
def report(
    zoo: ZooPath,
    /,
    *,
    out: Annotated[Path, Parameter(help="The HTML file to write.")] = Path("report.html"),
    tables: Annotated[
        Path | None,
        Parameter(help="Folder made by `nws figures`; default: ZOO-figures. Without it the page shows what is quick to compute."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make one self-contained interactive page about a zoo: it opens from disk, with no network."""
    from nws import report as reports
    from nws import terminal
    from nws.zoo import Zoo

    made = beside(zoo, "figures")
    if tables is None and made.is_dir():
        tables = made
    with terminal.spinner(quiet=as_json) as tell:
        written = reports.write(Zoo(zoo), out, tables, tell)
    if as_json:
        print_json(asdict(written))
        return
    terminal.out.print(
        f"{written.path}: {written.nets:,} nets, {written.points:,} points, {written.bytes / 1e6:.1f} MB", markup=False
    )
    if written.absent:
        made_by = "made by `nws figures ZOO`, then the same report"
        terminal.console.print(f"not shown, because there is no table: {', '.join(written.absent)} ({made_by})", markup=False)
