"""Gradient boosting on tables of features, a model per block of columns, their answers stacked and thereby calibrated.

A block is a slot of `nws.representations.tensors`, such as the first convolution. Of 259 nets the stack read the augmentation in
83%, one model of all 3,667 columns in 66%.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Self

import numpy as np
from scipy.special import log_softmax

from nws import threads
from nws.errors import NwsError, unknown
from nws.meta.contract import Meta, Progress, Shapes, feature_rows, positive, seed
from nws.meta.trees import DEEPEST, Forest
from nws.representations import REPRESENTATIONS

_ROWS_PER_NET = 2  # that are learned from: four snapshots of the end of a training are near-twins, at twice the price
_LEAST_NETS = 10  # in a leaf
_BINS = 63
_RIDGE = 2.0  # on the values of leaves
_LEAST_SKILL = 0.02  # of a block by itself, to be heard
_SURE = 1e-4  # probabilities that blocks tell each other are at least this
_STACK_C, _STACK_RIDGE = 0.05, 5.0  # how freely the stack may weigh blocks


class Boosting(Meta):
    """Boosted trees on each block of columns of a table; their log-probabilities -> logistic regression, or numbers -> ridge.

    The stack learns from answers about nets that were held out, in `folds` inner folds by net, which makes probabilities honest.
    Without `groups` each row is a net of its own. Same arguments, data and machine: the same model. One thread.

    reads     name of a representation that is a table
    rounds    trees per class; learning_rate what each adds; leaves of a tree
    features  share of a block's columns that each node chooses among

    Fitted: `blocks_`, names of the blocks that knew anything; `skill_` (blocks,), how much each knew by itself of held-out nets:
    1 - log-loss / that of the classes' shares, or R2 of a number, toned down where it was too sure; `gain_` (F,), how much each
    column reduced the loss.
    """

    _learned = "skill_"
    grouped = True  # `fit` takes the net that each row is of
    blocks_: tuple[str, ...]
    forest_: Forest
    base_: np.ndarray  # what the trees are added to (blocks x outputs,)
    weights_: np.ndarray  # of the stack (outputs, blocks x outputs), on answers less their centre_
    centre_: np.ndarray
    intercept_: np.ndarray
    gain_: np.ndarray
    skill_: np.ndarray

    def __init__(
        self,
        reads: str = "tensors",
        rounds: int = 50,
        learning_rate: float = 0.12,
        leaves: int = 8,
        features: float = 0.2,
        random_state: int = 0,
        regression: bool = False,
    ):
        self.reads = reads
        self.rounds = rounds
        self.learning_rate = learning_rate
        self.leaves = leaves
        self.features = features
        self.random_state = random_state
        self.regression = regression

    @threads.one()
    def fit(self, X: Any, y: Any, groups: Any = None, progress: Progress | None = None) -> Self:
        """X (n, F), y (n,) labels or numbers, groups (n,) the net of each row. `progress` hears of each block and fold, loss 0."""
        X = feature_rows(X)
        target = self._begin(len(X), y)
        self.n_features_in_ = X.shape[1]
        nets = np.arange(len(X)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
        if nets.shape != (len(X),):
            raise NwsError(f"X has {len(X):,} rows, groups shape {nets.shape}: give the net of each row")
        kept = _thinned(nets, target)
        X, target, nets = X[kept], target[kept], nets[kept]
        blocks = self._blocks(X)
        fold = _folds(nets, target, self.regression, np.random.default_rng(self.random_state))
        folds = np.unique(fold)
        learn = _Learning(X, target, nets, len(blocks) * (len(folds) + 1), progress)
        answers = np.zeros((len(X), len(blocks), self._outputs))
        for b, columns in enumerate(blocks.values()):
            for k in folds:
                trees, base = self._grown(learn, fold != k, columns, (b, int(k)))
                said = Forest.of(trees).sums(X[fold == k], self._outputs) + base
                answers[fold == k, b] = self._answers(said)
        skill = _skill(answers, target, self.regression)
        # Blocks that know nothing of nets that were held out would shout down the others.
        kept = skill > _LEAST_SKILL if (skill > _LEAST_SKILL).any() else skill == skill.max()
        self._learn_all(learn, {name: blocks[name] for name, k in zip(blocks, kept) if k})
        self._stack(answers[:, kept], target, nets)
        self.skill_ = skill[kept]
        return self

    def _learn_all(self, learn: _Learning, blocks: Mapping[str, np.ndarray]) -> None:
        """The trees that answer later: they learn from all rows."""
        grown, base, self.gain_ = [], [], np.zeros(self.n_features_in_)
        for b, columns in enumerate(blocks.values()):
            trees, begun = self._grown(learn, np.ones(len(learn.X), bool), columns, (len(learn.X), b))
            grown += [(nodes, b * self._outputs + output, columns) for nodes, output, _ in trees]
            base.append(begun)
            for nodes, _, _ in trees:
                inner = nodes[~nodes["is_leaf"].astype(bool)]
                np.add.at(self.gain_, columns[inner["feature_idx"]], inner["gain"])
        self.blocks_ = tuple(blocks)
        self.forest_, self.base_ = Forest.of(grown), np.concatenate(base)

    def _blocks(self, X: np.ndarray) -> dict[str, np.ndarray]:
        """Block -> its columns, without those that are the same in all rows."""
        varies = X.min(0) < X.max(0)
        named = self.representation.blocks
        if sum(map(len, named.values())) != X.shape[1]:  # any other table
            named = {"all": np.arange(X.shape[1])}
        blocks = {name: columns[varies[columns]] for name, columns in named.items()}
        return {name: columns for name, columns in blocks.items() if len(columns)} or {"all": np.arange(1)}

    def _grown(
        self, learn: _Learning, rows: np.ndarray, columns: np.ndarray, key: tuple[int, int]
    ) -> tuple[list[tuple[Any, int, np.ndarray]], np.ndarray]:
        """Trees that learned from some rows, as (nodes, output, columns), and what they add to (outputs,)."""
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

        learn.step()
        y = learn.target[rows]
        if self.regression:
            kind, known = HistGradientBoostingRegressor, np.array([0])
        else:
            kind, known = HistGradientBoostingClassifier, np.unique(y)
        base = np.full(self._outputs, 0.0 if self.regression else np.log(_SURE))
        if len(known) == 1 and not self.regression:
            base[known] = 0.0
            return [], base
        per_net = len(y) / len(np.unique(learn.nets[rows]))
        model = kind(
            learning_rate=self.learning_rate,
            max_iter=self.rounds,
            max_leaf_nodes=self.leaves,
            min_samples_leaf=max(1, round(per_net * min(_LEAST_NETS, len(y) / per_net / 12))),
            l2_regularization=_RIDGE,
            max_features=self.features,
            max_bins=_BINS,
            early_stopping=False,
            random_state=int(np.random.SeedSequence([int(self.random_state), *key]).generate_state(1)[0]),
        ).fit(learn.X[np.ix_(rows, columns)], y)
        begun = np.ravel(model._baseline_prediction)
        # Of two classes there is one tree, for the second.
        outputs = known if len(begun) == len(known) else known[1:]
        base[known] = 0.0
        base[outputs] = begun
        return [(tree.nodes, int(outputs[k]), columns) for each in model._predictors for k, tree in enumerate(each)], base

    def _answers(self, raw: np.ndarray) -> np.ndarray:
        """What a block tells the stack: logarithms of probabilities, or the number: (..., outputs) -> the same shape."""
        return raw if self.regression else np.maximum(log_softmax(raw, axis=-1), np.log(_SURE))

    def _stack(self, answers: np.ndarray, target: np.ndarray, nets: np.ndarray) -> None:
        from sklearn.linear_model import LogisticRegression, Ridge

        flat = answers.reshape(len(answers), -1)
        weight = 1 / np.bincount(nets)[nets]
        self.centre_ = np.average(flat, axis=0, weights=weight)
        stack = Ridge(_STACK_RIDGE) if self.regression else LogisticRegression(C=_STACK_C, max_iter=1000)
        stack.fit(flat - self.centre_, target, sample_weight=weight)
        self.weights_, self.intercept_ = np.atleast_2d(stack.coef_), np.atleast_1d(stack.intercept_)
        if self._outputs == 2:  # one set of weights for two classes, seen from both sides
            self.weights_ = np.concatenate([np.zeros_like(self.weights_), self.weights_])
            self.intercept_ = np.append(0.0, self.intercept_)

    @threads.one()
    def _scores(self, X: Any) -> np.ndarray:
        X = feature_rows(X, self.n_features_in_, "Boosting")
        raw = self.forest_.sums(X, len(self.base_)) + self.base_
        answers = self._answers(raw.reshape(len(X), len(self.skill_), self._outputs)).reshape(raw.shape)
        # Row by row: a matrix product rounds a row differently in other company.
        parts = [(answers - self.centre_) * row for row in self.weights_]
        return np.column_stack([part.sum(1) for part in parts]) + self.intercept_

    def _check(self) -> None:
        tables = [name for name, shown in REPRESENTATIONS.items() if shown.table]
        if self.reads not in tables:
            raise unknown("reads", self.reads, tables)
        positive("rounds", self.rounds, whole=True)
        positive("learning_rate", self.learning_rate)
        positive("leaves", self.leaves, whole=True, least=2)
        positive("features", self.features)
        if self.leaves > DEEPEST or self.features > 1:
            raise NwsError(
                f"leaves={self.leaves}, features={self.features}: at most {DEEPEST} leaves, and features a share up to 1"
            )
        seed(self.random_state)

    def _arrays(self) -> dict[str, np.ndarray]:
        learned = {name: getattr(self, f"{name}_") for name in ("base", "weights", "centre", "intercept", "gain", "skill")}
        names = np.array([ord(c) for c in "\n".join(self.blocks_)], np.int64)
        return {**learned, "blocks": names, **self.forest_.arrays()}

    def _shapes(self, found: Mapping[str, tuple[int, ...]]) -> Shapes:
        def size(name: str) -> int:
            return (found.get(name) or (0,))[0]

        outputs, blocks, nodes, trees = self._outputs, size("skill"), size("feature"), size("root")
        width = blocks * outputs
        shapes: Shapes = dict.fromkeys(("feature", "threshold", "left", "right", "value"), (nodes,))
        shapes |= {"root": (trees,), "output": (trees,), "blocks": (size("blocks"),), "skill": (blocks,)}
        shapes |= {"base": (width,), "centre": (width,), "weights": (outputs, width), "intercept": (outputs,)}
        return {**shapes, "gain": (self.n_features_in_,)}

    def _restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.forest_ = Forest.checked(arrays, self.n_features_in_, len(arrays["base"]))
        letters = arrays["blocks"]
        if letters.dtype != np.int64 or (len(letters) and not 0 <= letters.min() <= letters.max() < 128):
            raise NwsError("blocks must be the names of blocks")
        names = "".join(map(chr, letters.tolist())).split("\n")
        if len(names) != len(arrays["skill"]) or not len(arrays["skill"]):
            raise NwsError("blocks must be as many names as there are blocks")
        self.blocks_ = tuple(names)
        for name in ("base", "weights", "centre", "intercept", "gain", "skill"):
            setattr(self, f"{name}_", arrays[name])


class _Learning:
    """What a fit learns from: rows (n, F), targets (n,), nets (n,); and whoever hears how far it is."""

    def __init__(self, X: np.ndarray, target: np.ndarray, nets: np.ndarray, steps: int, progress: Progress | None):
        self.X, self.target, self.nets = X, target, nets
        self._steps, self._done, self._progress = steps, 0, progress

    def step(self) -> None:
        self._done += 1
        if self._progress:
            self._progress(self._done, self._steps, 0.0)


def _thinned(nets: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Rows to learn from, in rising order: of each net and class `_ROWS_PER_NET`, spread evenly over its own."""
    if target.dtype.kind == "i":
        nets = np.unique(nets * (target.max() + 1) + target, return_inverse=True)[1]
    order = np.argsort(nets, kind="stable")
    sizes = np.bincount(nets)
    kept: list[np.ndarray] = []
    for start, size in zip(np.cumsum(sizes) - sizes, sizes):
        some = np.round(np.linspace(0, size - 1, min(size, _ROWS_PER_NET))).astype(int)
        kept.append(order[start + some])
    return np.sort(np.concatenate(kept))


