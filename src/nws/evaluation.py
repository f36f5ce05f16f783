"""Meta-classifiers put to the test: tasks x meta-classifiers x rounds -> results (see protocol.py for the rules)."""

from __future__ import annotations

import builtins
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nws import meta as meta_classifiers
from nws.errors import NwsError
from nws.inputs import Inputs, Where
from nws.protocol import Result, Round, Task, draw_folds, draw_round
from nws.tally import Tally
from nws.zoo import Zoo, targets
from nws.zoo.targets import Target

OWN_SLICE = {"weights": 5000, "statistics": None, "layer-statistics": None}  # when a task leaves the slice to the meta-classifier
ROUNDS_STREAM = 4  # random numbers of their own: 1 to 3 are the trainer's, 5 is that of inputs.py

Tell = Callable[[str], None]
Keep = Callable[[Task, str, Any, Round], None]


def evaluate(
    metas: Any,
    tasks: Task | Sequence[Task],
    zoo: Zoo | Inputs,
    *,
    rounds: int = 10,
    seed: int | None = None,
    tell: Tell = lambda doing: None,
    keep: Keep | None = None,
) -> list[Result]:
    """Every meta-classifier on every task: one `Result` each.

    metas   a name of `nws.meta.METAS`, an estimator, or a list or dict (name -> estimator) of them
    zoo     a zoo, or its `Inputs`, which remember what was computed for an earlier call
    seed    of splits, slices and meta-classifiers: 0, or that of the `Inputs`; another one beside them is refused
    tell    hears what is being done ("optimizer, dmc: round 3 of 10")
    keep    is given the fitted meta-classifier of each first round: keep(task, name, meta, round)
    """
    inputs = Inputs.of(zoo, seed)
    given, named = [tasks] if isinstance(tasks, Task) else list(tasks), _named(metas)
    questions = [_question(task, name, meta, inputs.zoo) for task in given for name, meta in named]  # bad ones fail before any work
    rows: dict[int, Result] = {}
    for alike in _trained_alike(questions):
        rows |= zip(map(id, alike), _answer(alike, inputs, rounds, tell, keep))
    return [rows[id(question)] for question in questions]


@dataclass(frozen=True)
class Fitted:
    """The meta-classifier of one round, the nets it learned from, and those it may be tested on."""

    meta: Any
    drawn: Round


def fits(
    meta: Any, task: Task, zoo: Zoo | Inputs, *, rounds: int = 10, seed: int | None = None, tell: Tell = lambda doing: None
) -> Iterator[Fitted]:
    """The fitted meta-classifiers themselves, round by round: the same ones that `evaluate` tests."""
    inputs = Inputs.of(zoo, seed)
    ((name, made),) = _named(meta)
    yield from _rounds(_question(task, name, made, inputs.zoo), inputs, rounds, tell)


@dataclass(frozen=True)
class HeldOut:
    """What meta-classifiers say of nets they never saw, fold by fold, and the one that learned from all of these nets.

    nets, labels, fold   (n,), as many nets of each class
    probability          (n, S, K, C) of single slices, columns as `meta.classes_`
    """

    meta: Any
    where: Where
    nets: np.ndarray
    labels: np.ndarray
    fold: np.ndarray
    probability: np.ndarray


def held_out(meta: str, task: Task, inputs: Inputs, *, folds: int = 4, tell: Tell = lambda doing: None) -> HeldOut:
    """Cross-validation over nets: every net is read by a meta-classifier that learned from the other folds.

    NwsError for a property without classes: what comes out is there to be calibrated.
    """
    ((name, made),) = _named(meta)
    question = _question(task, name, made, inputs.zoo)
    if question.regression:
        raise NwsError(f"{task.property} is a number, which has no probabilities: name a property with classes")
    rng = np.random.default_rng([inputs.seed, 0, ROUNDS_STREAM])
    nets, fold = draw_folds(question.nets, question.of_net, folds, rng)
    probability: list[Any] = [None] * len(nets)
    for k in range(folds):
        doing = f"{task.property}, {name}: fold {k + 1} of {folds}"
        tell(doing)
        drawn = Round(nets[fold != k], nets[fold == k])
        fitted = _fit(question, inputs, drawn, k, lambda said: tell(f"{doing}, {said}"))  # noqa: B023 (called at once)
        for at, said in zip(np.flatnonzero(fold == k), _read(fitted, question.where, inputs, drawn.test)[0]):
            probability[at] = said
    tell(f"{task.property}, {name}: all nets")
    whole = _fit(question, inputs, Round(nets, nets[:0]), folds, tell)
    return HeldOut(whole, question.where, nets, question.labels(nets)[:, 0], fold, np.stack(probability))


def _named(metas: Any) -> list[tuple[str, Any]]:
    if isinstance(metas, Mapping):
        return list(metas.items())
    if isinstance(metas, str) or not isinstance(metas, Iterable):
        metas = [metas]
    return [(m, meta_classifiers.make(m)) if isinstance(m, str) else (type(m).__name__, m) for m in metas]


