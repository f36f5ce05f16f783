"""The command that makes the paper's tables and figures for a zoo: figures."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from nws.cli.app import Json, ZooPath, app, beside, named, print_json


@app.command
def figures(
    zoo: ZooPath,
    /,
    *,
    out: Annotated[
        Path | None,
        Parameter(help="Folder for the figures, and tables/ with what they show as CSV and JSON; default: ZOO-figures."),
    ] = None,
    chosen: Annotated[
        str | None, Parameter(name="--figures", help="Which figures, comma between, e.g. figure6,figure8; default: all.")
    ] = None,
    budget: Annotated[
        Literal["quick", "full"],
        Parameter(
            help="How much is trained for them. quick: minutes to an hour; full: as much as in the paper, which takes weeks."
        ),
    ] = "quick",
    as_json: Json = False,
) -> None:
    """Make the paper's tables and figures for a zoo. What is there already is kept; Ctrl-C and the same command go on."""
    from nws import gallery, terminal
    from nws.zoo import Zoo

    names = None if chosen is None else named(chosen, "figure", gallery.FIGURES)
    with terminal.spinner(quiet=as_json) as tell:
        made = gallery.make(Zoo(zoo), out or beside(zoo, "figures"), names, budget, tell)
    if as_json:
        print_json([asdict(m) for m in made])
        return
    terminal.out.print(terminal.gallery(made, str(zoo)))
