"""What a zoo survives while its nets are packed, and damage to shards: a JSON row per kind of accident.

    python benchmarks/faults_shards.py --times 200       about 10 minutes on a quiet core

`killed`: a process packs 300 nets of 1,185 weights, 7 to a shard, and is ended by signal 9 at a random moment of that; then the zoo
is verified, and every net compared with what was written. A zoo of which all is packed is begun anew. `at once`: two processes
append the same and other nets in shards and are killed in the same way; what is there must be whole.

The other rows change a random place of a shard of 40 nets: `seen` by `verify`; after `verify(repair=True)` every net that is there
is the same bit for bit, and `lost` says how many were not kept, in all.

Results: docs/reliability.md.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from faults import CHANGES
from million import generated

from nws import Net, Zoo
from nws.families import MLP
from nws.zoo.shardfile import Shard

NETS, PER_SHARD, DAMAGED = 300, 7, 40


def child(work: Callable[[], Any]) -> int:
    """A copy of this process that does the work and nothing else."""
    process = os.fork()
    if not process:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return process


def same(zoo: Zoo, nets: list[Net], number: int) -> bool:
    one, other = zoo.net(number), nets[number]
    return one.theta.tobytes() == other.theta.tobytes() and bool(np.array_equal(one.history, other.history)) and one.hp == other.hp


def killed(times: int, folder: Path, rng: random.Random, nets: list[Net]) -> Iterator[dict[str, Any]]:
    whole = Zoo.create(folder / "whole", MLP.space)
    for net in nets:
        whole.append(net)
    row = {"fault": "killed while packing", "times": 0, "valid": 0, "compared": 0, "different": 0, "half packed": 0, "complete": 0}
    path, longest = folder / "zoo", 1.0
    for _ in range(times):
        if not path.exists():
            shutil.copytree(whole.path, path)
        begun = time.monotonic()
        process = child(lambda: Zoo(path).pack(PER_SHARD))
        time.sleep(rng.uniform(0, 0.4 * longest))
        os.kill(process, signal.SIGKILL)
        if os.waitpid(process, 0)[1] == 0:
            longest = time.monotonic() - begun
        zoo = Zoo(path)
        report, wrong = zoo.verify(), sum(not same(zoo, nets, n) for n in range(NETS))
        singles, shards = len(list(path.glob("nets/*/*.safetensors"))), len(list(path.glob("shards/*/*.safetensors")))
        row["times"] += 1
        row["valid"] += report.ok and report.checked == NETS and zoo.index.index.tolist() == list(range(NETS))
        row["compared"] += NETS
        row["different"] += wrong
        row["half packed"] += bool(singles and shards)
        if not singles:
            row["complete"] += 1
            shutil.rmtree(path)
    yield row


def at_once(times: int, folder: Path, rng: random.Random, nets: list[Net]) -> Iterator[dict[str, Any]]:
    row = {"fault": "two that append shards killed", "times": 0, "valid": 0, "compared": 0, "different": 0}
    for time_ in range(times):
        path = folder / f"at-once-{time_}"
        Zoo.create(path, MLP.space)

        def fill(first: int, path: Path = path) -> None:
            zoo = Zoo(path)
            for k in range(first, NETS - 20, 20):
                zoo._reader.has = lambda number: False  # type: ignore[method-assign]  # neither looks what the other has
                zoo.append_many(nets[k : k + 20])

        processes = [child(lambda k=k: fill(k)) for k in (0, 10)]
        time.sleep(rng.uniform(0.05, 1.0))
        for process in processes:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
        zoo = Zoo(path)
        there = zoo.numbers()
        row["times"] += 1
        row["valid"] += zoo.verify().ok and zoo.index.index.tolist() == there
        row["compared"] += len(there)
        row["different"] += sum(not same(zoo, nets, n) for n in there)
        shutil.rmtree(path)
    yield row


def damaged(times: int, folder: Path, rng: random.Random, nets: list[Net]) -> Iterator[dict[str, Any]]:
    path = folder / "damaged"
    Zoo.create(path, MLP.space).append_many(nets[:DAMAGED])
    (file,) = path.glob("shards/000/*")
    whole, where = file.read_bytes(), Shard(file).offsets
    changes = {
        **CHANGES,
        "bit flipped in the table": lambda data, rng: flip(data, where["nets"], where["metadata"], rng),
        "bit flipped in a net's metadata": lambda data, rng: flip(data, where["metadata"], where["epoch"], rng),
        "bit flipped in the weights": lambda data, rng: flip(data, where["theta"], len(data), rng),
    }
    for kind, change in changes.items():
        row = {"fault": f"shard: {kind}", "times": 0, "seen": 0, "repaired": 0, "lost": 0, "different": 0}
        for _ in range(times):
            shutil.rmtree(path / "shards" / "000")
            shutil.rmtree(path / "damaged", ignore_errors=True)
            file.parent.mkdir()
            file.write_bytes(change(whole, rng))
            zoo = Zoo(path)
            row["times"] += 1
            row["seen"] += not zoo.verify().ok
            row["repaired"] += zoo.verify(repair=True).ok
            there = zoo.numbers()
            row["lost"] += DAMAGED - len(there)
            row["different"] += sum(not same(zoo, nets, n) for n in there)
        yield row


def flip(data: bytes, first: int, last: int, rng: random.Random) -> bytes:
    changed, at = bytearray(data), rng.randrange(first, last)
    changed[at] ^= 1 << rng.randrange(8)
    return bytes(changed)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    nets = list(islice(generated(NETS), NETS))
    with tempfile.TemporaryDirectory(prefix="nws-faults-") as folder:
        for accident in (killed, at_once, damaged):
            for row in accident(given.times, Path(folder), random.Random(given.seed), nets):
                print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
