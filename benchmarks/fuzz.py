"""Strange files for every reader: a JSON row per format, with how many were read, refused in one line, or found to do harm.

    python benchmarks/fuzz.py torch --inputs 100000 --seed 0 --keep findings    one format (all of them: all)
    python benchmarks/fuzz.py torch --inputs 1 --seed 0 --first 4711            one input again, by its number

Each input is a valid file changed with knowledge of its format (mutations.py, strangers.py), and a function of (format, seed,
number). A child process reads them, so that a crash of a parser in C is counted too. Good outcomes are two: the file is read
(accepted), or NwsError with one line is raised (refused). All else is a finding:

exception  any other exception
hang       more than 2 s of processor time, or 30 s without an answer
memory     the reader is refused memory when it may have 1 GB more than it began with
executed   a program, a network connection, code from text, or a pickle's class is asked for (Python's audit events)
outside    a file outside the folder of the input is opened for writing, or read where nothing of Python's lies
lines      the refusal is more than one line
crash      the child is ended by a signal

Each row says which share reached the parsing (Format.reach): for HDF5, that the library opened it and its groups were walked.

Findings become tests. Results: docs/reliability.md.
"""

from __future__ import annotations

import argparse
import importlib
import json
import mmap
import os
import random
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

GIGABYTE = 1 << 30
SECONDS, PATIENCE = 2, 30  # of processor time for an input; of silence before the child is ended
FIELDS = ("at", "accepted", "refused", "reached", "slowest us", "slowest", "peak KB", "ready")
RUNNING = {"os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "pty.spawn", "pickle.find_class"}
RUNNING |= {"socket.connect", "socket.bind", "socket.getaddrinfo", "urllib.Request", "ctypes.dlopen", "code.__new__"}
CHANGING = {"os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.symlink", "os.link", "os.chmod", "os.truncate", "shutil.rmtree"}


class Forbidden(BaseException):
    """The reader did what no reader may."""


class Slow(BaseException):
    """Raised by the alarm."""


class Watch:
    """Audit events while an input is read."""

    def __init__(self, scratch: Path):
        self.scratch = str(scratch)
        self.on = False
        self.seen: list[str] = []
        ours = {sys.prefix, sys.base_prefix, str(Path(__file__).resolve().parents[1])}
        packages = {os.path.realpath(path) for path in sys.path if path and path != "/"}  # wherever the environment has them
        self.readable = (*ours, *packages, "/proc/", "/sys/", "/dev/", "/etc/", "/usr/")
        sys.addaudithook(self.hear)

    def hear(self, event: str, given: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event in RUNNING or (event == "exec" and given[0].co_filename == "<string>" and not importing()):
            self.on_progress("executed", event, given)
        if event == "open" and isinstance(given[0], str | bytes | os.PathLike):
            path = os.path.realpath(os.fsdecode(given[0]))
            writes = bool((given[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
            if not path.startswith(self.scratch) and (writes or not path.startswith(self.readable)):
                self.on_progress("outside", event, given)
        changes = event in CHANGING and isinstance(given[0], str | bytes | os.PathLike)
        if changes and not os.path.abspath(os.fsdecode(given[0])).startswith(self.scratch):
            self.on_progress("outside", event, given)

    def on_progress(self, kind: str, event: str, given: tuple[Any, ...]) -> None:
        self.seen.append(kind)
        raise Forbidden(f"{event} {str(given)[:100]}")


def importing() -> bool:
    """Whether a module of a library is being imported: some make classes from text as they are."""
    frame = sys._getframe()
    while frame := frame.f_back:  # type: ignore[assignment]
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
    return False


class Tally:
    """Numbers that outlive the child: they lie in memory that both processes see."""

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, 8 * len(FIELDS))

    def __getitem__(self, name: str) -> int:
        return int(struct.unpack_from("<q", self.memory, 8 * FIELDS.index(name))[0])

    def __setitem__(self, name: str, value: int) -> None:
        struct.pack_into("<q", self.memory, 8 * FIELDS.index(name), value)


def child(name: str, given: argparse.Namespace, tally: Tally, findings: Path, scratch: Path) -> None:
    """Reads inputs from tally["at"] on."""
    import strangers

    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    format_ = strangers.FORMATS[name]
    valid = [files_of(make, scratch / f"valid-{k}") for k, make in enumerate(format_.make)]
    folder = scratch / "input"
    for files in valid:  # warm up: imports are no part of an input
        write(folder, files)
        format_.read(folder)
    reached = counted(format_.reach)
    watch = Watch(scratch)
    signal.signal(signal.SIGPROF, on_alarm)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + GIGABYTE, used + GIGABYTE))
    begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tally["ready"] = 1
    there: dict[str, bytes] = {}
    for at in range(tally["at"], given.first + given.inputs):
        tally["at"] = at
        rng = random.Random(f"{name} {given.seed} {at}")
        files = changed(format_, rng.choice(valid), rng)
        write(folder, files, {} if format_.writes else there)
        there = files
        reached.clear()
        found = attempt(format_, folder, tally, watch)
        tally["reached"] += bool(reached)
        if found:
            with open(findings, "a", encoding="utf-8") as file:
                file.write(json.dumps({"at": at, **found}) + "\n")
            if given.keep:
                shutil.copytree(folder, given.keep / f"{name}-{at}", dirs_exist_ok=True)
        tally["peak KB"] = max(tally["peak KB"], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - begun)
    tally["at"] = given.first + given.inputs


def counted(reach: str) -> list[bool]:
    """A list that is filled whenever this function of the reader is called."""
    calls: list[bool] = []
    if reach:
        module, _, name = reach.partition(":")
        there = importlib.import_module(module)
        function = getattr(there, name)

        def told(*given: Any, **more: Any) -> Any:
            if not calls:
                calls.append(True)
            return function(*given, **more)

        setattr(there, name, told)
    return calls


def attempt(format_: Any, folder: Path, tally: Tally, watch: Watch) -> dict[str, str] | None:
    """Read the input; what was found, or None."""
    from nws import NwsError

    begun, found = time.process_time(), None
    watch.seen.clear()
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    watch.on = True
    try:
        format_.read(folder)
        tally["accepted"] += 1
    except NwsError as error:
        tally["refused"] += 1
        if "\n" in str(error):
            found = described("lines", error)
        if any(isinstance(e, MemoryError) for e in chain(error)):
            found = described("memory", error)
    except Slow as error:
        found = described("hang", error)
    except MemoryError as error:
        found = described("memory", error)
    except BaseException as error:
        found = described("exception", error)
    finally:
        watch.on = False
        signal.setitimer(signal.ITIMER_PROF, 0)
    if watch.seen and (found is None or found["kind"] == "exception"):
        found = {"kind": watch.seen[0], "what": "see the input", "where": ""} | (
            {} if found is None else {**found, "kind": watch.seen[0]}
        )
    took = int((time.process_time() - begun) * 1e6)
    if took > tally["slowest us"]:
        tally["slowest us"], tally["slowest"] = took, tally["at"]
    return found


def described(kind: str, error: BaseException) -> dict[str, str]:
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "/nws/" in f.filename]
    where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return {"kind": kind, "what": f"{type(error).__name__}: {str(error)[:200]}", "where": where}


def chain(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and len(found) < 20:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def on_alarm(number: int, frame: FrameType | None) -> None:
    raise Slow(f"more than {SECONDS} s")


def files_of(make: Any, folder: Path) -> dict[str, bytes]:
    folder.mkdir(parents=True)
    make(folder)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def changed(format_: Any, valid: dict[str, bytes], rng: random.Random) -> dict[str, bytes]:
    """The valid files, one or two of them changed."""
    known = {name: next((m for end, m in format_.mutate.items() if name.endswith(end)), None) for name in valid}
    names = [name for name, mutate in known.items() if mutate]
    chosen = rng.sample(names, min(len(names), rng.choice((1, 1, 1, 2))))
    return {**valid, **{name: known[name](valid[name], rng) for name in chosen}}  # type: ignore[misc]


def write(folder: Path, files: dict[str, bytes], there: dict[str, bytes] = {}) -> None:  # noqa: B006 (read only)
    """Make the folder hold these files; `there`: what it holds already, nothing when it is to be made anew."""
    from strangers_zoos import MADE

    if set(there) != set(files):
        shutil.rmtree(folder, ignore_errors=True)
        there = {}
    for name, data in files.items():
        if there.get(name) is data:
            continue
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, (MADE, MADE))
    for inner in {folder / parent for name in files for parent in Path(name).parents}:  # else a zoo looks at each folder again
        os.utime(inner, (MADE, MADE))


def fuzz(name: str, given: argparse.Namespace) -> dict[str, Any]:
    """Children one after another until all inputs are read; the row."""
    from strangers import FORMATS

    begun, tally = time.monotonic(), Tally()
    tally["at"] = given.first
    end = given.first + given.inputs
    with tempfile.TemporaryDirectory(prefix="nws-fuzz-") as temporary:
        findings = Path(temporary) / "findings"
        findings.touch()
        turn = 0
        while tally["at"] < end:
            turn += 1
            scratch = Path(temporary) / f"child-{turn}"
            scratch.mkdir()
            tally["ready"] = 0
            status = watched(name, given, tally, findings, scratch)
            if status and not tally["ready"]:
                raise SystemExit(f"{name}: the valid files cannot be read")
            if tally["at"] < end:
                kind = "hang" if status == -signal.SIGUSR1 else "crash"
                with open(findings, "a") as file:
                    file.write(json.dumps({"at": tally["at"], "kind": kind, "what": f"status {status}", "where": ""}) + "\n")
                if given.keep and (scratch / "input").is_dir():
                    shutil.copytree(scratch / "input", given.keep / f"{name}-{tally['at']}", dirs_exist_ok=True)
                tally["at"] += 1
            shutil.rmtree(scratch, ignore_errors=True)
        found = [json.loads(line) for line in findings.read_text().splitlines()]
    seconds = time.monotonic() - begun
    row = {"format": name, "seed": given.seed, "inputs": given.inputs, "accepted": tally["accepted"], "refused": tally["refused"]}
    row |= {"reached %": round(100 * tally["reached"] / given.inputs, 1) if FORMATS[name].reach else None}
    row |= {"findings": len(found), "kinds": dict(Counter(f["kind"] for f in found)), "slowest ms": tally["slowest us"] // 1000}
    row |= {"slowest input": tally["slowest"], "peak MB": tally["peak KB"] // 1024, "inputs/s": round(given.inputs / seconds, 1)}
    different = {(f["kind"], f["where"], f["what"][:60]): f for f in reversed(found)}
    return row | {"first of each": list(different.values())[:20]}


def watched(name: str, given: argparse.Namespace, tally: Tally, findings: Path, scratch: Path) -> int:
    """Run a child to its end; its exit status, minus the signal that ended it (-SIGUSR1: it had to be ended)."""
    process = os.fork()
    if process == 0:
        status = 1
        try:
            child(name, given, tally, findings, scratch)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    last, since = -1, time.monotonic()
    while True:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if tally["at"] != last or not tally["ready"]:
            last, since = tally["at"], time.monotonic()
        elif time.monotonic() - since > PATIENCE:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            return -signal.SIGUSR1
        time.sleep(0.02)


def main() -> None:
    from strangers import FORMATS

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("format", choices=["all", *FORMATS])
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--keep", type=Path, help="folder for the inputs that were found")
    given = parser.parse_args()
    for name in FORMATS if given.format == "all" else [given.format]:
        print(json.dumps(fuzz(name, given)), flush=True)


if __name__ == "__main__":
    main()
