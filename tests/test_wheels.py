"""`make wheels`, and what it made: installed where there is no compiler, the native engine trains."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from native_program import COMPILER

ROOT = Path(__file__).resolve().parents[1]
STABLE = [found for n in (14, 13, 12) if (found := shutil.which(f"python3.{n}"))]

pytestmark = [
    pytest.mark.slow,  # every instruction set is compiled for two Pythons, and build tools are installed: minutes
    pytest.mark.skipif(not COMPILER or sys.platform != "linux", reason="no C++ compiler, or another system's wheels"),
]


def works(python: str) -> bool:
    """Some are found and do nothing but say that another version is selected (pyenv); others cannot make environments."""
    return subprocess.run([python, "-c", "import ensurepip, venv"], capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def wheels(tmp_path_factory) -> dict[str, Path]:
    """Tag -> wheel. In a copy: `make` builds in the folder where it runs. $NWS_WHEELS names a folder where they are already."""
    made = os.environ.get("NWS_WHEELS")
    if made is None:
        copy = tmp_path_factory.mktemp("wheels") / "nws"
        ignored = shutil.ignore_patterns(".venv", ".git", "build", "dist", "*.so", "__pycache__", "nws-demo", ".*_cache")
        shutil.copytree(ROOT, copy, ignore=ignored)
        pythons = [sys.executable, *filter(works, STABLE)][:2]
        done = subprocess.run(["make", "wheels", f"PYTHONS={' '.join(pythons)}"], cwd=copy, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        made = str(copy / "dist")
    return {path.name.split("-")[2]: path for path in Path(made).glob("*.whl")}


def environment(folder: Path, python: str, wheel: Path, packages: str | None = None) -> Path:
    """The bin of a new environment with that wheel; what it depends on is read from the folder `packages`, not downloaded."""
    subprocess.run([python, "-m", "venv", folder], check=True)
    pip = [folder / "bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-index", "--no-deps"]
    subprocess.run([*pip, wheel], check=True)
    if packages:
        (own,) = (folder / "lib").glob("python*/site-packages")
        (own / "dependencies.pth").write_text(packages)
    return folder / "bin"


def test_the_demo_runs_from_a_wheel_where_there_is_no_compiler(wheels, tmp_path):
    wheel = wheels[f"cp3{sys.version_info.minor}"] if f"cp3{sys.version_info.minor}" in wheels else wheels["cp312"]
    assert "manylinux" in wheel.name
    own = environment(tmp_path / "env", sys.executable, wheel, sysconfig.get_paths()["purelib"] + dependencies())
    surroundings = {**os.environ, "PATH": str(own), "OMP_NUM_THREADS": "1"}
    assert not any(shutil.which(name, path=str(own)) for name in ("cc", "c++", "gcc", "g++", "clang"))

    def nws(*arguments: str) -> str:
        done = subprocess.run([own / "nws", *arguments], cwd=tmp_path, env=surroundings, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    code = "import nws.train.native_engine as n; print(n.__file__, n._native.__file__)"
    where = subprocess.run([own / "python", "-c", code], env=surroundings, capture_output=True, text=True, check=True).stdout
    assert all(path.startswith(str(tmp_path)) for path in where.split())
    facts = json.loads(nws("info", "--system", "--json"))
    assert facts["engine"] == "native"
    assert facts["instruction_set"] in ("x86-64-v3", "x86-64-v4", "armv8-a")
    nws("demo", "--nets", "8", "--out", "demo")
    assert len(list((tmp_path / "demo").rglob("*.safetensors"))) == 8


def dependencies() -> str:
    """Where packages lie that are not in this environment's own folder: one per line, as a .pth file says it."""
    return "".join(f"\n{path}" for path in sys.path if path.endswith("site-packages"))


@pytest.mark.parametrize("python", [python for python in STABLE if works(python)] or [None])
def test_the_stable_wheel_loads_in_every_later_python(wheels, tmp_path, python):
    """Without PyTorch and numpy, which are not there for every Python: the compiled modules are loaded and asked."""
    if python is None or "cp312" not in wheels:
        pytest.skip("no Python from 3.12 on")
    own = environment(tmp_path / "env", python, wheels["cp312"])
    code = """
import importlib.util, pathlib, sys, sysconfig
folder = pathlib.Path(sysconfig.get_paths()["purelib"]) / "nws"
def load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
sets = load("nws._processor", folder / "_processor.abi3.so").instruction_sets()
for level in sets:
    name = "_native_" + level.replace("-", "_")
    assert load("nws.train." + name, folder / "train" / (name + ".abi3.so")).INSTRUCTION_SET == level
print(*sets)
"""
    done = subprocess.run([own / "python", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