@dataclass(frozen=True)
class _Question:
    """A task for one meta-classifier on the nets it may use: y (n, S) are their labels at each snapshot, or floats of a number."""

    task: Task
    target: Target
    name: str
    meta: Any
    where: Where
    nets: np.ndarray
    y: np.ndarray
    stored: np.ndarray | None
    notes: tuple[str, ...]

    @builtins.property
    def regression(self) -> bool:
        return self.target.kind == "number"

    @builtins.property
    def classes(self) -> list[str]:
        return self.target.classes(self.y.ravel().tolist())

    @builtins.property
    def of_net(self) -> np.ndarray:
        """(n,): what nets are drawn by. Classes belong to a net; of a number that each snapshot has its own of, the last."""
        return self.y[:, -1]

    @builtins.property
    def learned(self) -> Where:
        """Which weights it learns from; `where` are those it is tested on."""
        return self.where if self.task.without_at == "both" else replace(self.where, without=())

    def labels(self, nets: np.ndarray) -> np.ndarray:
        """(m, S) of these nets."""
        of = {net: k for k, net in enumerate(self.nets.tolist())}
        return self.y[[of[net] for net in nets.tolist()]]


def _question(task: Task, name: str, meta: Any, zoo: Zoo) -> _Question:
    where = _where(task, name, meta, zoo)
    target = targets.target(zoo, task.property)
    table, notes = zoo.select(
        target.property.name if target.property else None,
        part=where.part,
        slice_length=where.slice_length,
        converged=task.converged,
    )
    table = _only(table, task, zoo, notes)
    table = _long_enough_stripped(table, where, zoo, notes)
    table, y = _measured(table, targets.values(zoo, task.property, table.index.to_numpy(), where.snapshots), task, zoo, notes)
    nets = table.index.to_numpy()
    if len(set(y.ravel().tolist())) == 1:
        same = f"{task.property}={y[0, 0]}"
        raise NwsError(f"{task.property} cannot be told apart in {zoo.path}: its {len(y)} usable nets all have {same}")
    if meta.reads == "layer-statistics" or (meta.reads == "weights" and where.slice_length is None):
        if where.without and task.without_at == "test":
            cure = "learn without them, too: --without-at both (in Python without_at='both')"
            raise NwsError(f"{name} reads every weight at its place and cannot be tested without some: {cure}")
        layouts = {zoo.layout(int(net)) for net in nets}
        if len(layouts) > 1:
            raise NwsError(
                f"{name} needs nets of one architecture, {zoo.path} has {len(layouts)}: use svm-linear-16, or dmc on slices"
            )
    stored = table["split"].to_numpy() if task.split == "stored" else None
    return _Question(task, target, name, meta, where, nets, y, stored, tuple(notes))


def _where(task: Task, name: str, meta: Any, zoo: Zoo) -> Where:
    """Which weights this meta-classifier reads in this task."""
    length: Any = OWN_SLICE[meta.reads] if task.slice_length is None else task.slice_length
    if meta.reads == "layer-statistics" and isinstance(length, int):
        raise NwsError(
            f"{name} reads whole nets, not slices of {length:,}: leave the slice out, or use svm-linear-16, svm-rbf-16, dmc"
        )
    if length == "whole":
        length = None
    if zoo.index.empty:
        raise NwsError(f"{zoo.path} holds no nets yet: run `nws sample` first")
    last = int(zoo.index["snapshots"].min())
    snapshots = task.snapshots or tuple(range(max(1, last - 3), last + 1))
    if snapshots[-1] > last:
        raise NwsError(f"snapshot {snapshots[-1]}: the nets of {zoo.path} have snapshots 1 to {last}")
    return Where(task.part, length, snapshots, task.without)


def _only(table: Any, task: Task, zoo: Zoo, notes: list[str]) -> Any:
    for name, value in task.only.items():
        notes.append(f"only nets with {name}={zoo.properties[name].label(value)}")
        table = table[table[name] == value]
        if table.empty:
            raise NwsError(f"no usable net of {zoo.path} has {name}={zoo.properties[name].label(value)}: see `nws info {zoo.path}`")
    return table


def _measured(table: Any, y: np.ndarray, task: Task, zoo: Zoo, notes: list[str]) -> tuple[Any, np.ndarray]:
    """The nets whose y (n, S) is known at each snapshot."""
    if y.dtype.kind != "f":
        return table, y
    known = np.isfinite(y).all(1)
    if not known.any():
        raise NwsError(f"{task.property} was measured of no net of {zoo.path} at these snapshots: name other --snapshots")
    if not known.all():
        notes.append(f"{(~known).sum():,} nets left out: their {task.property} was not measured at each of these snapshots")
    return table[known], y[known]


