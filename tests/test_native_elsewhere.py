"""Theta is the same to the last bit on every processor: for every register width, other compilers, and aarch64 in an emulator."""

import platform
import shutil
from pathlib import Path

import pytest
from native_program import COMPILER, compiled, lines
from same_bits import trained_here, write

from nws.train.native_engine import why_not

X86 = platform.machine() == "x86_64"
CLANG = next(filter(None, map(shutil.which, ("clang++", *(f"clang++-{n}" for n in range(25, 14, -1))))), None)
# Each of these for itself: what makes the program, and what runs it.
ARM, ARM_EMULATOR = shutil.which("aarch64-linux-gnu-g++"), shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")

# Of the twenty nets of same_bits.py. They may change with the engine's arithmetic, which a zoo's users must hear of
# (CHANGELOG.md), or with numpy's random numbers; never with the machine.
SUMS = [
    "16a0280c949ce72a", "46e07d31e945f42f", "789b1f8dd6758259", "29a39cef59b28e16", "a9f364de8ba983e6", "ef654737bd44c439",
    "3359b385215a7e28", "d61d7001332d3f23", "eb2f22412a74013b", "62ab7eeaec0853de", "7dd55d3e63730c0b", "a71c1f50e71a7e13",
    "db1e4042d1d60a2f", "0d368ca804b3b0c0", "8b29a4ec8532e83e", "4e112d87bfbb56eb", "a0b778432e4ef27f", "30a606ed5ea59d20",
    "f3cfb160bb358610", "eb55644149956a0b",
]  # fmt: skip


@pytest.mark.skipif(why_not() is not None, reason=why_not() or "")
def test_twenty_nets_are_the_same_to_the_last_bit_as_on_every_other_machine():
    assert trained_here() == SUMS


slow = pytest.mark.slow
made = pytest.mark.skipif(not COMPILER, reason="no C++ compiler")


@pytest.fixture(scope="module")
def nets(tmp_path_factory):
    path = tmp_path_factory.mktemp("nets") / "nets"
    with pytest.MonkeyPatch.context() as monkeypatch:
        write(path, monkeypatch)
    return str(path)


@slow
@made
@pytest.mark.skipif(not X86, reason="x86-64's register widths")
@pytest.mark.parametrize(
    ("flags", "needs"),
    [
        (["-O3", "-march=x86-64-v4"], "avx512f"),
        (["-O3", "-march=x86-64-v3"], "avx2"),
        (["-O2", "-march=native"], "fma"),
        (["-O2", "-march=x86-64"], "sse2"),  # four lanes; every fma is a call, so this is for tests only
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_every_register_width_gives_the_same_bits(nets, tmp_path, flags, needs):
    if f" {needs}" not in Path("/proc/cpuinfo").read_text():
        pytest.skip(f"this processor has no {needs}")
    assert lines(compiled(tmp_path, "replay", COMPILER, *flags), nets) == SUMS


@slow
@pytest.mark.skipif(not CLANG, reason="no clang++")
def test_clang_gives_the_same_bits(nets, tmp_path):
    assert lines(compiled(tmp_path, "replay", CLANG, "-O2", "-march=native"), nets) == SUMS


@slow
@pytest.mark.skipif(not ARM, reason="no aarch64-linux-gnu-g++")
@pytest.mark.skipif(not ARM_EMULATOR, reason="no qemu-aarch64")
def test_aarch64_gives_the_same_bits(nets, tmp_path):
    program = compiled(tmp_path, "replay", ARM, "-O3", "-static")
    assert lines(program, nets, emulator=[str(ARM_EMULATOR)]) == SUMS
