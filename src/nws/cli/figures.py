"""The command that makes the paper's tables and figures for a zoo: figures."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from nws import threads
from nws.cli.app import Json, Workers, ZooPath, app, beside, named, positive, print_json
from nws.errors import NwsError
from nws.vocabulary import FIGURES


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
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Make the paper's tables and figures for a zoo. What is there already is kept; Ctrl-C and the same command go on."""
    from nws.zoo import Zoo

    positive(workers=workers)
    names = None if chosen is None else named(chosen, "figure", FIGURES)
    opened = Zoo(zoo)
    if not len(opened):
        raise NwsError(f"{zoo} holds no nets yet: run `nws sample` first")
    from nws import gallery, terminal  # after everything that may be wrong: they bring PyTorch and scikit-learn

    with terminal.progress(quiet=as_json) as on_progress:
        made = gallery.make(opened, out or beside(zoo, "figures"), names, budget, on_progress, workers or threads.cores())
    if as_json:
        print_json([asdict(m) for m in made])
        return
    terminal.out.print(terminal.gallery(made, str(zoo)))
