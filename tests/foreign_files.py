"""Files of other people's zoos, written by their public descriptions, byte by byte where there is no library; tests only."""

import csv
import gzip
import json
import pickle
import pickletools
import struct
import zipfile

import numpy as np

from nws import importers
from nws.zoo import Zoo

CNN = (  # the Small CNN Zoo's variables, in its order
    ("sequential/conv2d/bias:0", (4,)),
    ("sequential/conv2d/kernel:0", (3, 3, 1, 4)),
    ("sequential/conv2d_1/bias:0", (4,)),
    ("sequential/conv2d_1/kernel:0", (3, 3, 4, 4)),
    ("sequential/dense/bias:0", (10,)),
    ("sequential/dense/kernel:0", (4, 10)),
)
STEPS = (0, 1, 86)


def table(path, rows):
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def small_cnn_zoo(folder, nets=8, packed=True):
    """Optimizers adam and sgd tell by the sign of the weights' mean; returns the matrix."""
    folder.mkdir()
    start, layout = 0, []
    for name, shape in CNN:
        size = int(np.prod(shape))
        layout.append({"varname": name, "start_idx": start, "end_idx": start + size, "shape": str(shape)})
        start += size
    table(folder / "layout.csv", layout)
    rng, rows, matrix = np.random.default_rng(0), [], []
    for net in range(nets):
        for step in STEPS:
            said = {
                "activation": "relu" if net % 4 < 2 else "tanh",
                "dataset": "cifar10",
                "dropout": 0.1 * net,
                "l2reg": 10.0 ** -(net + 1),
                "learning_rate": 0.001 * (net + 1),
                "optimizer": ("adam", "sgd")[net % 2],
                "random_seed": net,
                "w_init": ("glorot_normal", "orthogonal")[net % 2],
            }
            row = {f"config.{name}": value for name, value in said.items()}
            measured = {"test_accuracy": 0.1 + step / 200, "test_loss": 2.3, "train_accuracy": 0.5, "train_loss": 2.2}
            rows.append({**row, "modeldir": f"/a/b/{net}", "step": step, **measured})
            matrix.append(rng.normal((-1, 1)[net % 2], 1, start).astype(np.float32))
    table(folder / ("metrics.csv.gz" if packed else "metrics.csv"), rows)
    np.save(folder / "weights.npy", np.stack(matrix))
    return np.stack(matrix)


def foreign_zoo(folder, nets):
    """A Small CNN Zoo, imported into folder / "zoo"."""
    small_cnn_zoo(folder / "source", nets)
    importers.fill(importers.open_source("small-cnn-zoo", folder / "source"), folder / "zoo")
    return Zoo(folder / "zoo")


def state_dict(rng):
    """The small CNN of the Model Zoos: 8, 6, 4 channels, then 36 inputs to 20 and 10 units: 2,464 weights."""
    import torch

    shapes = {0: (8, 1, 5, 5), 3: (6, 8, 5, 5), 6: (4, 6, 2, 2), 9: (20, 36), 11: (10, 20)}
    state = {}
    for layer, shape in shapes.items():
        state[f"module_list.{layer}.weight"] = torch.from_numpy(rng.standard_normal(shape).astype(np.float32))
        state[f"module_list.{layer}.bias"] = torch.from_numpy(rng.standard_normal(shape[0]).astype(np.float32))
    return state


CONFIG = {
    "model::nlin": "tanh",
    "model::init_type": "kaiming_uniform",
    "model::dropout": 0.0,
    "optim::optimizer": "sgd",
    "optim::lr": 0.003,
    "optim::wd": 1e-4,
    "dataset::dump": "/somebody/dataset.pt",
    "seed": 7,
}


def model_zoo(folder, nets=3, epochs=(0, 2, 5)):
    """Raw runs. Returns net -> epoch -> state dict."""
    import torch

    made = {}
    for net in range(nets):
        run = folder / f"NN_tune_trainable_{net:05d}"
        made[net] = {}
        for epoch in epochs:
            checkpoint = run / f"checkpoint_{epoch:06d}"
            checkpoint.mkdir(parents=True)
            made[net][epoch] = state_dict(np.random.default_rng([net, epoch]))
            torch.save(made[net][epoch], checkpoint / "checkpoints")
        lines = [
            {"training_iteration": e, "train_acc": 0.1 * e, "test_acc": 0.09 * e, "time_total_s": 3.0 * e, "config": CONFIG}
            for e in range(1, 6)
        ]
        (run / "result.json").write_text("\n".join(map(json.dumps, lines)) + '\n{"training_iter')
    return made


