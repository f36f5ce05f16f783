"""Commands that train nets into a zoo: sample."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from nws import families
from nws.cli.app import Json, ZooPath, app, named, positive, property_values
from nws.cli.zoos import show_summary
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
    "share": "K/N: of N processes that fill this zoo together, the K-th: its nets come first, then what others left. "
    "Default: this task's place in SLURM's job array.",
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
        names, live = space.options["dataset"], terminal.console.is_terminal
        sets = sampling.load_images(names, self.data, self.limit, self.limit_test, live, space.family.original)
        hps = sampling.suited(space.sample(self.nets, self.seed), sets)
        return space, hps, sets, Schedule(self.seed, self.snapshots or space.family.snapshots, self.epochs)


@app.command
def sample(
    zoo: ZooPath,
    /,
    *,
    wanted: Nets = Nets(),
    workers: Annotated[int | None, Parameter(help=_HELP["workers"])] = None,
    engine: Annotated[Literal["auto", "native", "torch", "gpu"], Parameter(help=_HELP["engine"])] = "auto",
    share: Annotated[str | None, Parameter(help=_HELP["share"])] = None,
    until: Annotated[str | None, Parameter(help=_HELP["until"])] = None,
    as_json: Json = False,
) -> None:
    """Train nets with random hyper-parameters into a zoo. Ctrl-C stops it cleanly; the same command goes on.

    Any number of processes may fill one zoo at the same time, on any hosts that see its folder: start the same command in each.
    """
    from nws import sampling, terminal
    from nws.shift import Shift, Stopped, on_duty

    shift = Shift.of(share, until)
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
    try:
        with on_duty(shift), terminal.SamplingBar(len(hps), len(hps) - left) as bar:
            sampling.fill(opened, hps, sets, schedule, workers=workers, engine=engine, shift=shift, on_progress=bar)
    except Stopped as why:
        terminal.console.print(f"{zoo}: {why}; what is finished is kept")
    if left := len(opened.missing(range(len(hps)))):
        terminal.console.print(f"{zoo}: {left} of {len(hps)} nets are left: the same command goes on")
    if as_json or not left:
        show_summary(opened, as_json)
