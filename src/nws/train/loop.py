"""THE loop: epochs, validation, early stopping, snapshots of one net (A.2). Steps and evaluation are the engine's."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from nws import __version__
from nws.errors import NwsError
from nws.families.base import Record, Trained, walk
from nws.families.space import Config
from nws.images import ImageSet
from nws.net import Net, snapshot_records
from nws.train.early_stopping import EarlyStopping

if TYPE_CHECKING:
    from nws.device import Mark

VALIDATION_SHARE = 0.1
DECAY = 0.96  # of the learning rate, after each epoch
MAX_EPOCHS = 1000  # as in the 2020 program; early stopping comes long before
# What a net's streams of random numbers are for. From 1: numpy pads with zeros, so that purpose 0 would be the stream the
# hyper-parameters were drawn from; 4 is that of rounds, 5 that of slices.
ORDER, INITIAL, ENGINE, NOISE, OWN = 1, 2, 3, 6, 7


class Engine(Protocol):
    """Steps and evaluation of one net. Everything random but dropout and augmentation is decided in the loop.

    An engine may put work off: what it returned, a number being an array () then, is filled in when `finish` is through.
    """

    name: str
    instruction_set: str  # of the processor or device, for which its sums were compiled

    def __init__(self, hp: Config, theta: np.ndarray, images: ImageSet, seed: int):
        """theta (P,) float32 at the start; seed of dropout and augmentation."""

    @staticmethod
    def why_not(hp: Config | None = None, images: ImageSet | None = None) -> str | None:
        """Why it cannot train such a net on these images (None: any), in one line; None when it can."""

    def train(self, batches: np.ndarray, learning_rate: float) -> float | np.ndarray:
        """One training step per row of `batches` (steps, B), indices of training images. Returns the mean loss."""

    def accuracy(self, images: str, index: np.ndarray | None = None) -> float | np.ndarray:
        """Share of correct labels in evaluation mode on clean "train" or "test" images (all, or those of `index`)."""

    def theta(self) -> np.ndarray:
        """A copy of the weights, (P,) float32 in the order of the layout."""

    def finish(self) -> Iterable[Mark]:
        """Do what was put off, in order; go on after each mark once the device has passed it. Nothing to do on a CPU."""


# (config, initial theta, images, seed of dropout and augmentation) -> engine
MakeEngine = Callable[[Config, np.ndarray, ImageSet, int], Engine]


@dataclass(frozen=True)
class Progress:
    """Said after each record of a net."""

    number: int
    epoch: int
    validation_accuracy: float
    images: int  # trained on since the last word
    record: tuple[float, ...]  # the record's row of the history, columns as the family's `measures`


@dataclass(frozen=True)
class Job:
    """Net `number` of a zoo, to be trained with these hyper-parameters."""

    number: int
    hp: Config


@dataclass(frozen=True)
class Schedule:
    """What all nets of a zoo have in common. Net `number` is a function of (seed, number) and its hyper-parameters.

    snapshots  kept of the records of a training, evenly spread: round(linspace(1, T, S))
    epochs     at most; early stopping usually comes long before 1000
    """

    seed: int = 0
    snapshots: int = 20
    epochs: int = MAX_EPOCHS

    def __post_init__(self) -> None:
        for name, least in (("seed", 0), ("snapshots", 1), ("epochs", 0)):
            if getattr(self, name) < least:
                raise NwsError(f"{name}={getattr(self, name)}: must be at least {least}")


def train_net(
    job: Job,
    images: ImageSet,
    make_engine: MakeEngine,
    schedule: Schedule = Schedule(),
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Net:
    """Train one net, from beginning to end. It never depends on order or load."""
    if job.hp.family.train is not None:
        return _train_own(job, images, schedule, on_progress)
    whole = train_in_turns(job, images, make_engine, schedule, on_progress)
    while True:
        try:
            next(whole).synchronize()
        except StopIteration as end:
            net: Net = end.value
            return net


def train_in_turns(
    job: Job,
    images: ImageSet,
    make_engine: MakeEngine,
    schedule: Schedule,
    on_progress: Callable[[Progress], None],
) -> Generator[Mark, None, Net]:
    """Train one net: records before training and after each epoch, of which some are kept.

    A generator, so that one thread can look after many nets on a GPU: it hands out a mark wherever it would have to wait for the
    device, and wants to be resumed once that is passed. On a CPU it runs through.

    All T records are held in memory until the end: 4 bytes x P x T, 60 MB for the fixed net after 160 epochs.
    """
    number, hp, seed = job.number, job.hp, schedule.seed
    started = time.perf_counter()
    order, initial, stream, noise = (_stream(seed, number, purpose) for purpose in (ORDER, INITIAL, ENGINE, NOISE))
    checksum = images.about["sha256"]
    images = hp.family.pictures(hp, images)
    validation, training = split_validation(len(images.y_train), order)
    labels = noisy(images.y_train, training, hp.get("label_noise", 0.0), len(images.classes), noise)
    engine = make_engine(hp, hp.family.init(hp, initial), images.labelled(labels), int(stream.integers(2**63)))
    # As many training images as validation images tell the training accuracy: it is for the curves, not for decisions.
    watched = training[: len(validation)]
    stopping = EarlyStopping()
    records, history = [], []
    step, status, learning_rate = 0, "ok", hp.learning_rate
    for epoch in range(schedule.epochs + 1):
        seen = 0
        loss: float | np.ndarray = 0.0
        if epoch > 0:  # the first record is the initialization
            batches = epoch_batches(labels, training, hp.batch_size, order)
            loss = engine.train(batches, learning_rate)
            learning_rate *= DECAY
            step, seen = step + len(batches), batches.size
        records.append(engine.theta())
        shares = [engine.accuracy("train", watched), engine.accuracy("train", validation), engine.accuracy("test")]
        yield from engine.finish()
        accuracy = float(shares[1])
        stop = stopping.update(accuracy)
        history.append([step, *map(float, shares), stopping.filtered])
        on_progress(Progress(number, epoch, accuracy, seen, tuple(history[-1])))
        if not (np.isfinite(loss) and np.isfinite(records[-1]).all()):
            status = "diverged"
        if stop or status == "diverged":
            break
    about = {"engine": engine.name, "instruction_set": engine.instruction_set, "images": checksum}
    return _net(job, schedule, records, history, status, time.perf_counter() - started, about)


def _train_own(job: Job, images: ImageSet, schedule: Schedule, on_progress: Callable[[Progress], None]) -> Net:
    """As `train_in_turns`, the records being those of the family's own training. PyTorch's own random numbers are the net's too."""
    import torch

    family, started = job.hp.family, time.perf_counter()
    layout, rng, own = family.layout(job.hp), *np.random.default_rng([schedule.seed, job.number, OWN]).spawn(2)
    rated = family.measures.index("validation_accuracy") if "validation_accuracy" in family.measures else 0
    records, history, status, said = [], [], "ok", dict[str, Any]()

    def heard(made: Iterator[Record]) -> Iterator[Record]:
        for record in made:
            said.update(record.about)
            yield record

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(own.integers(2**63)))
        trained = family.train(job.hp, family.pictures(job.hp, images), rng, schedule.epochs)
        for step, theta, measures in walk(heard(trained), layout):
            records.append(theta)
            history.append([step, *(float(measures.get(name, "nan")) for name in family.measures[1:])])
            accuracy = history[-1][rated] if rated else float("nan")
            on_progress(Progress(job.number, len(records) - 1, accuracy, 0, tuple(history[-1])))
            if not np.isfinite(theta).all():
                status = "diverged"
                break
    if not records:
        raise NwsError(f"net {job.number}: the training of {family.name} yielded no record: yield the initialization first")
    about = {"engine": "own", "images": images.about["sha256"], **said}
    return _net(job, schedule, records, history, status, time.perf_counter() - started, about)


