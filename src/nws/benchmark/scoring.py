"""One reader on one question: learned from one zoo, tested on fresh nets of another. Every number in a row is measured here."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from nws import meta as meta_classifiers
from nws import threads
from nws.benchmark.tracks import CHANGES, Trial
from nws.errors import NwsError
from nws.tasks import metrics, rounds
from nws.tasks.inputs import Inputs, Where
from nws.tasks.protocol import Round, Task, interval
from nws.tasks.questions import Question
from nws.zoo import Zoo, targets

BASELINES = ("prior", "accuracy")
LAST = 4  # snapshots that are learned from, the paper's choice; tested on is the last one
_TINY = 1e-3


@dataclass(frozen=True)
class Row:
    """One model on one trial. None where a column does not apply.

    accuracy       of fresh nets, slices voting; low, high: 95% interval over nets; single: of single slices
    skill          1 - NLL / NLL(prior); ece with the floor that so few perfectly calibrated nets show (`nws.tasks.metrics`)
    auc            mean of one class against the rest; in the track "none of these": of the confidence, known against unknown
    r2, tau, error of numbers, with intervals by a bootstrap over nets
    train_seconds  CPU seconds of learning, statistics of weights not counted
    read_ms        CPU milliseconds per net of the test, statistics of weights included
    mb             size of the saved model
    skipped        why there is no answer
    """

    track: str
    target: str
    model: str
    accuracy: float | None = None
    low: float | None = None
    high: float | None = None
    chance: float | None = None
    single: float | None = None
    skill: float | None = None
    brier: float | None = None
    ece: float | None = None
    ece_floor: float | None = None
    auc: float | None = None
    r2: float | None = None
    r2_low: float | None = None
    r2_high: float | None = None
    tau: float | None = None
    tau_low: float | None = None
    tau_high: float | None = None
    error: float | None = None
    n_train: int = 0
    n_tested: int = 0
    train_seconds: float | None = None
    read_ms: float | None = None
    mb: float | None = None
    skipped: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Row:
        return cls(**{f.name: stored[f.name] for f in fields(cls) if f.name in stored})


@dataclass(frozen=True)
class _Side:
    """The nets of one side: y (n, S) at the snapshots that are read."""

    inputs: Inputs
    nets: np.ndarray
    y: np.ndarray
    where: Where
    unseen: np.ndarray  # (n,) whether a net has the option that nobody learned from


class Scorer:
    """Scores models on trials; statistics are computed once per zoo.

    learn, test   kind -> zoo
    settings      constructor arguments by model
    """

    def __init__(self, learn: Mapping[str, Zoo], test: Mapping[str, Zoo], settings: Mapping[str, Mapping[str, Any]], seed: int):
        self.learn = {kind: Inputs(zoo) for kind, zoo in learn.items()}
        self.test = {(kind, name): Inputs(zoo, change=CHANGES.get(name)) for kind, zoo in test.items() for name in ("", *CHANGES)}
        self.settings, self.seed = settings, seed
        self._cost: dict[Any, float] = {}

    def row(self, trial: Trial, model: str, on_progress: Callable[[str], None] = lambda doing: None) -> Row:
        """The row, with a reason in `skipped` where this model cannot be asked."""
        try:
            known, fresh = self._sides(trial, model)
            if model in BASELINES:
                return self._scored(trial, model, known, fresh, *_baseline(model, trial, known, fresh))
            return self._scored(trial, model, known, fresh, *self._learned(trial, model, known, fresh, on_progress))
        except NwsError as error:
            return Row(trial.track, trial.target, model, skipped=str(error))

    def _sides(self, trial: Trial, model: str) -> tuple[_Side, _Side]:
        learn, test = self.learn[trial.learn], self.test[trial.test, trial.change]
        length = trial.slice_length
        if model not in BASELINES:
            shown = meta_classifiers.make(model).representation
            if length is not None and not shown.sliced:
                raise NwsError(f"{model} reads whole nets, not slices")
            length = length or shown.own_length
            if shown.one_layout(length) and (len(learn.zoo.layouts()) > 1 or trial.learn != trial.test):
                raise NwsError(f"{model} reads nets of one architecture only")
        last = int(learn.zoo.index["snapshots"].min())
        snapshots = (trial.early,) if trial.early else tuple(range(max(1, last - LAST + 1), last + 1))
        known = _side(trial, learn, snapshots, length, last)
        fresh = _side(trial, test, snapshots[-1:], length, last)
        known = _chosen(known, ~known.unseen)
        if trial.judged == "unseen":
            fresh = _chosen(fresh, fresh.unseen)
        if targets.target(learn.zoo, trial.target).kind == "classes" and trial.judged != "none of these":
            fresh = _chosen(fresh, np.isin(fresh.y[:, 0], known.y))  # a class that is unknown here is no mistake
        if len(set(known.y[:, -1].tolist())) < 2 or not len(fresh.nets):
            raise NwsError(f"too few nets to read {trial.target}")
        return known, fresh

    def _learned(
        self, trial: Trial, model: str, known: _Side, fresh: _Side, on_progress: Callable[[str], None]
    ) -> tuple[_Said, Any, float, float, float | None]:
        """(probabilities (n, 1, K, C) or numbers (n, 1, K), labels, seconds, ms, MB)."""
        meta = meta_classifiers.make(model, **self.settings.get(model, {}))
        zoo = known.inputs.zoo
        task = Task(trial.target, part=trial.part, slice_length=trial.slice_length, without=trial.without, without_at="both")
        asked = Question(task, targets.target(zoo, trial.target), model, meta, known.where, known.nets, known.y, None, ())
        with threads.one():
            self._rows(meta.representation, known)
            started = time.process_time()
            fitted = rounds.fit(asked, known.inputs, Round(known.nets, known.nets[:0]), 0, on_progress)
            learned = time.process_time()
            cost = self._rows(meta.representation, fresh)
            started_reading = time.process_time()
            answer, labels, voted = rounds.read(fitted, fresh.where, fresh.inputs, fresh.nets)
            reading = time.process_time() - started_reading + cost * len(fresh.nets)
        return _Said(answer, voted), labels, learned - started, 1000 * reading / len(fresh.nets), _megabytes(fitted)

    def _rows(self, shown: Any, side: _Side) -> float:
        """CPU seconds per net of the statistics, computed now where they were not yet."""
        if not shown.table:
            return 0.0
        key = (id(side.inputs), side.inputs.key(shown, side.where, True))
        missing = side.inputs.unknown(side.inputs.key(shown, side.where, True), side.nets.tolist())
        if missing:
            started = time.process_time()
            side.inputs.known(side.inputs.key(shown, side.where, True), missing)
            self._cost[key] = (time.process_time() - started) / len(missing)
        return self._cost.get(key, 0.0)

    def _scored(
        self,
        trial: Trial,
        model: str,
        known: _Side,
        fresh: _Side,
        said: _Said,
        labels: Any,
        *costs: float | None,
    ) -> Row:
        spent = dict(zip(("train_seconds", "read_ms", "mb"), costs))
        counts = {"n_train": len(known.nets), "n_tested": len(fresh.nets)}
        found = _of_classes(trial, known, fresh, said, labels) if labels is not None else _of_numbers(fresh, said, self.seed)
        return Row(trial.track, trial.target, model, **found, **counts, **spent)  # type: ignore[arg-type]


@dataclass(frozen=True)
class _Said:
    """Of K slices each, (n, 1, K, C) or (n, 1, K), and by a reader's own vote of all together, if it has one."""

    single: np.ndarray
    voted: np.ndarray | None = None

    @property
    def together(self) -> np.ndarray:
        """(n, 1, C) or (n, 1)."""
        return self.single.mean(2) if self.voted is None else self.voted