def pickled(path, build):
    """A torch archive whose data.pkl is what `build(global_, tensor)` writes by hand: opcodes, not objects.

    build returns the bytes of the pickle's body; tensor(array) is the body of a tensor whose storage goes into the archive.
    """
    storages = []

    def global_(module, name):
        return b"c" + module.encode() + b"\n" + name.encode() + b"\n"

    def tensor(array):
        key = str(len(storages))
        storages.append(array.astype("<f4").tobytes())
        kind = b"(" + dump("storage") + global_("torch", "FloatStorage") + dump(key) + dump("cpu") + dump(array.size) + b"t" + b"Q"
        strides = tuple(s // array.itemsize for s in np.ascontiguousarray(array).strides)
        rest = dump(0) + dump(array.shape) + dump(strides) + dump(False) + global_("collections", "OrderedDict") + b")R"
        return global_("torch._utils", "_rebuild_tensor_v2") + b"(" + kind + rest + b"tR"

    body = build(global_, tensor)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + body + b".")
        for key, data in enumerate(storages):
            archive.writestr(f"archive/data/{key}", data)
        archive.writestr("archive/version", "3\n")


def dump(value):
    """The body of a pickle of plain values: without its beginning and its end, and without memo."""
    return pickletools.optimize(pickle.dumps(value, 2))[2:-1]


def pickled_data_set(path, samples):
    """What torch.save of {"trainset": ModelDatasetBase ...} leaves: samples are set -> [(path, epoch, state dict, properties)]."""

    def build(global_, tensor):
        body = b"}("
        for name, rows in samples.items():
            body += dump(name) + global_("model_dataset_base", "ModelDatasetBase") + b")\x81" + b"}("
            body += dump("data_in") + b"](" + b"".join(_state(global_, tensor, row[2]) for row in rows) + b"e"
            body += dump("paths") + b"](" + b"".join(_path(global_, row[0]) for row in rows) + b"e"
            body += dump("epochs") + dump([row[1] for row in rows])
            columns = {key: [row[3][key] for row in rows] for key in rows[0][3]}
            body += dump("properties") + dump(columns) + b"u" + b"b"
        return body + b"u"

    pickled(path, build)


def _state(global_, tensor, state):
    items = b"".join(dump(name) + tensor(t.numpy()) for name, t in state.items())
    return global_("collections", "OrderedDict") + b")R(" + items + b"u"


def _path(global_, path):
    return global_("pathlib", "PosixPath") + b"(" + b"".join(dump(part) for part in path.split("/")) + b"tR"


def flax(tree):
    """What flax.serialization.to_bytes writes of a nested dictionary: arrays are extension 1 of msgpack.

    A tuple stands for an array of a type that NumPy lacks: (bytes, shape, name of the type).
    """
    import msgpack

    def extension(value):
        if isinstance(value, tuple):
            return msgpack.ExtType(1, msgpack.packb((value[1], value[2], value[0]), use_bin_type=True))
        if isinstance(value, np.ndarray):
            return msgpack.ExtType(1, msgpack.packb((value.shape, value.dtype.name, value.tobytes()), use_bin_type=True))
        raise TypeError(type(value))

    return msgpack.packb(tree, default=extension, strict_types=True)


def gguf(state, settings=None, kinds=None):
    """A GGUF file of version 3; kinds: name -> number of the type that the file claims for a tensor."""
    numbers = {np.dtype(np.float32): 0, np.dtype(np.float16): 1, np.dtype(np.float64): 28, np.dtype(np.uint16): 30}

    def text(value):
        return struct.pack("<Q", len(value.encode())) + value.encode()

    def setting(value):
        if isinstance(value, bool):
            return struct.pack("<I?", 7, value)
        if isinstance(value, int):
            return struct.pack("<II", 4, value)
        if isinstance(value, float):
            return struct.pack("<If", 6, value)
        if isinstance(value, str):
            return struct.pack("<I", 8) + text(value)
        return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(text, value))

    settings = settings or {}
    header = b"GGUF" + struct.pack("<IQQ", 3, len(state), len(settings))
    header += b"".join(text(key) + setting(value) for key, value in settings.items())
    data = b""
    for name, array in state.items():
        kind = (kinds or {}).get(name, numbers[array.dtype])
        header += text(name) + struct.pack("<I", array.ndim) + struct.pack(f"<{array.ndim}Q", *array.shape[::-1])
        header += struct.pack("<IQ", kind, len(data))
        data += array.tobytes() + bytes(-array.nbytes % 32)
    return header + bytes(-len(header) % 32) + data
