"""Sample the weight space: train nets into a zoo on disk, going on from where an earlier run stopped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from nws import images as image_sets
from nws.images import ImageSet
from nws.net import Net
from nws.space import HyperParameters, Space
from nws.train import native_engine
from nws.train.loop import MAX_EPOCHS, VALIDATION_SHARE, Job, Progress, Schedule
from nws.train.runners import default_workers, make_engine, train
from nws.zoo import Zoo

Tell = Callable[[Progress | Net], None]


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
    tell: Tell = lambda said: None,
) -> Zoo:
    """Train the nets into the zoo at `path` and return it. Nets the zoo already holds are left alone: the same call resumes.

    nets     hyper-parameters of net 0, 1, ...: `MAIN.sample(500, seed=0)`
    images   names or `ImageSet`s; a single one trains every net; None takes each net's own `dataset`
    seed     of initialization, batches, dropout and augmentation: a net is a function of (seed, number)
    engine   what computes the training steps: "auto" (native where built, else torch), "native", "torch", or "gpu"
    workers  processes of one thread each; None is one per core. On a GPU: nets side by side, None is 32
    epochs   at most; early stopping usually ends a training before 1000
    limit    class-balanced subset of the training images; `limit_test` of the test images
    data     folder with the image sets' files; see `nws.images.load`
    tell     hears every record (`Progress`) and every net when it is on disk

    Raises NwsError for unknown image sets, a zoo made with other settings, a full disk, and at the end for nets whose workers died.
    """
    make_engine(engine)  # refuses before anything is on disk
    given = [images] if isinstance(images, str | ImageSet) else list(images or sorted({hp.dataset for hp in nets}))
    sets = {s.name: s for s in given if isinstance(s, ImageSet)}
    sets |= load_images([s for s in given if isinstance(s, str)], data, limit, limit_test)
    if len(sets) == 1:
        nets = [hp.with_(dataset=next(iter(sets))) for hp in nets]
    schedule = Schedule(seed, snapshots, epochs)
    zoo = prepare(path, nets, sets, schedule, space)
    fill(zoo, nets, sets, schedule, workers=workers, engine=engine, tell=tell)
    return zoo


def load_images(
    names: Sequence[str],
    data: str | Path | None = None,
    limit: int | None = None,
    limit_test: int | None = None,
    progress: bool = False,
) -> dict[str, ImageSet]:
    """The named image sets by name; see `nws.images.load`."""
    return {
        name: image_sets.load(name, folder=data, limit=limit, limit_test=limit_test, progress=progress)
        for name in dict.fromkeys(names)
    }


def prepare(
    path: str | Path,
    nets: Sequence[HyperParameters],
    sets: Mapping[str, ImageSet],
    schedule: Schedule,
    space: Space | None = None,
) -> Zoo:
    """The zoo at `path`: made, or opened when it was made with the same settings."""
    about = {name: dict(s.about) for name, s in sets.items()}
    return Zoo.create(path, space, nets=len(nets), images=about, **asdict(schedule))


def finished(zoo: Zoo, nets: int) -> set[int]:
    """Which of the first `nets` numbers the zoo holds."""
    return {int(n) for n in zoo.index.index if n < nets}


def fill(
    zoo: Zoo,
    nets: Sequence[HyperParameters],
    sets: Mapping[str, ImageSet],
    schedule: Schedule,
    *,
    workers: int | None = None,
    engine: str = "auto",
    tell: Tell = lambda said: None,
) -> None:
    """Train the nets the zoo lacks, each on disk as soon as it is done. NwsError when another process is filling the zoo.

    A net whose worker died twice is marked (`Zoo.failed`), and the others go on; at the end NwsError names such nets.
    """
    workers = default_workers(engine) if workers is None else workers
    with zoo.only_writer():
        done = finished(zoo, len(nets))
        jobs = [Job(number, hp) for number, hp in enumerate(nets) if number not in done]
        for net in train(
            jobs, sets, schedule, engine=engine, workers=workers, tell=tell, gave_up=lambda n: zoo.mark_failed(n.number, n.why)
        ):
            zoo.append(net)
            tell(net)


def cautions(nets: Sequence[HyperParameters], sets: Mapping[str, ImageSet], schedule: Schedule, engine: str) -> list[str]:
    """What a user should know before the work starts, in plain words. NwsError when this machine has no such engine."""
    make_engine(engine)
    slow = native_engine.why_not() if engine == "auto" else None
    notes = [slow] if slow else []
    records = schedule.epochs + 1
    if records < schedule.snapshots:
        said = "1 epoch gives" if schedule.epochs == 1 else f"{schedule.epochs} epochs give"
        notes.append(f"{said} {records} records, fewer than {schedule.snapshots} snapshots: some snapshots will be the same record")
    for s in sets.values():
        training = len(s.y_train) - round(len(s.y_train) * VALIDATION_SHARE)
        short = sum(hp.dataset == s.name and hp.batch_size > training for hp in nets)
        if short:
            notes.append(
                f"{s.name}: {training} images are left for training, fewer than the batch size of {short} net{'s' * (short != 1)}: "
                "such a net takes all images in one step per epoch"
            )
    return notes
