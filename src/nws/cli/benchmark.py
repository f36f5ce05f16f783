"""The benchmarks of readers: benchmark read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from nws.cli.app import Json, Workers, app, named, positive, print_json
from nws.errors import NwsError
from nws.vocabulary import META_CLASSIFIERS

benchmark = App(name="benchmark", help="Compare readers of weights on zoos that anybody can make again.", help_format="plaintext")
app.command(benchmark)

Scale = Literal["tiny", "small", "full"]


@benchmark.command
def read(
    *,
    scale: Annotated[Scale, Parameter(help="How large: tiny takes minutes, small most of an hour, full a day.")] = "small",
    seed: Annotated[int | None, Parameter(help="Of the nets that are tested on; default: a fresh one, which is printed.")] = None,
    tracks: Annotated[
        str | None,
        Parameter(help="Only tracks that begin so, comma between: fixed, main, unseen, none of these, slices, final, ..."),
    ] = None,
    models: Annotated[
        str | None, Parameter(help="Readers, comma between: prior, accuracy, or names of --meta; default: all.")
    ] = None,
    out: Annotated[Path, Parameter(help="Folder that keeps zoos and rows.")] = Path("benchmark-read"),
    data: Annotated[Path | None, Parameter(help="Folder with the image sets; default: $NWS_DATA, then the user's cache.")] = None,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Read weights of nets that are trained now, from a fresh seed, so that nobody can have seen them; all readers, all tracks.

    Ctrl-C stops it cleanly; the same command with --seed goes on.
    """
    positive(workers=workers)
    if seed is not None and not 0 <= seed < 2**31:
        raise NwsError(f"--seed {seed}: must be 0 to {2**31 - 1:,}")
    names = named(models, "model", ("prior", "accuracy", *META_CLASSIFIERS)) if models else []
    from nws import terminal
    from nws.benchmark import benchmark_read
    from nws.benchmark.read import fresh_seed

    seed = fresh_seed() if seed is None else seed
    if not as_json:
        terminal.console.print(f"test nets from seed {seed}: --seed {seed} goes on with them")
    with terminal.progress(quiet=as_json) as on_progress:
        rows = benchmark_read(
            out,
            scale=scale,
            seed=seed,
            tracks=[t.strip() for t in tracks.split(",")] if tracks else [],
            models=names,
            workers=workers,
            data=data,
            on_progress=on_progress,
        )
    if as_json:
        print_json([{**row.to_dict(), "scale": scale, "seed": seed} for row in rows])
    else:
        terminal.out.print(terminal.readings(rows))
