"""The command that reads hyper-parameters back from weights: classify."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from nws import threads
from nws.cli.app import Json, Workers, ZooPath, app, named, positive, print_json, property_values, snapshot_numbers
from nws.errors import NwsError, imported
from nws.families.cnn2020 import PROPERTIES
from nws.layout import STRIPS
from nws.processes import preloading
from nws.vocabulary import EDGE_READERS, MEASURED, META_CLASSIFIERS, STEPPED, WORKERS_NEED

if TYPE_CHECKING:
    from nws.tasks.protocol import Results, Task
    from nws.zoo import Zoo

Properties = Annotated[
    str,
    Parameter(
        name="--property",
        help="What to read back, comma between; all: every property that differs in the zoo. One of "
        + ", ".join(PROPERTIES)
        + "; what was measured at each snapshot: "
        + ", ".join(MEASURED)
        + "; of KANs mask and mask_std, whether each edge is kept; or what a zoo's source or `nws annotate` recorded.",
    ),
]
Snapshots = Annotated[str | None, Parameter(help="Which snapshots to read: 11:20, 20, or 1,5,20; default: the last four.")]
Split = Annotated[
    Literal["rounds", "stored", "source"],
    Parameter(
        help="rounds: each round draws its own test nets; stored: every round uses the split stored in the zoo; source: nets of "
        "test images are tested, of zoos whose nets are pictures."
    ),
]
Slice = Annotated[
    str | None,
    Parameter(
        name="--slice",
        help="How many weights a meta-classifier sees at once, or whole for whole nets; default: dmc 5000, SVMs whole.",
    ),
]
Without = Annotated[
    str | None,
    Parameter(
        help="Kinds of weights to take out of the nets, comma between: "
        + ", ".join(STRIPS)
        + " (moving: mean and var; norm: all four)."
    ),
]
WithoutAt = Annotated[
    Literal["test", "both"],
    Parameter(help="test: learn with these weights and test without, as in the paper; both: learn without them, too."),
]
Where = Annotated[
    list[str] | None,
    Parameter(negative="", help="Use only nets with this value of a property, e.g. --where batch_norm=off; may be repeated."),
]

Metas = Annotated[
    str | None,
    Parameter(
        help=f"Meta-classifiers, comma between: {', '.join(META_CLASSIFIERS)}; default: the SVMs (the 480 ones read whole nets of "
        f"one architecture only; tensors any whole nets, slices and slice-net what --slice cuts). "
        f"Of masks: {', '.join(EDGE_READERS)}."
    ),
]
Models = Annotated[
    list[str] | None,
    Parameter(negative="", help="Your own estimator of scikit-learn, as module:name (docs/readers.md); may be repeated."),
]
Steps = Annotated[
    int,
    Parameter(
        help=f"Most training steps of {', '.join(STEPPED)}. 200 of the DMC take minutes per round on a CPU; the paper trains "
        "it for about 125,000."
    ),
]
_SVMS = ("svm-linear-16", "svm-rbf-16", "svm-linear-480", "svm-rbf-480")


@app.command
def classify(
    zoo: ZooPath,
    /,
    *,
    properties: Properties = "all",
    meta: Metas = None,
    model: Models = None,
    snapshots: Snapshots = None,
    slice_length: Slice = None,
    part: Annotated[Literal["all", "conv", "fc"], Parameter(help="Which part of the nets is read.")] = "all",
    rounds: Annotated[int, Parameter(help="Repetitions, each with test nets and a meta-classifier of its own.")] = 10,
    seed: Annotated[int, Parameter(help="Random seed: the same seed gives the same splits, slices and meta-classifiers.")] = 0,
    split: Split = "rounds",
    converged: Annotated[bool, Parameter(negative="", help="Only nets above the paper's accuracy thresholds.")] = False,
    without: Without = None,
    without_at: WithoutAt = "test",
    where: Where = None,
    steps: Steps = 200,
    workers: Workers = None,
    out: Annotated[Path | None, Parameter(help="Folder for results.json, results.csv, the figure and the models.")] = None,
    as_json: Json = False,
) -> None:
    """Train meta-classifiers that read hyper-parameters back from weights, and show how often they are right on unseen nets."""
    from nws.tasks.inputs import Inputs
    from nws.zoo import Zoo

    positive(rounds=rounds, steps=steps, workers=workers)
    opened, length = Zoo(zoo), _slice(slice_length)
    options: dict[str, Any] = {
        "snapshots": snapshot_numbers(snapshots),
        "slice_length": length,
        "part": part,
        "converged": converged,
        "split": split,
        "without": tuple(named(without, "kind of weights", STRIPS)) if without else (),
        "without_at": without_at,
        "only": _only(where or [], opened),
    }
    tasks = _tasks(opened, properties, options)
    edges = [task for task in tasks if task.property in opened.family.per_weight]  # read by other readers than whole nets
    kinds = [([task for task in tasks if task not in edges], False), (edges, True)]
    asked = [(some, _metas(opened, meta, model or [], isinstance(length, int), of_edges)) for some, of_edges in kinds if some]
    settings, processes = {name: {"max_steps": steps} for name in STEPPED}, workers or threads.cores()
    if processes > 1:
        preloading(WORKERS_NEED)  # beside the imports of this process
    from nws import terminal  # after everything that may be wrong: they bring PyTorch and scikit-learn
    from nws.tasks.evaluation import evaluate
    from nws.tasks.protocol import Results

    with terminal.progress(quiet=as_json) as on_progress, Inputs(opened, seed, workers=processes) as inputs:
        how: dict[str, Any] = {"rounds": rounds, "out": out, "settings": settings, "on_progress": on_progress}
        rows = Results(row for some, metas in asked for row in evaluate(metas, some, inputs, **how))
    if out:
        _draw(rows, out)
    if as_json:
        print_json([r.row() for r in rows])
    else:
        terminal.out.print(terminal.results(rows))
        if out:
            terminal.console.print(f"rows, figure and models are in {out}")


def _draw(rows: Results, out: Path) -> None:
    from nws import figures

    shown = type(rows)(r for r in rows if r.accuracy is not None and r.prevalence is None)
    if shown:  # the figure shows accuracies of nets: a regression has none, and masks are of edges
        figures.save(figures.meta_classification(shown.frame), out / "meta_classification")


def _metas(zoo: Zoo, meta: str | None, own: list[str], sliced: bool, of_edges: bool) -> list[Any]:
    """Names, and what users name as theirs; without either the SVMs that can read these nets, or the readers of edges."""
    names = named(meta, "meta-classifier", (*META_CLASSIFIERS, *EDGE_READERS)) if meta else []
    if not names and not own and of_edges:
        return list(EDGE_READERS)
    if not names and not own:
        return list(_SVMS if not sliced and len(zoo.layouts()) == 1 else _SVMS[:2])
    return [*names, *(imported(text, "--model") for text in own)]


def _tasks(zoo: Zoo, properties: str, options: dict[str, Any]) -> list[Task]:
    from nws.tasks.protocol import Task
    from nws.tasks.questions import snapshots
    from nws.zoo import targets

    varying = [name for name in zoo.varying() if name not in options["only"]]
    names = named(properties, "property", targets.names(zoo)) if properties != "all" else varying
    tasks = [Task(name, **options) for name in names]
    for task in tasks:
        snapshots(task, zoo)
    return tasks


def _only(pairs: list[str], zoo: Zoo) -> dict[str, Any]:
    """["batch_norm=off"] -> {"batch_norm": False}"""
    found = property_values("--where", pairs, zoo.properties) if pairs else {}
    for name, values in found.items():
        if len(values) > 1:
            raise NwsError(f"--where {name}: give one value, not {len(values)}")
    return {name: values[0] for name, values in found.items()}


def _slice(text: str | None) -> int | str | None:
    if text is None or text == "whole":
        return text
    try:
        return int(text)
    except ValueError:
        raise NwsError(f"--slice {text}: give a number of weights, or whole") from None
