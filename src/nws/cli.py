"""The command line: each command is a few lines over one library call. Bad input ends with one line and exit code 2."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter

from nws import __version__
from nws.errors import NwsError, unknown
from nws.space import PROPERTIES, SPACES

if TYPE_CHECKING:
    from nws.protocol import Task
    from nws.zoo import Zoo

app = App(
    name="nws",
    help="Train zoos of neural nets, and read back from their weights how they were trained.",
    version=__version__,
    help_format="plaintext",
    result_action="return_value",
    suppress_keyboard_interrupt=False,  # `main` says what was kept
)

_OPTIONS = "; ".join(f"{p.name}: {', '.join(p.label(o) for o in p.options)}" for p in PROPERTIES.values())
Names = Annotated[str, Parameter(negative="")]
Json = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON for machines instead of tables.")]
ZooPath = Annotated[Path, Parameter(name="ZOO", help="Folder of the zoo.")]


@app.command
def sample(
    zoo: ZooPath,
    /,
    *,
    space: Annotated[Literal["fixed", "main"], Parameter(help="fixed: one architecture; main: random architectures.")] = "fixed",
    images: Annotated[
        str | None, Parameter(help="Image sets, comma between; default: the space's own. `nws images` lists them.")
    ] = None,
    nets: Annotated[int, Parameter(help="Nets the zoo shall have; a larger number extends it later.")] = 100,
    seed: Annotated[int, Parameter(help="Net i is a function of (seed, i).")] = 0,
    workers: Annotated[int | None, Parameter(help="Processes of one thread each; default: one per core.")] = None,
    snapshots: Annotated[int, Parameter(help="Snapshots kept of each net, evenly spread over its training.")] = 20,
    epochs: Annotated[int, Parameter(help="Longest training; early stopping usually ends it before.")] = 1000,
    limit: Annotated[int | None, Parameter(help="Use a class-balanced subset of so many training images.")] = None,
    limit_test: Annotated[int | None, Parameter(help="The same for the test images.")] = None,
    data: Annotated[Path | None, Parameter(help="Folder with the image sets; default: $NWS_DATA, then the user's cache.")] = None,
    engine: Annotated[
        Literal["auto", "native", "torch"], Parameter(help="What computes the training steps; auto: native where built.")
    ] = "auto",
    narrow: Annotated[
        list[str] | None,
        Parameter(
            name="--with", negative="", help=f"Narrow, fix or extend a property, e.g. --with optimizer=adam,rmsprop. {_OPTIONS}"
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Train nets with random hyper-parameters into a zoo. Ctrl-C stops it cleanly; the same command goes on."""
    from nws import images as image_sets
    from nws import sampling, terminal
    from nws.train import Schedule

    chosen = SPACES[space].with_(**_narrowed(narrow or []))
    if images is not None:
        chosen = chosen.with_(dataset=_names(images, "image set", image_sets.NAMES))
    _positive(nets=nets, workers=workers, snapshots=snapshots, epochs=epochs, limit=limit, limit_test=limit_test)
    hps = chosen.sample(nets, seed)
    sets = sampling.load_images(chosen.options["dataset"], data, limit, limit_test, progress=terminal.console.is_terminal)
    schedule = Schedule(seed, snapshots, epochs)
    for note in sampling.cautions(hps, sets, schedule, engine):
        terminal.console.print(f"note: {note}", markup=False)
    opened = sampling.prepare(zoo, hps, sets, schedule, chosen)
    done = len(sampling.finished(opened, nets))
    if done == nets:
        terminal.console.print(f"{zoo}: all {nets} nets are done")
    else:
        if done:
            terminal.console.print(f"{zoo}: going on after {done} of {nets} nets")
        with terminal.SamplingBar(nets, done) as bar:
            sampling.fill(opened, hps, sets, schedule, workers=workers, engine=engine, tell=bar)
    _show_summary(opened, as_json)


