"""The command `python meta_classifier.py` of the 2020 program: train a deep meta-classifier on split tables, and evaluate it."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nws.atomic import write_whole
from nws.errors import NwsError
from nws.layout import PARTS
from nws.legacy.files import make_folder
from nws.legacy.flags import Flag, exit_code, parse, show
from nws.legacy.nets import Nets, Question, load, marks, probabilities, scores, split_validation
from nws.legacy.split_tables import PROPS, options_of, property_at, read_table

_LINES = 50  # of progress in one training
FLAGS = (
    Flag("data_train", "data_train.csv", "table of the runs to train on"),
    Flag("data_test", "data_test.csv", "table of the runs to test on"),
    Flag("log_dir", "output", "folder of the model and the results"),
    Flag("model_pth", None, "saved model to evaluate, with --training=0: LOG_DIR/model of an earlier training", type=str),
    Flag("batch_size", 64, "slices in a training step; also the slices of each net that --valid_avg averages", least=2),
    Flag("learning_rate", 1e-3, "at the start", least=1e-12),
    Flag("epochs", 50, "passes over the training snapshots, a fresh random slice of each every time", least=1),
    Flag("shuffle_epochs", True, "shuffle the snapshots at each epoch", fixed="every epoch is a fresh shuffle"),
    Flag("dropout", 0.5, "share of units that dropout keeps, as in the 2020 program", least=1e-3),
    Flag("batchn", True, "batch normalization", fixed="the DMC is the paper's (Table 3)"),
    Flag("decay_frequency", 50, "how often in the run the learning rate is multiplied by 0.95", least=0),
    Flag("prop", 0, "property to read: " + ", ".join(f"{k} {p.name}" for k, p in enumerate(PROPS)), least=0),
    Flag("dnn_part", 0, "part of the nets to read: 0 all, 1 convolutional, 2 fully connected", least=0),
    Flag("slice_length", 5000, "weights that are seen at once", least=2),
    Flag("K", "20,20", "first and last snapshot"),
    Flag("P", 100, "positions of --valid_pos", least=1),
    Flag("training", True, "train; else evaluate --model_pth"),
    Flag("valid_pos", False, "write the class probabilities at P positions of each test net to LOG_DIR/step_K.bin"),
    Flag("valid_avg", False, "write each test net's accuracy, averaged over its slices, to LOG_DIR/valid_avg_....txt"),
    Flag("load_uniform", True, "balance the classes of the test table; the training table always is"),
    Flag("root", None, "not in the 2020 program: a further folder the tables' paths may lie in", type=str),
    Flag("seed", 0, "not in the 2020 program: of validation nets, slices and the model", least=0),
)
ABOUT = "Read a hyper-parameter back from raw weights with a deep meta-classifier, on runs in the 2020 layout (docs/legacy.md)."


def main(argv: Sequence[str]) -> int:
    """Run the command with these arguments; returns its exit code."""
    return exit_code("meta_classifier.py", run, argv)


def run(argv: Sequence[str]) -> None:
    started = time.perf_counter()
    flags = parse("meta_classifier", ABOUT, FLAGS, argv)
    question = asked(flags)
    folder, notes = Path(flags.log_dir), list[str]()

    def warn(note: str) -> None:
        notes.append(note)
        print(f"note: {note}", flush=True)

    if flags.training:
        dmc = untrained(flags, question)
        nets, validation, test = _training_nets(flags, question, warn)
        show(flags)
        make_folder(folder)
        meta, about = trained(dmc, question, nets)
        sides = {"training": nets, "validation": validation, "test": test}
        _save(meta, folder / "model", about)
    else:
        meta, about = loaded(flags, question)
        known = () if meta.regression else tuple(meta.classes_)
        test = load(read_table(flags.data_test, flags.root), question, flags.load_uniform, warn, known)
        show(flags)
        make_folder(folder)
        sides = {"test": test}
    result = measured(meta, about, sides)
    result |= {"settings": vars(flags), "notes": notes, "seconds": time.perf_counter() - started}
    write_whole(folder / "result.json", json.dumps(result, indent=1).encode())
    if flags.valid_avg:
        write_averages(meta, test, question, flags, folder)
    if flags.valid_pos:
        write_positions(meta, test, question, flags.P, folder)
    print(f"The results are in {folder}", flush=True)


def asked(flags: argparse.Namespace) -> Question:
    """The question the flags ask; NwsError where they make no sense together."""
    property_ = property_at(flags.prop)
    if flags.dnn_part >= len(PARTS):
        raise NwsError(f"--dnn_part={flags.dnn_part} is no part: use 0 all, 1 conv, 2 fc")
    try:
        first, last = (int(k) for k in flags.K.split(","))
    except ValueError:
        first, last = 1, 0
    if not 1 <= first <= last < 10**6:
        raise NwsError(f"--K={flags.K}: give the first and the last snapshot, such as --K=11,20")
    if flags.training and flags.model_pth is not None:
        raise NwsError("--model_pth is evaluated, not trained further: add --training=0, or leave it out")
    if not flags.training and flags.model_pth is None:
        raise NwsError("--training=0 evaluates a saved model: name it with --model_pth=LOG_DIR/model")
    if flags.valid_pos and property_.continuous:
        raise NwsError(f"--valid_pos writes class probabilities, and {property_.name} has no classes: use --valid_avg")
    return Question(property_, PARTS[flags.dnn_part], flags.slice_length, tuple(range(first, last + 1)))


def _training_nets(flags: argparse.Namespace, question: Question, warn: Callable[[str], None]) -> tuple[Nets, Nets, Nets]:
    """(training, validation, test) nets. Both tables are read before any weights."""
    table, test_table = (read_table(path, flags.root) for path in (flags.data_train, flags.data_test))
    present = {question.label(row) for row in table.rows if question.size(row) >= question.slice_length}
    if len(present) == 1:
        raise NwsError(
            f"{question.property.name} cannot be told apart in {table.path}: each net that can be used has {present.pop()}"
        )
    nets = load(table, question, True, warn)
    test = load(test_table, question, flags.load_uniform, warn, () if question.property.continuous else present)
    train, validation = split_validation(nets, np.random.default_rng([flags.seed, 1]))
    if not len(validation):
        warn(f"{table.path}: {len(nets)} nets are too few to set a tenth aside for validation")
    return train, validation, test


def untrained(flags: argparse.Namespace, question: Question) -> Any:
    """The deep meta-classifier that the flags describe."""
    from nws import meta as meta_classifiers

    if flags.dropout > 1:
        raise NwsError(f"--dropout={flags.dropout:g} is the share of units kept: at most 1")
    return meta_classifiers.make(
        "dmc",
        slice_length=question.slice_length,
        epochs=flags.epochs,
        batch_size=flags.batch_size,
        learning_rate=flags.learning_rate,
        decays=flags.decay_frequency,
        dropout=1.0 - flags.dropout,
        random_state=flags.seed,
        regression=question.property.continuous,
    )


def trained(dmc: Any, question: Question, nets: Nets) -> tuple[Any, dict[str, Any]]:
    """The DMC fitted on all snapshots of the nets, and what is to be known about it."""
    from nws.tasks.results import provenance

    S = len(question.snapshots)
    print(f"training on {len(nets)} nets, {len(nets) * S} vectors", flush=True)
    vectors = [theta for of_net in nets.vectors for theta in of_net]
    dmc.fit(vectors, np.repeat(nets.labels, S), progress=_progress(dmc.epochs))
    about = {
        "property": question.property.name,
        "meta": "dmc",
        "part": question.part,
        "snapshots": list(question.snapshots),
        "train_runs": [row.path for row in nets.rows],
        **({"median": float(np.median(nets.labels))} if question.property.continuous else {}),
        **provenance(),
    }
    return dmc, about


def _progress(epochs: int) -> Callable[[int, int, float], None]:
    """Prints a line about 50 times in a training, with the mean loss since the line before."""
    losses: list[float] = []

    def progress(step: int, steps: int, loss: float) -> None:
        losses.append(loss)
        if step % max(1, steps // _LINES) == 0 or step == steps:
            print(
                f"step {step:05d} of {steps} (epoch {step * epochs / steps:.2f} of {epochs}), loss = {np.mean(losses):.6f}",
                flush=True,
            )
            losses.clear()

    return progress


def loaded(flags: argparse.Namespace, question: Question) -> tuple[Any, dict[str, Any]]:
    """The saved model; NwsError when it answers another question."""
    from nws import meta as meta_classifiers

    path = Path(flags.model_pth)
    if path.suffix in (".json", ".safetensors"):
        path = path.with_suffix("")
    meta: Any = meta_classifiers.load(path / "model" if path.is_dir() else path)
    about = dict(meta.about_)
    if meta.representation.table:
        raise NwsError(f"{path} reads {meta.representation.name}, not weights: name a deep meta-classifier")
    pairs = {
        "prop": (about.get("property"), question.property.name),
        "dnn_part": (about.get("part"), question.part),
        "slice_length": (meta.n_features_in_, question.slice_length),
    }
    for flag, (of_model, wanted) in pairs.items():
        if of_model != wanted:
            raise NwsError(f"{path} was trained with {flag} {of_model}, --{flag} says {wanted}: give the model's own --{flag}")
    return meta, about


def measured(meta: Any, about: dict[str, Any], sides: dict[str, Nets]) -> dict[str, Any]:
    """The accuracies of each side's nets, printed and returned. Chance: of guessing a class, or always saying the median."""
    what = "mean absolute error" if meta.regression else "accuracy"
    result: dict[str, Any] = {"about": about, "metric": what, "classes": [] if meta.regression else _ordered(meta, about)[0]}
    for side, nets in sides.items():
        if len(nets):
            found = scores(meta, nets)
            result[side] = {"nets": len(nets), **found}
            print(
                f"{side:<10} {what}: single slices {found['single_slice']:.6f}, "
                f"per-weight average {found['per_weight_average']:.6f} ({len(nets)} nets)"
            )
    if not meta.regression:
        result["chance"] = 1.0 / len(meta.classes_)
    elif isinstance(about.get("median"), float):
        result["chance"] = float(np.abs(sides["test"].labels - about["median"]).mean())
    if "chance" in result:
        print(f"{'chance':<10} {what}: {result['chance']:.6f}")
    return result