def _side(trial: Trial, inputs: Inputs, snapshots: tuple[int, ...], length: int | None, last: int) -> _Side:
    zoo = inputs.zoo
    kind = targets.target(zoo, trial.target)
    table, _ = zoo.select(kind.property.name if kind.property else None, part=trial.part, slice_length=length)
    nets = table.index.to_numpy()
    y = targets.values(zoo, trial.target, nets, [last] * len(snapshots) if trial.early else snapshots)
    unseen = np.zeros(len(nets), bool)
    if trial.left_out:
        unseen = (table[trial.left_out[0]] == trial.left_out[1]).to_numpy()
    side = _Side(inputs, nets, y, Where(trial.part, length, snapshots, trial.without), unseen)
    return _chosen(side, np.isfinite(y).all(1)) if y.dtype.kind == "f" else side


def _chosen(side: _Side, mask: np.ndarray) -> _Side:
    return _Side(side.inputs, side.nets[mask], side.y[mask], side.where, side.unseen[mask])


def _of_classes(trial: Trial, known: _Side, fresh: _Side, said: _Said, labels: np.ndarray) -> dict[str, Any]:
    votes = said.together[:, 0]  # (n, C)
    if trial.judged == "none of these":
        return {"auc": metrics.auc(votes.max(1), ~fresh.unseen), "chance": 0.5}
    labels = np.asarray(labels)
    truth = np.array([labels.tolist().index(y) for y in fresh.y[:, 0]])
    prior = np.array([(known.y == label).mean() for label in labels])
    hits = votes.argmax(1) == truth
    low, high = interval(hits.astype(float))
    each = [metrics.auc(votes[:, c], truth == c) for c in range(len(labels)) if 0 < (truth == c).mean() < 1]
    return {
        "accuracy": float(hits.mean()),
        "low": low,
        "high": high,
        "chance": 1 / len(labels),
        "single": float((said.single[:, 0].argmax(-1) == truth[:, None]).mean()),
        "skill": metrics.skill(votes, truth, prior),
        "brier": metrics.brier(votes, truth),
        "ece": metrics.expected_calibration_error(votes, truth),
        "ece_floor": metrics.calibration_floor(votes),
        "auc": float(np.mean(each)) if each else None,
    }


