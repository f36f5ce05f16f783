"""Meta-classifiers put to the test: tasks x meta-classifiers x rounds -> results (see protocol.py for the rules)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np

from nws import __version__
from nws import meta as meta_classifiers
from nws.errors import NwsError
from nws.tasks import per_weight
from nws.tasks.inputs import Inputs, Where
from nws.tasks.protocol import Result, Results, Round, Task, draw_folds, draw_round
from nws.tasks.questions import Question, question
from nws.tasks.results import Fitted, Store, digest, provenance, zoo_state
from nws.tasks.rounds import Done, Work, carried_out
from nws.tasks.tally import Tally
from nws.zoo import Zoo

ROUNDS_STREAM = 4  # random numbers of their own: 1 to 3 are the trainer's, 5 is that of inputs.py

OnProgress = Callable[[str], None]


def evaluate(
    metas: Any,
    tasks: str | Task | Sequence[str | Task],
    zoo: Zoo | Inputs,
    *,
    rounds: int = 10,
    seed: int | None = None,
    workers: int = 1,
    out: str | Path | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    on_progress: OnProgress = lambda doing: None,
) -> Results:
    """Every meta-classifier on every task: a list of one `Result` each, and a table of them (`.frame`).

    metas    a name of `nws.meta.METAS`, an estimator or pipeline of scikit-learn, `nws.meta.TorchReader(module)`, or a list or
             dict (name -> either) of them
    tasks    what is to be read: a name of a target ("optimizer", "test_accuracy"), a `Task`, or a list of them
    zoo      a zoo, or its `Inputs`, which have a seed and workers of their own, and remember what they computed
    seed     of splits, slices and meta-classifiers: 0, or that of the `Inputs`; another one beside them is refused
    workers  processes of one thread each that share the rounds; the results are those of one, bit for bit
    out      a folder that keeps rows, tables and the models of first rounds (of one's own readers the rows only). Rows that it
             holds already for the same zoo, task, meta-classifier, rounds and seed are taken from there
    settings     constructor arguments of meta-classifiers by name: {"dmc": {"epochs": 50}}
    on_progress  receives what is being done ("property 2 of 4 (optimizer), dmc: round 3 of 10")

    NwsError for a question that cannot be put to this zoo, and when a worker dies.
    """
    store, named = Store(out) if out else None, meta_classifiers.named(metas, settings)
    given = [Task(one) if isinstance(one, str) else one for one in ([tasks] if isinstance(tasks, str | Task) else tasks)]
    with ExitStack() as stack:
        inputs = stack.enter_context(Inputs.of(zoo, seed, workers))
        state = zoo_state(inputs.zoo)
        rows: dict[int, Result] = {}  # by its place in the table
        asked: dict[int, Question] = {}  # bad ones fail before any work
        keys: dict[int, str] = {}
        of_edges: list[per_weight.Asked] = []
        for place, (task, (name, meta)) in enumerate(product(given, named.items())):
            # With the arguments' defaults: other defaults are another question.
            keys[place] = digest([asdict(task), name, meta.get_params(), rounds, inputs.seed, __version__, state])
            if store and (known := store.find(keys[place])):
                rows[place] = known
            elif per_weight.asked(task, name, inputs.zoo):
                of_edges.append((place, task, name, per_weight.reader(name, meta)))
            else:
                asked[place] = question(task, name, meta, inputs.zoo)
        about = provenance()
        groups = trained_alike(list(asked.values()))
        places = {id(one): place for place, one in asked.items()}
        for alike, found in zip(groups, _answers(groups, inputs, rounds, store, on_progress)):
            more = {**about, "settings": dict((settings or {}).get(alike[0].name, {}))}
            new = {places[id(one)]: replace(row, key=keys[places[id(one)]], about=more) for one, row in zip(alike, found)}
            rows |= new
            if store:
                store.add(*new.values())
        for place, row in per_weight.answers(of_edges, inputs.zoo, rounds, inputs.seed, on_progress):
            rows[place] = replace(row, key=keys[place], about={**about, "settings": dict((settings or {}).get(row.meta, {}))})
            if store:
                store.add(rows[place])
    return Results(rows[place] for place in range(len(keys)))


def first_fit(
    zoo: Zoo | Inputs,
    task: Task,
    name: str,
    *,
    out: str | Path | None,
    rounds: int,
    settings: dict[str, Any],
    on_progress: OnProgress = lambda doing: None,
) -> Fitted:
    """The meta-classifier that `evaluate` kept of its first round; asks `evaluate` when there is none yet."""
    inputs = zoo if isinstance(zoo, Inputs) else Inputs(zoo)
    meta = meta_classifiers.make(name, **settings)
    made_from = _made_from(task, name, meta, inputs)
    found = Store(out).fitted(made_from, task, name) if out else None
    if found is None and out:
        evaluate(name, task, inputs, rounds=rounds, out=out, settings={name: settings}, on_progress=on_progress)
        found = Store(out).fitted(made_from, task, name)
    if found is None:  # no folder; or its row is known, but its model was moved away
        found = next(fits(meta, task, inputs, rounds=1, on_progress=on_progress))
    return found


def _made_from(task: Task, name: str, meta: Any, inputs: Inputs) -> str:
    return digest([asdict(task.training), name, meta.get_params(), inputs.seed, __version__, zoo_state(inputs.zoo)])


def fits(
    meta: Any,
    task: Task,
    zoo: Zoo | Inputs,
    *,
    rounds: int = 10,
    seed: int | None = None,
    on_progress: OnProgress = lambda doing: None,
) -> Iterator[Fitted]:
    """The fitted meta-classifiers themselves, round by round: the same ones that `evaluate` tests."""
    ((name, made),) = meta_classifiers.named(meta).items()
    with Inputs.of(zoo, seed) as inputs:
        works = _works([question(task, name, made, inputs.zoo)], f"{task.property}, {name}", inputs, rounds, wanted=range(rounds))
        for work, done in zip(works, carried_out(works, inputs, on_progress)):
            _remember(work, done, inputs)
            yield Fitted(done.meta, work.drawn)


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


def held_out(meta: str, task: Task, inputs: Inputs, *, folds: int = 4, on_progress: OnProgress = lambda doing: None) -> HeldOut:
    """Cross-validation over nets: every net is read by a meta-classifier that learned from the other folds.

    NwsError for a property without classes: what comes out is there to be calibrated.
    """
    ((name, made),) = meta_classifiers.named(meta).items()
    asked = question(task, name, made, inputs.zoo)
    if asked.regression:
        raise NwsError(f"{task.property} is a number, which has no probabilities: name a property with classes")
    rng = np.random.default_rng([inputs.seed, 0, ROUNDS_STREAM])
    nets, fold = draw_folds(asked.nets, asked.of_net, folds, rng)
    doing = f"{task.property}, {name}"
    works = [
        Work(asked, Round(nets[fold != k], nets[fold == k]), k, f"{doing}: fold {k + 1} of {folds}", (asked.where,))
        for k in range(folds)
    ]
    works.append(Work(asked, Round(nets, nets[:0]), folds, f"{doing}: all nets", wanted=True))
    probability: list[Any] = [None] * len(nets)
    for k, done in enumerate(carried_out(works, inputs, on_progress)):
        for probabilities, _, _ in done.read:
            for at, one in zip(np.flatnonzero(fold == k), probabilities):
                probability[at] = one
    return HeldOut(done.meta, asked.where, nets, asked.labels(nets)[:, 0], fold, np.stack(probability))


def trained_alike(questions: list[Question]) -> list[list[Question]]:
    """Questions that differ only in what is left out of the tests: one training answers them all."""
    groups: list[list[Question]] = []
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


def _answers(
    groups: Sequence[list[Question]], inputs: Inputs, rounds: int, store: Store | None, on_progress: OnProgress
) -> Iterator[list[Result]]:
    """The results of each group of questions that one training answers, group after group as each is done."""
    properties = list(dict.fromkeys(alike[0].task.property for alike in groups))
    works: list[Work] = []
    for alike in groups:
        name = alike[0].task.property
        says = f"property {properties.index(name) + 1} of {len(properties)} ({name})" if len(properties) > 1 else name
        works += _works(alike, f"{says}, {alike[0].name}", inputs, rounds, wanted=(0,) if _kept(alike[0], store) else ())
    done = carried_out(works, inputs, on_progress)
    pairs = zip(works, done)
    for alike in groups:
        tallies, seconds = [Tally(one.nets, one.y, one.classes) for one in alike], 0.0
        for work, did in islice(pairs, rounds):
            for tally, read in zip(tallies, did.read):
                tally.add(work.drawn, *read)
            seconds += did.seconds
            _remember(work, did, inputs)
            if store and work.number == 0 and _kept(alike[0], store):
                first = alike[0]
                made_from = _made_from(first.task, first.name, first.meta, inputs)
                store.keep_model(made_from, first.task.training, first.name, did.meta, work.drawn)
        each = seconds / len(alike)
        yield [_result(one, tally, work.drawn, did.notes, inputs, each) for one, tally in zip(alike, tallies)]


def _kept(asked: Question, store: Store | None) -> bool:
    """Whether the model of the first round is kept: what users bring cannot be saved without pickle."""
    return store is not None and isinstance(asked.meta, meta_classifiers.Meta)


def _works(alike: Sequence[Question], says: str, inputs: Inputs, rounds: int, wanted: Collection[int]) -> list[Work]:
    first, tests, works = alike[0], tuple(one.where for one in alike), []
    for r in range(rounds):
        # Neither split nor balance depends on the meta-classifier: comparisons are paired.
        drawn = draw_round(first.nets, first.of_net, first.stored, np.random.default_rng([inputs.seed, r, ROUNDS_STREAM]))
        known = inputs.fitted.get(_key(first, r))
        works.append(Work(first, drawn, r, f"{says}: round {r + 1} of {rounds}", tests, r in wanted, known))
    return works


def _remember(work: Work, done: Done, inputs: Inputs) -> None:
    if hasattr(done.meta, "coefficients_"):  # small, and asked for twice: what it reads, and by which features
        inputs.fitted[_key(work.question, work.number)] = done.meta


def _key(asked: Question, r: int) -> tuple[Any, ...]:
    return asked.name, repr(asked.meta), repr(asked.task.training), r, asked.nets.tobytes()


def _result(asked: Question, tally: Tally, drawn: Round, notes: Sequence[str], inputs: Inputs, seconds: float) -> Result:
    where = asked.where
    return Result(
        **{**vars(asked.task), "slice_length": where.slice_length, "snapshots": where.snapshots},
        meta=asked.name,
        **tally.fields(inputs.seed),
        unit=asked.target.unit,
        n_train=len(drawn.train),
        n_test=len(drawn.test),
        seconds=seconds,
        seed=inputs.seed,
        zoo=str(inputs.zoo.path),
        notes=(*asked.notes, *notes),
    )
