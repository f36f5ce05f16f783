"""The command that reads hyper-parameters back from weights: classify."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from nws import threads
from nws.cli.app import Json, Workers, ZooPath, app, named, positive, print_json, snapshot_numbers
from nws.errors import NwsError, unknown
from nws.layout import STRIPS
from nws.space import PROPERTIES
from nws.vocabulary import META_CLASSIFIERS

if TYPE_CHECKING:
    from nws.protocol import Task
    from nws.zoo import Zoo

Properties = Annotated[
    str, Parameter(name="--property", help="Properties, comma between, or all that differ in the zoo: " + ", ".join(PROPERTIES))
]
Slice = Annotated[
    str | None,
    Parameter(name="--slice", help="Weights a meta-classifier sees at once, or whole; default: dmc 5000, SVMs whole nets."),
]
Without = Annotated[
    str | None,
    Parameter(
        help="Take weights out of the nets, comma between: " + ", ".join(STRIPS) + " (moving: mean and var; norm: all four)."
    ),
]
WithoutAt = Annotated[
    Literal["test", "both"], Parameter(help="test: learn with them, test without, as in the paper; both: never see them.")
]
Only = Annotated[
    list[str] | None, Parameter(negative="", help="Only nets that have this, e.g. --only batch_norm=off; may be repeated.")
]


@app.command
def classify(
    zoo: ZooPath,
    /,
    *,
    properties: Properties = "all",
    meta: Annotated[
        str, Parameter(help="Meta-classifiers, comma between: svm-linear-16, svm-rbf-16, svm-linear-480, svm-rbf-480, dmc.")
    ] = "svm-linear-16,svm-rbf-16,svm-linear-480,svm-rbf-480",
    snapshots: Annotated[str | None, Parameter(help="11:20, 20, or 1,5,20; default: the last four.")] = None,
    slice_length: Slice = None,
    part: Annotated[Literal["all", "conv", "fc"], Parameter(help="Which part of the nets is read.")] = "all",
    rounds: Annotated[int, Parameter(help="Independent repetitions.")] = 10,
    seed: Annotated[int, Parameter(help="Of splits, slices and meta-classifiers.")] = 0,
    split: Annotated[
        Literal["rounds", "stored"], Parameter(help="rounds: each round draws its own test nets; stored: the zoo's split in all.")
    ] = "rounds",
    converged: Annotated[bool, Parameter(negative="", help="Only nets above the paper's accuracy thresholds.")] = False,
    without: Without = None,
    without_at: WithoutAt = "test",
    only: Only = None,
    steps: Annotated[
        int, Parameter(help="Training steps of the DMC at most: minutes a round on a CPU. The paper's local DMC takes 125,000.")
    ] = 200,
    workers: Workers = None,
    out: Annotated[Path | None, Parameter(help="Folder for results.json, results.csv, the figure and the models.")] = None,
    as_json: Json = False,
) -> None:
    """Train meta-classifiers that read hyper-parameters back from weights; accuracy against chance with intervals."""
    from nws.inputs import Inputs
    from nws.zoo import Zoo

    positive(rounds=rounds, steps=steps, workers=workers)
    names = named(meta, "meta-classifier", META_CLASSIFIERS)
    options: dict[str, Any] = {
        "snapshots": snapshot_numbers(snapshots),
        "slice_length": _slice(slice_length),
        "part": part,
        "converged": converged,
        "split": split,
        "without": tuple(named(without, "kind of weights", STRIPS)) if without else (),
        "without_at": without_at,
        "only": _only(only or []),
    }
    opened = Zoo(zoo)
    tasks = _tasks(opened, properties, options)
    from nws import results, terminal  # after everything that may be wrong: they bring PyTorch and scikit-learn

    settings, processes = {"dmc": {"max_steps": steps}}, workers or threads.cores()
    with terminal.progress(quiet=as_json) as tell, Inputs(opened, seed, workers=processes) as inputs:
        rows = results.classify(inputs, tasks, names, rounds=rounds, out=out, settings=settings, tell=tell)
    if out and any(r.accuracy is not None for r in rows):  # the figure shows accuracies, and a regression has none
        from nws import figures

        figures.save(figures.meta_classification(results.table(rows)), out / "meta_classification")
    if as_json:
        print_json([r.row() for r in rows])
    else:
        terminal.out.print(terminal.results(rows))
        if out:
            terminal.console.print(f"rows, figure and models are in {out}")


def _tasks(zoo: Zoo, properties: str, options: dict[str, Any]) -> list[Task]:
    from nws.protocol import Task
    from nws.questions import snapshots

    varying = [name for name in zoo.varying() if name not in options["only"]]
    names = named(properties, "property", zoo.properties) if properties != "all" else varying
    tasks = [Task(name, **options) for name in names]
    for task in tasks:
        snapshots(task, zoo)
    return tasks


def _only(pairs: list[str]) -> dict[str, Any]:
    """["batch_norm=off"] -> {"batch_norm": False}"""
    chosen = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        if name not in PROPERTIES:
            raise unknown("property", name, PROPERTIES)
        chosen[name] = PROPERTIES[name].parse(value)
    return chosen


def _slice(text: str | None) -> int | str | None:
    if text is None or text == "whole":
        return text
    try:
        return int(text)
    except ValueError:
        raise NwsError(f"--slice {text}: give a number of weights, or whole") from None
