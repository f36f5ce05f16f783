"""The native engine as a program without Python (native/train.cpp): for sanitizers, other compilers, and emulated machines."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
NATIVE = ROOT / "src/nws/train/native"
COMPILER = os.environ.get("CXX") or shutil.which("c++")


class Trained(NamedTuple):
    """One net of the program: what it is, its losses, step by step, and how many of 37 pictures it classifies correctly."""

    filter_size: int
    batch_size: int
    losses: list[float]
    correct: int


def trained(folder: Path, compiler: str | None, *flags: str, emulator: Sequence[str] = ()) -> list[Trained]:
    """Compile the program with these flags, let it train its nets, and read what it printed. It must say nothing else."""
    program = folder / "train"
    sources = [ROOT / "tests/native/train.cpp", NATIVE / "net.cpp", NATIVE / "convolution.cpp"]
    command = [str(compiler), "-std=c++20", "-Wno-psabi", f"-I{NATIVE}", *flags, *map(str, sources), "-o", str(program)]
    compiled = subprocess.run(command, capture_output=True, text=True)
    assert compiled.returncode == 0, compiled.stderr
    done = subprocess.run([*emulator, str(program)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    return [Trained(int(row[0]), int(row[1]), [float(loss) for loss in row[2:-1]], int(row[-1])) for row in rows]