def _ordered(meta: Any, about: dict[str, Any]) -> tuple[list[str], list[int]]:
    """The model's classes in the 2020 program's order, and their positions in `classes_`."""
    property_ = next(p for p in PROPS if p.name == about["property"])
    known = [property_.label(option) for option in options_of(property_, [])]
    classes = meta.classes_.tolist()
    names = sorted(classes, key=lambda c: known.index(c) if c in known else len(known))
    return names, [classes.index(name) for name in names]


def write_averages(meta: Any, nets: Nets, question: Question, flags: argparse.Namespace, folder: Path) -> None:
    """Per snapshot a text file with a line per net: data set, training and test error in %, prop, mean accuracy over
    `batch_size` evenly spread slices (mean absolute error of a regression), then the other twelve hyper-parameters."""
    for s, k in enumerate(question.snapshots):
        lines = []
        for row, vectors, label in zip(nets.rows, nets.vectors, nets.labels):
            accuracy = marks(meta, probabilities(meta, vectors[s : s + 1], flags.batch_size), label).mean()
            train_error, test_error = row.run.error[k - 1]
            dataset, rate, *others = row.hp.to_2020().values()
            first = f"{'_'.join(dataset.split())} {train_error:f} {test_error:f} {flags.prop} {accuracy:f}"
            lines.append(f"{first} {rate:f} {' '.join(map(str, others))}\n")
        name = f"valid_avg_{flags.prop:02d}_{question.slice_length:06d}_{k:02d}_{flags.dnn_part:02d}.txt"
        write_whole(folder / name, "".join(lines).encode())


def write_positions(meta: Any, nets: Nets, question: Question, positions: int, folder: Path) -> None:
    """step_K.bin: class probabilities (N, 1, P, C), float32 little-endian; step_K.json says what its axes are."""
    names, order = _ordered(meta, {"property": question.property.name})
    grid = np.concatenate([probabilities(meta, vectors, positions)[:, None, :, order] for vectors in nets.vectors])
    name = f"step_{question.snapshots[0]:02d}"
    axes = {
        "shape": grid.shape,
        "dtype": "<f4",
        "axes": ["vector: run by run, its snapshots in order", "model", "position, evenly spread over the part", "class"],
        "property": question.property.name,
        "part": question.part,
        "slice_length": question.slice_length,
        "classes": names,
        "snapshots": list(question.snapshots),
        "runs": [row.path for row in nets.rows],
        "labels": nets.labels.tolist(),
    }
    write_whole(folder / f"{name}.bin", grid.astype("<f4").tobytes())
    write_whole(folder / f"{name}.json", json.dumps(axes, indent=1).encode())


def _save(meta: Any, path: Path, about: dict[str, Any]) -> None:
    from nws import meta as meta_classifiers

    meta_classifiers.save(meta, path, about)
