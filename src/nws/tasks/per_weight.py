"""Targets with a value for every edge of a net, such as pruning masks: the same rounds and splits by net, other metrics.

An accuracy means little where most edges are of one kind, so prevalence, the accuracy of the majority, the area under the ROC curve
and average precision stand beside it. Intervals are by a bootstrap over nets: the edges of one net are near-twins.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nws import threads
from nws.errors import NwsError, unknown
from nws.families import masks, splines
from nws.meta.edges import EDGE_READERS
from nws.meta.reader import Reader
from nws.representations import edges
from nws.tasks.metrics import RESAMPLES
from nws.tasks.protocol import Result, Round, Task, draw_round
from nws.zoo import Zoo, targets

ROUNDS_STREAM = 4  # as in evaluation.py: the splits are those of the other targets
BINS = 4096  # of scores, for areas under curves: exact up to so many different ones, else within 1 / BINS
_BOOTSTRAP = 6
_MOST_ROWS = 1_000_000  # edges that a reader learns from; of more, evenly many of each net

OnProgress = Callable[[str], None]


@dataclass(frozen=True)
class Table:
    """Edges of nets: nets (n,), of each its features (E, F) and whether each edge is kept (E,)."""

    nets: np.ndarray
    features: Mapping[int, np.ndarray]
    keep: Mapping[int, np.ndarray]


Asked = tuple[int, Task, str, Any]  # its place in the table of results, the task, the reader's name and the reader


def asked(task: Task, name: str, zoo: Zoo) -> bool:
    """Whether this task is one of this module. NwsError when it is not, and the reader can answer no other."""
    if targets.target(zoo, task.property).kind == "per_weight":
        return True
    if name in EDGE_READERS:
        raise NwsError(f"{name} says something of single edges, and {task.property} is one value per net: use another reader")
    return False


def answers(questions: Sequence[Asked], zoo: Zoo, rounds: int, seed: int, on_progress: OnProgress) -> Iterator[tuple[int, Result]]:
    """(place, result) of each question; those of one task share its table."""
    left = list(questions)
    while left:
        task = left[0][1]
        here = {name: (place, made) for place, other, name, made in left if other == task}
        for row in evaluate(task, {name: made for name, (_, made) in here.items()}, zoo, rounds, seed, on_progress):
            yield here[row.meta][0], row
        left = [q for q in left if q[1] != task]


def table(task: Task, zoo: Zoo, on_progress: OnProgress = lambda doing: None) -> Table:
    """What is read: the last snapshot of every net that has edge scores. NwsError for what such a task cannot have."""
    if task.part != "all" or task.slice_length not in (None, "whole") or task.without:
        raise NwsError(f"{task.property} has a value per edge and is read from whole nets: leave part, slice and without out")
    last = int(zoo.index["snapshots"].min()) if len(zoo.index) else 0
    if any(s != last for s in task.snapshots):
        raise NwsError(f"{task.property} is known of the last snapshot only: --snapshots {last}, or leave them out")
    rows, _ = zoo.select(None, converged=task.converged)
    for name, value in task.only.items():
        if name not in zoo.properties:
            raise unknown("only: property", name, zoo.properties)
        rows = rows[rows[name] == zoo.properties[name].check(value)]
    features, keep = {}, {}
    for k, number in enumerate(rows.index.tolist()):
        on_progress(f"{task.property}: edges of net {k + 1:,} of {len(rows):,}")
        net = zoo.net(int(number))
        keep[number] = masks.mask(net.about, net.layout, task.property)
        features[number] = edges.table(splines.layers(net.theta[-1], net.layout), int(net.hp.to_dict()["grid"]))
    if len(keep) < 2:
        raise NwsError(f"{zoo.path}: {task.property} needs at least two usable nets")
    return Table(np.array(list(keep)), features, keep)


def reader(name: str, meta: Any) -> Any:
    """An estimator on edges: one of `EDGE_READERS`, or a classifier of one's own. NwsError for what reads whole nets."""
    if name in EDGE_READERS:
        return meta
    if isinstance(meta, Reader) and not meta.reads:
        return meta
    raise NwsError(
        f"{name} reads whole nets and says nothing of single edges: use {', '.join(EDGE_READERS)}, or your own classifier"
    )


