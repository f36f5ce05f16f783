"""Commands that look after zoos: info, verify, annotate, images; and demo."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from nws import __version__
from nws.cli.app import Json, ZooPath, app, beside, named, positive, print_json
from nws.errors import NwsError
from nws.progress import Doing

if TYPE_CHECKING:
    from nws.zoo import Zoo


@app.command
def info(
    zoo: Annotated[Path | None, Parameter(name="ZOO", help="Folder of the zoo.")] = None,
    /,
    *,
    card: Annotated[bool, Parameter(negative="", help="Also write README.md into the zoo, a data card for Hugging Face.")] = False,
    system: Annotated[bool, Parameter(negative="", help="Show the version, engine and cores of this installation.")] = False,
    as_json: Json = False,
) -> None:
    """Show what is in a zoo: how many nets, with which hyper-parameters, how accurate, how large."""
    from nws import terminal
    from nws.zoo import Zoo

    if system:
        from nws.threads import cores
        from nws.train import native_engine

        facts = {"version": __version__, **native_engine.facts(), "cores": cores(), "python": sys.version.split()[0]}
        if as_json:
            print_json(facts)
        else:
            terminal.out.print(terminal.facts([(k, str(v)) for k, v in facts.items()], "nws"))
    if zoo is None:
        if not system:
            raise NwsError("which zoo? nws info ZOO, or nws info --system")
        return
    opened = Zoo(zoo)
    if card:
        from nws.tasks.results import write

        write(opened.path / "README.md", opened.card())
        terminal.console.print(f"wrote {opened.path / 'README.md'}")
    show_summary(opened, as_json)


@app.command
def verify(
    zoo: ZooPath,
    /,
    *,
    repair: Annotated[
        bool, Parameter(negative="", help="Move damaged nets aside, so that `nws sample` trains them again.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Read every net whole and check it.

    Exit code 0: every net on disk is whole, or --repair has moved aside what was not (nets still to be trained are no fault).
    Exit code 2: a net is damaged, or one that was there is gone.
    """
    from nws import terminal
    from nws.zoo import Zoo

    with terminal.progress(quiet=as_json) as on_progress:
        report = Zoo(zoo).verify(
            repair=repair, progress=lambda n, of: on_progress(Doing(f"checked {n:,} of {of:,} nets", n / max(of, 1)))
        )
    if as_json:
        print_json(report.to_dict())
    else:
        terminal.out.print("\n".join(report.lines()), markup=False)
    return 0 if report.ok else 2


@app.command
def pack(
    zoo: ZooPath,
    /,
    *,
    nets_per_shard: Annotated[int, Parameter(help="Nets in one file, at most; and 64 MB.")] = 256,
    as_json: Json = False,
) -> None:
    """Put small nets together, many to a file: zoos of thousands then open in seconds. Nothing else changes.

    A net's own file is removed once the file of many is on disk and was read back; stopped anywhere, the same command goes on.
    Nets larger than 32 MB stay as they are. Older versions of nws ask for an upgrade when they open a packed zoo.
    """
    from nws import terminal
    from nws.zoo import Zoo

    with terminal.progress(quiet=as_json) as on_progress:
        done = Zoo(zoo).pack(
            nets_per_shard, on_progress=lambda n, of: on_progress(Doing(f"looked at {n:,} of {of:,} files", n / max(of, 1)))
        )
    if as_json:
        print_json(done.to_dict())
    else:
        terminal.out.print("\n".join(done.lines(zoo)), markup=False)


