"""The command that asks how one file of weights was trained: audit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from nws import threads
from nws.cli.app import Json, Workers, ZooPath, app, exists, named, positive, print_json
from nws.errors import NwsError
from nws.vocabulary import META_CLASSIFIERS
from nws.weights import SUFFIXES


@app.command
def audit(
    file: Annotated[Path, Parameter(name="FILE", help=f"Weights: {', '.join(SUFFIXES)}; docs/import.md has a table of formats.")],
    /,
    *,
    models: Annotated[
        list[Path] | None,
        Parameter(
            name="--with",
            negative="",
            help="Meta-classifiers to ask: a saved one, or a folder of them (docs/audit.md); may be repeated.",
        ),
    ] = None,
    net: Annotated[str | None, Parameter(help="Which net of FILE, where it holds several (actor and critic ...).")] = None,
    html: Annotated[Path | None, Parameter(help="Also write a page about it: one file, no network.")] = None,
    as_json: Json = False,
) -> int:
    """Say how the net in FILE was probably trained, and whether to trust that. Nothing in FILE is run.

    Widths, depths, filter size and batch norm are read from FILE, whatever the meta-classifiers say.
    Exit code 0: a meta-classifier answered, or none was named. 2: none of those named could answer, or FILE cannot be read.
    """
    exists(file)
    for path in models or []:
        if not path.exists() and not path.with_name(f"{path.name}.json").exists():
            raise NwsError(f"{path} does not exist: name a saved meta-classifier, or a folder of them")
    from nws import auditing, terminal  # after everything that may be wrong: they bring PyTorch and scikit-learn

    with terminal.progress(quiet=as_json) as on_progress:
        on_progress(f"auditing {file}")
        found = auditing.audit(file, models or [], net)
    if html:
        from nws import report

        report.write_audit(found, html)
    if as_json:
        print_json(found.to_dict())
    else:
        terminal.show_audit(found)
    return 2 if models and not found.answers and not found.checks else 0


@app.command
def learn(
    zoo: ZooPath,
    /,
    *,
    out: Annotated[Path, Parameter(help="Folder for the models, two files each; `nws audit FILE --with` it.")],
    properties: Annotated[
        str, Parameter(name="--property", help="What to learn, comma between; all: what differs, and a file does not show.")
    ] = "all",
    meta: Annotated[
        str, Parameter(help="Meta-classifiers to try, comma between; of each property the best on held-out nets is kept.")
    ] = "tensors",
    seed: Annotated[int, Parameter(help="Random seed of folds and meta-classifiers.")] = 0,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Learn from a zoo what `nws audit` needs: per property one calibrated meta-classifier, and one that doubts counterfeits."""
    from nws.zoo import Zoo, targets

    positive(workers=workers)
    opened = Zoo(zoo)
    metas = named(meta, "meta-classifier", META_CLASSIFIERS)
    asked = named(properties, "property", targets.names(opened)) if properties != "all" else []
    from nws import auditing, terminal  # after everything that may be wrong: they bring PyTorch and scikit-learn

    rows = []
    with terminal.progress(quiet=as_json) as on_progress:
        processes = workers or threads.cores()
        models = auditing.learned(opened, out, properties=asked, metas=metas, seed=seed, workers=processes, on_progress=on_progress)
        rows += [made.described() for made in models]
    if as_json:
        print_json(rows)
    else:
        shown = [(f"{row['property']}, {row['meta']}", row["said"]) for row in rows]
        terminal.out.print(terminal.facts(shown, f"On held-out nets of {opened.path}"))