def _long_enough_stripped(table: Any, where: Where, zoo: Zoo, notes: list[str]) -> Any:
    """The nets that still have a slice once weights are taken out."""
    if not where.without:
        return table
    sizes = [zoo.layout(int(net)).without(where.without).size_of(where.part) for net in table.index]
    long = np.array(sizes) >= (where.slice_length or 1)
    if not long.any():
        raise NwsError(f"no net of {zoo.path} has a slice left without {', '.join(where.without)}: use a shorter slice")
    if not long.all():
        notes.append(f"{(~long).sum():,} nets left out: shorter than a slice without {', '.join(where.without)}")
    return table[long]


def _trained_alike(questions: list[_Question]) -> list[list[_Question]]:
    """Questions that differ only in what is left out of the tests: one training answers them all."""
    groups: list[list[_Question]] = []
    for q in questions:
        for group in groups:
            first = group[0]
            same_task = first.meta is q.meta and first.task.training == q.task.training
            if same_task and np.array_equal(first.nets, q.nets):  # a net may be too short for a slice once weights are left out
                group.append(q)
                break
        else:
            groups.append([q])
    return groups


def _answer(alike: list[_Question], inputs: Inputs, rounds: int, tell: Tell, keep: Keep | None) -> list[Result]:
    started = time.perf_counter()
    tallies = [Tally(question.nets, question.y, question.classes) for question in alike]
    for r, fitted in enumerate(_rounds(alike[0], inputs, rounds, tell)):
        for question, tally in zip(alike, tallies):
            tally.add(fitted.drawn, *_read(fitted.meta, question.where, inputs, fitted.drawn.test))
        if keep and r == 0:
            keep(alike[0].task.training, alike[0].name, fitted.meta, fitted.drawn)
    seconds = (time.perf_counter() - started) / len(alike)
    return [_result(question, tally, fitted, inputs, seconds) for question, tally in zip(alike, tallies)]


def _rounds(question: _Question, inputs: Inputs, rounds: int, tell: Tell) -> Iterator[Fitted]:
    for r in range(rounds):
        doing = f"{question.task.property}, {question.name}: round {r + 1} of {rounds}"
        tell(doing)
        # Neither split nor balance depends on the meta-classifier: comparisons are paired.
        drawn = draw_round(question.nets, question.of_net, question.stored, np.random.default_rng([inputs.seed, r, ROUNDS_STREAM]))
        key = question.name, repr(question.meta), repr(question.task.training), r, question.nets.tobytes()
        known = inputs.fitted.get(key)
        fitted = known or _fit(question, inputs, drawn, r, lambda said: tell(f"{doing}, {said}"))  # noqa: B023 (called at once)
        if hasattr(fitted, "coefficients_"):  # small, and asked for twice: what it reads, and by which features
            inputs.fitted[key] = fitted
        yield Fitted(fitted, drawn)


def _fit(question: _Question, inputs: Inputs, drawn: Round, r: int, tell: Tell) -> Any:
    from sklearn.base import clone

    fitted = clone(question.meta).set_params(regression=question.regression, random_state=(inputs.seed * 1000 + r) % 2**32)
    x = inputs.rows(fitted.reads, question.learned, drawn.train, test=False)
    y = question.labels(drawn.train).ravel()  # as the rows: net by net, snapshot by snapshot, as often as there are slices
    y = np.repeat(y, len(x) // len(y))
    if fitted.reads != "weights":
        return fitted.fit(x, y)
    fitted.set_params(slice_length=question.where.slice_length)
    return fitted.fit(x, y, progress=lambda step, steps, loss: tell(f"step {step} of {steps}, loss {loss:.2f}"))


def _read(fitted: Any, where: Where, inputs: Inputs, nets: np.ndarray) -> tuple[np.ndarray, Any]:
    """Probabilities (n, S, K, C) and their labels (C,), or for a regression predictions (n, S, K) and None."""
    x = inputs.rows(fitted.reads, where, nets, test=True)
    shape = len(nets), len(where.snapshots), -1
    if fitted.regression:
        return fitted.predict(x).reshape(shape), None
    probability = fitted.predict_proba(x)
    return probability.reshape(*shape, probability.shape[-1]), fitted.classes_


def _result(question: _Question, tally: Tally, fitted: Fitted, inputs: Inputs, seconds: float) -> Result:
    task, where = question.task, question.where
    return Result(
        property=task.property,
        meta=question.name,
        part=where.part,
        slice_length=where.slice_length,
        snapshots=where.snapshots,
        **tally.fields(inputs.seed),
        unit=question.target.unit,
        n_train=len(fitted.drawn.train),
        n_test=len(fitted.drawn.test),
        seconds=seconds,
        seed=inputs.seed,
        split=task.split,
        converged=task.converged if isinstance(task.converged, bool) else dict(task.converged),
        zoo=str(inputs.zoo.path),
        notes=(*question.notes, *getattr(fitted.meta, "notes_", ())),
        without=task.without,
        without_at=task.without_at,
        only=dict(task.only),
    )
