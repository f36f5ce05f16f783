"""Boosted trees on the statistics of slices, and a learned vote over the slices of one net."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy.special import log_softmax, softmax
from sklearn.utils.validation import check_is_fitted

from nws import threads
from nws.errors import NwsError
from nws.meta.contract import Meta, Progress, Shapes, positive, seed, table_rows
from nws.meta.trees import ARRAYS, Forest
from nws.meta.votes import Votes, opinions

_LEAST = 40  # rows of a leaf, where there are enough
_BINS = 63
_UNKNOWN, _LARGEST = 1e30, 1e29  # instead of NaN, and the most that a threshold is
_AT_ONCE = 1 << 20  # values of a table that are read at once


@dataclass(frozen=True)
class Growing:
    """Settings of trees: leaves of each, share of features that a split chooses among, ridge on the values of leaves."""

    rounds: int
    learning_rate: float
    leaves: int
    share: float
    ridge: float


class SliceBoosting(Meta):
    """Trees for single slices, trees for what all slices of a snapshot have in common, and a vote that weighs both.

    The nets are cut into `folds`. The trees of each learn from the other nets, and what they say of nets they never saw
    teaches the calibration and the vote; all folds' trees answer together. Each fold learns from at most `max_rows` rows.

    Fitted: `single_` and `sets_`, the trees; `calibration_` and `vote_`; `gain_` (F,), how much each statistic reduced the loss of
    single slices.
    """

    reads = "slices"
    grouped = True  # `fit` takes the net that each row is of, and how many are slices of one snapshot
    _learned = "gain_"
    single_: _Folds
    sets_: _Folds  # without trees where slices did not come in sets
    calibration_: Votes
    vote_: Votes
    gain_: np.ndarray

    def __init__(
        self,
        rounds: int = 40,
        learning_rate: float = 0.2,
        folds: int = 3,
        max_rows: int = 8000,
        random_state: int = 0,
        regression: bool = False,
    ):
        self.rounds = rounds
        self.learning_rate = learning_rate
        self.folds = folds
        self.max_rows = max_rows
        self.random_state = random_state
        self.regression = regression

    @threads.one()
    def fit(self, X: Any, y: Any, groups: Any = None, together: int = 1, progress: Progress | None = None) -> Self:
        """X (n, F), NaN where a slice has no such thing; y (n,) labels or numbers; groups (n,) the net of each row.

        `together` neighbouring rows are slices of one snapshot. Without groups each row is a net of its own. `progress` hears of
        each fold, loss 0.
        """
        X = table_rows(X)
        target = self._begin(len(X), y)
        self.n_features_in_ = X.shape[1]
        nets = np.arange(len(X)) if groups is None else np.asarray(groups)
        if nets.shape != (len(X),) or len(X) % together:
            raise NwsError(f"X has {len(X):,} rows: give the net of each, and whole sets of {together}")
        fold = _folds(nets, None if self.regression else target, self.folds, np.random.default_rng(self.random_state))
        steps = iter(range(1, 2 * (fold.max() + 1) + 1))

        def heard() -> None:
            if progress:
                progress(next(steps), (1 + (together > 1)) * (fold.max() + 1), 0.0)

        single, said = self._grown(X, target, fold, Growing(self.rounds, self.learning_rate, 15, 0.1, 5.0), heard)
        calibration = Votes(np.ones(1), np.zeros(1)) if self.regression else Votes.learned(said[None], target)
        said = calibration.decided(said[None])
        sets, vote = _Folds.none(), Votes(np.zeros(0), np.zeros(0))
        if together > 1:
            one = slice(None, None, together)
            # Four times the columns of a tenth of the rows.
            growing = Growing(self.rounds, self.learning_rate, 8, 0.05, 2.0)
            sets, whole = self._grown(in_common(X.reshape(-1, together, X.shape[1])), target[one], fold[one], growing, heard)
            opined = opinions(said.reshape(-1, together, *said.shape[1:]))
            vote = Votes.learned(np.concatenate([opined, whole[None]]), target[one])
        self.single_, self.sets_, self.calibration_, self.vote_ = single, sets, calibration, vote
        self.gain_ = single.gain
        return self

    @threads.one()
    def vote(self, said: np.ndarray, X: Any) -> np.ndarray:
        """What K slices of a snapshot say together: said (m, K, C), or numbers (m, K), of rows X (m K, F) -> (m, C), or (m,)."""
        check_is_fitted(self)
        if not len(self.vote_.weights) or said.shape[1] < 2:
            return said.mean(1)
        X = table_rows(X, self.n_features_in_, "SliceBoosting")
        whole = self._together(self.sets_, in_common(X.reshape(*said.shape[:2], -1)))
        if not self.regression:
            return self.vote_.decided(np.concatenate([opinions(said), whole[None]]))
        mean, scale = self.target_
        return self.vote_.decided(np.concatenate([opinions((said - mean) / scale), whole[None]])) * scale + mean

    def _check(self) -> None:
        for name, value, least in (("rounds", self.rounds, 1), ("folds", self.folds, 2), ("max_rows", self.max_rows, 2)):
            positive(name, value, whole=True, least=least)
        positive("learning_rate", self.learning_rate)
        seed(self.random_state)

    def _grown(
        self, X: np.ndarray, target: np.ndarray, fold: np.ndarray, growing: Growing, heard: Any
    ) -> tuple[_Folds, np.ndarray]:
        """The trees of all folds, and what each says of the rows that it did not learn from, (n, C) or (n,)."""
        rng = np.random.default_rng([int(self.random_state), len(X)])
        grown = []
        said = np.empty(len(X) if self.regression else (len(X), self._outputs))
        for k in range(fold.max() + 1):
            rows = np.flatnonzero(fold != k) if fold.max() else np.arange(len(X))
            if len(rows) > self.max_rows:
                rows = np.sort(rng.permutation(rows)[: self.max_rows])
            grown.append(_grow(X[rows], target[rows], growing, self.regression, int(rng.integers(2**31))))
            said[fold == k] = self._together(_Folds.of(grown[-1:], X.shape[1]), X[fold == k])
            heard()
        return _Folds.of(grown, X.shape[1]), said

    def _together(self, folds: _Folds, X: np.ndarray) -> np.ndarray:
        """The mean of all folds' probabilities (n, C), or numbers (n,)."""
        trees = 1 if self._outputs == 2 else self._outputs  # of two classes there is one tree, for the second
        scores = folds.sums(X).reshape(len(X), len(folds.base) // trees, trees)
        if self.regression:
            return scores[..., 0].mean(1)
        if trees == 1:
            scores = np.concatenate([np.zeros_like(scores), scores], 2)
        return softmax(scores, axis=2).mean(1)

    @threads.one()
    def _scores(self, X: Any) -> np.ndarray:
        said = self._together(self.single_, table_rows(X, self.n_features_in_, "SliceBoosting"))
        return said[:, None] if self.regression else log_softmax(self.calibration_.scores(said[None]), axis=1)

    def _arrays(self) -> dict[str, np.ndarray]:
        found = {"gain": self.gain_}
        for of, votes in (("calibration", self.calibration_), ("vote", self.vote_)):
            found |= {f"{of}.weights": votes.weights, f"{of}.offsets": votes.offsets}
        for of, folds in (("single", self.single_), ("sets", self.sets_)):
            found |= {f"{of}.{name}": array for name, array in {"base": folds.base, **folds.forest.arrays()}.items()}
        return found

    def _shapes(self, found: Mapping[str, tuple[int, ...]]) -> Shapes:
        def size(name: str) -> int:
            return (found.get(name) or (0,))[0]

        C, voters = self._outputs, size("vote.weights")
        shapes: Shapes = {"gain": (self.n_features_in_,), "calibration.weights": (1,), "calibration.offsets": (C,)}
        shapes |= {"vote.weights": (voters,), "vote.offsets": (C if voters else 0,)}
        for of in ("single", "sets"):
            shapes |= {f"{of}.{name}": (size(f"{of}.feature"),) for name in ARRAYS}
            shapes |= {
                f"{of}.root": (size(f"{of}.root"),),
                f"{of}.output": (size(f"{of}.root"),),
                f"{of}.base": (size(f"{of}.base"),),
            }
        return shapes

    def _restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        trees = 1 if self._outputs == 2 else self._outputs
        voters = len(arrays["vote.weights"])
        if voters not in (0, 3 if self.regression else 5):
            raise NwsError(f"vote.weights has {voters} weights: as many as there are opinions, or none")
        for of, features in (("single", self.n_features_in_), ("sets", len(IN_COMMON) * self.n_features_in_)):
            base = arrays[f"{of}.base"]
            needed = of == "single" or voters
            if len(base) % trees or (needed and not len(base)):
                raise NwsError(f"{of}.base must have a value for each fold and class")
            own = {name: arrays[f"{of}.{name}"] for name in (*ARRAYS, "root", "output")}
            setattr(self, f"{of}_", _Folds(Forest.checked(own, 2 * features, len(base)), base, np.zeros(0)))
        for of in ("calibration", "vote"):
            setattr(self, f"{of}_", Votes(arrays[f"{of}.weights"], arrays[f"{of}.offsets"]))
        self.gain_ = arrays["gain"]


@dataclass(frozen=True, eq=False)
class _Folds:
    """The trees of several folds as one forest: what it adds up to, and begins with, is (folds x outputs,). gain (F,)."""

    forest: Forest
    base: np.ndarray
    gain: np.ndarray

    @classmethod
    def none(cls) -> _Folds:
        return cls(Forest.of([]), np.zeros(0), np.zeros(0))

    @classmethod
    def of(cls, grown: list[tuple[list[Any], np.ndarray, np.ndarray]], features: int) -> _Folds:
        """(trees, where they begin, columns they know), fold after fold."""
        nodes, gain, outputs = [], np.zeros(features), len(grown[0][1])
        for k, (rounds, _, columns) in enumerate(grown):
            for trees in rounds:
                for output, tree in enumerate(trees):
                    nodes.append((_twofold(tree.nodes, len(columns)), k * outputs + output, np.append(columns, columns + features)))
                    inner = tree.nodes[tree.nodes["is_leaf"] == 0]
                    np.add.at(gain, columns[inner["feature_idx"]], inner["gain"])
        return cls(Forest.of(nodes), np.concatenate([base for _, base, _ in grown]), gain)

    def sums(self, X: np.ndarray) -> np.ndarray:
        """Rows (n, F), NaN where a feature is unknown -> (n, folds x outputs)."""
        step = max(1, _AT_ONCE // X.shape[1])
        parts = [self.forest.sums(rows, len(self.base)) for rows in _doubled(X, step)]
        return np.concatenate([np.empty((0, len(self.base))), *parts]) + self.base


def _doubled(X: np.ndarray, step: int) -> Iterator[np.ndarray]:
    """The table twice side by side: unknown features lie far below in one and far above in the other, see `_twofold`."""
    for start in range(0, len(X), step):
        rows = X[start : start + step]
        unknown = np.isnan(rows)
        yield np.concatenate([np.where(unknown, -_UNKNOWN, rows), np.where(unknown, _UNKNOWN, rows)], axis=1)


def _twofold(nodes: np.ndarray, features: int) -> np.ndarray:
    """Nodes that send unknown features to the right ask the second half of a doubled table: so that a forest need not know NaN."""
    nodes = nodes.copy()
    nodes["num_threshold"] = np.clip(nodes["num_threshold"], -_LARGEST, _LARGEST)  # infinite where only NaN goes right
    nodes["feature_idx"] += np.where(nodes["missing_go_to_left"] == 1, 0, features)
    return nodes


def _grow(
    X: np.ndarray, target: np.ndarray, growing: Growing, regression: bool, random_state: int
) -> tuple[list[Any], np.ndarray, np.ndarray]:
    """(scikit-learn's trees, round by round; where they begin; the columns of X that they know)."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    known = np.isfinite(X)
    low, high = np.where(known, X, np.inf).min(0), np.where(known, X, -np.inf).max(0)
    columns = np.flatnonzero((low < high) | (known.any(0) & ~known.all(0)))
    columns = columns if len(columns) else np.zeros(1, int)
    model = (HistGradientBoostingRegressor if regression else HistGradientBoostingClassifier)(
        max_iter=growing.rounds,
        learning_rate=growing.learning_rate,
        max_leaf_nodes=growing.leaves,
        min_samples_leaf=max(1, min(_LEAST, len(X) // 12)),
        l2_regularization=growing.ridge,
        max_features=growing.share,
        max_bins=_BINS,
        early_stopping=False,
        random_state=random_state,
    ).fit(X[:, columns], target)
    return model._predictors, np.ravel(model._baseline_prediction), columns


IN_COMMON = ("mean", "deviation", "least", "most")


def in_common(X: np.ndarray) -> np.ndarray:
    """Features of K slices (m, K, F) -> of what is known of them mean, deviation, least and most, (m, 4 F)."""
    known = np.isfinite(X)
    count = known.sum(1)
    zero = np.where(known, X, 0)
    mean = zero.sum(1) / np.maximum(count, 1)
    deviation = np.sqrt((np.where(known, X - mean[:, None], 0) ** 2).sum(1) / np.maximum(count, 1))
    least, most = np.where(known, X, np.inf).min(1), np.where(known, X, -np.inf).max(1)
    return np.concatenate([np.where(count > 0, of, np.nan) for of in (mean, deviation, least, most)], axis=1)


def _folds(nets: np.ndarray, target: np.ndarray | None, folds: int, rng: np.random.Generator) -> np.ndarray:
    """Which fold each row is in, (n,): nets stay whole, classes are spread evenly; all 0 where a class has one net only."""
    known, first, of = np.unique(nets, return_index=True, return_inverse=True)
    kinds = np.zeros(len(known), int) if target is None else target[first]
    folds = min(folds, int(np.bincount(kinds).min()))
    fold = np.zeros(len(known), int)
    for kind in np.unique(kinds):
        members = rng.permutation(np.flatnonzero(kinds == kind))
        fold[members] = np.arange(len(members)) % folds
    return fold[of]