@app.command
def info(
    zoo: Annotated[Path | None, Parameter(name="ZOO", help="Folder of the zoo.")] = None,
    /,
    *,
    card: Annotated[bool, Parameter(negative="", help="Write README.md into the zoo: a Hugging Face data card.")] = False,
    system: Annotated[bool, Parameter(negative="", help="Show version, engine and cores of this installation.")] = False,
    as_json: Json = False,
) -> None:
    """Counts, properties x options, accuracies and size of a zoo."""
    from nws import terminal
    from nws.zoo import Zoo

    if system:
        from nws.train import native_engine
        from nws.train.runners import cores

        facts = {"version": __version__, **native_engine.facts(), "cores": cores(), "python": sys.version.split()[0]}
        if as_json:
            _print_json(facts)
        else:
            terminal.out.print(terminal.facts([(k, str(v)) for k, v in facts.items()], "nws"))
    if zoo is None:
        if not system:
            raise NwsError("which zoo? nws info ZOO, or nws info --system")
        return
    opened = Zoo(zoo)
    if card:
        from nws.results import write

        write(opened.path / "README.md", opened.card())
        terminal.console.print(f"wrote {opened.path / 'README.md'}")
    _show_summary(opened, as_json)


@app.command
def verify(
    zoo: ZooPath,
    /,
    *,
    repair: Annotated[
        bool, Parameter(negative="", help="Move damaged nets aside, so that `nws sample` trains them again.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Read every net whole and check it. Exit code 0: all is well; 2: something is damaged or missing."""
    from nws import terminal
    from nws.zoo import Zoo

    with terminal.spinner(quiet=as_json) as tell:
        report = Zoo(zoo).verify(repair=repair, progress=lambda n, total: tell(f"checked {n} of {total} nets"))
    if as_json:
        _print_json(report.to_dict())
    else:
        terminal.out.print("\n".join(report.lines()), markup=False)
    return 0 if report.ok else 2


@app.command
def classify(
    zoo: ZooPath,
    /,
    *,
    properties: Annotated[
        str, Parameter(name="--property", help="Properties, comma between, or all that differ in the zoo: " + ", ".join(PROPERTIES))
    ] = "all",
    meta: Annotated[
        str, Parameter(help="Meta-classifiers, comma between: svm-linear-16, svm-rbf-16, svm-linear-480, svm-rbf-480, dmc.")
    ] = "svm-linear-16,svm-rbf-16,svm-linear-480,svm-rbf-480",
    snapshots: Annotated[str | None, Parameter(help="11:20, 20, or 1,5,20; default: the last four.")] = None,
    slice_length: Annotated[
        str | None,
        Parameter(name="--slice", help="Weights a meta-classifier sees at once, or whole; default: dmc 5000, SVMs whole nets."),
    ] = None,
    part: Annotated[Literal["all", "conv", "fc"], Parameter(help="Which part of the nets is read.")] = "all",
    rounds: Annotated[int, Parameter(help="Independent repetitions.")] = 10,
    seed: Annotated[int, Parameter(help="Of splits, slices and meta-classifiers.")] = 0,
    split: Annotated[
        Literal["rounds", "stored"], Parameter(help="rounds: each round draws its own test nets; stored: the zoo's split in all.")
    ] = "rounds",
    converged: Annotated[bool, Parameter(negative="", help="Only nets above the paper's accuracy thresholds.")] = False,
    steps: Annotated[
        int, Parameter(help="Training steps of the DMC at most: minutes a round on a CPU. The paper's local DMC takes 125,000.")
    ] = 200,
    out: Annotated[Path | None, Parameter(help="Folder for results.json, results.csv, the figure and the models.")] = None,
    as_json: Json = False,
) -> None:
    """Train meta-classifiers that read hyper-parameters back from weights; accuracy against chance with intervals."""
    from nws import meta as meta_classifiers
    from nws import results, terminal
    from nws.zoo import Zoo

    _positive(rounds=rounds, steps=steps)
    names = _names(meta, "meta-classifier", meta_classifiers.METAS)
    options = {"snapshots": _numbers(snapshots), "slice_length": _slice(slice_length), "part": part, "converged": converged}
    opened = Zoo(zoo)
    tasks = _tasks(opened, properties, options | {"split": split})
    settings = {"dmc": {"max_steps": steps}}
    with terminal.spinner(quiet=as_json) as tell:
        rows = results.classify(opened, tasks, names, rounds=rounds, seed=seed, out=out, settings=settings, tell=tell)
    if out:
        from nws import figures

        figures.save(figures.meta_classification(rows), out / "meta_classification")
    if as_json:
        _print_json([r.row() for r in rows])
    else:
        terminal.out.print(terminal.results(rows))
        if out:
            terminal.console.print(f"rows, figure and models are in {out}")


@app.command
def images(*, data: Annotated[Path | None, Parameter(help="Folder to look in.")] = None, as_json: Json = False) -> None:
    """List the image sets nws knows, and where each is found on this machine."""
    from nws import images as image_sets
    from nws import terminal

    found = {name: image_sets.where(name, data) for name in image_sets.NAMES}
    if as_json:
        _print_json(found)
    else:
        terminal.out.print(terminal.facts(list(found.items()), "Image sets"))


@app.command
def demo(
    *,
    out: Annotated[Path, Parameter(help="Folder everything goes to.")] = Path("nws-demo"),
    nets: Annotated[int, Parameter(help="Nets to train.")] = 72,
    workers: Annotated[int | None, Parameter(help="Processes; default: one per core.")] = None,
    as_json: Json = False,
) -> None:
    """The whole story in minutes: train a small zoo on handwritten digits, read four training choices back from the weights."""
    from nws import demo as story
    from nws import terminal

    _positive(nets=nets, workers=workers)
    rows = story.run(out, nets=nets, workers=workers)
    if as_json:
        _print_json([r.row() for r in rows])
    else:
        terminal.out.print(terminal.results(rows))
        terminal.console.print(f"the zoo is {out / 'zoo'}, the figure {out / 'demo.png'}, the rows {out / 'results.json'}")


def _tasks(zoo: Zoo, properties: str, options: dict[str, Any]) -> list[Task]:
    from nws.protocol import Task

    names = _names(properties, "property", PROPERTIES) if properties != "all" else zoo.varying()
    return [Task(name, **options) for name in names]


def _names(text: str, what: str, valid: Iterable[str]) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    valid = list(valid)
    for name in names:
        if name not in valid:
            raise unknown(what, name, valid)
    if not names:
        raise NwsError(f"name at least one {what}: {', '.join(valid)}")
    return list(dict.fromkeys(names))


def _narrowed(pairs: list[str]) -> dict[str, list[Any]]:
    """["optimizer=adam,rmsprop"] -> {"optimizer": ["adam", "rmsprop"]}"""
    options = {}
    for pair in pairs:
        name, _, values = pair.partition("=")
        if name not in PROPERTIES:
            raise unknown("property", name, PROPERTIES)
        options[name] = [PROPERTIES[name].parse(v.strip()) for v in values.split(",")]
    return options


def _numbers(text: str | None) -> tuple[int, ...]:
    """ "11:20" -> 11 to 20; "1,5,20" -> those; None -> ()"""
    if text is None:
        return ()
    try:
        first, colon, last = text.partition(":")
        numbers = tuple(range(int(first), int(last) + 1)) if colon else tuple(int(n) for n in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers:
        raise NwsError(f"--snapshots {text}: write 11:20, 20 or 1,5,20")
    return numbers


def _slice(text: str | None) -> int | str | None:
    if text is None or text == "whole":
        return text
    try:
        return int(text)
    except ValueError:
        raise NwsError(f"--slice {text}: give a number of weights, or whole") from None


def _positive(**values: int | None) -> None:
    for name, value in values.items():
        if value is not None and value < 1:
            raise NwsError(f"--{name.replace('_', '-')} {value}: must be at least 1")


def _show_summary(zoo: Zoo, as_json: bool) -> None:
    from nws import terminal

    summary = zoo.summary()
    if as_json:
        _print_json(summary)
    else:
        terminal.out.print(terminal.zoo_table(summary))


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=1, default=str))


def main() -> None:
    """The entry point: exit code 0 done, 1 a bug, 2 bad input or a damaged file, 130 Ctrl-C."""
    try:
        code = app(sys.argv[1:], exit_on_error=False, print_error=False)
    except (NwsError, CycloptsError) as error:
        print("nws: " + " ".join(str(error).split()), file=sys.stderr)
        code = 2
    except OSError as error:  # a folder that may not be written, a full disk: what no module could say better
        print(f"nws: {error.filename or 'file'}: {error.strerror or error}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        print("nws: stopped; what was finished is kept, the same command goes on", file=sys.stderr)
        code = 130
    sys.exit(code or 0)


if __name__ == "__main__":
    main()
