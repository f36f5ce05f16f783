"""Many processes at one zoo: JSON rows.

    python benchmarks/crowd.py kills --times 200      about 5 minutes on two cores
    python benchmarks/crowd.py pair --times 3         about 3 minutes

`kills` has eight processes fill one zoo, kills random ones with signal 9 and starts others in their place. Every net must be there
at the end, whole and the same as undisturbed, and few trained twice. `pair` compares the processor time that two processes take for
one zoo with that of one alone. Results: docs/reliability.md.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from faults import command, same

from nws import Net, Zoo, cli, sampling


def counted(log: Path, zoo: Path, nets: int, epochs: int = 12) -> Any:
    """One more process at the zoo, with one worker: the command, in a copy of this process that has imported what it needs."""
    process = multiprocessing.get_context("fork").Process(target=_counted, args=(log, command(zoo, nets, 1, epochs)[3:]))
    process.start()
    return process


def _counted(log: Path, arguments: list[str]) -> None:
    """Each net that was trained leaves a line, whether it is kept or another process was sooner."""
    with open(os.devnull, "w") as nobody, open(log, "a", buffering=1) as file:
        os.dup2(nobody.fileno(), 1)
        os.dup2(nobody.fileno(), 2)
        kept = sampling._kept

        def written(zoo: Zoo, nets: Sequence[Net], many: bool) -> set[int]:
            file.write("".join(f"{net.number}\n" for net in nets))
            return kept(zoo, nets, many)

        sampling._kept = written
        sys.argv = ["nws", *arguments]
        cli.main()


def kills(times: int, folder: Path, rng: random.Random, processes: int = 8, nets: int = 400) -> Iterator[dict[str, Any]]:
    counted(folder / "log", folder / "undisturbed", nets).join()
    reference = Zoo(folder / "undisturbed")
    row = {
        "fault": "crowd",
        "processes": processes,
        "killed": 0,
        "started": 0,
        "zoos": 0,
        "nets": 0,
        "trained": 0,
        "trained twice": 0,
    }
    row |= {"lost": 0, "damaged": 0, "different": 0, "left behind": 0, "exit codes": {}}
    while row["killed"] < times:
        log, zoo = folder / f"log-{row['zoos']}", folder / f"zoo-{row['zoos']}"
        running: list[Any] = []
        while not (zoo / "zoo.json").exists() or Zoo(zoo).missing():
            while len(running) < processes:
                running.append(counted(log, zoo, nets))
                row["started"] += 1
            wait_for(log, rng.randint(1, 6), running)  # so that a busy machine, too, gets on between two kills
            time.sleep(rng.uniform(0, 0.1))
            victim = running.pop(rng.randrange(len(running)))
            row["killed"] += victim.is_alive()
            victim.kill()
            victim.join()
        for process in running:
            process.join()
            row["exit codes"][process.exitcode] = row["exit codes"].get(process.exitcode, 0) + 1
        trained = [int(line) for line in log.read_text().split()]
        row |= {"zoos": row["zoos"] + 1, "nets": row["nets"] + nets, "trained": row["trained"] + len(trained)}
        row["trained twice"] += len(trained) - len(set(trained))
        found = Zoo(zoo)
        row["lost"] += nets - len(found)
        row["damaged"] += len(found.verify().damaged)
        row["different"] += sum(not same(found, reference, number) for number in found.numbers())
        row["left behind"] += sum(1 for _ in (zoo / "claims").glob("*")) if (zoo / "claims").exists() else 0
    yield row


def wait_for(log: Path, nets: int, running: list[Any]) -> None:
    """Until so many more nets were trained, or all have ended."""
    before = lines(log)
    while lines(log) < before + nets and any(process.is_alive() for process in running):
        time.sleep(0.02)


def lines(log: Path) -> int:
    return log.read_text().count("\n") if log.exists() else 0


def pair(times: int, folder: Path, rng: random.Random, nets: int = 400) -> Iterator[dict[str, Any]]:
    """Processor seconds, start-up included: on a machine that others use, the clock tells nothing."""
    for turn in range(times):
        spent = {}
        for together in (1, 2):
            log, zoo = folder / f"log-{turn}-{together}", folder / f"zoo-{turn}-{together}"
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            for process in [counted(log, zoo, nets, epochs=40) for _ in range(together)]:
                process.join()
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            spent[together] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        trained = len((folder / f"log-{turn}-2").read_text().splitlines())
        yield {
            "nets": nets,
            "seconds alone": spent[1],
            "seconds of two": spent[2],
            "two against one": 2 * spent[1] / spent[2],
            "trained twice": trained - nets,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=["kills", "pair"])
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nws-crowd-") as folder:
        for row in {"kills": kills, "pair": pair}[given.what](given.times, Path(folder), random.Random(given.seed)):
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
