"""The command `python classifier.py` of the 2020 program: train one net with random hyper-parameters, write it as one run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from nws import images as image_sets
from nws.errors import NwsError, unknown
from nws.families.cnn2020 import FIXED, MAIN, HyperParameters
from nws.images import ImageSet
from nws.legacy.files import make_folder, refuse_existing, write_run
from nws.legacy.flags import Flag, exit_code, parse, show
from nws.legacy.split_tables import COLUMNS
from nws.net import Net
from nws.train import Job, Progress, Schedule, train

_IN_PAPER = "the paper fixes it (A.1, A.2)"
FLAGS = (
    Flag("data_dir", None, "folder of the image sets; else $NWS_DATA, else the user's cache, else a download", type=str),
    Flag("data_nmn", None, "image set; drawn among the paper's five when not given", type=str),
    Flag("log_dir", "output", "folder of the runs"),
    Flag("id", 1, "number of this run: it goes to LOG_DIR/0001 and so on, with a negative number to LOG_DIR itself"),
    Flag("transf_scaling", 3.0, "scale of the geometric augmentation", fixed="the paper's augmentation has this scale"),
    Flag("epochs", 1000, "at most; early stopping usually ends a training before", least=1),
    Flag("shuffle_epochs", True, "shuffle the images at each epoch", fixed="every epoch is a fresh shuffle"),
    Flag("dropout", 0.5, "share of units that dropout keeps", fixed=_IN_PAPER),
    Flag("early_stopping", 5, "decreases of the validation accuracy in a row that end a training", fixed=_IN_PAPER),
    Flag("prints", 20, "snapshots to keep, evenly spread over the training", least=1),
    Flag("params", None, f"the hyper-parameters instead of random ones, comma between: {','.join(COLUMNS)}", type=str),
    Flag("fixed", False, "the paper's fixed architecture"),
    Flag("seed", 0, "not in the 2020 program: the net is a function of seed and id", least=0),
    Flag("limit", None, "not in the 2020 program: use a class-balanced subset of so many training images", type=int, least=1),
    Flag("limit_test", None, "not in the 2020 program: the same for the test images", type=int, least=1),
)
ABOUT = "Train one CNN with random hyper-parameters and write its weights in the 2020 program's layout (docs/legacy.md)."


def main(argv: Sequence[str]) -> int:
    """Run the command with these arguments; returns its exit code."""
    return exit_code("classifier.py", run, argv)


def run(argv: Sequence[str]) -> None:
    flags = parse("classifier", ABOUT, FLAGS, argv)
    hp = hyper_parameters(flags)
    folder = Path(flags.log_dir) / f"{flags.id:04d}" if flags.id >= 0 else Path(flags.log_dir)
    if hp.dataset not in image_sets.names():
        raise unknown("image set", hp.dataset, image_sets.names())
    refuse_existing(folder)
    show(flags)
    for column, value in hp.to_2020().items():
        print(f"    {column + ':':<18}{value}")
    limits = {"limit": flags.limit, "limit_test": flags.limit_test}
    images = image_sets.load(hp.dataset, folder=flags.data_dir, progress=sys.stderr.isatty(), **limits)
    make_folder(folder.parent)
    print(f"{len(images.y_train)} training images, {len(images.y_test)} test images", flush=True)
    net = trained(flags, hp, images)
    write_run(net, folder)
    if net.status == "diverged":
        print("The training diverged: the last weights are not finite")
    print(f"{len(net.theta)} snapshots of {net.layout.size} weights are in {folder} ({net.seconds:.0f} s of training)", flush=True)


def hyper_parameters(flags: argparse.Namespace) -> HyperParameters:
    """Those of --params, else random ones: a function of (seed, id). --fixed and --data_nmn overrule."""
    number = _number(flags.id)
    if flags.params is None:
        hp = (FIXED if flags.fixed else MAIN).net(flags.seed, number)
        return hp.with_(dataset=flags.data_nmn) if flags.data_nmn is not None else hp
    values = flags.params.split(",")
    if len(values) != len(COLUMNS):
        raise NwsError(f"--params has {len(values)} values: give {len(COLUMNS)}, {','.join(COLUMNS)}")
    hp = HyperParameters.from_2020(dict(zip(COLUMNS, values)))
    if flags.data_nmn not in (None, hp.dataset):
        raise NwsError(f"--data_nmn={flags.data_nmn}, but --params says {hp.dataset}: leave --data_nmn out")
    if flags.fixed:
        hp = hp.with_(**{name: options[0] for name, options in FIXED.options.items() if len(options) == 1})
    return hp


def trained(flags: argparse.Namespace, hp: HyperParameters, images: ImageSet) -> Net:
    """The net, with a line said about each epoch."""

    def on_progress(progress: Progress) -> None:
        step, train_accuracy, validation, test, _ = progress.record
        print(
            f"step {step:06.0f} (epoch {progress.epoch} of {flags.epochs}): "
            f"train {train_accuracy:.4f}, valid {validation:.4f}, test {test:.4f}",
            flush=True,
        )

    schedule = Schedule(flags.seed, flags.prints, flags.epochs)
    (net,) = train([Job(_number(flags.id), hp)], {hp.dataset: images}, schedule, on_progress=on_progress)
    return net


def _number(id: int) -> int:
    """The net's number, from 0: negative ids are counted from the end."""
    if not -(2**31) <= id < 2**31:
        raise NwsError(f"--id={id} must be {-(2**31)} to {2**31 - 1}")
    return id % 2**32