def _of_numbers(fresh: _Side, said: _Said, seed: int) -> dict[str, Any]:
    together = said.together[:, :, None]
    answers = [metrics.Answers(fresh.nets, fresh.y, together)]
    found: dict[str, Any] = {"error": metrics.ERROR(fresh.y, together)}
    for metric in (metrics.R2, metrics.TAU):
        e = metrics.estimate(metric, answers, seed)
        values = (value if np.isfinite(value) else None for value in (e.value, e.low, e.high))
        found |= zip((metric.name, f"{metric.name}_low", f"{metric.name}_high"), values)
    return found


def _baseline(model: str, trial: Trial, known: _Side, fresh: _Side) -> tuple[_Said, Any]:
    """What is known without any weights: how often each option occurs ("prior"), or the net's test accuracy as well."""
    numbers = known.y.dtype.kind == "f"
    if model == "prior" and numbers:
        return _Said(np.full((len(fresh.nets), 1, 1), known.y.mean())), None
    labels, counts = np.unique(known.y[:, -1], return_counts=True)
    if model == "prior":
        return _Said(np.tile(counts / counts.sum(), (len(fresh.nets), 1, 1, 1))), labels
    if trial.target == "test_accuracy":
        raise NwsError("its own value is what would be read")
    x, x_fresh = (_accuracies(side) for side in (known, fresh))
    from sklearn.linear_model import LogisticRegression, Ridge

    if numbers:
        return _Said(Ridge().fit(x, known.y[:, -1]).predict(x_fresh).reshape(-1, 1, 1)), None
    fitted = LogisticRegression(max_iter=1000).fit(x, known.y[:, -1])
    return _Said(fitted.predict_proba(x_fresh)[:, None, None]), fitted.classes_


def _accuracies(side: _Side) -> np.ndarray:
    """(n, 3): the test accuracy, its log odds and their square."""
    accuracy = targets.values(side.inputs.zoo, "test_accuracy", side.nets, side.where.snapshots)[:, -1]
    accuracy = np.nan_to_num(accuracy).clip(_TINY, 1 - _TINY)
    odds = np.log(accuracy / (1 - accuracy))
    return np.column_stack([accuracy, odds, odds**2 / 10])


def _megabytes(fitted: Any) -> float | None:
    """Of the saved model; None for one that has no way to be saved."""
    with tempfile.TemporaryDirectory(prefix="nws-benchmark-") as folder:
        try:
            meta_classifiers.save(fitted, Path(folder) / "model", {})
        except (NwsError, TypeError, AttributeError):
            return None
        return sum(file.stat().st_size for file in Path(folder).iterdir()) / 1e6
