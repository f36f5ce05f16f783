"""Which nets a task may use, and in plain words why the others are left out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from nws.errors import NwsError, unknown
from nws.families.space import Property, Space
from nws.layout import PARTS

if TYPE_CHECKING:
    import pandas as pd

    from nws.zoo.zoo import Zoo

# Test accuracy at the last snapshot from which a net counts as converged (section C of the paper).
THRESHOLDS = {"mnist": 0.80, "cifar10": 0.25, "svhn": 0.50, "stl10": 0.25, "fashion": 0.50}
# Other image sets: of ten classes, two and a half times chance, as the paper's most lenient ones.
DEFAULT_THRESHOLD = 0.25

SPLITS = ("train", "test")
BLOCK = 4


def converged_mask(frame: pd.DataFrame, thresholds: Mapping[str, float] | bool = True) -> pd.Series:
    """Whether each net converged; a net whose test accuracy was never measured did not.

    thresholds: image set -> accuracy, over the paper's; or True for the paper's.
    """
    limits: dict[str, float] = {**THRESHOLDS, **(thresholds if isinstance(thresholds, Mapping) else {})}
    for name, limit in limits.items():
        if not isinstance(limit, int | float) or isinstance(limit, bool) or not 0 <= limit <= 1:
            raise NwsError(f"threshold {limit!r} of {name}: must be an accuracy from 0 to 1")
    return frame["test_accuracy"] >= frame["dataset"].map(limits).astype(float).fillna(DEFAULT_THRESHOLD)


def part_sizes(frame: pd.DataFrame, part: str) -> pd.Series:
    """Weights of each net in a part."""
    if part not in PARTS:
        raise unknown("part", part, PARTS)
    sizes = {"all": frame["weights"], "conv": frame["weights_conv"], "fc": frame["weights"] - frame["weights_conv"]}
    return sizes[part]


def select(
    frame: pd.DataFrame,
    space: Space | None,
    property: Property | None,
    converged: bool | Mapping[str, float],
    split: str | None,
    part: str,
    slice_length: int | None,
) -> tuple[pd.DataFrame, list[str]]:
    """See `Zoo.select`."""
    notes: list[str] = []

    def keep(mask: pd.Series, why: str) -> None:
        nonlocal frame
        lost = len(frame) - int(mask.sum())
        if lost:
            notes.append(f"{lost:,} net{'s' * (lost > 1)} left out: {why}")
        frame = frame[mask]
        if frame.empty:
            raise NwsError(f"no net is left ({'; '.join(notes)}): choose less strictly, or sample more nets")

    if frame.empty:
        raise NwsError("the zoo holds no nets yet: run `nws sample` first")
    if split is not None:
        if split not in SPLITS:
            raise unknown("split", split, SPLITS)
        frame = frame[frame["split"] == split]
        if frame.empty:
            raise NwsError(f"no net of the zoo is a {split} net: sample more nets (one in four is a test net)")
    keep(frame["status"] == "ok", "training diverged (weights not finite)")
    if converged is not False:
        keep(converged_mask(frame, converged), "not converged (test accuracy below the threshold)")
    _keep_long_enough(frame, part, slice_length, keep)
    if property is not None:
        keep(frame[property.name].notna(), f"nobody recorded their {property.name}")
        notes += _absent_options(frame, space, property)
    return frame, notes


def _keep_long_enough(frame: pd.DataFrame, part: str, slice_length: int | None, keep: Any) -> None:
    sizes = part_sizes(frame, part)
    if slice_length is None:
        keep(sizes > 0, f"they have no {part} part")
        return
    if slice_length < 1:
        raise NwsError(f"a slice of {slice_length} weights is none: use a length of at least 1")
    of = f"the {part} part of net" if part != "all" else "net"
    if slice_length > sizes.max():
        net, most = sizes.idxmax(), int(sizes.max())
        raise NwsError(f"slice {slice_length:,} is longer than {of} {net} ({most:,} weights), the longest: use a shorter slice")
    of = f"their {part} part is" if part != "all" else "they are"
    keep(sizes >= slice_length, f"{of} shorter than a slice of {slice_length:,}")


def _absent_options(frame: pd.DataFrame, space: Space | None, property: Property) -> list[str]:
    if property.continuous:
        return []
    present = set(frame[property.name].tolist())
    planned = space.options.get(property.name, property.options) if space else property.options
    absent = [str(option) for option in planned if option not in present]
    return [f"no net has {property.name}={' or '.join(absent)}"] if absent and len(planned) > 1 else []


def balanced(frame: pd.DataFrame, property: Property, seed: int) -> pd.DataFrame:
    """As many nets of each option as the rarest has, drawn at random, in the order of their numbers."""
    name = property.name
    if property.continuous:
        raise NwsError(f"{name} is continuous, it has no classes to balance: leave balance off")
    least = int(frame[name].value_counts().min())
    rng = np.random.default_rng(seed)
    chosen = [rng.permutation(group.index)[:least] for _, group in frame.groupby(name)]
    return frame.loc[np.sort(np.concatenate(chosen))]


def rows(frame: pd.DataFrame, snapshots: Any) -> tuple[np.ndarray, np.ndarray]:
    """(net, snapshot) of each row, net by net."""
    numbers = frame.index.to_numpy()
    if snapshots is None:
        return numbers, frame["snapshots"].to_numpy()
    wanted = np.atleast_1d(np.asarray(snapshots))
    if not wanted.size or wanted.dtype.kind not in "iu":
        raise NwsError(f"snapshots={snapshots!r}: name at least one, numbered from 1")
    fewest, net = int(frame["snapshots"].min()), frame["snapshots"].idxmin()
    if wanted.min() < 1 or wanted.max() > fewest:
        wrong = wanted.min() if wanted.min() < 1 else wanted.max()
        raise NwsError(f"net {net} has no snapshot {wrong}: use 1 to {fewest}")
    return numbers.repeat(len(wanted)), np.tile(wanted, len(numbers))


def load(
    zoo: Zoo, property: str, snapshots: Any, part: str, slice_length: int | None, balance: bool, seed: int, **which: Any
) -> tuple[Any, np.ndarray]:
    """See `Zoo.load`."""
    frame, _ = zoo.select(property, part=part, slice_length=slice_length, **which)
    if balance:
        frame = balanced(frame, zoo.properties[property], seed)
    nets, times = rows(frame, snapshots)
    y = np.array(frame[property].tolist()).repeat(len(nets) // len(frame))
    if slice_length is None:
        vectors = zoo.vectors(nets, times, part)
        return (np.stack(vectors) if len({len(v) for v in vectors}) == 1 else vectors), y
    where = [zoo.layout(number).part(part) for number in nets.tolist()]
    rng = np.random.default_rng(seed)
    starts = rng.integers([w.start for w in where], [w.stop - slice_length + 1 for w in where])
    return zoo.slices(nets, times, starts, slice_length), y


def split(seed: int, number: int) -> str:
    """Side of a net, "train" or "test": of every four consecutive numbers one is drawn for the test.

    A function of (zoo seed, number) only, so it never changes when a zoo grows, and nets of one task never change sides between
    tasks. SHA-256 rather than a generator: the rule must be the same in ten years, with any numpy, in any language.
    """
    block, place = divmod(number, BLOCK)
    drawn = hashlib.sha256(f"nws split {seed} {block}".encode()).digest()[0] % BLOCK
    return "test" if place == drawn else "train"
