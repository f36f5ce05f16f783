"""The zoos of `nws benchmark read`: those to learn from by public seeds, those to be tested on from a fresh one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nws.errors import unknown
from nws.families.cnn2020 import FIXED, MAIN
from nws.families.mlp import MLP
from nws.families.space import Space
from nws.sampling import OnProgress, sample
from nws.zoo import Zoo

PUBLIC_SEED = 2020  # of all zoos to learn from
SPACES: Mapping[str, Space] = {"fixed": FIXED, "main": MAIN, "mlp": MLP.spaces["main"]}


@dataclass(frozen=True)
class Scale:
    """How large the benchmark is.

    nets     kind of zoo -> (nets to learn from, fresh nets to be tested on)
    steps    of those readers that learn by steps
    targets  that are read of every kind of zoo that has them
    """

    images: tuple[str, ...]
    nets: Mapping[str, tuple[int, int]]
    limit: int
    limit_test: int
    epochs: int
    snapshots: int
    steps: int
    targets: tuple[str, ...]


_ALL = (
    *("dataset", "optimizer", "activation", "initialization", "augmentation", "batch_size", "filter_size", "width_conv"),
    *("width_fc", "learning_rate", "test_accuracy"),
)
SCALES: Mapping[str, Scale] = {
    "tiny": Scale(
        ("digits", "scenes"),
        {"fixed": (36, 18), "main": (48, 24), "mlp": (0, 18)},
        *(160, 80, 3, 4, 20),
        ("optimizer", "initialization", "test_accuracy"),
    ),
    "small": Scale(
        ("mnist", "fashion", "kmnist", "cifar10"),
        {"fixed": (300, 150), "main": (500, 200), "mlp": (0, 150)},
        *(1000, 500, 10, 8, 300),
        _ALL,
    ),
    "full": Scale(
        ("mnist", "fashion", "kmnist", "cifar10"),
        {"fixed": (1500, 500), "main": (1500, 500), "mlp": (0, 500)},
        *(2000, 500, 20, 20, 2000),
        _ALL,
    ),
}


def scale(name: str) -> Scale:
    if name not in SCALES:
        raise unknown("scale", name, SCALES)
    return SCALES[name]


def to_learn_from(folder: Path, size: Scale, kind: str, **how: Any) -> Zoo:
    """The training zoo of this kind below `folder`; made where it is not there yet, completed where it is not whole."""
    return _made(folder / kind, size, kind, size.nets[kind][0], PUBLIC_SEED, **how)


def fresh(folder: Path, size: Scale, kind: str, seed: int, **how: Any) -> Zoo:
    """The test zoo of this kind and seed: nets that nobody can have seen before."""
    return _made(folder / f"{kind}-fresh-{seed}", size, kind, size.nets[kind][1], seed, **how)


def _made(
    path: Path,
    size: Scale,
    kind: str,
    nets: int,
    seed: int,
    *,
    on_progress: Callable[[str], None] = lambda doing: None,
    **how: Any,
) -> Zoo:
    space = SPACES[kind].with_(dataset=size.images)
    return sample(
        path,
        space,
        nets,
        images=size.images,
        seed=seed,
        snapshots=size.snapshots,
        epochs=size.epochs,
        limit=size.limit,
        limit_test=size.limit_test,
        on_progress=_counted(on_progress, path, nets),
        **how,
    )


def _counted(on_progress: Callable[[str], None], path: Path, nets: int) -> OnProgress:
    from nws.net import Net
    from nws.progress import Doing

    done = len(Zoo(path)) if (path / "zoo.json").exists() else 0

    def receive(made: object) -> None:
        nonlocal done
        if isinstance(made, Net):
            done += 1
            on_progress(Doing(f"training the zoo {path.name}, net {done:,} of {nets:,}", done / nets))

    return receive
