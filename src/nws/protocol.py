"""How well can a property be read from weights? Task, split by net, class balance, rounds -> results with intervals.

The unit is the net. Snapshots and slices of one net are near-twins: on both sides of a split they would leak the answer, and
counted as independent they would make intervals too narrow. So nets are split, never snapshots, and intervals are over nets.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from nws import __version__
from nws.errors import NwsError, unknown
from nws.inputs import Inputs, Where
from nws.layout import PARTS
from nws.space import PROPERTIES
from nws.zoo import Zoo

SPLITS = ("rounds", "stored")
TEST_SHARE = 0.25
ROUNDS_STREAM = 4  # random numbers of their own: 1 to 3 are the trainer's, 5 is inputs.py's
OWN_SLICE = {"weights": 5000, "statistics": None, "layer-statistics": None}  # when a task leaves the slice to the meta-classifier


@dataclass(frozen=True)
class Task:
    """What is to be read from what. Refuses nonsense when built.

    property      a name of `nws.space.PROPERTIES`; learning_rate is a regression, all others are classifications
    snapshots     numbers from 1; empty is the last four of the zoo, the paper's choice for whole nets
    slice_length  consecutive weights the meta-classifier sees, or "whole"; None is its own choice: the SVMs read whole
                  parts, the DMC 5,000 weights. Layer-wise statistics always need whole nets.
    part          all, conv or fc
    converged     True: only nets above the paper's accuracy thresholds; or image set -> threshold; False: all that trained
    split         "rounds": each round draws its own test nets, a quarter, so that every net of a small zoo is tested in turn;
                  "stored": the zoo's own split in every round, for comparison with others
    """

    property: str
    snapshots: tuple[int, ...] = ()
    slice_length: int | str | None = None
    part: str = "all"
    converged: bool | Mapping[str, float] = False
    split: str = "rounds"

    def __post_init__(self) -> None:
        if self.property not in PROPERTIES:
            raise unknown("property", self.property, PROPERTIES)
        if self.part not in PARTS:
            raise unknown("part", self.part, PARTS)
        if self.split not in SPLITS:
            raise unknown("split", self.split, SPLITS)
        object.__setattr__(self, "snapshots", tuple(sorted({int(s) for s in self.snapshots})))
        if self.snapshots and self.snapshots[0] < 1:
            raise NwsError(f"snapshot {self.snapshots[0]}: snapshots are numbered from 1")
        if isinstance(self.slice_length, int) and self.slice_length < 2:
            raise NwsError(f"slice {self.slice_length}: a slice needs at least 2 weights")
        if isinstance(self.slice_length, str) and self.slice_length != "whole":
            raise NwsError(f"slice {self.slice_length!r}: give a number of weights, or 'whole'")

    @property
    def regression(self) -> bool:
        return PROPERTIES[self.property].continuous


@dataclass(frozen=True)
class Result:
    """One meta-classifier on one task over all rounds; `row()` is what is printed and stored.

    accuracy  single slices of test nets, mean over rounds; low, high: 95% interval over nets; spread: deviation over rounds
    vote      accuracy of the mean probability over the slices of a snapshot (the same as accuracy for whole nets)
    error     regression only: mean absolute error, to which low, high, vote, spread and chance then refer
    chance    of a guess on the balanced test nets; for regression the error of always saying the training nets' median
    n_train, n_test   nets per round
    """

    property: str
    meta: str
    part: str
    slice_length: int | None
    snapshots: tuple[int, ...]
    accuracy: float | None
    error: float | None
    low: float
    high: float
    spread: float
    vote: float
    vote_low: float
    vote_high: float
    chance: float
    classes: tuple[str, ...]
    n_train: int
    n_test: int
    n_tested: int
    rounds: int
    per_round: tuple[float, ...]
    confusion: tuple[tuple[int, ...], ...]
    seconds: float
    seed: int
    split: str
    converged: Any
    zoo: str
    notes: tuple[str, ...] = ()
    version: str = __version__
    key: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)

    def row(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Round:
    """The nets of one round: disjoint, balanced."""

    train: np.ndarray
    test: np.ndarray


def draw_round(nets: np.ndarray, y: np.ndarray, stored: np.ndarray | None, rng: np.random.Generator) -> Round:
    """Split nets (n,) with labels y (n,) and balance the classes: as many nets of each as the rarest has.

    `stored`: the zoo's own split per net, or None to draw a quarter of each class for the test (floats are one class).
    """
    classes = [0] if y.dtype.kind == "f" else np.unique(y)
    members = [rng.permutation(nets if y.dtype.kind == "f" else nets[y == c]) for c in classes]
    if stored is not None:
        test_nets = set(nets[stored == "test"].tolist())
        sides = [[m[[n in test_nets for n in m]], m[[n not in test_nets for n in m]]] for m in members]
    else:
        smallest = min(map(len, members))
        cut = max(1, round(TEST_SHARE * smallest))
        sides = [[m[:cut], m[cut:smallest]] for m in members]
    test, train = ([side[k] for side in sides] for k in (0, 1))
    n_test, n_train = min(map(len, test)), min(map(len, train))
    if not n_test or not n_train:
        raise NwsError("a class has too few nets to stand on both sides of the split: train more nets, or use split='rounds'")
    return Round(np.concatenate([m[:n_train] for m in train]), np.concatenate([m[:n_test] for m in test]))


def interval(hits: np.ndarray, weights: np.ndarray | None = None) -> tuple[float, float]:
    """95% interval of a mean accuracy over nets: hits (n,) in [0, 1], one number per net; weights: how often each was tested.

    Agresti and Coull's "add two successes and two failures", with nets as the unit: for 0/1 hits it is theirs exactly, and
    unlike a bootstrap it does not claim certainty when every net was right.
    """
    weights = np.ones(len(hits)) if weights is None else np.asarray(weights, float)
    w = np.concatenate([weights, np.full(4, weights.mean())])
    h = np.concatenate([hits, [1.0, 1.0, 0.0, 0.0]])
    mean = np.average(h, weights=w)
    deviation = np.sqrt(np.sum((w * (h - mean)) ** 2)) / w.sum()
    plain = np.average(hits, weights=weights)
    return float(max(0.0, min(plain, mean - 1.96 * deviation))), float(min(1.0, max(plain, mean + 1.96 * deviation)))


def error_interval(errors: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """95% interval of a mean absolute error over nets, normal approximation. errors (n,), weights (n,)."""
    mean = np.average(errors, weights=weights)
    deviation = np.sqrt(np.sum((weights * (errors - mean)) ** 2)) / weights.sum()
    return float(max(0.0, mean - 1.96 * deviation)), float(mean + 1.96 * deviation)


def evaluate(
    metas: Any,
    tasks: Task | Sequence[Task],
    zoo: Zoo,
    *,
    rounds: int = 10,
    seed: int = 0,
    tell: Callable[[str], None] = lambda doing: None,
    keep: Callable[[Task, str, Any, Round], None] | None = None,
) -> list[Result]:
    """Every meta-classifier on every task: one `Result` each.

    metas   a name of `nws.meta.METAS`, an estimator, or a list or dict (name -> estimator) of them
    tell    hears what is being done ("optimizer, dmc: round 3 of 10")
    keep    is given the fitted meta-classifier of the first round: keep(task, name, meta, round)
    """
    inputs = Inputs(zoo, seed)
    given = [tasks] if isinstance(tasks, Task) else list(tasks)
    return [_evaluate(name, meta, task, inputs, rounds, seed, tell, keep) for task in given for name, meta in _named(metas)]


def _named(metas: Any) -> list[tuple[str, Any]]:
    from nws import meta as meta_classifiers

    if isinstance(metas, Mapping):
        return list(metas.items())
    if isinstance(metas, str) or not isinstance(metas, Iterable):
        metas = [metas]
    return [(m, meta_classifiers.make(m)) if isinstance(m, str) else (type(m).__name__, m) for m in metas]


def _where(meta: Any, task: Task, zoo: Zoo) -> Where:
    """Which weights this meta-classifier reads in this task."""
    length: Any = task.slice_length if task.slice_length is not None else OWN_SLICE[meta.reads]
    if meta.reads == "layer-statistics" or length == "whole":
        length = None
    last = int(zoo.index["snapshots"].max())
    snapshots = task.snapshots or tuple(range(max(1, last - 3), last + 1))
    if snapshots[-1] > last:
        raise NwsError(f"snapshot {snapshots[-1]}: the nets of {zoo.path} have snapshots 1 to {last}")
    return Where(task.part, length, snapshots)


def _usable(task: Task, where: Where, meta: Any, zoo: Zoo) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Nets (n,), their labels (n,) (floats for a regression, else the property's labels), and what was left out."""
    table, notes = zoo.select(property=task.property, part=where.part, slice_length=where.slice_length, converged=task.converged)
    property_ = PROPERTIES[task.property]
    if task.regression:
        y = table[task.property].to_numpy(float)
    else:
        y = np.array([property_.label(v) for v in table[task.property]])
        present = set(y)
        if len(present) < 2:
            has = f"{task.property}={present.pop()}" if present else "been left out"
            raise NwsError(f"{task.property} cannot be told apart in {zoo.path}: each of its {len(y)} usable nets has {has}")
        absent = [property_.label(o) for o in property_.options if property_.label(o) not in present]
        if absent and property_.type is not bool:
            notes = [*notes, f"no net has {task.property} {', '.join(absent)}"]
    nets = table.index.to_numpy()
    if meta.reads == "layer-statistics" or (meta.reads == "weights" and where.slice_length is None):
        layouts = {zoo.layout(int(n)) for n in nets}
        if len(layouts) > 1:
            raise NwsError(
                f"layer-wise statistics and whole vectors need nets of one architecture, {zoo.path} has {len(layouts)}: "
                "use svm-linear-16, svm-rbf-16 or dmc with a slice"
            )
    return nets, y, notes