def train_block(jobs: Sequence[Job], images: ImageSet, engine: str, schedule: Schedule) -> list[Net]:
    """Nets of a family that trains many at a time, in the order of the jobs. They are the same in any company."""
    family, started = jobs[0].hp.family, time.perf_counter()
    configs, rngs = [job.hp for job in jobs], [_stream(schedule.seed, job.number, INITIAL) for job in jobs]
    found: dict[int, Trained] = {}
    for trained in family.train_many(configs, family.pictures(configs[0], images), rngs, schedule.snapshots, engine):
        found[trained.place] = trained
    seconds, nets = (time.perf_counter() - started) / len(jobs), []
    for place, job in enumerate(jobs):
        if place not in found or not found[place].records:
            raise NwsError(f"net {job.number}: the training of {family.name} yielded no record of it")
        walked = list(walk(iter(found[place].records), family.layout(job.hp)))
        measured = [[step, *(float(m.get(name, "nan")) for name in family.measures[1:])] for step, _, m in walked]
        good = all(np.isfinite(theta).all() for _, theta, _ in walked)
        net = Net(
            number=job.number,
            hp=job.hp,
            layout=family.layout(job.hp),
            theta=np.stack([theta for _, theta, _ in walked]),
            epoch=np.array([step for step, _, _ in walked], np.int64),
            history=np.array(measured),
            status="ok" if good and not np.isnan(measured[-1]).any() else "diverged",
            seconds=seconds,
            about={"seed": schedule.seed, "nws": __version__, "engine": found[place].engine, "images": images.about["sha256"]},
            measures=family.measures,
        )
        nets.append(net)
    return nets


