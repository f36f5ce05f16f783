"""Zoos that `fuzz.py` makes strange: nets of every kind and format, their plan, index and own columns."""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import mutations as by
import numpy as np

from nws import FIXED, NwsError
from nws.families import Family, standard
from nws.families.space import Property
from nws.layout import Axis, Layout, Tensor
from nws.zoo import Zoo, targets

TESTS = Path(__file__).resolve().parents[1] / "tests"
NET = "nets/000/000000.safetensors"
SHARD = "shards/000/000000-000002-00000000.safetensors"
MADE = 1_700_000_000  # seconds; of every file, so that a stored index counts as fresh


class Own(Family):
    """A user's family: no reader has its code, its zoos keep its table."""

    name = "own"
    properties = (*standard("dataset", "optimizer"), Property("width", (4, 8), "units"), Property("on", (False, True)))
    measures = ("step", "loss", "test_accuracy")


# Axes of every kind: units that a bypass shares, a flattened picture either way round, none at all.
WITH_AXES = Layout(
    [
        Tensor("a", "weight", (4, 3, 1, 1), "conv", 0, axes=(Axis("u"), Axis("input"), Axis(), Axis())),
        Tensor("b", "weight", (4, 4, 1, 1), "conv", 0, axes=(Axis("u"), Axis("u"), Axis(), Axis()), key="bypass.0.weight"),
        Tensor("b", "gamma", (4,), "conv", 0, axes=(Axis("u"),)),
        Tensor("c", "weight", (2, 8), "fc", 0, (2, 1), axes=(Axis("v"), Axis("u", outer=2))),
        Tensor("out", "weight", (3, 6), "fc", 0, axes=(Axis("output"), Axis("v", inner=3))),
    ]
)


def _filled(zoo: Zoo, nets: list[Any]) -> None:
    """Nets, a mark, columns of a user's and an index, as old as each other."""
    import pandas as pd

    for net in nets:
        zoo.append(net)
    zoo.mark_failed(5, "memory ran out")
    zoo.annotate(pd.DataFrame({"net": [0, 2], "cost": [0.5, 3.0], "who": ["a", None]}))
    _settled(zoo.path)


def _settled(folder: Path) -> None:
    for path in folder.rglob("*"):
        os.utime(path, (MADE, MADE))
    assert len(Zoo(folder).index) == 3  # writes the index


def _trained(folder: Path) -> None:
    from fabricated import tiny

    _filled(Zoo.create(folder, FIXED, nets=3, images={"mnist": {"sha256": "ab"}}, epochs=8), [tiny(n) for n in range(3)])


def _foreign(folder: Path) -> None:
    from fabricated import tiny

    from nws.recorded import Recorded

    recorded = Recorded({"dataset": "cifar", "optimizer": "sgd", "status": 3, "wd": 0.1, "on": True})
    zoo = Zoo.create(folder, imported="checkpoints")
    _filled(zoo, [tiny(n, hp=recorded, epoch=np.arange(5)) for n in range(3)])


def _own(folder: Path) -> None:
    from fabricated import tiny

    space, rng = Own().space, np.random.default_rng(0)
    zoo = Zoo.create(folder, space, nets=3, images={"mnist": {"sha256": "ab"}})
    theta = rng.standard_normal((5, WITH_AXES.size)).astype(np.float32)
    more = {"theta": theta, "history": rng.random((9, 3)), "measures": Own.measures}
    _filled(zoo, [tiny(n, WITH_AXES, hp=space.net(0, n), **more) for n in range(3)])


def _of_0_1_0(name: str) -> Callable[[Path], None]:
    """The first three nets of a zoo in formats 1 ("zoo") and 2 ("imported")."""

    def make(folder: Path) -> None:
        for file in ("zoo.json", *(NET.replace("0.safe", f"{n}.safe") for n in range(3))):
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes((TESTS / "written_by_0_1_0" / name / file).read_bytes())
        _settled(folder)

    return make


ZOOS = (_trained, _foreign, _own, _of_0_1_0("zoo"), _of_0_1_0("imported"))


def _packed(make: Callable[[Path], None], beside: bool = False) -> Callable[[Path], None]:
    """The same nets in a shard; beside: the first one in a file of its own, too."""

    def packed(folder: Path) -> None:
        make(folder)
        single = (folder / NET).read_bytes()
        Zoo(folder).pack()
        if beside:
            (folder / NET).write_bytes(single)
        (shard,) = folder.glob("shards/000/*")
        shard.rename(folder / SHARD)
        _settled(folder)

    return packed


PACKED = (*(_packed(make) for make in ZOOS), _packed(_trained, beside=True))


def read_net(folder: Path) -> None:
    from nws.zoo import netfile
    from nws.zoo.reader import ThetaReader

    refused = 0
    reader = ThetaReader(folder)
    starts = np.zeros(1, np.int64)
    for attempt in (
        lambda: netfile.read_net(folder / NET, 0),
        lambda: netfile.read_records(folder / NET, 0),
        lambda: reader.theta(0),
        lambda: reader.slices(0, 1, starts, 8, "memmap"),
        lambda: reader.slices(0, 1, starts, 8, "pread"),
        lambda: [v.sum() for v in reader.vectors(0, 1, "conv")],
    ):
        try:
            attempt()
        except NwsError as error:
            refused, said = refused + 1, error
    if refused:
        raise said


