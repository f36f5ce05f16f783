"""Commands that bring zoos in and out: import, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from nws.cli.app import Json, ZooPath, app, beside, print_json, snapshot_numbers

_SHOWN = 10  # skipped nets that are listed for people; --json has all


@app.command(name="import")
def import_(
    kind: Annotated[
        Literal["nws2020", "small-cnn-zoo", "model-zoos", "checkpoints", "inrs"], Parameter(name="KIND", help="Whose format it is.")
    ],
    source: Annotated[Path, Parameter(name="SRC", help="Folder, table, glob or file; docs/import.md has a list per kind.")],
    zoo: ZooPath,
    /,
    *,
    table: Annotated[
        Path | None, Parameter(help="For checkpoints: a CSV file with a column path, and one column per property.")
    ] = None,
    root: Annotated[Path | None, Parameter(help="For nws2020: one more folder in which the table's paths may lie.")] = None,
    net: Annotated[
        str | None, Parameter(help="For checkpoints: which net of files that hold several (actor and critic ...).")
    ] = None,
    strict: Annotated[
        bool, Parameter(negative="", help="Stop at the first net that cannot be read, instead of listing it.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make a zoo from other people's nets. Damaged nets are skipped and listed; the same command goes on where it stopped."""
    from nws import importers, terminal

    with terminal.progress(quiet=as_json) as on_progress:
        on_progress("looking through the source")
        opened = importers.open_source(kind, source, table=table, root=root, net=net)
        summary = importers.fill(opened, zoo, strict, terminal.counted(on_progress))
    if as_json:
        print_json(summary.to_dict())
        return
    rows = [("nets", f"{summary.nets:,}, {summary.imported:,} of them imported now"), ("skipped", f"{len(summary.skipped):,}")]
    rows.append(("rounding", f"weights changed by at most {summary.largest_rounding_difference:.3g} as float32"))
    rows += [("note", f"{note} ({n:,} nets)" if n > 1 else note) for note, n in summary.notes.most_common(_SHOWN)]
    rows += [(where, why) for where, why in summary.skipped[:_SHOWN]]
    terminal.out.print(terminal.facts(rows, summary.zoo))


@app.command
def export(
    zoo: ZooPath,
    /,
    *,
    to: Annotated[Literal["nws2020", "state-dict", "numpy"], Parameter(help="The format; docs/import.md describes each.")],
    out: Annotated[
        Path | None, Parameter(help="Folder to write to; the same command goes on with it. Default: ZOO-state-dict and so on.")
    ] = None,
    snapshots: Annotated[str | None, Parameter(help="Which snapshots to write: 11:20, 20, or 1,5,20; default: all.")] = None,
    as_json: Json = False,
) -> None:
    """Write a zoo's nets in another format: the 2020 program's runs, PyTorch state dicts, or NumPy matrices."""
    from nws import exporters, terminal
    from nws.zoo import Zoo

    out = out or beside(zoo, to)
    with terminal.progress(quiet=as_json) as on_progress:
        on_progress("reading the zoo")
        numbers = snapshot_numbers(snapshots)
        done = exporters.export(Zoo(zoo), to, out, numbers, terminal.counted(on_progress))
    if as_json:
        print_json(done)
        return
    rows = [("nets", f"{done['nets']:,}"), ("files", f"{done['files']:,}"), ("skipped", f"{len(done['skipped']):,}")]
    terminal.out.print(terminal.facts(rows + done["skipped"][:_SHOWN], str(out)))
