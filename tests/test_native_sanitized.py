"""The native engine under sanitizers (addresses, undefined behaviour) and for another register width: without Python."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NATIVE = ROOT / "src/nws/train/native"
COMPILER = os.environ.get("CXX") or shutil.which("c++")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not COMPILER, reason="no C++ compiler")]


def output(folder: Path, *flags: str) -> list[str]:
    program = folder / "train"
    sources = [ROOT / "tests/native/train.cpp", NATIVE / "net.cpp", NATIVE / "convolution.cpp"]
    command = [str(COMPILER), "-std=c++20", "-Wno-psabi", f"-I{NATIVE}", *flags, *map(str, sources), "-o", str(program)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    done = subprocess.run([program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout.splitlines()


def test_no_byte_outside_and_no_undefined_behaviour(tmp_path):
    assert len(output(tmp_path, "-O1", "-march=native", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")) == 11


@pytest.mark.skipif(platform.machine() != "x86_64", reason="x86-64's register widths")
def test_every_register_width_trains_alike(tmp_path):
    # The same up to rounding: random numbers belong to images, not to lanes.
    wide, narrow = (output(tmp_path, "-O2", f"-march={arch}") for arch in ("native", "x86-64"))
    for a, b in zip(wide, narrow, strict=True):
        assert a.split()[:2] == b.split()[:2]
        assert abs(float(a.split()[2]) - float(b.split()[2])) < 2e-2
