"""Model Zoos (Schuerholt et al. 2022): folders of runs with result.json, and data sets that pickle whole objects."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from nws.errors import NwsError
from nws.importers.source import Imported, Item, Moment, Source, file_fingerprint, fingerprint, fraction, net_of, seconds
from nws.recorded import printable
from nws.weights import Checkpoint, Limits, archive, ordered, torch_file
from nws.weights import read as read_checkpoint
from nws.weights.checkpoint import check_declared, shown
from nws.weights.state import numbers_only
from nws.weights.stored import Stored
from nws.weights.unpickling import StandIn

KIND = "model-zoos"
# What means the same as one of ours; its values are kept as they are.
OURS = {
    "optim::optimizer": "optimizer",
    "optim::lr": "learning_rate",
    "model::nlin": "activation",
    "model::init_type": "initialization",
    "training::batchsize": "batch_size",
}
_IDENTITY = ("seed", "model::seed", "cuda", "training::seed")  # of one machine or one net: no properties
_MEASURED = {"train_accuracy": ("train_acc",), "validation_accuracy": ("validation_acc", "val_acc"), "test_accuracy": ("test_acc",)}
_LARGEST_JSON = 64 << 20
_SETS = {"trainset": "train", "valset": "train", "testset": "test"}  # their side in the zoo


def open_source(path: Path) -> Source:
    """path: the folder of the runs (each with result.json), or a dataset_*.pt."""
    if path.is_file():
        return _pickled(path)
    if not path.is_dir():
        raise NwsError(f"{shown(path)} is not there: name a folder of runs, or a dataset_*.pt")
    runs = sorted(run for run in path.iterdir() if (run / "result.json").is_file() and not run.is_symlink())
    if not runs:
        raise NwsError(f"{shown(path)} holds no runs (folders with result.json): name the folder of a zoo")

    def items() -> Iterator[Item]:
        for number, run in enumerate(runs):
            yield Item(number, shown(run), partial(_load_run, number, run))

    return Source(KIND, fingerprint(run.name for run in runs), len(runs), items)


# -- folders of runs -----------------------------------------------------------------------------------------------------------


def _load_run(number: int, run: Path) -> Imported:
    results = _results(run / "result.json")
    moments: list[Moment] = []
    notes: list[str] = []
    for epoch, file in _checkpoints(run):
        weights = ordered(read_checkpoint(file, kind=".pt"))
        moments.append(Moment(weights, epoch, **_measured(results.get(epoch, {}))))
        notes += weights.notes
    if not moments:
        raise NwsError(f"{shown(run)} has no checkpoint_*/checkpoints")
    last = list(results.values())[-1] if results else {}
    config = last.get("config")
    values, about = _properties(config if isinstance(config, dict) else {})
    net = net_of(number, values, moments, {**about, "run": shown(run.name)}, seconds(last.get("time_total_s")))
    return Imported(net, None, max(m.weights.difference for m in moments), tuple(notes))


def _checkpoints(run: Path) -> Iterator[tuple[int, Path]]:
    """(epoch, file), in the order of the epochs; links are not followed."""
    found = []
    for folder in run.iterdir():
        match = re.fullmatch(r"checkpoint_(\d{1,9})", folder.name)
        file = folder / "checkpoints"
        if match and file.is_file() and not folder.is_symlink() and not file.is_symlink():
            found.append((int(match[1]), file))
    yield from sorted(found)


def _results(path: Path) -> dict[int, dict[str, Any]]:
    """Epoch -> what the run reported after it; a JSON object per line, a broken last line of a killed run is left out."""
    with open(path, "rb") as file:
        text = file.read(_LARGEST_JSON + 1)
    if len(text) > _LARGEST_JSON:
        raise NwsError(f"{shown(path)} is larger than {_LARGEST_JSON >> 20} MB: no run reports so much")
    results = {}
    for line in text.decode("utf-8", "backslashreplace").splitlines():
        try:
            record = json.loads(line)
            results[int(record["training_iteration"])] = record
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            continue
    return dict(sorted(results.items()))


def _measured(record: Mapping[str, Any]) -> dict[str, float]:
    return {ours: next((fraction(record[n]) for n in names if n in record), float("nan")) for ours, names in _MEASURED.items()}


def _properties(config: Mapping[Any, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(properties, about): what is no text, number or switch, and what names one machine or net, is provenance."""
    values: dict[str, Any] = {}
    about: dict[str, Any] = {"source": KIND}
    for name, value in list(config.items())[:200]:
        name = printable(name)
        plain = isinstance(value, bool | int | float | str) and not (isinstance(value, str) and "/" in value)
        if plain and name not in _IDENTITY:
            values[OURS.get(name, name)] = value
        elif isinstance(value, bool | int | float | str):
            about[name] = printable(value)[:1000] if isinstance(value, str) else value
    return values, about