class _Tally:
    """Hits (or absolute errors) per net over the rounds."""

    def __init__(self, nets: np.ndarray):
        self.position = {int(net): k for k, net in enumerate(nets)}
        self.single, self.vote, self.times = np.zeros((3, len(nets)))
        self.rounds: list[float] = []

    def add(self, nets: np.ndarray, single: np.ndarray, vote: np.ndarray) -> None:
        """single (n, S * K), vote (n, S): one round's hits or errors of these nets."""
        at = [self.position[int(net)] for net in nets]
        self.single[at] += single.mean(1)
        self.vote[at] += vote.mean(1)
        self.times[at] += 1
        self.rounds.append(float(single.mean()))

    def summary(self, sums: np.ndarray, regression: bool) -> tuple[float, float, float]:
        """(mean, low, high) of self.single or self.vote."""
        tested = self.times > 0
        each, weights = sums[tested] / self.times[tested], self.times[tested]
        low, high = error_interval(each, weights) if regression else interval(each, weights)
        return float(np.average(each, weights=weights)), low, high


def _evaluate(name: str, meta: Any, task: Task, inputs: Inputs, rounds: int, seed: int, tell: Any, keep: Any) -> Result:
    from sklearn.base import clone

    started = time.perf_counter()
    zoo = inputs.zoo
    where = _where(meta, task, zoo)
    nets, y, notes = _usable(task, where, meta, zoo)
    label = dict(zip(nets.tolist(), y.tolist()))
    stored = zoo.index.loc[nets, "split"].to_numpy() if task.split == "stored" else None
    classes = [] if task.regression else sorted(set(y), key=_order(task.property))
    confusion = np.zeros((len(classes), len(classes)), int)
    tally, chance = _Tally(nets), []
    for r in range(rounds):
        tell(f"{task.property}, {name}: round {r + 1} of {rounds}")
        # Neither split nor balance depends on the meta-classifier: comparisons are paired.
        drawn = draw_round(nets, y, stored, np.random.default_rng([seed, r, ROUNDS_STREAM]))
        fitted = clone(meta).set_params(regression=task.regression, random_state=int(seed * 1000 + r))
        if meta.reads == "weights":
            fitted.set_params(slice_length=where.slice_length)
        x = inputs.rows(meta.reads, where, drawn.train, test=False)
        fitted.fit(x, np.repeat([label[n] for n in drawn.train.tolist()], len(x) // len(drawn.train)))
        truth = np.array([label[n] for n in drawn.test.tolist()])
        single, vote, said = _test(fitted, inputs, where, drawn.test, truth)
        tally.add(drawn.test, single, vote)
        if task.regression:
            middle = np.median([label[n] for n in drawn.train.tolist()])
            chance.append(float(np.abs(truth - middle).mean()))
        else:
            for true, predicted in zip(np.repeat(truth, said.shape[1]), said.ravel()):
                confusion[classes.index(true), classes.index(predicted)] += 1
        if r == 0 and keep is not None:
            keep(task, name, fitted, drawn)
    mean, low, high = tally.summary(tally.single, task.regression)
    vote_mean, vote_low, vote_high = tally.summary(tally.vote, task.regression)
    return Result(
        property=task.property,
        meta=name,
        part=where.part,
        slice_length=where.slice_length,
        snapshots=where.snapshots,
        accuracy=None if task.regression else mean,
        error=mean if task.regression else None,
        low=low,
        high=high,
        spread=float(np.std(tally.rounds, ddof=1)) if rounds > 1 else 0.0,
        vote=vote_mean,
        vote_low=vote_low,
        vote_high=vote_high,
        chance=float(np.mean(chance)) if task.regression else 1 / len(classes),
        classes=tuple(classes),
        n_train=len(drawn.train),
        n_test=len(drawn.test),
        n_tested=int((tally.times > 0).sum()),
        rounds=rounds,
        per_round=tuple(tally.rounds),
        confusion=tuple(tuple(int(c) for c in row) for row in confusion),
        seconds=time.perf_counter() - started,
        seed=seed,
        split=task.split,
        converged=task.converged if isinstance(task.converged, bool) else dict(task.converged),
        zoo=str(zoo.path),
        notes=tuple(notes),
    )


def _order(name: str) -> Callable[[str], tuple[int, str]]:
    """Sorting key: the property's own order of options, then the alphabet."""
    labels = [PROPERTIES[name].label(o) for o in PROPERTIES[name].options]
    return lambda label: (labels.index(label) if label in labels else len(labels), label)


def _test(
    fitted: Any, inputs: Inputs, where: Where, nets: np.ndarray, truth: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(hits or errors of single slices (n, S * K), of votes (n, S), single predictions (n, S * K))."""
    shape = len(nets), len(where.snapshots), inputs.slices_per_snapshot(fitted.reads, where, test=True)
    x = inputs.rows(fitted.reads, where, nets, test=True)
    if fitted.regression:
        said = fitted.predict(x).reshape(shape)
        error = np.abs(said - truth[:, None, None])
        return error.reshape(len(nets), -1), np.abs(said.mean(2) - truth[:, None]), said.reshape(len(nets), -1)
    probability = fitted.predict_proba(x).reshape(*shape, -1)
    single = fitted.classes_[probability.argmax(-1)].reshape(len(nets), -1)
    vote = fitted.classes_[probability.mean(2).argmax(-1)]
    return single == truth[:, None], vote == truth[:, None], single