@threads.one()
def evaluate(
    task: Task, named: Mapping[str, Any], zoo: Zoo, rounds: int, seed: int, on_progress: OnProgress = lambda doing: None
) -> list[Result]:
    """A result for each reader; see `nws.evaluate`."""
    readers = {name: reader(name, meta) for name, meta in named.items()}
    read = table(task, zoo, on_progress)
    stored = zoo.index.loc[read.nets, "split"].to_numpy() if task.split == "stored" else None
    tallies = {name: _Tally(read) for name in readers}
    seconds = dict.fromkeys(readers, 0.0)
    for r in range(rounds):
        drawn = draw_round(read.nets, np.zeros(len(read.nets)), stored, np.random.default_rng([seed, r, ROUNDS_STREAM]))
        X, y = _stacked(read, drawn.train)
        for name, made in readers.items():
            on_progress(f"{task.property}, {name}: round {r + 1} of {rounds}")
            started = time.perf_counter()
            fitted = _fitted(made, X, y, (seed * 1000 + r) % 2**32)
            yes = list(fitted.classes_).index(True) if True in fitted.classes_ else None
            said = {
                n: fitted.predict_proba(read.features[n])[:, yes] if yes is not None else np.zeros(len(read.keep[n]))
                for n in drawn.test.tolist()
            }
            seconds[name] += time.perf_counter() - started
            tallies[name].add(drawn, said)
    return [_result(task, name, tallies[name], drawn, zoo, seed, seconds[name]) for name in readers]


def _fitted(made: Any, X: np.ndarray, y: np.ndarray, random_state: int) -> Any:
    from sklearn.base import clone

    fresh = clone(made)
    if "random_state" in fresh.get_params():
        fresh.set_params(random_state=random_state)
    if isinstance(fresh, Reader):
        fresh.set_params(regression=False)
    return fresh.fit(X, y)


def _stacked(read: Table, nets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, F) and truths (n,) of these nets; of many edges every k-th."""
    total = sum(len(read.keep[n]) for n in nets.tolist())
    every = -(-total // _MOST_ROWS)
    pairs = [(read.features[n][k % every :: every], read.keep[n][k % every :: every]) for k, n in enumerate(nets.tolist())]
    return np.concatenate([x for x, _ in pairs]), np.concatenate([y for _, y in pairs])


class _Tally:
    """Answers of all rounds, net by net."""

    def __init__(self, read: Table):
        self.read = read
        self.hits: dict[int, list[float]] = {}
        self.guessed: dict[int, list[float]] = {}  # hits of saying what most edges of the training nets are
        self.rounds: list[float] = []
        self.areas: list[tuple[list[int], np.ndarray, np.ndarray]] = []  # nets, and their edges (n, bins) kept and not, best first
        self.confusion = np.zeros((2, 2), int)

    def add(self, drawn: Round, said: Mapping[int, np.ndarray]) -> None:
        train = np.concatenate([self.read.keep[n] for n in drawn.train.tolist()])
        majority = train.mean() >= 0.5
        found = []
        for net, p in said.items():
            truth = self.read.keep[net]
            answer = p > 0.5
            found.append(float((answer == truth).mean()))
            self.hits.setdefault(net, []).append(found[-1])
            self.guessed.setdefault(net, []).append(float((truth == majority).mean()))
            self.confusion += np.array([[(truth == a)[answer == b].sum() for b in (False, True)] for a in (False, True)])
        self.rounds.append(float(np.mean(found)))
        self.areas.append((list(said), *_binned(said, self.read.keep)))

    def fields(self, seed: int) -> dict[str, Any]:
        nets = list(self.hits)
        each, times = (np.array([f(self.hits[n]) for n in nets], float) for f in (np.mean, len))
        accuracy = float(np.average(each, weights=times))
        weights = self._drawn(seed) * times
        low, high = np.percentile(weights @ each / np.maximum(weights.sum(1), 1), [2.5, 97.5])
        low, high = float(min(low, accuracy)), float(max(high, accuracy))
        guess = np.array([np.mean(self.guessed[n]) for n in nets])
        kept = np.array([self.read.keep[n].mean() for n in nets])
        return {
            "accuracy": accuracy,
            "error": None,
            "low": low,
            "high": high,
            "spread": float(np.std(self.rounds, ddof=1)) if len(self.rounds) > 1 else 0.0,
            "vote": accuracy,
            "vote_low": low,
            "vote_high": high,
            "chance": float(np.average(guess, weights=times)),
            "prevalence": float(np.average(kept, weights=times)),
            "classes": ("dropped", "kept"),
            "n_tested": len(nets),
            "rounds": len(self.rounds),
            "per_round": tuple(self.rounds),
            "confusion": tuple(tuple(int(c) for c in row) for row in self.confusion),
            **self._areas(seed),
        }

    def _drawn(self, seed: int) -> np.ndarray:
        """(R, n): how often each tested net is drawn in each resample."""
        n = len(self.hits)
        return np.random.default_rng([seed, _BOOTSTRAP]).multinomial(n, np.full(n, 1 / n), RESAMPLES)

    def _areas(self, seed: int) -> dict[str, float | None]:
        """Areas under both curves over all edges of a round's test nets, means over rounds, 95% intervals by drawing nets anew."""
        tested = list(self.hits)
        at = {net: k for k, net in enumerate(tested)}
        weights = np.concatenate([np.ones((1, len(tested))), self._drawn(seed)])
        both = np.zeros((2, len(weights)))
        for nets, kept, dropped in self.areas:
            here = weights[:, [at[n] for n in nets]]
            both += np.stack(areas(here @ kept, here @ dropped)) / len(self.areas)
        found: dict[str, float | None] = {}
        for name, values in zip(("auc", "ap"), both):
            low, high = np.nanpercentile(values[1:], [2.5, 97.5]) if np.isfinite(values[1:]).any() else (np.nan, np.nan)
            numbers = (values[0], min(low, values[0]), max(high, values[0]))
            found |= zip((name, f"{name}_low", f"{name}_high"), (float(v) if np.isfinite(v) else None for v in numbers))
        return found


