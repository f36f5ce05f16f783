"""Sample the weight space: train nets into a zoo on disk, going on from where an earlier run stopped."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nws import images as image_sets
from nws.bars import SamplingBar
from nws.errors import NwsError, unknown
from nws.families import CNN2020, Family
from nws.families.space import Config, Space
from nws.images import ImageSet
from nws.net import Net
from nws.shift import Shift
from nws.train import engines, native_engine
from nws.train.loop import MAX_EPOCHS, VALIDATION_SHARE, Job, Progress, Schedule
from nws.train.runners import GivenUp, default_workers, train
from nws.zoo import TakenError, Zoo
from nws.zoo.claims import Claims

OnProgress = Callable[[Progress | Net], None]


def sample(
    path: str | Path,
    nets: Family | Space | Sequence[Config],
    n: int | None = None,
    *,
    images: str | ImageSet | Sequence[str | ImageSet] | None = None,
    seed: int = 0,
    workers: int | None = None,
    share: str | None = None,
    until: str | None = None,
    snapshots: int | None = None,
    epochs: int = MAX_EPOCHS,
    limit: int | None = None,
    limit_test: int | None = None,
    data: str | Path | None = None,
    engine: str = "auto",
    space: Space | None = None,
    on_progress: OnProgress | None = None,
) -> Zoo:
    """Train nets into the zoo at `path` and return it. Nets the zoo already holds are left alone: the same call resumes.

    nets     the configs of net 0, 1, ... (`MAIN.sample(500, seed=0)`), or a family or a space that `n` nets are drawn from
    images   names or `ImageSet`s; a single one trains every net; None takes each net's own `dataset`
    seed     of initialization, batches, dropout and augmentation, and of what is drawn: a net is a function of (seed, number)
    engine   what computes the training steps: "auto" (native where it can, else torch), "native", "torch", or "gpu"
    workers  processes of one thread each; None is one per core. On a GPU: nets side by side, None is 32
    share    "K/N": of N processes that fill this zoo, whichever host they are on, the K-th; its nets come first, then others'
    until    when to stop: "4h", "17:30"; what is not done then is left to the next call. Both are SLURM's where they are not given
    snapshots  kept of each net; None: as many as its family keeps, 20 of most
    epochs   at most; early stopping usually ends a training before 1000
    limit    class-balanced subset of the training images; `limit_test` of the test images
    data     folder with the image sets' files; see `nws.images.load`
    on_progress  receives every record (`Progress`) and every net when it is on disk; None shows a bar in terminals and notebooks

    Raises NwsError for unknown image sets, nets that cannot be trained on them, a zoo made with other settings, a full disk, and
    at the end for nets whose workers died.
    """
    engines.check(engine)  # refuses before anything is on disk
    shift = Shift.of(share, until)
    given = [images] if isinstance(images, str | ImageSet) else list(images or ())
    configs, space = _drawn(nets, n, seed, space, [s if isinstance(s, str) else s.name for s in given])
    given = given or sorted({hp.dataset for hp in configs})
    sets = {s.name: s for s in given if isinstance(s, ImageSet)}
    sets |= load_images([s for s in given if isinstance(s, str)], data, limit, limit_test, original=configs[0].family.original)
    configs = suited(configs, sets)
    schedule = Schedule(seed, snapshots or configs[0].family.snapshots, epochs)
    zoo = prepare(path, configs, sets, schedule, space)
    if on_progress is not None:
        fill(zoo, configs, sets, schedule, workers=workers, engine=engine, shift=shift, on_progress=on_progress)
        return zoo
    done = len(finished(zoo, len(configs)))
    with SamplingBar(len(configs), done) if done < len(configs) else contextlib.nullcontext(lambda progress: None) as bar:
        fill(zoo, configs, sets, schedule, workers=workers, engine=engine, shift=shift, on_progress=bar)
    return zoo


def _drawn(
    nets: Family | Space | Sequence[Config], n: int | None, seed: int, space: Space | None, images: list[str]
) -> tuple[Sequence[Config], Space | None]:
    """The configs to train, and the space they are from; drawn here, they are of these image sets."""
    if isinstance(nets, Family):
        nets = next(iter(nets.spaces.values()))
    if isinstance(nets, Space):
        if n is None:
            raise NwsError("how many nets? sample(path, family, 100)")
        nets = nets.with_(dataset=images) if images else nets
        return nets.sample(n, seed), nets
    configs = list(nets)
    if not configs:
        raise NwsError("no nets to train: give at least one config")
    return configs[:n], space


def suited(configs: Sequence[Config], sets: Mapping[str, ImageSet]) -> list[Config]:
    """The configs as the image sets need them; a single set trains every net. NwsError when one cannot be trained on its set."""
    if len(sets) == 1:
        configs = [hp.with_(dataset=next(iter(sets))) for hp in configs]
    found = []
    for number, hp in enumerate(configs):
        if hp.dataset not in sets:
            raise unknown(f"net {number} wants an image set that was not given:", hp.dataset, sets)
        found.append(hp.family.for_net(hp, sets[hp.dataset], number))
        if reason := hp.family.why_not(found[-1], sets[hp.dataset]):
            raise NwsError(f"net {number}: {reason}")
    return found


def load_images(
    names: Sequence[str],
    data: str | Path | None = None,
    limit: int | None = None,
    limit_test: int | None = None,
    progress: bool = False,
    original: bool = False,
) -> dict[str, ImageSet]:
    """The named image sets by name; see `nws.images.load`."""
    return {
        name: image_sets.load(name, folder=data, limit=limit, limit_test=limit_test, progress=progress, original=original)
        for name in dict.fromkeys(names)
    }


def prepare(
    path: str | Path,
    nets: Sequence[Config],
    sets: Mapping[str, ImageSet],
    schedule: Schedule,
    space: Space | None = None,
) -> Zoo:
    """The zoo at `path`: made, or opened when it was made with the same settings.

    Where only one side names a space, the command line or this call, the nets themselves are compared. NwsError when they differ.
    """
    settings = {"family": nets[0].family, "images": {name: dict(s.about) for name, s in sets.items()}, **asdict(schedule)}
    if Path(path, "zoo.json").is_file():
        made = Zoo(path)
        if made.family.name == nets[0].family.name and (space is None or made.space is None):
            space = made.space
            _check_same_nets(Zoo.create(path, space, **settings), nets)  # changes nothing: a plan grows by its number of nets
    return Zoo.create(path, space, nets=len(nets), **settings)


def _check_same_nets(zoo: Zoo, nets: Sequence[Config]) -> None:
    """NwsError unless the nets that the zoo holds are these, and the others are of its space."""
    known = {p.name: p for p in nets[0].family.properties}
    held = zoo.index[list(known)].to_dict("index")
    options = zoo.space.options if zoo.space else {}
    for number, hp in enumerate(nets):
        for name, value in hp.to_dict().items():
            if number in held and held[number][name] != value:
                difference = f"its net {number} has {name}={held[number][name]}, not {value}"
            elif (
                number not in held
                and options
                and name not in hp.family.given
                and not _within(value, options[name], known[name].continuous)
            ):
                difference = f"its space has {name}={', '.join(map(str, options[name]))}, net {number} {value}"
            else:
                continue
            raise NwsError(f"{zoo.path} was made with other nets ({difference}): use another folder, or the same nets")


def _within(value: Any, options: tuple[Any, ...], continuous: bool) -> bool:
    return bool(options[0] <= value <= options[-1]) if continuous else value in options


def finished(zoo: Zoo, nets: int) -> set[int]:
    """Which of the first `nets` numbers the zoo holds."""
    return {number for number in zoo.numbers() if number < nets}


def fill(
    zoo: Zoo,
    nets: Sequence[Config],
    sets: Mapping[str, ImageSet],
    schedule: Schedule,
    *,
    workers: int | None = None,
    engine: str = "auto",
    runner: str = "auto",
    shift: Shift | None = None,
    on_progress: OnProgress = lambda progress: None,
) -> None:
    """Train the nets the zoo lacks, each on disk as soon as it is done, together with whoever else does the same (nws.zoo.claims).

    A net whose worker died twice is marked (`Zoo.failed`), and the others go on; at the end NwsError names such nets. NwsError,
    too, when the zoo is being repaired or imported into. Ends when all nets are there, or when the shift is over.
    """
    workers = default_workers(engine) if workers is None else workers
    many = bool(nets) and nets[0].family.train_many is not None
    if many and engine == "gpu":
        runner = "serial"  # it is one program for many nets already
    together = nets[0].family.together(nets[0]) if many else 1
    with Claims(zoo.path, len(nets), zoo.missing, shift or Shift(), workers) as claims:
        if isinstance(on_progress, SamplingBar):
            on_progress.elsewhere = lambda: claims.elsewhere

        def gave_up(net: GivenUp) -> None:
            zoo.mark_failed(net.number, net.why)
            claims.refused(net.number)

        def stored(net: Net, ours: bool) -> None:
            claims.done(net.number, net.seconds, ours)
            if ours:
                on_progress(net)

        how: dict[str, Any] = {"engine": engine, "runner": runner, "on_progress": on_progress, "gave_up": gave_up}
        while True:
            jobs = (Job(number, nets[number]) for number in claims.numbers())
            _store(zoo, train(jobs, sets, schedule, workers=max(1, min(workers, claims.left)), **how), together, stored)
            if not claims.wait():
                return


def _store(zoo: Zoo, made: Iterable[Net], together: int, stored: Callable[[Net, bool], None]) -> None:
    """Each net on disk as it comes; of families that train many at a time, so many in one file. Whatever stops it, all are.

    stored(net, ours): it is in the zoo; not ours where another process was sooner, with the same net.
    """
    held: list[Net] = []

    def write() -> None:
        nets = held.copy()
        held.clear()
        ours = _kept(zoo, nets, together > 1)
        for net in nets:
            stored(net, net.number in ours)

    try:
        for net in made:
            if held and net.number <= held[-1].number:
                write()
            held.append(net)
            if len(held) >= together:
                write()
    finally:
        if held:
            write()


def _kept(zoo: Zoo, nets: Sequence[Net], many: bool) -> set[int]:
    """The numbers of those that the zoo did not have, and has now."""
    sided = [(net, zoo.split(net.hp.family.like(net.hp, net.number))) for net in nets if isinstance(net.hp, Config)]
    try:
        if many:
            zoo.append_many(sided)
        else:
            zoo.append(*sided[0])
    except TakenError:
        left = set(zoo.missing(range(nets[0].number, nets[-1].number + 1))) if many else set[int]()
        some = [net for net in nets if net.number in left]
        return _kept(zoo, some, many) if some else set()
    return {net.number for net in nets}


def cautions(nets: Sequence[Config], sets: Mapping[str, ImageSet], schedule: Schedule, engine: str) -> list[str]:
    """What a user should know before the work starts, in plain words. NwsError when this machine has no such engine."""
    engines.check(engine)
    own = nets[0].family.why_no_engine("native", nets[0]) if nets[0].family.train_many else None
    slow = (native_engine.why_not() if nets[0].family is CNN2020 else own) if engine == "auto" else None
    notes = [slow] if slow else []
    records = schedule.epochs + 1
    if records < schedule.snapshots:
        given = "1 epoch gives" if schedule.epochs == 1 else f"{schedule.epochs} epochs give"
        notes.append(
            f"{given} {records} records, fewer than {schedule.snapshots} snapshots: some snapshots will be the same record"
        )
    for s in sets.values():
        training = len(s.y_train) - round(len(s.y_train) * VALIDATION_SHARE)
        short = sum(hp.dataset == s.name and hp.get("batch_size", 0) > training for hp in nets)
        if short:
            notes.append(
                f"{s.name}: {training} images are left for training, fewer than the batch size of {short} net{'s' * (short != 1)}: "
                "such a net takes all images in one step per epoch"
            )
    return notes