def _folds(nets: np.ndarray, target: np.ndarray, regression: bool, rng: np.random.Generator, folds: int = 3) -> np.ndarray:
    """The fold of each row (n,): nets as a whole, those of each class spread evenly."""
    known, first = np.unique(nets, return_index=True)
    order = rng.permutation(len(known))
    if not regression:
        order = order[np.argsort(target[first][order], kind="stable")]
    of_net = np.empty(len(known), np.int64)
    of_net[order] = np.arange(len(known)) % min(folds, len(known))
    return of_net[np.searchsorted(known, nets)]


def _skill(answers: np.ndarray, target: np.ndarray, regression: bool) -> np.ndarray:
    """Of each block of answers (n, blocks, outputs) about held-out nets, as they are or toned down: (blocks,)."""
    found = []
    for tone in (1, 0.5, 0.25):
        if regression:
            found.append(1 - np.square(tone * answers[..., 0] - target[:, None]).mean(0) / target.var())
        else:
            shares = np.bincount(target) / len(target)
            said = log_softmax(tone * answers, axis=2)[np.arange(len(target)), :, target]
            found.append(1 + said.mean(0) / -np.log(shares[target]).mean())
    return np.max(found, axis=0)


def by_slot(meta: Boosting) -> Iterator[tuple[str, float]]:
    """Block -> its skill by itself, the best first."""
    order = np.argsort(-meta.skill_, kind="stable")
    return ((meta.blocks_[k], float(meta.skill_[k])) for k in order)
