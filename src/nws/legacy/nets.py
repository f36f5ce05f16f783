"""Nets of a split table, loaded for one question, and what a meta-classifier says of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nws.errors import NwsError
from nws.families.space import Property
from nws.legacy.split_tables import Row, Table, Warn, balanced, options_of

SLICES = 10  # evenly spread over each vector when accuracies are measured


@dataclass(frozen=True)
class Question:
    """What is to be read (a property), and from what: slices of `slice_length` weights of a part at these snapshots."""

    property: Property
    part: str
    slice_length: int
    snapshots: tuple[int, ...]

    def size(self, row: Row) -> int:
        """Weights in the part."""
        return {"all": row.conv + row.fc, "conv": row.conv, "fc": row.fc}[self.part]

    def theta(self, row: Row) -> np.ndarray:
        """(S, P) float32: the part at each snapshot. Slices of it never run on into another part."""
        where = {"all": slice(None), "conv": slice(0, row.conv), "fc": slice(row.conv, None)}[self.part]
        return np.stack([row.run.theta(k)[where] for k in self.snapshots])

    def label(self, row: Row) -> Any:
        value = getattr(row.hp, self.property.name)
        return value if self.property.continuous else self.property.label(value)


@dataclass(frozen=True)
class Nets:
    """n nets: their rows, their vectors (S, P_i) each, and their labels (n,), text or the numbers of a regression."""

    rows: tuple[Row, ...]
    vectors: tuple[np.ndarray, ...]
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, index: np.ndarray) -> Nets:
        return replace(
            self, rows=tuple(self.rows[i] for i in index), vectors=tuple(self.vectors[i] for i in index), labels=self.labels[index]
        )


def load(table: Table, question: Question, uniform: bool, warn: Warn, known: Collection[str] = ()) -> Nets:
    """The table's nets that the question can be put to; `warn` receives which were left out, and why.

    uniform  balance the classes, as `import_weights` does
    known    the only labels of interest: what a meta-classifier has learned (none given: all)
    """
    at, property_ = table.path, question.property
    rows = [row for row in table.rows if question.size(row) >= question.slice_length]
    if short := len(table.rows) - len(rows):
        part = "" if question.part == "all" else f"{question.part} "
        warn(f"{at}: {short} of {len(table.rows)} nets left out because they have fewer than {question.slice_length} {part}weights")
    if known:
        strange = Counter(label for label in map(question.label, rows) if label not in known)
        rows = [row for row in rows if question.label(row) not in strange]
        if strange:
            warn(f"{at}: {strange.total()} nets left out, {property_.name} {', '.join(strange)} is not in the training table")
    if not rows:
        raise NwsError(f"{at}: no net is left to read {property_.name} from: use a shorter --slice_length, or another table")
    if not property_.continuous:
        present = set(map(question.label, rows))
        if absent := [label for label in map(property_.label, options_of(property_, table.rows)) if label not in present]:
            warn(f"{at}: no net has {property_.name} {', '.join(absent)}")
        if uniform:
            rows = [rows[k] for k in balanced([question.label(row) for row in rows])]
    vectors = [question.theta(row) for row in rows]
    finite = [bool(np.isfinite(v).all()) for v in vectors]
    if not all(finite):
        warn(f"{at}: {finite.count(False)} of {len(rows)} nets left out, their training diverged")
    if not any(finite):
        raise NwsError(f"{at}: no net is left to read {property_.name} from: all have diverged")
    rows = [row for row, good in zip(rows, finite) if good]
    return Nets(tuple(rows), tuple(v for v, good in zip(vectors, finite) if good), np.array([question.label(row) for row in rows]))


def split_validation(nets: Nets, rng: np.random.Generator) -> tuple[Nets, Nets]:
    """(training, validation): a tenth of the nets at random, rounded down, but never the last training net of a class.

    Whole nets: snapshots of one net are near-twins, and on both sides they would make the validation a test of memory.
    """
    kinds = [0] * len(nets) if nets.labels.dtype.kind == "f" else nets.labels.tolist()
    left = Counter(kinds)
    validation: list[int] = []
    for i in rng.permutation(len(nets)):
        if len(validation) < len(nets) // 10 and left[kinds[i]] > 1:
            left[kinds[i]] -= 1
            validation.append(i)
    kept = np.setdiff1d(np.arange(len(nets)), validation)
    return nets.take(kept), nets.take(np.array(sorted(validation), int))


def probabilities(meta: Any, vectors: np.ndarray, slices: int) -> np.ndarray:
    """What the meta-classifier says of slices spread evenly over vectors (S, P): probabilities (S, K, C), or numbers (S, K, 1)."""
    length = meta.n_features_in_
    starts = np.round(np.linspace(0, vectors.shape[1] - length, slices)).astype(np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(vectors, length, axis=1)[:, starts].reshape(-1, length)
    answers = meta.predict(windows) if meta.regression else meta.predict_proba(windows)
    return np.asarray(answers).reshape(len(vectors), slices, -1)


def marks(meta: Any, answers: np.ndarray, label: Any) -> np.ndarray:
    """Answers (..., C) about a net with this label -> (...) 1 or 0, right or wrong; absolute errors of a regression."""
    if meta.regression:
        return np.abs(answers[..., 0] - label)
    return (meta.classes_[answers.argmax(-1)] == label).astype(float)


def scores(meta: Any, nets: Nets) -> dict[str, float]:
    """Mean accuracy (of a regression, mean absolute error) of single slices, and of the mean answer over a snapshot's slices."""
    single, average = [], []
    for vectors, label in zip(nets.vectors, nets.labels):
        answers = probabilities(meta, vectors, SLICES)
        single.append(marks(meta, answers, label).mean())
        average.append(marks(meta, answers.mean(1), label).mean())
    return {"single_slice": float(np.mean(single)), "per_weight_average": float(np.mean(average))}