def _net(
    job: Job, schedule: Schedule, records: list[np.ndarray], history: list[list[float]], status: str, seconds: float, about: Any
) -> Net:
    kept = snapshot_records(len(records), schedule.snapshots)
    return Net(
        number=job.number,
        hp=job.hp,
        layout=job.hp.family.layout(job.hp),
        theta=np.stack([records[k] for k in kept]),
        epoch=kept,
        history=np.array(history),
        status=status,
        seconds=seconds,
        about={"seed": schedule.seed, "nws": __version__, **about},
        measures=job.hp.family.measures,
    )


def _stream(seed: int, number: int, purpose: int) -> np.random.Generator:
    return np.random.default_rng([seed, number, purpose])


def noisy(labels: np.ndarray, training: np.ndarray, share: float, classes: int, rng: np.random.Generator) -> np.ndarray:
    """Labels (N,) of which `share` of those of the images `training` are replaced, each by another class at random."""
    if not share:
        return labels
    wrong = rng.permutation(training)[: round(share * len(training))]
    changed = labels.copy()
    changed[wrong] = (labels[wrong] + rng.integers(1, max(classes, 2), len(wrong))) % classes
    return changed


def split_validation(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """10% of n training images at random for validation, at least one; (validation, training) indices."""
    order = rng.permutation(n)
    cut = max(1, round(n * VALIDATION_SHARE))
    return order[:cut], order[cut:]


def epoch_batches(labels: np.ndarray, training: np.ndarray, batch_size: int, rng: np.random.Generator) -> np.ndarray:
    """The batches of one epoch, (floor(n / B), B) indices of training images in a fresh order.

    When the image set has more images of one class than of another (SVHN, MNIST), every epoch draws afresh K of each class,
    K being the smallest class of the training part. Fewer images than a batch: one step with all of them.
    """
    if len(set(np.unique(labels, return_counts=True)[1])) > 1:
        training = balanced(labels, training, rng)
    order = rng.permutation(training)
    batch_size = min(batch_size, len(order))
    steps = len(order) // batch_size
    return order[: steps * batch_size].reshape(steps, batch_size)


def balanced(labels: np.ndarray, index: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Of the images `index`, as many of each class as the rarest has, at random."""
    of_class = [index[labels[index] == label] for label in np.unique(labels[index])]
    smallest = min(len(members) for members in of_class)
    return np.concatenate([rng.choice(members, smallest, replace=False) for members in of_class])