@app.command
def annotate(
    zoo: ZooPath,
    table: Annotated[Path, Parameter(name="TABLE", help="CSV with a column net (its number) and columns of your own.")],
    /,
    *,
    replace: Annotated[bool, Parameter(negative="", help="Replace columns that were added before.")] = False,
    as_json: Json = False,
) -> None:
    """Add columns of your own to a zoo: `nws classify --property` reads them like any other."""
    import pandas as pd

    from nws import terminal
    from nws.importers import csv_rows
    from nws.recorded import parsed
    from nws.zoo import Zoo

    opened, rows = Zoo(zoo), csv_rows.read(table)
    if not rows or "net" not in rows[0][1]:
        raise NwsError(f"{table} needs a column net, with a row per net")
    cells = [{name: parsed(cell) for name, cell in row.items()} for _, row in rows]
    columns = {name: pd.Series([row[name] for row in cells], dtype=object) for name in cells[0]}
    opened.annotate(pd.DataFrame(columns), replace)
    own = [name for name in columns if name != "net"]
    if as_json:
        print_json({"zoo": str(zoo), "nets": len(rows), "columns": own})
    else:
        terminal.console.print(f"{zoo}: {', '.join(own)} of {len(rows):,} nets", markup=False)


@app.command
def images(
    zoo: Annotated[Path | None, Parameter(name="ZOO", help="A zoo of nets that are pictures, to be rendered.")] = None,
    /,
    *,
    render: Annotated[bool, Parameter(negative="", help="Draw nets of ZOO: the original, what the net says, the error.")] = False,
    nets: Annotated[str | None, Parameter(help="Numbers of the nets to draw, comma between; default: one per class.")] = None,
    out: Annotated[Path | None, Parameter(help="The PNG file to write; default: ZOO-images.png.")] = None,
    data: Annotated[Path | None, Parameter(help="Folder to look in.")] = None,
    as_json: Json = False,
) -> None:
    """List the image sets that nws knows, and where each is on this machine; or draw the pictures that the nets of a zoo are."""
    from nws import images as image_sets
    from nws import terminal

    if zoo is not None:
        _render(zoo, nets, out or beside(zoo, "images.png"), data, as_json)
        return
    if render or nets or out:
        raise NwsError("which zoo? nws images ZOO --render")
    found = {name: image_sets.where(name, data) for name in image_sets.NAMES}
    if as_json:
        print_json(found)
    else:
        terminal.out.print(terminal.facts(list(found.items()), "Image sets"))


def _render(zoo: Path, nets: str | None, out: Path, data: Path | None, as_json: bool) -> None:
    from nws.zoo import Zoo

    opened = Zoo(zoo)
    numbers = None if nets is None else [int(number) for number in named(nets, "net", map(str, opened.numbers()))]
    from nws import terminal  # after everything that may be wrong: it brings matplotlib
    from nws.atomic import write_whole
    from nws.figures import pictures

    figure, notes = pictures.strip(opened, numbers, data)
    write_whole(out, pictures.png(figure))
    if as_json:
        print_json({"zoo": str(zoo), "out": str(out), "notes": notes})
        return
    terminal.out.print(f"wrote {out}", markup=False)
    for note in notes:
        terminal.console.print(f"note: {note}", markup=False)


@app.command
def demo(
    *,
    out: Annotated[Path, Parameter(help="Folder everything goes to.")] = Path("nws-demo"),
    nets: Annotated[int, Parameter(help="Nets to train.")] = 300,
    workers: Annotated[int | None, Parameter(help="Processes; default: one per core.")] = None,
    as_json: Json = False,
) -> None:
    """The whole story in minutes: train a small zoo on handwritten digits, read choices and accuracy back from the weights."""
    from nws import demo as story
    from nws import terminal

    positive(nets=nets, workers=workers)
    rows = story.run(out, nets=nets, workers=workers)
    if as_json:
        print_json([r.row() for r in rows])
    else:
        terminal.out.print(terminal.results(rows))
        terminal.console.print(f"the zoo is {out / 'zoo'}, the figure {out / 'demo.png'}, the rows {out / 'results.json'}")


def show_summary(zoo: Zoo, as_json: bool) -> None:
    from nws import terminal

    summary = zoo.summary()
    if as_json:
        print_json(summary)
    else:
        terminal.out.print(terminal.zoo_table(summary))
