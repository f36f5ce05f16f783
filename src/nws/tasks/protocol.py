"""How well can a property be read from weights? Task, split by net, class balance, rounds -> results with intervals.

The unit is the net. Snapshots and slices of one net are near-twins: on both sides of a split they would leak the answer, and
counted as independent they would make intervals too narrow. So nets are split, never snapshots, and intervals are over nets.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nws import __version__
from nws.errors import NwsError, unknown
from nws.families.space import label
from nws.layout import PARTS, STRIPS

if TYPE_CHECKING:
    import pandas as pd

SPLITS = ("rounds", "stored", "source")
STRIPPED_AT = ("test", "both")
TEST_SHARE = 0.25


@dataclass(frozen=True)
class Task:
    """What is to be read from what. Refuses nonsense when built.

    property      a name of `nws.zoo.targets.names`: a property of the zoo's family, what the source of a foreign zoo recorded, a
                  column of one's own (`Zoo.annotate`), or what was measured at each snapshot, such as test_accuracy
    snapshots     numbers from 1; empty is the last four of the zoo, the paper's choice for whole nets
    slice_length  consecutive weights the meta-classifier sees, or "whole"; None is its own choice: the SVMs read whole
                  parts, the DMC 5,000 weights. What reads layer-wise statistics needs whole nets and refuses slices.
    part          all, conv or fc
    converged     True: only nets above the paper's accuracy thresholds; or image set -> threshold; False: all that trained
    split         "rounds": each round draws its own test nets, a quarter, so that every net of a small zoo is tested in turn;
                  "stored": the zoo's own split in every round, for comparison with others; "source": of nets that are pictures,
                  by the side of the image in its set, those of test images tested, those of validation images left out
    without       kinds of weights (`nws.layout.STRIPS`) that are taken out of theta, which gets shorter: bias, moving, norm ...
    without_at    "test": learned with them, tested without, the paper's way (F.3); "both": never seen, which asks for more
    only          property -> value: of the zoo only the nets that have it, such as {"batch_norm": False}
    """

    property: str
    snapshots: tuple[int, ...] = ()
    slice_length: int | str | None = None
    part: str = "all"
    converged: bool | Mapping[str, float] = False
    split: str = "rounds"
    without: tuple[str, ...] = ()
    without_at: str = "test"
    only: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
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
        for name in self.without:
            if name not in STRIPS:
                raise unknown("without", name, STRIPS)
        object.__setattr__(self, "without", tuple(sorted(set(self.without))))
        if self.without_at not in STRIPPED_AT:
            raise unknown("without_at", self.without_at, STRIPPED_AT)
        self._check_only()

    def _check_only(self) -> None:
        if self.property in self.only:
            raise NwsError(f"{self.property} is to be read, so nets must differ in it: leave it out of --where (in Python only)")
        object.__setattr__(self, "only", dict(sorted(self.only.items())))  # which properties there are the zoo knows

    @builtins.property
    def training(self) -> Task:
        """The task as far as learning goes: tasks that are equal in it may share fitted meta-classifiers."""
        return replace(self, without=()) if self.without_at == "test" else self


@dataclass(frozen=True, kw_only=True)
class Result(Task):
    """A task, and how one meta-classifier did on it over all rounds; `row()` is what is printed and stored.

    slice_length, snapshots   what was read where the task left it open
    accuracy  single slices of test nets, mean over rounds; low, high: 95% interval over nets; spread: deviation over rounds
    vote      accuracy of the mean probability over the slices of a snapshot (the same as accuracy for whole nets)
    error     numbers only: mean absolute error in `unit`, lower is better, to which low, high, vote, spread and chance then refer
    r2, tau   numbers only: share of variance explained, and Kendall's tau-b (`nws.tasks.metrics`), higher is better; 95% intervals
              by a bootstrap over nets; None where there is none
    prevalence, auc, ap   values per edge only (`nws.tasks.per_weight`): the share of edges that are kept, the area under the ROC
              curve, average precision, both with intervals by a bootstrap over nets; chance is then the accuracy of the majority
    chance    of a guess on the balanced test nets; for regression the error of always saying the training nets' median
    n_train, n_test   nets per round
    key       tells rows apart that were computed from other nets, with other settings or by another version
    """

    meta: str
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
    zoo: str
    notes: tuple[str, ...] = ()
    unit: str = ""
    r2: float | None = None
    r2_low: float | None = None
    r2_high: float | None = None
    tau: float | None = None
    tau_low: float | None = None
    tau_high: float | None = None
    prevalence: float | None = None
    auc: float | None = None
    auc_low: float | None = None
    auc_high: float | None = None
    ap: float | None = None
    ap_low: float | None = None
    ap_high: float | None = None
    version: str = __version__
    key: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)

    def row(self) -> dict[str, Any]:
        return asdict(self)


class Results(list[Result]):
    """A list of results that is also a table."""

    @property
    def frame(self) -> pd.DataFrame:
        """A row per result, without what only JSON can hold; what a caption says of them is in its `attrs`."""
        import pandas as pd

        first = ("property", "meta", "part", "slice_length", "snapshots", "without", "only")
        nested = ("confusion", "about", "per_round", "classes", "notes")
        named = [*first, *(f.name for f in fields(Result) if f.name not in (*first, *nested))]
        frame = pd.DataFrame([{name: _cell(getattr(r, name)) for name in named} for r in self], columns=named)
        if self:
            most = max(self, key=lambda r: r.n_tested)
            about = {"zoo": Path(most.zoo).name, "nets": most.n_train + most.n_test, "version": most.version}
            frame.attrs["about"] = {**about, "commit": most.about.get("commit")}
        return frame

    def _repr_html_(self) -> str:
        """For notebooks: the columns that people look at, those of numbers only where there are numbers."""
        shown = self.frame
        classes = ["property", "meta", "part", "slice_length", "accuracy", "low", "high", "chance", "n_tested"]
        numbers = ["r2", "r2_low", "r2_high", "tau", "error", "unit"] if shown["error"].notna().any() else []
        return str(shown[[*classes, *numbers]].to_html(index=False, float_format=lambda x: f"{x:.3g}", na_rep=""))


def _cell(value: Any) -> Any:
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return " ".join(f"{name}={label(v)}" for name, v in value.items()) if isinstance(value, Mapping) else value


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
        other = ", or use --split rounds (in Python split='rounds')" if stored is not None else ""
        raise NwsError(f"a class has too few nets to stand on both sides of the split: train more nets{other}")
    return Round(np.concatenate([m[:n_train] for m in train]), np.concatenate([m[:n_test] for m in test]))


def draw_folds(nets: np.ndarray, y: np.ndarray, folds: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """As many nets of each class of y (n,) as the rarest has, and which fold (0, 1, ...) each lies in, classes spread evenly."""
    members = [rng.permutation(nets[y == c]) for c in np.unique(y)]
    smallest = min(map(len, members))
    if smallest < folds:
        raise NwsError(f"a class has {smallest} nets, too few for {folds} folds: train more nets, or use fewer folds")
    return np.concatenate([m[:smallest] for m in members]), np.tile(np.arange(smallest) % folds, len(members))


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
