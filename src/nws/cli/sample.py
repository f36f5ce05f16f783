"""Commands that train nets into a zoo: sample, here and now; submit, by a batch system."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from nws import families
from nws.cli.app import Json, ZooPath, app, beside, named, positive, print_json, property_values
from nws.cli.zoos import show_summary
from nws.errors import NwsError
from nws.families import FAMILIES
from nws.families.cnn2020 import PROPERTIES
from nws.families.space import Space

if TYPE_CHECKING:
    from nws.families.space import Config
    from nws.images import ImageSet
    from nws.train import Schedule

_OPTIONS = "; ".join(f"{p.name}: {', '.join(p.label(o) for o in p.options)}" for p in PROPERTIES.values())
_HELP = {
    "family": f"What kind of nets: {', '.join(FAMILIES)}, or your own as module:Name (docs/families.md).",
    "space": "What nets are drawn from. cnn2020: fixed (one architecture, the default) or main (random ones); siren: main, navon.",
    "images": "Image sets, comma between; default: the space's own. `nws images` lists them.",
    "nets": "How many nets the zoo is to have; a larger number extends it later.",
    "seed": "Random seed: the same seed gives the same nets.",
    "snapshots": "How many snapshots to keep of each net, evenly spread over its training; default: 20, of INRs 1.",
    "epochs": "The most epochs a net is trained; early stopping usually ends it before.",
    "limit": "Use only this many training images, equally many of each class; default: all.",
    "limit_test": "Use only this many test images; default: all.",
    "data": "Folder with the image sets; default: $NWS_DATA, then the user's cache.",
    "narrow": f"Values to draw a property from, e.g. --set optimizer=adam,rmsprop; may be repeated. cnn2020 has {_OPTIONS}",
    "workers": "Processes, default: one per core; with --engine gpu: nets side by side, default: 32.",
    "engine": "What computes the training steps; auto: native where built, else torch, never the GPU.",
    "runner": "Who trains: processes of this machine, or the tasks of a Ray cluster (needs nws[ray]).",
    "address": "Of the Ray cluster: auto for the one of this host, or ray://HOST:PORT; default: one is started here.",
    "share": "K/N: of N processes that fill this zoo together, the K-th: its nets come first, then what others left. "
    "Default: this task's place in SLURM's job array.",
    "jobs": "How many tasks the job array has. Each takes its share first, then what others left.",
    "time": "Wall time of each task: 4h, 1h30m, 2d, or as SLURM writes it.",
    "cores": "Processes of each task, a core each; they share the images in memory.",
    "sbatch": "A further option of sbatch, e.g. --sbatch partition=short; may be repeated.",
    "dry_run": "Print the script for sbatch, and change nothing.",
    "until": "When to stop: 4h, 1h30m, 17:30 ...; nothing is begun that would not fit. Default: the end of SLURM's job.",
}


@Parameter(name="*")
@dataclass(frozen=True)
class Nets:
    """What the nets are: the same for every process that fills the zoo."""

    family: Annotated[str, Parameter(help=_HELP["family"])] = "cnn2020"
    space: Annotated[str | None, Parameter(help=_HELP["space"])] = None
    images: Annotated[str | None, Parameter(help=_HELP["images"])] = None
    nets: Annotated[int, Parameter(help=_HELP["nets"])] = 100
    seed: Annotated[int, Parameter(help=_HELP["seed"])] = 0
    snapshots: Annotated[int | None, Parameter(help=_HELP["snapshots"])] = None
    epochs: Annotated[int, Parameter(help=_HELP["epochs"])] = 1000
    limit: Annotated[int | None, Parameter(help=_HELP["limit"])] = None
    limit_test: Annotated[int | None, Parameter(help=_HELP["limit_test"])] = None
    data: Annotated[Path | None, Parameter(help=_HELP["data"])] = None
    narrow: Annotated[list[str] | None, Parameter(name="--set", negative="", help=_HELP["narrow"])] = None

    def options(self) -> list[str]:
        """What was asked for beyond the defaults, as options of `nws sample`."""
        words = []
        for field in fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                name = "--set" if field.name == "narrow" else f"--{field.name.replace('_', '-')}"
                values = value if isinstance(value, list) else [value.resolve() if isinstance(value, Path) else value]
                words += [word for each in values for word in (name, str(each))]
        return words

    def drawn_from(self) -> Space:
        """The space that nets are drawn from."""
        from nws import images as image_sets

        kind = families.named(self.family)
        (name,) = named(self.space or next(iter(kind.spaces)), "space", kind.spaces)
        space = kind.spaces[name].with_(**property_values("--set", self.narrow or [], kind.space.properties))
        if self.images is not None:
            space = space.with_(dataset=named(self.images, "image set", image_sets.NAMES))
        numbers = {"nets": self.nets, "snapshots": self.snapshots, "epochs": self.epochs}
        positive(**numbers, limit=self.limit, limit_test=self.limit_test)
        return space

    def planned(self) -> tuple[Space, list[Config], dict[str, ImageSet], Schedule]:
        """The space, and what `sampling.prepare` and `sampling.fill` take. NwsError for what cannot be trained."""
        from nws import sampling, terminal
        from nws.train import Schedule

        space = self.drawn_from()
        drawn = space.sample(self.nets, self.seed)  # refuses what cannot be before images are looked for
        names, live = space.options["dataset"], terminal.console.is_terminal
        sets = sampling.load_images(names, self.data, self.limit, self.limit_test, live, space.family.original)
        hps = sampling.suited(drawn, sets)
        return space, hps, sets, Schedule(self.seed, self.snapshots or space.family.snapshots, self.epochs)


@app.command
def sample(
    zoo: ZooPath,
    /,
    *,
    wanted: Nets = Nets(),
    workers: Annotated[int | None, Parameter(help=_HELP["workers"])] = None,
    engine: Annotated[Literal["auto", "native", "torch", "gpu"], Parameter(help=_HELP["engine"])] = "auto",
    runner: Annotated[Literal["processes", "ray"], Parameter(help=_HELP["runner"])] = "processes",
    address: Annotated[str | None, Parameter(help=_HELP["address"])] = None,
    share: Annotated[str | None, Parameter(help=_HELP["share"])] = None,
    until: Annotated[str | None, Parameter(help=_HELP["until"])] = None,
    as_json: Json = False,
) -> None:
    """Train nets with random hyper-parameters into a zoo. Ctrl-C stops it cleanly; the same command goes on.

    Any number of processes may fill one zoo at the same time, on any hosts that see its folder: start the same command in each.
    """
    from nws import sampling, terminal
    from nws.shift import Shift, Stopped, on_duty
    from nws.train.runners.on_ray import Ray

    shift = Shift.of(share, until)
    if address and runner != "ray":
        raise NwsError("--address is for --runner ray: give both, or neither")
    positive(workers=workers)
    space, hps, sets, schedule = wanted.planned()
    for note in sampling.cautions(hps, sets, schedule, engine):
        terminal.console.print(f"note: {note}", markup=False)
    opened = sampling.prepare(zoo, hps, sets, schedule, space)
    left = len(opened.missing(range(len(hps))))
    if not left:
        terminal.console.print(f"{zoo}: all {len(hps)} nets are done")
        show_summary(opened, as_json)
        return
    if left < len(hps):
        terminal.console.print(f"{zoo}: going on after {len(hps) - left} of {len(hps)} nets")
    how: dict[str, Any] = {"workers": workers, "engine": engine, "shift": shift}
    if runner == "ray":
        how["runner"] = Ray(address, workers)
    try:
        with on_duty(shift), terminal.SamplingBar(len(hps), len(hps) - left) as bar:
            sampling.fill(opened, hps, sets, schedule, on_progress=bar, **how)
    except Stopped as why:
        terminal.console.print(f"{zoo}: {why}; what is finished is kept")
    if left := len(opened.missing(range(len(hps)))):
        terminal.console.print(f"{zoo}: {left} of {len(hps)} nets are left: the same command goes on")
    if as_json or not left:
        show_summary(opened, as_json)


@app.command
def submit(
    zoo: ZooPath,
    /,
    *,
    wanted: Nets = Nets(),
    jobs: Annotated[int, Parameter(help=_HELP["jobs"])] = 10,
    time: Annotated[str, Parameter(help=_HELP["time"])] = "4h",
    workers: Annotated[int, Parameter(help=_HELP["cores"])] = 4,
    engine: Annotated[Literal["auto", "native", "torch"], Parameter(help=_HELP["engine"])] = "auto",
    sbatch: Annotated[list[str] | None, Parameter(negative="", help=_HELP["sbatch"])] = None,
    dry_run: Annotated[bool, Parameter(negative="", help=_HELP["dry_run"])] = False,
    as_json: Json = False,
) -> None:
    """Train nets into a zoo by a job array of SLURM: `nws sample ZOO` in many tasks. `nws info ZOO` tells how far they are.

    The zoo is made at once, so that mistakes are refused before the jobs wait in the queue. The same command once more adds jobs.
    """
    from nws import sampling, slurm, terminal

    positive(jobs=jobs, workers=workers)
    if not dry_run:
        space, hps, sets, schedule = wanted.planned()
        left = len(sampling.prepare(zoo, hps, sets, schedule, space).missing(range(len(hps))))
        if not left:
            terminal.console.print(f"{zoo}: all {len(hps)} nets are done")
            return
        jobs = min(jobs, left)
    else:
        wanted.drawn_from()
    command = [*slurm.python(), "sample", str(zoo.resolve()), *wanted.options(), "--workers", str(workers), "--engine", engine]
    array = slurm.Array(command, beside(zoo, "slurm").resolve(), f"nws-{zoo.resolve().name}", jobs, workers, time, sbatch or ())
    if dry_run:
        print(array.script(), end="")
        return
    number = array.submit()
    if as_json:
        print_json({"job": number, "jobs": jobs, "script": str(array.folder / "job.sh")})
    else:
        terminal.console.print(
            f"job {number}: {jobs} tasks of {workers} cores; `nws info {zoo}` tells how far, `scancel {number}` ends it"
        )
