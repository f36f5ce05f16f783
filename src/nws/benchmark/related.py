"""nws benchmark related: the questions of later papers (INRs, KANs, accuracy, masks, ResNets) on zoos that are made here.

Their zoos are not public or not described whole, so that only the kind of task is the same, not the nets (docs/related.md).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nws import families
from nws.benchmark.vectors import OfVectors, Permuted, Rendering
from nws.errors import NwsError, unknown
from nws.meta import EDGE_READERS, METAS
from nws.progress import Doing, within
from nws.sampling import sample
from nws.tasks.evaluation import evaluate
from nws.tasks.protocol import Result, Task
from nws.zoo import Zoo

SEED, COPIES = 2020, 4
FEWEST = 50  # nets for an MLP, which sets a tenth aside to know when to stop
STRUCTURED = ("deepsets", "set-transformer", "graph", "probes")


@dataclass(frozen=True)
class Question:
    """A zoo and what is read from it.

    images     one zoo each
    classes    whether the target has classes
    picture    whether nets are pictures: then they can be rendered, and are split by the sides of the image set
    """

    task: str
    family: str
    target: str
    images: tuple[str, ...]
    classes: bool
    picture: bool = False


QUESTIONS = (
    Question("INR classification", "siren", "label", ("mnist", "fashion"), True, True),
    Question("KAN INR classification", "kan-inr", "label", ("mnist", "fashion", "cifar10"), True, True),
    Question("KAN accuracy", "kan", "test_accuracy", ("mnist", "fashion", "kmnist"), False),
    Question("KAN pruning mask", "kan", "mask", ("mnist", "fashion", "kmnist"), True),
    Question("ResNet accuracy", "resnet8", "test_accuracy", ("cifar10",), False),
)


@dataclass(frozen=True)
class Size:
    """nets: by family; images: in place of a question's own; set: properties by family; limit: training images by family."""

    nets: Mapping[str, int]
    steps: int
    limit: Mapping[str, int]
    images: tuple[str, ...] = ()
    limit_test: int | None = None
    set: Mapping[str, Mapping[str, Any]] | None = None


SCALES: Mapping[str, Size] = {
    "tiny": Size(
        {"siren": 240, "kan-inr": 240, "kan": 16},
        15,
        {"siren": 160, "kan-inr": 160, "kan": 300},
        ("digits",),
        80,
        {"siren": {"steps": 30}, "kan-inr": {"steps": 20}, "kan": {"passes": 2, "share": 0.5}},
    ),
    "small": Size({"siren": 3000, "kan-inr": 1200, "kan": 240}, 1500, {"siren": 2500, "kan-inr": 1000}, limit_test=1000),
    "paper": Size({"siren": 70_000, "kan-inr": 70_000, "kan": 4000, "resnet8": 10_000}, 20_000, {}),
}


@dataclass(frozen=True)
class Row:
    """One reader on one task. low, high: 95% interval over nets; seeds: independent trainings; seconds: of one, wall time."""

    task: str
    images: str
    model: str
    metric: str
    value: float | None
    low: float | None
    high: float | None
    seeds: int
    seconds: float
    parameters: int | None
    nets: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def benchmark_related(
    folder: str | Path,
    *,
    scale: str = "small",
    tasks: Sequence[str] = (),
    models: Sequence[str] = (),
    seeds: int = 3,
    workers: int | None = None,
    data: str | Path | None = None,
    on_progress: Callable[[str], None] = lambda doing: None,
) -> list[Row]:
    """Every reader on every task of a scale ("tiny", "small", "paper"), zoos made where they are not there yet.

    folder   keeps zoos, rows and models: the same call goes on where it stopped
    tasks    beginnings of names of `QUESTIONS`; none: all that the scale has nets for
    models   names as in the rows; none: all that suit a task
    seeds    trainings of each reader, with other nets in the test where the nets are no pictures

    NwsError for unknown names.
    """
    if scale not in SCALES:
        raise unknown("scale", scale, SCALES)
    size, folder = SCALES[scale], Path(folder) / scale
    asked = [q for q in QUESTIONS if q.family in size.nets and (not tasks or q.task.startswith(tuple(tasks)))]
    if not asked:
        raise unknown("task", tasks[0] if tasks else "", [q.task for q in QUESTIONS if q.family in size.nets])
    work = [(q, images) for q in asked for images in (size.images or q.images)]
    rows: list[Row] = []
    for k, (question, images) in enumerate(work):
        hear = within(on_progress, f"{question.task}, {images}", k / len(work), (k + 1) / len(work))
        zoo = _zoo(folder, size, question, images, workers, data, within(hear, "zoo", 0, 0.4))
        chosen = readers(question, zoo, size.steps, models)
        for at, (name, reader) in enumerate(chosen.items()):
            hear(Doing(name, 0.4 + 0.6 * at / len(chosen)))
            rows += _rows(question, images, (name, reader), zoo, folder, seeds, size.steps)
    if models and not rows:
        raise NwsError(f"no task has a reader {models[0]}: nws benchmark related --help lists them")
    return rows


