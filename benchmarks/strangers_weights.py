"""Files of weights for `fuzz.py`: small valid ones of every format, written by the tests' writers, and how they are read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def checkpoint(name: str, writer: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        import test_weights as files

        known = files.WRITERS.get(writer) or getattr(files, writer)
        known(folder / name, files.small_net())

    return make


def flax(folder: Path) -> None:
    from foreign_files import flax
    from test_flax_and_gguf import flax_tree
    from test_weights import small_net

    state = {"step": 7, "opt_state": {"0": {"mu": np.ones(3, np.float32)}}, "name": "a", "on": True, "x": 0.5}
    (folder / "a.msgpack").write_bytes(flax({**state, **flax_tree(small_net())}))


def gguf(folder: Path) -> None:
    from foreign_files import gguf
    from test_weights import small_net

    settings = {"general.architecture": "llama", "general.alignment": 32, "a": 0.5, "on": True, "tokens": ["a", "bc"]}
    state = {f"{name}.weight": array for name, array in small_net().items()}
    (folder / "a.gguf").write_bytes(gguf(state, settings))


def graph(folder: Path) -> None:
    """Of the operators that onnx_graph.py looks at."""
    from test_onnx_graphs import numbers, save

    nodes: list[tuple[str, list[str], list[str], dict[str, Any]]] = [
        ("ConvTranspose", ["x", "w"], ["a"], {"group": 1}),
        ("Mul", ["a", "scale"], ["b"], {}),
        ("Add", ["b", "shift"], ["c"], {}),
        ("Transpose", ["c"], ["d"], {"perm": [0, 2, 3, 1]}),
        ("MatMul", ["d", "k"], ["e"], {}),
        ("Add", ["e", "bias"], ["f"], {}),
        ("PRelu", ["f", "slope"], ["g"], {}),
        ("Unsqueeze", ["r"], ["s"], {}),
        ("LSTM", ["g", "s", "s", "h"], ["y"], {}),
    ]
    tensors = {"w": numbers(3, 4, 3, 3), "k": numbers(36, 5), "r": numbers(8, 2), "h": numbers(1, 16), "slope": numbers(5)}
    save(folder / "a.onnx", nodes, tensors | {"scale": numbers(1, 4, 1, 1), "shift": numbers(1, 4, 1, 1), "bias": numbers(5)})


def keras(name: str, writer: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        import keras_files

        getattr(keras_files, writer)(folder / name)

    return make


def newest_hdf5(folder: Path) -> None:
    """The library's newest structures, chunks that are packed, and lists of texts of any length."""
    import h5py

    with h5py.File(folder / "a.h5", "w", libver="latest") as file:
        file.attrs["layer_names"] = ["b", "a"]
        for layer in ("a", "b"):
            group = file.create_group(layer)
            group.attrs["weight_names"] = [f"{layer}/kernel:0", f"{layer}/bias:0"]
            group.create_dataset(
                f"{layer}/kernel:0", data=np.ones((8, 8), "f4"), chunks=(4, 8), compression="gzip", maxshape=(None, 8)
            )
            group[f"{layer}/bias:0"] = np.ones(8, "f4")


def training_state(folder: Path) -> None:
    import torch

    state = {"layer.weight": torch.ones(2, 3), "layer.bias": torch.ones(2).half(), "n": torch.tensor(3)}
    torch.save({"model": state, "optimizer": {"state": {0: torch.ones(2)}}, "epoch": 3, "config": {"lr": 0.1}}, folder / "a.pt")


def module(name: str, new: bool = True) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        import torch

        model = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3), torch.nn.Flatten(), torch.nn.Linear(27, 2))
        if name == "a.jit":
            torch.jit.save(torch.jit.trace(model.eval(), torch.ones(1, 2, 5, 5)), folder / name)
        else:
            torch.save({"actor": model, "actor_ema": model}, folder / name, _use_new_zipfile_serialization=new)

    return make


def shards(folder: Path) -> None:
    import test_nets

    test_nets.sharded(folder, ".safetensors")


def read_shards(folder: Path) -> None:
    from nws.weights import ordered, read

    ordered(read(folder))


def read_checkpoint(folder: Path) -> None:
    from nws.weights import ordered, read

    ordered(read(next(iter(folder.iterdir()))))
