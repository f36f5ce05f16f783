"""Sample the weight space: train nets into a zoo on disk, going on from where an earlier run stopped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nws import images as image_sets
from nws.errors import NwsError
from nws.images import ImageSet
from nws.net import Net
from nws.space import HyperParameters, Space
from nws.train.loop import MAX_EPOCHS, VALIDATION_SHARE, Progress
from nws.train.runners import Job, cores, train
from nws.zoo import Zoo


def sample(
    path: str | Path,
    nets: Sequence[HyperParameters],
    *,
    images: str | Sequence[str | ImageSet] | None = None,
    seed: int = 0,
    workers: int | None = None,
    snapshots: int = 20,
    epochs: int = MAX_EPOCHS,
    limit: int | None = None,
    limit_test: int | None = None,
    data: str | Path | None = None,
    engine: str = "auto",
    space: Space | None = None,
    tell: Callable[[Progress | Net], None] = lambda said: None,
) -> Zoo:
    """Train the nets into the zoo at `path` and return it. Nets the zoo already holds are left alone: the same call resumes.

    nets     hyper-parameters of net 0, 1, ...: `MAIN.sample(500, seed=0)`
    images   names or `ImageSet`s; a single one trains every net; None takes each net's own `dataset`
    seed     of initialization, batches, dropout and augmentation: a net is a function of (seed, number)
    workers  processes of one thread each; None is one per core
    epochs   at most; early stopping usually ends a training before 1000
    limit    class-balanced subset of the training images; `limit_test` of the test images
    data     folder with the image sets' files; see `nws.images.load`
    tell     hears every record (`Progress`) and every net when it is on disk

    Raises NwsError for unknown image sets, a zoo made with other settings, a full disk or a dead worker.
    """
    given = [images] if isinstance(images, str | ImageSet) else list(images or sorted({hp.dataset for hp in nets}))
    sets = {s.name: s for s in (_load(i, data, limit, limit_test) for i in given)}
    if len(sets) == 1:
        nets = [hp.with_(dataset=next(iter(sets))) for hp in nets]
    zoo = Zoo.create(
        path,
        space=space,
        seed=seed,
        nets=len(nets),
        images={name: dict(s.about) for name, s in sets.items()},
        epochs=epochs,
        snapshots=snapshots,
    )
    done = set(zoo.index.index)
    jobs = [Job(number, hp) for number, hp in enumerate(nets) if number not in done]
    for net in train(
        jobs,
        sets,
        seed=seed,
        snapshots=snapshots,
        epochs=epochs,
        engine=engine,
        workers=cores() if workers is None else workers,
        tell=tell,
    ):
        zoo.append(net)
        tell(net)
    return zoo


def _load(given: str | ImageSet, data: str | Path | None, limit: int | None, limit_test: int | None) -> ImageSet:
    if isinstance(given, ImageSet):
        return given
    return image_sets.load(given, folder=data, limit=limit, limit_test=limit_test)


def cautions(nets: Sequence[HyperParameters], sets: Mapping[str, ImageSet], epochs: int, snapshots: int) -> list[str]:
    """What a user should know before the work starts, in plain words."""
    notes = []
    if epochs + 1 < snapshots:
        notes.append(
            f"{epochs} epochs give {epochs + 1} records, fewer than {snapshots} snapshots: some snapshots will be the same record"
        )
    for s in sets.values():
        training = len(s.y_train) - round(len(s.y_train) * VALIDATION_SHARE)
        short = sum(hp.dataset == s.name and hp.batch_size > training for hp in nets)
        if short:
            notes.append(
                f"{s.name}: {training} images are left for training, fewer than the batch size of {short} nets: "
                "they take all images in one step per epoch"
            )
    return notes


__all__ = ["NwsError", "cautions", "sample"]
