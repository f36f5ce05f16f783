"""One DMC with a head per property against a DMC for each: accuracy and cost, on the same nets.

    python benchmarks/heads.py ZOO [--properties initialization,optimizer,activation] [--steps 300] [--length 1000] > rows.json

Both learn from slices of the last two snapshots of three quarters of the nets, drawn at random, and read 8 slices of each of the
other nets. `steps` are those of every training: the separate ones together take as many times as many as there are properties.
A JSON row per property: balanced accuracy of slices and of the nets' votes with 95% intervals over nets, and CPU seconds.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.metrics import balanced_accuracy_score

from nws import Zoo
from nws.meta import DMC, MultiDMC

SLICES = 8  # of a net that is tested, evenly spread
RESAMPLES = 1000


def data(zoo: Zoo, length: int, seed: int) -> tuple[np.ndarray, np.ndarray, list[np.ndarray], np.ndarray]:
    """(nets learned from, nets tested, vectors to learn from: two per net, slices of the others: (n * SLICES, length))"""
    nets = np.random.default_rng(seed).permutation(zoo.index.index[zoo.index["status"] == "ok"].to_numpy())
    test, train = np.split(nets, [len(nets) // 4])
    last = int(zoo.index["snapshots"].min())
    vectors = zoo.vectors(np.repeat(train, 2), np.tile([last - 1, last], len(train)))
    starts = [np.linspace(0, zoo.layout(int(net)).size - length, SLICES).astype(int) for net in test]
    slices = [zoo.slices(int(net), np.full(SLICES, last), at, length) for net, at in zip(test, starts)]
    return train, test, vectors, np.concatenate(slices)


def judged(probability: np.ndarray, classes: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """Balanced accuracy of single slices, and of the votes of each net with an interval from resampled nets."""
    vote = classes[probability.reshape(len(truth), SLICES, -1).mean(1).argmax(1)]
    rng = np.random.default_rng(0)
    drawn = [rng.integers(0, len(truth), len(truth)) for _ in range(RESAMPLES)]
    means = [float(np.mean([np.mean(vote[at][truth[at] == c] == c) for c in np.unique(truth[at])])) for at in drawn]
    return {
        "slices": balanced_accuracy_score(np.repeat(truth, SLICES), classes[probability.argmax(1)]),
        "votes": balanced_accuracy_score(truth, vote),
        "interval": np.percentile(means, [2.5, 97.5]).round(4).tolist(),
    }


def timed(fit: Callable[[], Any]) -> tuple[Any, float]:
    started = time.process_time()
    return fit(), time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("zoo", type=Zoo)
    parser.add_argument("--properties", default="initialization,optimizer,activation")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--length", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    names = given.properties.split(",")
    train, test, vectors, slices = data(given.zoo, given.length, given.seed)
    settings = {"slice_length": given.length, "epochs": given.steps, "max_steps": given.steps, "random_state": given.seed}

    def labels(name: str, nets: np.ndarray) -> np.ndarray:
        return given.zoo.index.loc[nets, name].map(given.zoo.properties[name].label).to_numpy()

    known = {name: np.repeat(labels(name, train), 2) for name in names}
    together, seconds = timed(lambda: MultiDMC(**settings).fit(vectors, known))
    said = together.predict_proba(slices)
    for name in names:
        alone, spent = timed(lambda: DMC(**settings).fit(vectors, known[name]))  # noqa: B023 (called at once)
        truth = labels(name, test)
        row = {"property": name, "chance": 1 / len(np.unique(truth)), "nets": len(train) + len(test), "steps": given.steps}
        row["together"] = judged(said[name], together.classes_[name], truth) | {"seconds of all": seconds}
        row["alone"] = judged(alone.predict_proba(slices), alone.classes_, truth) | {"seconds": spent}
        print(json.dumps(row, default=float), flush=True)


if __name__ == "__main__":
    main()
