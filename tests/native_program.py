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


def compiled(folder: Path, source: str, compiler: str | None, *flags: str) -> Path:
    """The program tests/native/SOURCE.cpp with the engine, made with these flags and those that decide its bits."""
    program = folder / source
    sources = [ROOT / f"tests/native/{source}.cpp", NATIVE / "net.cpp", NATIVE / "convolution.cpp"]
    fixed = ["-std=c++20", "-Wno-psabi", "-ffp-contract=off", f"-I{NATIVE}"]
    done = subprocess.run([str(compiler), *fixed, *flags, *map(str, sources), "-o", str(program)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return program


def lines(program: Path, *arguments: str, emulator: Sequence[str] = ()) -> list[str]:
    """What the program prints. It must say nothing else."""
    done = subprocess.run([*emulator, str(program), *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout.splitlines()


def trained(folder: Path, compiler: str | None, *flags: str) -> list[Trained]:
    """Compile the program with these flags, let it train its nets, and read what it printed."""
    rows = [line.split() for line in lines(compiled(folder, "train", compiler, *flags))]
    return [Trained(int(row[0]), int(row[1]), [float(loss) for loss in row[2:-1]], int(row[-1])) for row in rows]
