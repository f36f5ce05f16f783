"""What a zoo survives: one JSON row per kind of accident, with how often it was tried and what was found afterwards.

    python benchmarks/faults.py kill --times 200      about 15 minutes on two cores
    python benchmarks/faults.py damage --times 1000   about 2 minutes
    python benchmarks/faults.py folder --times 10     about 5 minutes; as root, for it mounts small file systems
    python benchmarks/faults.py worker --times 100    about 4 minutes
    python benchmarks/faults.py crowd --times 200     about 10 minutes
    python benchmarks/faults.py pair --times 3        about 2 minutes

`kill` starts `nws sample` with two workers and kills it with signal 9 at a random moment, every second time the parent alone, so
that its workers are orphans. Then the zoo is verified, and every net in it compared with the same net of an undisturbed run. A
complete zoo is begun anew.

`damage` changes a file of a small zoo at a random place of a given class and asks `verify` whether it sees that, then repairs.

`folder`: a disk that fills up, a folder that becomes read-only, a clock set back. The command must end with one line and exit
code 2 (or, for the clock, do its work), the zoo stay valid, and the same command complete it once there is room.

`worker` kills single workers at random moments, or takes their memory away (a limit of what they have, set from outside). Their
nets are tried again; a net given up must be marked, and be trained by the same command. The zoo must be complete and the same as
undisturbed.

`crowd` has eight processes fill one zoo, kills random ones with signal 9 and starts others in their place. Every net must be there
at the end, whole and the same as undisturbed, and few trained twice. `pair` compares the processor time that two processes take for
one zoo with that of one alone.

Results: docs/reliability.md.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from nws import FIXED, Zoo, sample
from nws.zoo.netfile import net_path

NETS = 80
SMALL = {"batch_size": 32, "width_conv": 4, "width_fc": 64, "filter_size": 3}
SETTINGS = ["--images", "digits", "--limit", "200", "--limit-test", "50", "--snapshots", "3", "--seed", "3"]


def command(zoo: Path, nets: int = NETS, workers: int = 2, epochs: int = 4) -> list[str]:
    narrowed = [part for name, value in SMALL.items() for part in ("--with", f"{name}={value}")]
    numbers = ["--nets", str(nets), "--workers", str(workers), "--epochs", str(epochs)]
    return [sys.executable, "-m", "nws", "sample", str(zoo), *SETTINGS, *narrowed, *numbers]


def kill(times: int, folder: Path, rng: random.Random) -> Iterator[dict[str, Any]]:
    undisturbed = folder / "undisturbed"
    started = time.monotonic()
    subprocess.run(command(undisturbed), check=True, capture_output=True)
    whole = time.monotonic() - started
    reference = Zoo(undisturbed)
    row = {
        "fault": "kill",
        "times": 0,
        "parent alone": 0,
        "nets compared": 0,
        "strays": 0,
        "damaged": 0,
        "different": 0,
        "orphans": 0,
    }
    zoo, turn = folder / "zoo-0", 0
    while row["times"] < times:
        process = subprocess.Popen(command(zoo), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            process.wait(rng.uniform(0, whole))
        except subprocess.TimeoutExpired:
            alone = row["times"] % 2 == 1
            row["times"] += 1
            row["parent alone"] += alone
            (os.kill if alone else os.killpg)(process.pid, signal.SIGKILL)
            process.wait()
            row["orphans"] += not gone(process.pid)
        if not (zoo / "zoo.json").exists():
            continue  # killed before the zoo was begun
        found = Zoo(zoo)
        report = found.verify()
        row["damaged"] += len(report.damaged)
        row["strays"] += len(report.strays)
        for number in found.numbers():
            row["nets compared"] += 1
            row["different"] += not same(found, reference, number)
        if len(found) == NETS:  # the next command would have nothing to do
            turn += 1
            zoo = folder / f"zoo-{turn}"
    yield row | {"zoos completed": turn}


def folders(times: int, folder: Path, rng: random.Random) -> Iterator[dict[str, Any]]:
    undisturbed = folder / "undisturbed"
    subprocess.run(command(undisturbed), check=True, capture_output=True)
    size = sum(file.stat().st_size for file in undisturbed.rglob("*") if file.is_file())
    for fault in (disk_full, read_only, clock_set_back):
        row = {"fault": fault.__name__.replace("_", " "), "times": times, "told": 0, "valid": 0, "completed the same": 0}
        for turn in range(times):
            base = folder / f"{fault.__name__}-{turn}"
            base.mkdir()
            with tmpfs(base, size * 2) if fault in (disk_full, read_only) else contextlib.nullcontext():
                row["told"] += fault(base, size, rng)
                row["valid"] += not Zoo(base / "zoo").verify().damaged
                subprocess.run(command(base / "zoo"), check=True, capture_output=True)
                zoo, reference = Zoo(base / "zoo"), Zoo(undisturbed)
                row["completed the same"] += all(same(zoo, reference, n) for n in range(NETS))
        yield row


def disk_full(base: Path, size: int, rng: random.Random) -> bool:
    (base / "hog").write_bytes(bytes(int(size * rng.uniform(1.1, 1.9))))
    said = subprocess.run(command(base / "zoo"), capture_output=True, text=True, check=False)
    (base / "hog").unlink()
    return one_line(said, "disk full")


def read_only(base: Path, size: int, rng: random.Random) -> bool:
    """A half-finished zoo in a folder that may only be read."""
    subprocess.run(command(base / "zoo", NETS // 2), check=True, capture_output=True)
    subprocess.run(["mount", "-o", "remount,ro", str(base)], check=True)
    said = subprocess.run(command(base / "zoo"), capture_output=True, text=True, check=False)
    readable = Zoo(base / "zoo").verify().checked == len(Zoo(base / "zoo").index) == NETS // 2
    subprocess.run(["mount", "-o", "remount,rw", str(base)], check=True)
    return readable and one_line(said, "cannot be written")


def clock_set_back(base: Path, size: int, rng: random.Random) -> bool:
    """Half of the nets, made in the future; then the other half now."""
    subprocess.run(command(base / "zoo", NETS // 2), check=True, capture_output=True)
    later = time.time() + rng.uniform(60, 10**7)
    for path in (base / "zoo").rglob("*"):
        os.utime(path, (later, later))
    said = subprocess.run(command(base / "zoo"), capture_output=True, check=False)
    return said.returncode == 0 and len(Zoo(base / "zoo").index) == NETS


# As the command, and each net that was trained leaves a line: its number, and whether it is the one that was kept.
COUNTED = """
import os, sys
from nws import cli, sampling
log, kept = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_APPEND | os.O_CREAT), sampling._kept
def counted(zoo, net):
    os.write(log, b"%d trained\\n" % net.number)
    return kept(zoo, net)
