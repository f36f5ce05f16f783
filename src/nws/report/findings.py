"""What a page says first: one sentence, from whatever is known about the zoo."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

NEIGHBOURS = 5


def shared_neighbours(nets: pd.DataFrame, plane: pd.DataFrame, names: list[str]) -> dict[str, tuple[float, float]]:
    """Property -> (share of a net's 5 nearest nets in the plane that have its option, the same for nets drawn at random).

    Of each net the last snapshot is taken; itself is no neighbour. Needs columns net, snapshot, x, y.
    """
    from scipy.spatial import cKDTree

    last = plane.sort_values("snapshot").groupby("net").tail(1)
    last = last[np.isfinite(last["x"]) & np.isfinite(last["y"]) & last["net"].isin(nets.index)]
    if len(last) <= NEIGHBOURS + 1:
        return {}
    xy = last[["x", "y"]].to_numpy(float)
    # By distance, but never itself: coinciding nets may come before it in the tree's answer.
    order = cKDTree(xy).query(xy, NEIGHBOURS + 1)[1]
    own = np.arange(len(xy))[:, None]
    found = {}
    for name in names:
        codes = np.unique(nets.loc[last["net"], name].astype(str), return_inverse=True)[1]
        same = (codes[order] == codes[:, None]) & (order != own)
        counts = np.bincount(codes)
        chance = float(np.sum(counts * (counts - 1)) / (len(codes) * (len(codes) - 1)))
        found[name] = (float(same.sum(1).mean() / np.mean((order != own).sum(1))), chance)
    return found


def clearest(shared: dict[str, tuple[float, float]]) -> str | None:
    """The property that the plane separates best: the largest share of what chance leaves open."""
    return max(shared, key=lambda name: (shared[name][0] - shared[name][1]) / (1 - shared[name][1] + 1e-9), default=None)


def sentence(nets: pd.DataFrame, reading: list[dict[str, Any]], shared: dict[str, tuple[float, float]]) -> str:
    """The finding. Read from meta-classification where there is some, else from the plane, else from the accuracies."""
    best = best_readings(reading)
    if best:
        return _of_reading(best)
    name = clearest(shared)
    if name:
        share, chance = shared[name]
        say = f"In the picture below, {share:.0%} of a net's nearest nets share its {word(name)} ({chance:.0%} would by chance)"
        return f"{say}: the weights show how they were trained." if share > 1.5 * chance else f"{say}."
    accuracy = nets["test_accuracy"].dropna()
    if accuracy.empty:
        return f"{len(nets):,} nets, none of which was measured on test images."
    return f"{len(nets):,} nets reach {accuracy.min():.0%} to {accuracy.max():.0%} of test images."


def _of_reading(best: list[dict[str, Any]]) -> str:
    clear = [r for r in best if r["low"] > r["chance"]]
    if not clear:
        return "No property is read from the weights better than by chance."
    top = clear[:2]
    read = " and ".join(f"the {word(r['property'])} in {r['accuracy']:.0%} of cases (chance {r['chance']:.0%})" for r in top)
    hidden = [word(r["property"]) for r in best if r not in clear]
    rest = f"; the {' and the '.join(hidden)} they do not give away" if 0 < len(hidden) <= 2 else ""
    return f"The weights of a net alone tell {read}{rest}."


def best_readings(reading: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The best row of each property, the clearest property first."""
    best: dict[str, dict[str, Any]] = {}
    for row in reading:
        if all(row.get(k) is not None for k in ("accuracy", "low", "chance")) and row["chance"] < 1:
            other = best.get(row["property"])
            if other is None or row["accuracy"] > other["accuracy"]:
                best[row["property"]] = row
    return sorted(best.values(), key=lambda r: -(r["accuracy"] - r["chance"]) / (1 - r["chance"]))


def word(name: str) -> str:
    """A property in prose."""
    return "image set" if name == "dataset" else name.replace("_", " ")
