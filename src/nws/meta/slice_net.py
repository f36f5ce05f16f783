"""A light net for slices: patches of weights, a few layers that mix them, one answer. A hundredth of the DMC's size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import torch
from scipy.special import log_softmax
from sklearn.utils.validation import check_is_fitted
from torch import nn

from nws import threads
from nws.errors import NwsError
from nws.meta.contract import Meta, Progress, Shapes, positive, seed, slice_rows, weight_vectors
from nws.meta.fit import epochs, fit, on_best_device
from nws.meta.votes import Votes, opinions

PATCH = 40  # weights of a token
WIDTH = 64  # of what the net makes of a token
LAYERS = 2
_MEASURES = 9  # of a token
_TINY = 1e-9
_SMALL = 1e-4  # smaller weights do not make a slice's usual magnitude smaller: many are exactly 0
_HELD_OUT = 0.15  # of the nets, of which the vote learns
_HELD_SLICES = 10  # of each of them
_WARM = 0.1  # share of the steps in which the learning rate rises
_SMOOTHING = 0.05  # of labels: many slices do not know
_AT_ONCE = 250  # slices that are read together
_FAR = 1e15  # the largest weight that counts: squares of larger ones are infinite in float32


class Patches(nn.Module):
    """Slices (B, L) -> tokens (B, L // 40, 3 x 40 + 9): each weight relative to the slice's usual magnitude, its logarithm, and
    itself; and measures of the token. All of them in ranges of a few units.

    The usual magnitude is a geometric mean: a median took as long as the net's layers. So did sorting each token: left out.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x[:, : x.shape[1] // PATCH * PATCH].clamp(-_FAR, _FAR)
        sign, size = x.sign(), x.abs()
        usual = size.clamp_min(_SMALL).log().mean(1, keepdim=True)
        shape = len(x), -1, PATCH
        relative = (sign * torch.log1p(size * (-usual).exp()) / 1.5).view(shape)
        logs = ((torch.log10(size + _TINY) + 2) / 2).view(shape)
        plain = (sign * torch.log1p(3 * size)).view(shape)
        mean = relative.mean(2, keepdim=True)
        apart = relative - mean
        square = apart * apart
        variance = square.mean(2) + _TINY
        measures = (
            logs.mean(2),
            logs.amax(2),
            logs.amin(2),
            (sign > 0).float().view(shape).mean(2),
            mean[..., 0],
            torch.log10(variance) / 2,
            (square * apart).mean(2) / variance**1.5,
            torch.log10((square * square).mean(2) / variance**2 + _TINY),
            (usual / 4 + 1).expand(len(x), relative.shape[1]),
        )
        return torch.cat([relative, logs, plain, torch.stack(measures, 2)], 2)


class Mixer(nn.Module):
    """Tokens (B, T, D) -> the same shape: neighbours by a depthwise convolution, all by their mean and maximum, each by itself."""

    def __init__(self, width: int):
        super().__init__()
        self.near_norm, self.own_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.near = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.all = nn.Linear(2 * width, width)
        self.own = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.near(self.near_norm(x).transpose(1, 2)).transpose(1, 2)
        x = x + self.all(torch.cat([x.mean(1), x.amax(1)], 1))[:, None]
        mixed: torch.Tensor = x + self.own(self.own_norm(x))
        return mixed


class SliceModule(nn.Module):
    """Slices (B, L), L >= 40 -> (B, outputs); about 100,000 values."""

    def __init__(self, outputs: int, width: int = WIDTH):
        super().__init__()
        self.patches = Patches()
        self.embed = nn.Sequential(nn.Linear(3 * PATCH + _MEASURES, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.layers = nn.Sequential(*(Mixer(width) for _ in range(LAYERS)))
        self.norm = nn.LayerNorm(2 * width)
        self.out = nn.Sequential(nn.Linear(2 * width, 128), nn.GELU(), nn.Linear(128, outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.layers(self.embed(self.patches(x)))
        answer: torch.Tensor = self.out(self.norm(torch.cat([x.mean(1), x.amax(1)], 1)))
        return answer


class SliceNet(Meta):
    """Reads raw weights, as the DMC does: slices of `slice_length`, or with None whole vectors of one length.

    While fitting, each step reads one fresh slice of each vector of its batch, a tenth of them from the very beginning and a tenth
    from the very end, as many as there are among ten even slices. Cross-entropy, or the absolute error of a number; Adam, whose
    `learning_rate` rises for a tenth of the `steps` and then falls to 0 along a cosine. A share of the nets is held out: what the
    net says of their slices teaches the vote, and the calibration. One thread, unless the user chose a number (nws.threads).
    Same arguments, data, machine and number of threads: the same weights, bit for bit.

    Fitted: `module_`, (B, L) -> (B, outputs); `calibration_` and `vote_`; `n_features_in_`, the slice length L.
    """

    reads = "weights"
    grouped = True
    _learned = "vote_"
    module_: SliceModule
    calibration_: Votes
    vote_: Votes

    def __init__(
        self,
        slice_length: int | None = 5000,
        steps: int = 1000,
        batch_size: int = 64,
        learning_rate: float = 2.5e-3,
        random_state: int = 0,
        regression: bool = False,
    ):
        self.slice_length = slice_length
        self.steps = steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.random_state = random_state
        self.regression = regression

    @threads.one()
    def fit(self, X: Any, y: Any, progress: Progress | None = None, groups: Any = None) -> Self:
        """X: n float vectors, of any lengths from a slice up (maps will do); y (n,) labels or numbers; groups (n,) their nets.

        `progress(step, steps, loss)` is called after each step.
        """
        target = self._begin(len(X), y)
        vectors, self.n_features_in_ = weight_vectors(X, self.slice_length)
        if self.n_features_in_ < PATCH:
            raise NwsError(
                f"slices of {self.n_features_in_} weights: this net reads patches of {PATCH}, so give it at least as many"
            )
        rng = np.random.default_rng(self.random_state)
        held = _held_out(np.arange(len(X)) if groups is None else np.asarray(groups), target, self.regression, rng)
        learned = np.flatnonzero(~held)
        targets = torch.from_numpy(target.astype(np.float32) if self.regression else target)

        def draw(rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
            rows = learned[rows]
            x = np.stack([_slice(vectors[row], self.n_features_in_, rng) for row in rows])
            return torch.from_numpy(x), targets[torch.from_numpy(rows)]

        net = self._module(int(self.random_state))
        batches = epochs(len(learned), min(self.batch_size, len(learned)), rng)
        fit(net, draw, batches, self.steps, self._loss, self._rate, progress)
        self.module_ = net
        self._learn_votes([vectors[row] for row in np.flatnonzero(held)], target[held])
        return self

    def vote(self, said: np.ndarray, X: Any = None) -> np.ndarray:
        """What K slices of a snapshot say together: said (m, K, C), or numbers (m, K) -> (m, C), or (m,). X is not asked for."""
        check_is_fitted(self)
        if not self.regression:
            return self.vote_.decided(opinions(said))
        mean, scale = self.target_
        return self.vote_.decided(opinions((said - mean) / scale)) * scale + mean

    def _learn_votes(self, vectors: list[np.ndarray], target: np.ndarray) -> None:
        """The calibration and the vote, from even slices of vectors that were held out; where there are none, sure slices count."""
        outputs = self._outputs
        self.calibration_ = Votes(np.ones(1), np.zeros(outputs))
        if not vectors:
            self.vote_ = Votes(np.array([1.0, 0.0] if self.regression else [0.0, 0.0, 1.0, 0.0]), np.zeros(outputs))
            return
        starts = [np.linspace(0, v.size - self.n_features_in_, _HELD_SLICES).round().astype(int) for v in vectors]
        x = np.stack([v[a : a + self.n_features_in_] for v, of in zip(vectors, starts) for a in of])
        said = self._plain(x)
        if self.regression:
            self.vote_ = Votes.learned(opinions(said[:, 0].reshape(len(vectors), -1)), target)
            return
        p = np.exp(log_softmax(said, axis=1))
        self.calibration_ = Votes.learned(p[None], np.repeat(target, _HELD_SLICES))
        p = self.calibration_.decided(p[None]).reshape(len(vectors), _HELD_SLICES, -1)
        self.vote_ = Votes.learned(opinions(p), target)

    def _check(self) -> None:
        for name, value in (("slice_length", self.slice_length), ("steps", self.steps), ("batch_size", self.batch_size)):
            if value is not None or name != "slice_length":
                positive(name, value, whole=True)
        positive("learning_rate", self.learning_rate)
        seed(self.random_state)

    def _module(self, random_state: int | None = None) -> SliceModule:
        with torch.random.fork_rng(devices=[]):  # PyTorch's own initialization must not disturb the caller's random numbers
            if random_state is not None:
                torch.manual_seed(random_state)
            return SliceModule(self._outputs)

    def _rate(self, step: int) -> float:
        done = (step + 0.5) / self.steps
        return self.learning_rate * (
            done / _WARM if done < _WARM else 0.5 + 0.5 * float(np.cos(np.pi * (done - _WARM) / (1 - _WARM)))
        )

    def _loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if self.regression:
            return (output[:, 0] - target).abs().mean()
        return nn.functional.cross_entropy(output, target, label_smoothing=_SMOOTHING)

    def _plain(self, X: Any) -> np.ndarray:
        """(n, outputs) float64 of slices (n, L), not calibrated."""
        X = slice_rows(X, self.n_features_in_)
        with on_best_device(self.module_) as chip, torch.inference_mode():
            parts = [self.module_(torch.tensor(X[k : k + _AT_ONCE]).to(chip)).cpu().numpy() for k in range(0, len(X), _AT_ONCE)]
        return np.concatenate([np.empty((0, self._outputs)), *parts])

    @threads.one()
    def _scores(self, X: Any) -> np.ndarray:
        said = self._plain(X)
        return said if self.regression else self.calibration_.scores(np.exp(log_softmax(said, axis=1))[None])

    def _arrays(self) -> dict[str, np.ndarray]:
        found = {name: value.contiguous().numpy() for name, value in self.module_.state_dict().items()}
        for of, votes in (("calibration", self.calibration_), ("vote", self.vote_)):
            found |= {f"{of}.weights": votes.weights, f"{of}.offsets": votes.offsets}
        return found

    def _shapes(self, found: Mapping[str, tuple[int, ...]]) -> Shapes:
        C = self._outputs
        with torch.device("meta"):
            shapes: Shapes = {name: tuple(value.shape) for name, value in self._module().state_dict().items()}
        heard = 2 if self.regression else 4
        shapes |= {"calibration.weights": (1,), "calibration.offsets": (C,), "vote.weights": (heard,), "vote.offsets": (C,)}
        return shapes

    def _restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        net = self._module().eval()
        net.load_state_dict({name: torch.from_numpy(arrays[name]) for name in net.state_dict()})
        self.module_ = net
        for of in ("calibration", "vote"):
            setattr(self, f"{of}_", Votes(arrays[f"{of}.weights"], arrays[f"{of}.offsets"]))


def _held_out(nets: np.ndarray, target: np.ndarray, regression: bool, rng: np.random.Generator) -> np.ndarray:
    """Which rows (n,) are held out: a share of the nets of each class, none where that is less than two nets of each."""
    if nets.shape != target.shape:
        raise NwsError(f"X has {len(target):,} vectors, groups shape {nets.shape}: give the net of each")
    known, first = np.unique(nets, return_index=True)
    kinds = np.zeros(len(known), int) if regression else target[first]
    members = [rng.permutation(known[kinds == kind]) for kind in np.unique(kinds)]
    if min(int(_HELD_OUT * len(some)) for some in members) < 2:
        return np.zeros(len(nets), bool)
    return np.isin(nets, np.concatenate([some[: int(_HELD_OUT * len(some))] for some in members]))


def _slice(vector: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """A random slice, float32; one in ten is the first, one in ten the last."""
    last = vector.size - length
    where, start = rng.random(), int(rng.integers(0, last + 1))
    start = 0 if where < 0.1 else last if where > 0.9 else start
    return np.asarray(vector[start : start + length], np.float32)