sampling._kept = counted
cli.main()
"""


def counted(log: Path, zoo: Path, nets: int, epochs: int = 12) -> subprocess.Popen[bytes]:
    """One more process at the zoo, with one worker."""
    arguments = command(zoo, nets, workers=1, epochs=epochs)[3:]
    return subprocess.Popen(
        [sys.executable, "-c", COUNTED, str(log), *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def crowd(times: int, folder: Path, rng: random.Random, processes: int = 8, nets: int = 400) -> Iterator[dict[str, Any]]:
    counted(folder / "log", folder / "undisturbed", nets).wait()
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
        running: list[subprocess.Popen[bytes]] = []
        while not (zoo / "zoo.json").exists() or Zoo(zoo).missing():
            while len(running) < processes:
                running.append(counted(log, zoo, nets))
                row["started"] += 1
            time.sleep(rng.expovariate(1.5))
            victim = running.pop(rng.randrange(len(running)))
            row["killed"] += victim.poll() is None
            victim.kill()
            victim.wait()
        for process in running:
            code = process.wait()
            row["exit codes"][code] = row["exit codes"].get(code, 0) + 1
        trained = [int(line.split()[0]) for line in log.read_text().splitlines()]
        row |= {"zoos": row["zoos"] + 1, "nets": row["nets"] + nets, "trained": row["trained"] + len(trained)}
        row["trained twice"] += len(trained) - len(set(trained))
        found = Zoo(zoo)
        row["lost"] += nets - len(found)
        row["damaged"] += len(found.verify().damaged)
        row["different"] += sum(not same(found, reference, number) for number in found.numbers())
        row["left behind"] += sum(1 for _ in (zoo / "claims").glob("*")) if (zoo / "claims").exists() else 0
    yield row


def pair(times: int, folder: Path, rng: random.Random, nets: int = 400) -> Iterator[dict[str, Any]]:
    """Processor seconds, start-up included: on a machine that others use, the clock tells nothing."""
    for turn in range(times):
        spent = {}
        for together in (1, 2):
            log, zoo = folder / f"log-{turn}-{together}", folder / f"zoo-{turn}-{together}"
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            for process in [counted(log, zoo, nets, epochs=40) for _ in range(together)]:
                process.wait()
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


def worker(times: int, folder: Path, rng: random.Random) -> Iterator[dict[str, Any]]:
    undisturbed = folder / "undisturbed"
    subprocess.run(command(undisturbed), check=True, capture_output=True)
    reference = Zoo(undisturbed)
    row = {"fault": "worker", "killed": 0, "memory limited": 0, "runs": 0, "runs without workers": 0, "runs that gave up nets": 0}
    row |= {"nets given up": 0, "told": 0, "zoos completed": 0, "the same": 0, "damaged": 0}
    while row["killed"] + row["memory limited"] < times:
        zoo = folder / f"zoo-{row['zoos completed']}"
        while not (zoo / "zoo.json").exists() or Zoo(zoo).missing():
            process = subprocess.Popen(command(zoo), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            while process.poll() is None:
                time.sleep(rng.expovariate(0.7))  # a worker takes a second to start
                if victims := workers_of(process.pid):
                    fault = rng.choice(["killed", "memory limited"])
                    row[fault] += hit(rng.choice(victims), fault)
            said = process.communicate()[1].strip().splitlines()[-1:]
            row["runs"] += 1
            given_up = len(Zoo(zoo).failed)
            row["nets given up"] += given_up
            row["runs that gave up nets"] += bool(given_up)
            row["runs without workers"] += "workers died while starting" in "".join(said)
            row["told"] += process.returncode == 2 and f"{given_up} of " in "".join(said)
        row["zoos completed"] += 1
        row["damaged"] += len(Zoo(zoo).verify().damaged)
        row["the same"] += all(same(Zoo(zoo), reference, number) for number in range(NETS))
    yield row


def hit(pid: int, fault: str) -> bool:
    """Whether the worker was there to be hit."""
    try:
        if fault == "killed":
            os.kill(pid, signal.SIGKILL)
        else:
            has = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
            resource.prlimit(pid, resource.RLIMIT_AS, (has, has))
    except (OSError, ValueError):
        return False
    return True


def workers_of(parent: int) -> list[int]:
    """Processes that multiprocessing has started for work."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                theirs = int((process / "stat").read_text().rpartition(")")[2].split()[1])
                if theirs == parent and b"spawn_main" in (process / "cmdline").read_bytes():
                    found.append(int(process.name))
    return found


