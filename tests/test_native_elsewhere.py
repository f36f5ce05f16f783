"""The native engine made by other compilers, for other register widths, and for aarch64 in an emulator: it trains the same nets."""

import platform
import shutil

import pytest
from native_program import COMPILER, Trained, trained

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not COMPILER, reason="no C++ compiler")]

CLANG = next(filter(None, map(shutil.which, ("clang++", *(f"clang++-{n}" for n in range(25, 14, -1))))), None)
# Each of these for itself: what makes the program, and what runs it.
ARM, ARM_EMULATOR = shutil.which("aarch64-linux-gnu-g++"), shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> list[Trained]:
    """What the engine does as it is installed on this machine."""
    return trained(tmp_path_factory.mktemp("here"), COMPILER, "-O2", "-march=native")


def assert_trained_alike(ours: list[Trained], theirs: list[Trained]) -> None:
    """The same up to rounding: random numbers belong to images, not to lanes."""
    assert len(ours) == len(theirs) == 11
    for a, b in zip(ours, theirs, strict=True):
        assert a[:2] == b[:2]
        assert a.losses == pytest.approx(b.losses, abs=2e-3), a[:2]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="x86-64's register widths")
def test_narrow_registers_train_alike(here, tmp_path):
    assert_trained_alike(here, trained(tmp_path, COMPILER, "-O2", "-march=x86-64"))


@pytest.mark.skipif(not CLANG, reason="no clang++")
def test_clang_trains_alike(here, tmp_path):
    assert_trained_alike(here, trained(tmp_path, CLANG, "-O2", "-march=native"))


@pytest.mark.skipif(not ARM, reason="no aarch64-linux-gnu-g++")
@pytest.mark.skipif(not ARM_EMULATOR, reason="no qemu-aarch64")
def test_aarch64_trains_alike(here, tmp_path):
    assert_trained_alike(here, trained(tmp_path, ARM, "-O2", "-static", emulator=[str(ARM_EMULATOR)]))
