"""The command that measures this machine: bench."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from nws.cli.app import Json, app, named, print_json


@app.command
def bench(
    *,
    chosen: Annotated[
        str | None,
        Parameter(
            name="--suites",
            help="Which measurements, comma between: engine, features, store, meta, sampling, fashion; default: all.",
        ),
    ] = None,
    full: Annotated[
        bool, Parameter(negative="", help="The long versions: about ten minutes each, instead of three minutes for all.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Measure how fast nws is on this machine, compared with other ways to do the same work and with our targets."""
    from nws import terminal
    from nws.bench import suites

    names = named(chosen, "suite", suites.SUITES) if chosen is not None else list(suites.SUITES)
    with terminal.progress(quiet=as_json) as on_progress:
        rows = list(suites.run(names, quick=not full, on_progress=on_progress))
    if as_json:
        print_json([row.to_dict() for row in rows])
    else:
        terminal.out.print(terminal.benchmarks([row.to_dict() for row in rows]))