def read_shard(folder: Path) -> None:
    """By every road, then by what mends it: sound nets are never lost to another's damage."""
    zoo, refused = Zoo(folder), 0
    zoo.numbers()
    assert set(zoo.index.index) <= {0, 1, 2}, "the index invents nets"
    for number in (0, 2):
        for attempt in (
            lambda n=number: zoo.net(n),
            lambda n=number: zoo.records(n),
            lambda n=number: zoo.layout(n),
            lambda n=number: zoo.theta(n),
            lambda n=number: zoo.slices(n, 1, 0, 8, "memmap"),
            lambda n=number: zoo.slices(n, 1, 0, 8, "pread"),
            lambda n=number: [v.sum() for v in zoo.vectors(n, 1, "conv")],
        ):
            try:
                attempt()
            except NwsError as error:
                refused, last = refused + 1, error
    zoo.pack()
    zoo.verify(repair=True)
    if refused:
        raise last


def shard(data: bytes, rng: random.Random) -> bytes:
    """Table, common metadata or a net's own text, with every checksum and length made right again; or the file as any other."""
    if rng.random() < 0.4:
        return by.safetensors(data, rng)
    length = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    told = header["__metadata__"]
    ends = [header[name]["data_offsets"][1] for name in ("nets", "metadata")]
    table = np.frombuffer(body[: ends[0]], "<i8").reshape(-1, 6).copy()
    cuts = np.cumsum([0, *table[:, 5]]).tolist()
    texts = [body[ends[0] + a : ends[0] + b] for a, b in pairwise(cuts)]
    kind = rng.randrange(4)
    if kind == 0:
        told["common"] = json.dumps(by.json_value(json.loads(told["common"]), rng))
    elif kind == 1:
        at = rng.randrange(len(texts))
        own = by.json_value(json.loads(texts[at]), rng)
        if isinstance(own, dict) and rng.random() < 0.9:
            own["metadata_sha256"] = _checksum({**json.loads(told["common"]), **own})
        texts[at] = json.dumps(own).encode()
        texts[-1] += b" " * (-sum(map(len, texts)) % 8)
        table[:, 5] = [len(text) for text in texts]
    else:
        for _ in range(rng.choice((1, 1, 2))):
            value = rng.choice([*by.NUMBERS, 3, 92, 460])
            table[rng.randrange(len(table)), rng.randrange(6)] = value if -(1 << 63) <= value < 1 << 63 else 0
        if kind == 3:  # rows in another order, or one less
            table = table[rng.sample(range(len(table)), rng.choice((len(table), len(table) - 1)))]
            told["shard"] = str(len(table))
    told["nets_sha256"] = hashlib.sha256(table.tobytes()).hexdigest()
    told["metadata_sha256"] = _checksum(told)
    made = {"nets": table.tobytes(), "metadata": b"".join(texts)}
    made |= {name: body[slice(*header[name]["data_offsets"])] for name in ("epoch", "history", "theta")}
    reached = 0
    for name, piece in made.items():
        shape = list(table.shape) if name == "nets" else [len(piece)] if name == "metadata" else header[name]["shape"]
        header[name] |= {"shape": shape, "data_offsets": [reached, reached + len(piece)]}
        reached += len(piece)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(made.values())


def _checksum(metadata: dict[str, Any]) -> str:
    told = "".join(f"{key}\0{metadata[key]}\0" for key in sorted(metadata) if key != "metadata_sha256")
    return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()


def read_zoo(folder: Path) -> None:
    zoo = Zoo(folder)
    zoo.missing()
    zoo.failed  # noqa: B018 (it reads the marks)
    Zoo.create(folder, zoo.space, zoo.seed, family=zoo.family, nets=zoo.planned, images=zoo.images, **zoo.settings)


def read_index(folder: Path) -> None:
    zoo = Zoo(folder)
    zoo.varying()
    targets.names(zoo)
    assert sorted(zoo.index.index) == [0, 1, 2], "the index hides or invents nets"


def parquet(data: bytes, rng: random.Random) -> bytes:
    """Half of the time a sound file with other columns or values."""
    import io

    import pandas as pd

    if rng.random() < 0.5:
        return by.some_bytes(data, rng)
    frame = pd.read_parquet(io.BytesIO(data))
    column = rng.choice(list(frame.columns))
    kind = rng.randrange(6)
    if kind == 0:
        frame = frame.drop(columns=column)
    elif kind == 1:
        frame = frame.rename(columns={column: rng.choice(by.TEXTS).replace("\ud800", "")})
    elif kind == 2:
        frame.index = pd.Index([rng.choice((-1, 0, 1, 2, 10**9, 5)) for _ in frame.index], name="net")
    elif kind == 3:
        frame[column] = [rng.choice(("a", "../../x", "", None)) for _ in frame.index]
    elif kind == 4:
        frame[column] = [rng.choice((-1, 0, 1 << 40, -(1 << 63), 3)) for _ in frame.index]
    else:
        frame[column] = [rng.choice((0.0, float("nan"), float("inf"), -1e308)) for _ in frame.index]
    made = io.BytesIO()
    frame.to_parquet(made)
    return made.getvalue()