def _zoo(folder: Path, size: Size, q: Question, images: str, workers: int | None, data: Any, hear: Callable[[str], None]) -> Zoo:
    from nws.net import Net

    path, nets = folder / f"{q.family}-{images}", size.nets[q.family]
    done = len(Zoo(path)) if (path / "zoo.json").exists() else 0

    def receive(made: object) -> None:
        nonlocal done
        if isinstance(made, Net):
            done += 1
            hear(Doing(f"net {done:,} of {nets:,}", done / nets))

    family = families.named(q.family)
    space = next(iter(family.spaces.values())).with_(dataset=images, **(size.set or {}).get(q.family, {}))
    how: dict[str, Any] = {"limit": size.limit.get(q.family), "limit_test": size.limit_test, "workers": workers, "data": data}
    return sample(path, space, nets, images=images, seed=SEED, on_progress=receive, **how)


def readers(q: Question, zoo: Zoo, steps: int, models: Sequence[str] = ()) -> dict[str, Any]:
    """Name -> reader, unfitted, of those that suit the question; a name of `METAS` stands for itself."""
    found = dict(_readers(q, zoo))
    return {name: reader for name, reader in found.items() if not models or name in models}


def _readers(q: Question, zoo: Zoo) -> Iterator[tuple[str, Any]]:
    from sklearn.dummy import DummyClassifier, DummyRegressor
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    if q.target == "mask":
        yield from ((name, name) for name in EDGE_READERS)
        return
    yield (
        "majority" if q.classes else "mean",
        OfVectors(DummyClassifier(strategy="most_frequent") if q.classes else DummyRegressor()),
    )
    if len(zoo.layouts()) == 1 and len(zoo) >= FEWEST:
        kind = MLPClassifier if q.classes else MLPRegressor
        mlp = make_pipeline(StandardScaler(), kind(hidden_layer_sizes=(256, 256), early_stopping=True, max_iter=100))
        layout = zoo.layout(zoo.numbers()[0])
        orders = np.stack([layout.permutation(np.random.default_rng([SEED, k])) for k in range(COPIES)])
        yield "mlp", OfVectors(mlp)
        yield "mlp-permuted", OfVectors(Permuted(mlp, orders))
    yield "dmc", "dmc"
    for name in ("tensors", *STRUCTURED):
        if name in METAS:
            yield name, name
    if q.picture:
        config = zoo.net(zoo.numbers()[0]).hp
        yield "rendering + svm", OfVectors(make_pipeline(Rendering(config), SVC(C=10)))


def _rows(q: Question, images: str, named: tuple[str, Any], zoo: Zoo, folder: Path, seeds: int, steps: int) -> Iterator[Row]:
    name, reader = named
    last = int(zoo.index["snapshots"].min())
    edges = q.target == "mask"
    task = Task(q.target, (last,), None if edges else "whole", split="source" if q.picture else "rounds")
    settings = {name: {"max_steps": steps}} if name in METAS and "max_steps" in METAS[name]().get_params() else None
    out = folder / "results" / f"{q.family}-{images}"
    try:
        (row,) = evaluate({name: reader}, [task], zoo, rounds=seeds, out=out, settings=settings)
    except NwsError as error:
        if "cannot read" in str(error) or "one architecture" in str(error):  # a reader that does not suit these nets
            return
        raise
    parameters = _parameters(out, name)
    for metric, value, low, high in _measured(row):
        yield Row(q.task, images, name, metric, value, low, high, row.rounds, row.seconds / row.rounds, parameters, row.n_tested)


def _measured(row: Result) -> Iterator[tuple[str, float | None, float | None, float | None]]:
    if row.accuracy is not None:
        yield "accuracy", row.accuracy, row.low, row.high
        if row.auc is not None:
            yield "auc", row.auc, row.auc_low, row.auc_high
            yield "average precision", row.ap, row.ap_low, row.ap_high
            yield "majority", max(row.prevalence or 0, 1 - (row.prevalence or 0)), None, None
        return
    yield "r2", row.r2, row.r2_low, row.r2_high
    yield "tau", row.tau, row.tau_low, row.tau_high


def _parameters(out: Path, name: str) -> int | None:
    """Numbers in the saved model of a first round; None where none was saved."""
    for path in sorted((out / "models").glob(f"*-{name}-*.safetensors")):
        with open(path, "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length))
        return sum(int(np.prod(tensor["shape"])) for key, tensor in header.items() if key != "__metadata__")
    return None
