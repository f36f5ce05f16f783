"""Answers of all rounds, counted net by net, and what becomes of them in a result."""

from __future__ import annotations

from typing import Any

import numpy as np

from nws.tasks.metrics import R2, TAU, Answers, Estimate, estimate
from nws.tasks.protocol import Round, error_interval, interval


class Tally:
    """Hits (or absolute errors) per net, summed over the rounds; of numbers also the answers, for metrics of a set of nets.

    nets (n,), y (n, S) their truths at the snapshots; classes: none for a number.
    """

    def __init__(self, nets: np.ndarray, y: np.ndarray, classes: list[str]):
        self.y, self.classes = y, classes
        self.position = {int(net): k for k, net in enumerate(nets)}
        self.single, self.vote, self.times = np.zeros((3, len(nets)))
        self.rounds: list[float] = []
        self.chance: list[float] = []
        self.answers: list[Answers] = []
        self.confusion = np.zeros((len(classes),) * 2, int)

    def add(self, drawn: Round, predicted: np.ndarray, labels: Any, voted: np.ndarray | None = None) -> None:
        """One round: probabilities (n, S, K, C) of `labels` (C,), or of a number predictions (n, S, K) and no labels.

        voted: what the K slices say together, (n, S, C) or (n, S); without it their mean.
        """
        voted = predicted.mean(2) if voted is None else voted
        at = [self.position[int(net)] for net in drawn.test]
        truth = self.y[at]
        if labels is None:
            single = np.abs(predicted - truth[:, :, None])
            vote = np.abs(voted - truth)
            guess = np.median(self.y[[self.position[int(net)] for net in drawn.train]])
            # Once a net, where its snapshots share a value.
            of_net = truth[:, :1] if (truth == truth[:, :1]).all() else truth
            self.chance.append(float(np.abs(of_net - guess).mean()))
            self.answers.append(Answers(drawn.test, truth, predicted))
        else:
            answer = labels[predicted.argmax(-1)]
            single = answer == truth[:, :, None]
            vote = labels[voted.argmax(-1)] == truth
            self.chance.append(1 / len(labels))
            self._confuse(truth[:, 0], answer)
        self.single[at] += single.reshape(len(at), -1).mean(1)
        self.vote[at] += vote.mean(1)
        self.times[at] += 1
        self.rounds.append(float(single.mean()))

    def _confuse(self, truth: np.ndarray, answer: np.ndarray) -> None:
        for true, predicted in zip(truth, answer.reshape(len(truth), -1)):
            for label, times in zip(*np.unique(predicted, return_counts=True)):
                self.confusion[self.classes.index(true), self.classes.index(label)] += times

    def fields(self, seed: int) -> dict[str, Any]:
        """Those of a `Result` that follow from the answers; `seed` is that of the bootstrap."""
        mean, low, high = self._mean(self.single)
        vote, vote_low, vote_high = self._mean(self.vote)
        return {
            "accuracy": mean if self.classes else None,
            "error": None if self.classes else mean,
            "low": low,
            "high": high,
            "spread": float(np.std(self.rounds, ddof=1)) if len(self.rounds) > 1 else 0.0,
            "vote": vote,
            "vote_low": vote_low,
            "vote_high": vote_high,
            "chance": float(np.mean(self.chance)),
            "classes": tuple(self.classes),
            "n_tested": int((self.times > 0).sum()),
            "rounds": len(self.rounds),
            "per_round": tuple(self.rounds),
            "confusion": tuple(tuple(int(c) for c in row) for row in self.confusion),
            **({} if self.classes else self._of_the_set(seed)),
        }

    def _of_the_set(self, seed: int) -> dict[str, float | None]:
        found: dict[str, float | None] = {}
        for metric in (R2, TAU):
            e = estimate(metric, self.answers, seed)
            found |= zip((metric.name, f"{metric.name}_low", f"{metric.name}_high"), _known(e))
        return found

    def _mean(self, sums: np.ndarray) -> tuple[float, float, float]:
        """(mean, low, high) over nets of self.single or self.vote."""
        tested = self.times > 0
        each, weights = sums[tested] / self.times[tested], self.times[tested]
        low, high = (interval if self.classes else error_interval)(each, weights)
        return float(np.average(each, weights=weights)), low, high


def _known(e: Estimate) -> list[float | None]:
    return [value if np.isfinite(value) else None for value in (e.value, e.low, e.high)]
