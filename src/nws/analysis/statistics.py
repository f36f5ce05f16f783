"""Statistics of a zoo: sizes, times, accuracies and training curves of its nets (supplement A of the paper)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from nws import images
from nws.errors import NwsError
from nws.progress import Doing
from nws.tables import NotForThisZooError
from nws.zoo import Zoo
from nws.zoo.select import DEFAULT_THRESHOLD, THRESHOLDS, converged_mask

OnProgress = Callable[[str], None]
MOST_BARS = 8  # options side by side
UNTOLD = ["path", "bytes", "sha256"]  # of files, not of nets
PAIRS = {  # figure -> two properties
    "figure9": ("initialization", "activation"),
    "figure10": ("initialization", "optimizer"),
    "figure11": ("initialization", "augmentation"),
    "figure12": ("activation", "optimizer"),
}
CLASSES = dict.fromkeys(images.NAMES, 10)  # all built-in image sets; how many a user's own has, a zoo does not say


def usable(zoo: Zoo, **which: Any) -> tuple[pd.DataFrame, list[str]]:
    """`zoo.select`, whose complaint that no net is left is a zoo's lack and not a user's mistake."""
    try:
        return zoo.select(**which)
    except NwsError as error:
        raise NotForThisZooError(str(error)) from None


def image_sets(frame: pd.DataFrame) -> pd.Series:
    """The image set of each net, in words where the source of a foreign zoo did not record it."""
    return frame["dataset"].fillna("not recorded")


def nets(zoo: Zoo) -> pd.DataFrame:
    """One row per net: the zoo's index without what concerns files, and whether it converged (section C)."""
    frame = zoo.index
    unknown = frame["test_accuracy"].isna() & (frame["status"] == "ok")
    converged = converged_mask(frame)
    if unknown.any():  # of nets that nobody tested nobody knows
        converged = converged.astype("boolean").mask(unknown)
    known = frame.assign(converged=converged, dataset=image_sets(frame))
    return known.drop(columns=UNTOLD).reset_index()


def size_time(zoo: Zoo) -> pd.DataFrame:
    """Weights, epochs and seconds of training of each net (Fig. 6)."""
    return nets(zoo)[["net", "dataset", "weights", "weights_conv", "epochs", "seconds"]]


def curves(zoo: Zoo, on_progress: OnProgress = lambda doing: None) -> pd.DataFrame:
    """Accuracies of each net at each of its snapshots (Fig. 7): net, dataset, snapshot, epoch, progress, train, validation, test.

    progress is the share of the net's own training, 0 at the initialization and 1 at its end; accuracies are fractions, NaN
    where nobody measured them.
    """
    frame = zoo.index
    sides = ("train", "validation", "test")
    rows: list[tuple[object, ...]] = []
    for done, (number, dataset) in enumerate(zip(frame.index.tolist(), image_sets(frame).tolist(), strict=True)):
        if done % 100 == 0:
            on_progress(Doing(f"reading accuracies, net {done + 1:,} of {len(frame):,}", done / len(frame)))
        epoch, _ = zoo.records(number)
        last, known = max(int(epoch[-1]), 1), zoo.measured(number)
        nothing = np.full(len(epoch), np.nan)
        measured = np.stack([known.get(f"{side}_accuracy", nothing) for side in sides], 1).tolist()
        for snapshot, (at, found) in enumerate(zip(epoch.tolist(), measured, strict=True), 1):
            rows.append((number, dataset, snapshot, at, at / last, *found))
    return pd.DataFrame(rows, columns=["net", "dataset", "snapshot", "epoch", "progress", "train", "validation", "test"])


def accuracy(zoo: Zoo) -> pd.DataFrame:
    """Test accuracy of each net at the end of its training, chance and the threshold of convergence of its image set (Fig. 8)."""
    frame = nets(zoo)
    measured = frame["test_accuracy"].notna()
    if not measured.any():
        raise NotForThisZooError("no net of this zoo has a test accuracy")
    table = frame.loc[measured, ["net", "dataset", "test_accuracy", "converged"]].reset_index(drop=True)
    table["threshold"] = [THRESHOLDS.get(name, DEFAULT_THRESHOLD) for name in table["dataset"]]
    table["chance"] = [1 / CLASSES[name] if name in CLASSES else np.nan for name in table["dataset"]]
    lost = int((~measured).sum())
    foreign = sorted(set(table["dataset"]) - set(THRESHOLDS))
    table.attrs["notes"] = [f"{lost} nets without a test accuracy are left out"] if lost else []
    if foreign:
        table.attrs["notes"].append(f"the paper has no threshold for {', '.join(foreign)}: {DEFAULT_THRESHOLD:.0%} was taken")
    return table


def _pairs(zoo: Zoo) -> dict[str, tuple[str, str]]:
    """`PAIRS`; in place of a pair of which the family lacks one stand two others in which its nets differ."""
    own = {p.name: p for p in zoo.family.properties}
    found = {figure: pair for figure, pair in PAIRS.items() if set(pair) <= set(own)}
    differ = [
        n for n in zoo.varying() if n in own and n != "dataset" and not own[n].continuous and len(own[n].options) <= MOST_BARS
    ]
    others = [pair for pair in combinations(differ, 2) if set(pair) not in map(set, found.values())]
    return {figure: pair for figure in PAIRS if (pair := found.get(figure) or (others.pop(0) if others else None))}


def pairs(zoo: Zoo) -> pd.DataFrame:
    """Mean test accuracy of all nets with each pair of options, per image set (Figs. 9 to 12), converged or not.

    Columns: figure, dataset, a, b (properties), option_a, option_b, nets, mean, low, high (95% interval of the mean over nets,
    Student's t; missing for fewer than three nets), chance.
    """
    frame, _ = usable(zoo)
    frame, known = frame[frame["test_accuracy"].notna()], zoo.properties
    if frame.empty:
        raise NotForThisZooError("no net of this zoo has a test accuracy")
    rows = []
    for figure, (a, b) in _pairs(zoo).items():
        if min(frame[a].nunique(), frame[b].nunique()) > 1:
            for (dataset, first, second), group in frame.groupby([image_sets(frame), a, b])["test_accuracy"]:
                n = len(group)
                reach = stats.t.ppf(0.975, n - 1) * group.std() / np.sqrt(n) if n >= 3 else np.nan
                mean, chance = group.mean(), 1 / CLASSES[dataset] if dataset in CLASSES else np.nan
                options = (known[a].label(first), known[b].label(second))
                rows.append((figure, dataset, a, b, *options, n, mean, max(mean - reach, 0), min(mean + reach, 1), chance))
    if not rows:
        asked = list(dict.fromkeys(name for pair in _pairs(zoo).values() for name in pair))
        raise NotForThisZooError(
            f"no two of {', '.join(asked)} differ in this zoo"
            if asked
            else "its nets differ in fewer than two properties that have options"
        )
    names = ["figure", "dataset", "a", "b", "option_a", "option_b", "nets", "mean", "low", "high", "chance"]
    return pd.DataFrame(rows, columns=names)
