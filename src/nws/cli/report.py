"""The command that makes a page to explore a zoo: report."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from nws.cli.app import Json, ZooPath, app, beside, exists, print_json


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
    from nws.zoo import Zoo

    opened, made = Zoo(zoo), beside(zoo, "figures")
    if tables is not None:
        exists(tables)
    elif made.is_dir():
        tables = made
    from nws import report as reports  # after everything that may be wrong: it brings PyTorch and scikit-learn
    from nws import terminal

    with terminal.progress(quiet=as_json) as on_progress:
        written = reports.write(opened, out, tables, on_progress)
    if as_json:
        print_json(asdict(written))
        return
    terminal.out.print(
        f"{written.path}: {written.nets:,} nets, {written.points:,} points, {written.bytes / 1e6:.1f} MB", markup=False
    )
    if written.absent:
        made_by = "made by `nws figures ZOO`, then the same report"
        terminal.console.print(f"not shown, because there is no table: {', '.join(written.absent)} ({made_by})", markup=False)