# -- pickled data sets ---------------------------------------------------------------------------------------------------------


def _pickled(path: Path) -> Source:
    limits = Limits(tensors=10_000_000, bytes=64 << 30)
    with archive.opened(path, limits) as opened:
        loaded = torch_file.of_archive(opened, shown(path)).object
    if not isinstance(loaded, dict):
        loaded = {"trainset": loaded}
    nets: list[tuple[str, Any, list[int], Any]] = []
    for name, data in loaded.items():
        state = data.state if isinstance(data, StandIn) else {}
        samples = state.get("data_in", state.get("data"))
        if name in _SETS and isinstance(samples, list):
            nets += [(name, state, rows, samples) for rows in _grouped(state, len(samples))]
    if not nets:
        raise NwsError(
            f"{shown(path)} holds no data set of checkpoints (trainset, valset, testset): import the folder of runs instead"
        )

    def items() -> Iterator[Item]:
        with torch_file.opened(path, limits) as opened:
            for number, (name, state, rows, samples) in enumerate(nets):
                load = partial(_load_sample, number, name, state, rows, samples, opened)
                yield Item(number, f"{shown(path)}, {name} {rows[0]}", load)

    return Source(KIND, file_fingerprint(path), len(nets), items)


def _grouped(state: Mapping[str, Any], samples: int) -> list[list[int]]:
    """Positions of the snapshots of each net: those with the same path."""
    paths = state.get("paths")
    if not isinstance(paths, list) or len(paths) != samples:
        return [[k] for k in range(samples)]
    groups: dict[str, list[int]] = {}
    for k, path in enumerate(paths):
        groups.setdefault(str(path) if isinstance(path, str) else f"#{k}", []).append(k)
    return list(groups.values())


def _load_sample(number: int, name: str, state: Mapping[str, Any], rows: list[int], samples: list[Any], opened: Any) -> Imported:
    moments = []
    properties, epochs = state.get("properties"), state.get("epochs")
    properties = properties if isinstance(properties, dict) else {}
    epochs = epochs if isinstance(epochs, list) else []
    for k in rows:
        row = {str(key): column[k] for key, column in properties.items() if isinstance(column, list) and k < len(column)}
        epoch = epochs[k] if k < len(epochs) and type(epochs[k]) is int and epochs[k] >= 0 else None
        if not isinstance(samples[k], dict):
            raise NwsError(f"sample {k} of {name} is no state dict: a vector of weights does not say which tensors it holds")
        stored = {str(key): t for key, t in samples[k].items() if isinstance(t, Stored)}
        check_declared(Path(name), ((key, t.shape, 8) for key, t in stored.items()), Limits())
        arrays, _ = numbers_only({key: t.read(opened.fetch) for key, t in stored.items()})
        weights = ordered(Checkpoint(Path(f"{name} {k}"), "torch", tuple(arrays), arrays))
        moments.append(Moment(weights, epoch, **_measured(row)))
    values, about = _properties({key: value for key, value in row.items() if not key.endswith("_acc") and key not in _REPORTED})
    path = state["paths"][rows[0]] if isinstance(state.get("paths"), list) and len(state["paths"]) == len(samples) else ""
    net = net_of(number, values, moments, {**about, "set": name, "run": printable(Path(str(path)).name)})
    return Imported(net, _SETS[name], max(m.weights.difference for m in moments))


_REPORTED = ("training_iteration", "ggap", "test_loss", "train_loss", "validation_loss")  # measured, not chosen
