"""Rounds carried out, here or by worker processes: the same bits either way, and in the same order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from nws import threads
from nws.errors import NwsError
from nws.processes import Lost, Pool, Task, refuse_what_cannot_be_sent
from nws.progress import Doing, Pace
from nws.tasks.inputs import Inputs, Key, Where
from nws.tasks.protocol import Round
from nws.tasks.questions import Question
from nws.vocabulary import WORKERS_NEED
from nws.zoo import Zoo

ALONE = 0.3  # seconds of work that are done here before workers are started: little work is over before they are ready
_CHUNK = 8  # nets whose statistics are one piece of work
_CHUNK_GUESS = 0.3

OnProgress = Callable[[str], None]


@dataclass(frozen=True)
class Work:
    """One round: question.meta learns from drawn.train and reads drawn.test, once for each of `tests`.

    number   of the round: the meta-classifier's random numbers follow from it
    wanted   whether the fitted meta-classifier is to come back
    known    it, when it was fitted before
    """

    question: Question
    drawn: Round
    number: int
    says: str
    tests: tuple[Where, ...] = ()
    wanted: bool = False
    known: Any = None

    @property
    def kind(self) -> str:
        return f"{self.question.name}, {self.question.where.slice_length}"


Read = tuple[np.ndarray, Any, np.ndarray | None]


@dataclass(frozen=True)
class Done:
    """What came of it.

    read    per test probabilities (n, S, K, C) and their labels (C,), or predictions (n, S, K) and None; and what the slices say
            together, (n, S, C) or (n, S), or None where the meta-classifier has no vote of its own

    meta    the fitted meta-classifier, if it was wanted or is small
    """

    read: tuple[Read, ...]
    meta: Any
    notes: tuple[str, ...]
    seconds: float


def carried_out(works: Sequence[Work], inputs: Inputs, on_progress: OnProgress) -> Iterator[Done]:
    """What came of each, in order, as soon as it and all before it are done.

    NwsError when a worker dies; closing the iterator, or Ctrl-C, ends the workers.
    """
    if inputs.workers == 1:
        pace = Pace([(work.kind, work.question.meta.representation.seconds) for work in works])
        for work in works:
            on_progress(Doing(work.says, pace.share))
            done = _round(inputs, work, partial(_hear, on_progress, work.says, pace))
            pace.done(work.kind, done.seconds)
            yield done
        return
    needs = _statistics(works, inputs, on_progress)
    tasks = [Task(_round, (work,), tuple(keys)) for work, keys in zip(works, needs)]
    pace = Pace([(work.kind, work.question.meta.representation.seconds) for work in works])
    found: dict[int, Done] = {}
    due = 0

    def hear(at: int, message: str) -> None:
        _hear(on_progress, works[at].says, pace, message)

    for at, done in _spread(inputs, tasks, hear, patient=any(not work.question.meta.representation.table for work in works)):
        found[at] = done
        pace.done(works[at].kind, done.seconds)
        on_progress(Doing(works[at].says, pace.share))
        while due in found:
            yield found.pop(due)
            due += 1


def _hear(on_progress: OnProgress, says: str, pace: Pace, message: str) -> None:
    on_progress(Doing(f"{says}, {message}", pace.share))


def _statistics(works: Sequence[Work], inputs: Inputs, on_progress: OnProgress) -> list[list[Any]]:
    """Compute what the rounds will read, each net once whoever reads it, and lend it to the workers.

    Returns for each round the names under which the pool lends what it needs.
    """
    read: dict[Key, dict[int, None]] = {}
    asked: list[list[Key]] = []
    for work in works:
        shown, question = work.question.meta.representation, work.question
        keys = []
        if shown.table:
            if work.known is None:
                keys.append((inputs.key(shown, question.learned, False), work.drawn.train))
            keys += [(inputs.key(shown, where, True), work.drawn.test) for where in work.tests]
        for key, drawn in keys:
            read.setdefault(key, {}).update(dict.fromkeys(drawn.tolist()))
        asked.append([key for key, _ in keys])
    missing = [(key, inputs.unknown(key, wanted)) for key, wanted in read.items()]
    chunks = [(key, nets[k : k + _CHUNK]) for key, nets in missing for k in range(0, len(nets), _CHUNK)]
    tasks = [Task(_chunk, (key, nets)) for key, nets in chunks]
    pace = Pace([(str(key), _CHUNK_GUESS) for key, _ in chunks])
    done, of = 0, sum(len(nets) for _, nets in chunks)
    for at, (rows, seconds) in _spread(inputs, tasks, lambda at, message: None, quick=True):
        key, nets = chunks[at]
        inputs.learn(key, nets, rows)
        pace.done(str(key), seconds)
        done += len(nets)
        on_progress(Doing(f"statistics of weights, net {done:,} of {of:,}", pace.share))
    names = {key: (key, tuple(wanted)) for key, wanted in read.items()}
    pool = _pool(inputs)
    for key, wanted in read.items():
        pool.lend(names[key], _learn, (key, list(wanted), inputs.known(key, wanted)))
    return [[names[key] for key in keys] for keys in asked]


def _spread(
    inputs: Inputs, tasks: Sequence[Task], on_progress: Callable[[int, Any], None], quick: bool = False, patient: bool = False
) -> Iterator[tuple[int, Any]]:
    """(position, answer) as each is done: by this process for a second in all, for little work is over before a worker is ready.

    quick     pieces are small: this process goes on with them until a worker is ready
    patient   they are long: workers are started at once
    """
    left = list(enumerate(tasks))
    pool = _pool(inputs)
    while left and not pool.started and (len(left) == 1 or (inputs.alone < ALONE and not patient)):
        at, task = left.pop(0)
        started = time.perf_counter()
        answer = task.function(inputs, *task.arguments, partial(on_progress, at))
        inputs.alone += time.perf_counter() - started
        yield at, answer
    if not left:
        return
    rest = [task for _, task in left]
    if not pool.started:
        refuse_what_cannot_be_sent(rest, "this meta-classifier")

    def meanwhile(task: Task) -> Any:
        return task.function(inputs, *task.arguments, lambda message: None)

    for k, answer in pool.run(rest, lambda k, message: on_progress(left[k][0], message), meanwhile if quick else None):
        if isinstance(answer, Lost):
            pool.close()
            raise NwsError(
                f"a worker died ({answer.why}): was memory short? What was finished is kept; the same command goes on from there, "
                "if need be with fewer --workers"
            )
        yield left[k][0], answer


def _pool(inputs: Inputs) -> Pool:
    if inputs.pool is None:
        inputs.pool = Pool(inputs.workers, partial(_prepared, inputs.zoo, inputs.seed, inputs.test_slices), preload=WORKERS_NEED)
    return inputs.pool


def _prepared(zoo: Zoo, seed: int, test_slices: int) -> Inputs:
    from nws import meta  # noqa: F401  (so that a worker says it is ready when it is)

    return Inputs(zoo, seed, test_slices)


def _learn(inputs: Inputs, key: Any, nets: list[int], rows: list[np.ndarray]) -> None:
    inputs.learn(key, nets, rows)


def _chunk(inputs: Inputs, key: Any, nets: list[int], on_progress: OnProgress) -> tuple[list[np.ndarray], float]:
    started = time.perf_counter()
    return inputs.known(key, nets), time.perf_counter() - started


def _round(inputs: Inputs, work: Work, on_progress: OnProgress) -> Done:
    started = time.perf_counter()
    with threads.one():
        fitted = work.known or fit(work.question, inputs, work.drawn, work.number, on_progress)
        answers = tuple(read(fitted, where, inputs, work.drawn.test) for where in work.tests)
    back = fitted if work.wanted or hasattr(fitted, "coefficients_") else None
    return Done(answers, back, tuple(getattr(fitted, "notes_", ())), time.perf_counter() - started)


def fit(question: Question, inputs: Inputs, drawn: Round, r: int, on_progress: OnProgress) -> Any:
    from sklearn.base import clone

    fitted = clone(question.meta).set_params(regression=question.regression, random_state=(inputs.seed * 1000 + r) % 2**32)
    x = inputs.rows(fitted.representation, question.learned, drawn.train, test=False)
    y = question.labels(drawn.train).ravel()  # as the rows: net by net, snapshot by snapshot, as often as there are slices
    y = np.repeat(y, len(x) // len(y))
    given: dict[str, Any] = {}
    if getattr(fitted, "grouped", False):  # rows of one net are near-twins: whoever cuts them into folds must know
        given["groups"] = np.repeat(drawn.train, len(x) // len(drawn.train))
    if hasattr(fitted, "max_steps") or not fitted.representation.table:
        given["progress"] = lambda step, steps, loss: on_progress(f"step {step} of {steps}, loss {loss:.2f}")
    elif hasattr(fitted, "vote"):
        given["together"] = len(x) // (len(drawn.train) * len(question.learned.snapshots))
    if not fitted.representation.table and "slice_length" in fitted.get_params():
        fitted.set_params(slice_length=question.where.slice_length)
    return fitted.fit(x, y, **given)


def read(fitted: Any, where: Where, inputs: Inputs, nets: np.ndarray) -> Read:
    """What it says of each slice, the labels of classes, and what it says of all slices together; see `Done`."""
    x = inputs.rows(fitted.representation, where, nets, test=True)
    shape = len(nets), len(where.snapshots), -1
    predicted = fitted.predict(x) if fitted.regression else fitted.predict_proba(x)
    predicted = predicted.reshape(*shape, *predicted.shape[1:])
    labels = None if fitted.regression else fitted.classes_
    if not hasattr(fitted, "vote") or predicted.shape[2] < 2:
        return predicted, labels, None
    voted = fitted.vote(predicted.reshape(-1, *predicted.shape[2:]), x)
    return predicted, labels, voted.reshape(len(nets), len(where.snapshots), *voted.shape[1:])
