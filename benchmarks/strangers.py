"""What `fuzz.py` puts on trial: every format that nws reads, as small valid files, how they are changed, and how they are read."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import mutations as by
import numpy as np
import strangers_weights as weights
import strangers_zoos as zoos
from mutations_hdf5 import hdf5

from nws import FIXED
from nws.zoo import Zoo

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))  # the tests write every format by its description


@dataclass(frozen=True)
class Format:
    """make: writers of valid folders; mutate: end of a file's name -> how it is changed, others are left; read: a folder.

    writes: whether reading writes into the folder, which then is made anew for each input. reach: "module:function" of the reader
    that is called once a file has passed the first look, so that what lies behind it is put on trial.
    """

    make: tuple[Callable[[Path], Any], ...]
    mutate: Mapping[str, by.Mutate]
    read: Callable[[Path], Any]
    writes: bool = False
    reach: str = ""


def _inner(name: str) -> by.Mutate:
    known = {".pkl": by.pickled, ".npy": by.npy, ".json": by.json_text, ".h5": hdf5}
    return next((mutate for ending, mutate in known.items() if name.endswith(ending)), by.some_bytes)


def _imported(kind: str, *where: str) -> Callable[[Path], None]:
    def read(folder: Path) -> None:
        from nws import importers

        source = importers.open_source(kind, folder.joinpath(*where))
        for item in islice(source.items(), 2):
            item.load()

    return read


def _small_cnn_zoo(packed: bool) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        import foreign_files

        folder.rmdir()
        foreign_files.small_cnn_zoo(folder, nets=2, packed=packed)

    return make


def _model_zoo(folder: Path) -> None:
    import foreign_files

    foreign_files.model_zoo(folder, nets=1, epochs=(0, 2))


def _data_set(folder: Path) -> None:
    import foreign_files

    state = {"a.weight": __import__("torch").ones(2, 3), "a.bias": __import__("torch").ones(2)}
    said = {"test_acc": 0.5, "optim::optimizer": "adam"}
    foreign_files.pickled_data_set(folder / "dataset.pt", {"trainset": [("zoo/run", 0, state, said), ("zoo/run", 9, state, said)]})


def _folder_of_checkpoints(folder: Path) -> None:
    np.savez(folder / "a.npz", w=np.ones((2, 3), np.float32))
    (folder / "nets.csv").write_text(
        "path,optimizer,epoch,test_accuracy,net,split\na.npz,adam,3,0.5,0,train\na.npz,adam,5,0.6,0,train\n"
    )


def _runs_2020(folder: Path) -> None:
    from fabricated import tiny

    from nws.families import cnn2020 as cnn
    from nws.legacy.files import write_run
    from nws.legacy.split_tables import write_table

    hp = FIXED.net(0, 0).with_(filter_size=3, width_conv=1, width_fc=8)
    layout = cnn.layout(hp)
    write_run(tiny(0, layout, hp=hp, theta=np.ones((5, layout.size), np.float32)), folder / "0")
    write_table(folder / "t_train.csv", [folder / "0"])


# -- images, results, models, tables ---------------------------------------------------------------------------------------------


def _images(kind: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        import image_files
        from scipy.io import savemat

        labels = np.arange(10, dtype=np.uint8)
        if kind == "idx":
            image_files.write_idx(folder, np.zeros((10, 28, 28), np.uint8), labels)
        elif kind == "cifar":
            image_files.write_cifar(folder / "batch.bin", np.zeros((3, 32, 32, 3), np.uint8), labels[:3])
        elif kind == "stl10":
            image_files.write_stl10(folder, np.zeros((2, 96, 96, 3), np.uint8), labels[1:3])
        else:
            content = {"X": np.zeros((32, 32, 3, 3), np.uint8), "y": labels[1:4, None].astype(float)}
            savemat(folder / "a.mat", content, do_compression=kind == "mat-compressed")

    return make


def _read_images(kind: str) -> Callable[[Path], None]:
    def read(folder: Path) -> None:
        from nws.images import formats

        readers = {"idx": formats.read_idx, "cifar": formats.read_cifar, "stl10": formats.read_stl10, "mat": formats.read_svhn}
        # By their names, not by the folder's order: pictures before labels.
        readers[kind](sorted(folder.iterdir()))

    return read


def _results(folder: Path) -> None:
    from nws.tasks.evaluation import evaluate
    from nws.tasks.protocol import Task

    rng = np.random.default_rng(0)
    zoo = _spread(folder.with_name("zoo-of-results"), rng)
    evaluate(["svm-linear-16"], [Task("optimizer")], zoo, rounds=2, out=folder)
    (folder / "results.csv").unlink()


def _spread(path: Path, rng: np.random.Generator) -> Zoo:
    from fabricated import tiny

    zoo = Zoo.create(path, FIXED)
    for number in range(24):
        zoo.append(tiny(number))
    return zoo


def _read_results(folder: Path) -> None:
    from nws.tasks import results

    rows = results.load(folder / "results.json")
    results.table(rows)


def _read_model(folder: Path) -> None:
    from nws.meta import load

    model = load(next(iter(sorted((folder / "models").glob("*.json")))).with_suffix(""))
    model.predict(np.zeros((1, model.n_features_in_)))


def _tables(folder: Path) -> None:
    import pandas as pd

    from nws import tables

    frame = pd.DataFrame({"net": [3, 4], "name": ["a,b", "=1"], "x": [0.5, np.nan], "on": [True, False]})
    frame.attrs = {"about": {"key": "k"}, "notes": ["a note"]}
    tables.save(frame, folder, "t")


def _read_tables(folder: Path) -> None:
    from nws import tables
    from nws.report.data import Tables

    tables.is_current(folder, "t", "k")
    Tables(folder).read("t", ["net"])


READERS = "nws.weights."
ZIP = by.archive(_inner)
ANY = {"": by.some_bytes}
FORMATS: dict[str, Format] = {
    "net": Format(zoos.ZOOS, {zoos.NET: by.safetensors}, zoos.read_net, reach="nws.zoo.netfile:checked_tensors"),
    "packed": Format(zoos.PACKED, {zoos.SHARD: zoos.shard}, zoos.read_shard, True, "nws.zoo.shardfile:checked_tensors"),
    "zoo.json": Format(zoos.ZOOS, {"zoo.json": by.json_text, "000005.json": by.json_text}, zoos.read_zoo, True),
    "index": Format(
        (*zoos.ZOOS, *zoos.PACKED), {"index.parquet": zoos.parquet, "annotations.json": by.json_text}, zoos.read_index, True
    ),
    "safetensors": Format(
        (weights.checkpoint("a.safetensors", "a.safetensors"),),
        {"": by.safetensors},
        weights.read_checkpoint,
        reach=f"{READERS}safetensors_file:_spans",
    ),
    "torch": Format(
        (weights.checkpoint("a.pt", "a.pt"), weights.training_state),
        {"": ZIP},
        weights.read_checkpoint,
        reach=f"{READERS}torch_file:checkpoint",
    ),
    "torch-old": Format(
        (weights.checkpoint("a.pth", "a.pth"), weights.module("a.pt", False)),
        ANY,
        weights.read_checkpoint,
        reach=f"{READERS}torch_file:checkpoint",
    ),
    "torch-objects": Format(
        (weights.module("a.pt"), weights.module("a.jit")),
        {"": ZIP},
        weights.read_checkpoint,
        reach=f"{READERS}torch_file:checkpoint",
    ),
    "shards": Format(
        (weights.shards,),
        {".json": by.json_text, ".safetensors": by.safetensors},
        weights.read_shards,
        reach=f"{READERS}safetensors_file:_spans",
    ),
    "npz": Format((weights.checkpoint("a.npz", "a.npz"),), {"": ZIP}, weights.read_checkpoint, reach=f"{READERS}npz:_header"),
    "onnx": Format(
        (weights.checkpoint("a.onnx", "write_onnx"), weights.graph),
        ANY,
        weights.read_checkpoint,
        reach=f"{READERS}onnx_file:_array",
    ),
    "msgpack": Format((weights.flax,), ANY, weights.read_checkpoint, reach=f"{READERS}msgpack_file:_flat"),
    "gguf": Format((weights.gguf,), ANY, weights.read_checkpoint, reach=f"{READERS}gguf_file:_array"),
    "h5": Format(
        (weights.checkpoint("a.h5", "write_keras_h5"), weights.keras("a.h5", "xception"), weights.newest_hdf5),
        {"": hdf5},
        weights.read_checkpoint,
        reach=f"{READERS}hdf5:_walk",
    ),
    "keras": Format(
        (weights.checkpoint("a.keras", "write_keras"), weights.keras("a.keras", "modern")),
        {"": by.archive(_inner, raw=0.08, at_all=0.1)},
        weights.read_checkpoint,
        reach=f"{READERS}hdf5:_walk",
    ),
    "small-cnn-zoo": Format(
        (_small_cnn_zoo(True), _small_cnn_zoo(False)),
        {".csv.gz": by.packed(by.table), ".csv": by.table, ".npy": by.npy},
        _imported("small-cnn-zoo"),
    ),
    "model-zoos": Format((_model_zoo,), {"result.json": by.json_lines, "checkpoints": ZIP}, _imported("model-zoos")),
    "model-zoos-pickle": Format((_data_set,), {"": ZIP}, _imported("model-zoos", "dataset.pt")),
    "checkpoints": Format((_folder_of_checkpoints,), {".csv": by.table, ".npz": ZIP}, _imported("checkpoints")),
    "nws2020": Format((_runs_2020,), {".csv": by.table, ".bin": by.some_bytes}, _imported("nws2020", "t_train.csv")),
    "idx": Format((_images("idx"),), {".gz": by.packed(by.some_bytes)}, _read_images("idx")),
    "cifar": Format((_images("cifar"),), ANY, _read_images("cifar")),
    "stl10": Format((_images("stl10"),), ANY, _read_images("stl10")),
    "mat": Format((_images("mat"), _images("mat-compressed")), {"": by.matlab}, _read_images("mat")),
    "results": Format((_results,), {"results.json": by.json_text}, _read_results),
    "meta": Format((_results,), {".json": by.json_text, ".safetensors": by.safetensors}, _read_model),
    "tables": Format((_tables,), {".json": by.json_text}, _read_tables),
}