def one_line(said: subprocess.CompletedProcess[str], words: str) -> bool:
    last = said.stderr.strip().splitlines()[-1]
    told = said.returncode == 2 and words in said.stderr and "Traceback" not in said.stderr and last.startswith("nws: ")
    if not told:
        print(said.returncode, said.stderr, file=sys.stderr)
    return told


@contextlib.contextmanager
def tmpfs(folder: Path, size: int) -> Iterator[None]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "nws-faults", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def same(a: Zoo, b: Zoo, number: int) -> bool:
    one, other = a.net(number), b.net(number)
    return bool(np.array_equal(one.theta, other.theta) and np.array_equal(one.history, other.history) and one.hp == other.hp)


def gone(session: int, within: float = 20.0) -> bool:
    """Whether no process of the session is left after a while: workers whose parent was killed end by themselves."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if not any(session_of(p) == session for p in Path("/proc").iterdir() if p.name.isdigit()):
            return True
        time.sleep(0.05)
    return False


def session_of(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[3])
    except (OSError, IndexError, ValueError):
        return -1


def damage(times: int, folder: Path, rng: random.Random) -> Iterator[dict[str, Any]]:
    path = folder / "zoo"
    hps = FIXED.with_(dataset="digits", **SMALL).sample(4, seed=3)
    sample(path, hps, images="digits", seed=3, workers=1, snapshots=3, epochs=4, limit=200, limit_test=50)
    reference = shutil.copytree(path, folder / "reference")
    for kind, change in CHANGES.items():
        row = {"fault": kind, "times": 0, "found": 0, "repaired": 0, "retrained the same": 0}
        for time_ in range(times):
            file = net_path(path, rng.randrange(4))
            whole = file.read_bytes()
            file.write_bytes(change(whole, rng))
            row["times"] += 1
            row["found"] += not Zoo(path).verify().ok
            if time_ < 3:  # the whole cure takes seconds: repair, then train what is missing
                row["repaired"] += Zoo(path).verify(repair=True).ok
                sample(path, hps, images="digits", seed=3, workers=1, snapshots=3, epochs=4, limit=200, limit_test=50)
                row["retrained the same"] += all(same(Zoo(path), Zoo(reference), n) for n in range(4))
            else:
                file.write_bytes(whole)
        yield row


def header_end(data: bytes) -> int:
    return 8 + int(struct.unpack("<Q", data[:8])[0])


def flip(data: bytes, first: int, last: int, rng: random.Random) -> bytes:
    changed, at = bytearray(data), rng.randrange(first, last)
    changed[at] ^= 1 << rng.randrange(8)
    return bytes(changed)


CHANGES = {
    "bit flipped in the length of the header": lambda data, rng: flip(data, 0, 8, rng),
    "bit flipped in the header": lambda data, rng: flip(data, 8, header_end(data), rng),
    "bit flipped in the weights": lambda data, rng: flip(data, header_end(data), len(data), rng),
    "truncated": lambda data, rng: data[: rng.randrange(1, len(data))],
    "zero bytes long": lambda data, rng: b"",
    "bytes appended": lambda data, rng: data + rng.randbytes(rng.randrange(1, 100)),
    "a page of zeros": lambda data, rng: zeroed(data, rng),
}


def zeroed(data: bytes, rng: random.Random) -> bytes:
    """As after a power cut on some file systems. A page that was zero already does not count as damage: take another."""
    while True:
        at = rng.randrange(0, len(data), 4096)
        changed = data[:at] + bytes(len(data[at : at + 4096])) + data[at + 4096 :]
        if changed != data:
            return changed


FAULTS = {"kill": kill, "damage": damage, "folder": folders, "worker": worker, "crowd": crowd, "pair": pair}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("fault", choices=list(FAULTS))
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nws-faults-") as folder:
        rng = random.Random(given.seed)
        for row in FAULTS[given.fault](given.times, Path(folder), rng):
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