def _binned(said: Mapping[int, np.ndarray], keep: Mapping[int, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """How many edges of each net have which score, (n, bins) of kept and of dropped ones, the highest scores first."""
    every = np.concatenate(list(said.values()))
    cuts = np.unique(every)
    if len(cuts) > BINS:
        cuts = np.unique(np.quantile(every, np.linspace(0, 1, BINS), method="lower"))
    counts = np.zeros((2, len(said), len(cuts)))
    for row, (net, p) in enumerate(said.items()):
        at = len(cuts) - np.searchsorted(cuts, p, side="right")
        for kind in (0, 1):
            counts[kind, row] = np.bincount(at[keep[net] == (kind == 0)], minlength=len(cuts))
    return counts[0], counts[1]


def areas(kept: np.ndarray, dropped: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Areas (R,) under the ROC curve (ties count half) and of average precision (the sum of precision times the gain in recall),
    from counts (R, bins) of kept and dropped edges, the highest scores first. NaN where there is one kind only."""
    hits, misses = np.cumsum(kept, 1), np.cumsum(dropped, 1)
    n, m = hits[:, -1], misses[:, -1]
    with np.errstate(divide="ignore", invalid="ignore"):
        auc = ((hits - kept / 2) * dropped).sum(1) / (n * m)
        precision = np.divide(hits, hits + misses, out=np.zeros_like(hits), where=hits + misses > 0)
        ap = (precision * kept).sum(1) / n
        ap[m == 0] = np.nan
    return auc, ap


def _result(task: Task, name: str, tally: _Tally, drawn: Round, zoo: Zoo, seed: int, seconds: float) -> Result:
    mask = masks.MASKS[task.property]
    return Result(
        **{**vars(task), "slice_length": None, "snapshots": (int(zoo.index["snapshots"].min()),)},
        meta=name,
        **tally.fields(seed),
        n_train=len(drawn.train),
        n_test=len(drawn.test),
        seconds=seconds,
        seed=seed,
        zoo=str(zoo.path),
        notes=(f"{task.property}: {mask.help}",),
    )
