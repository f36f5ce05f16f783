"""The best build that the processor can run is taken, and where there is none PyTorch goes on working."""

import subprocess
import sys
import types

import pytest

from nws import processor


@pytest.fixture
def built(monkeypatch):
    """Says what the processor has and which builds of nws.imagined._native exist."""

    def build(has: list[str] | None, *files: str) -> None:
        stand_in = types.SimpleNamespace(instruction_sets=lambda: list(has or ()))
        monkeypatch.setitem(sys.modules, "nws._processor", None if has is None else stand_in)
        monkeypatch.setitem(sys.modules, "nws.imagined", types.ModuleType("nws.imagined"))
        for name in ("_native_x86_64_v4", "_native_x86_64_v3", "_native"):
            module = types.SimpleNamespace(name=name) if name in files else None
            monkeypatch.setitem(sys.modules, f"nws.imagined.{name}", module)

    monkeypatch.delenv(processor.CHOICE, raising=False)
    return build


ALL = ("_native_x86_64_v4", "_native_x86_64_v3", "_native")


@pytest.mark.parametrize(
    ("has", "files", "taken"),
    [
        (["x86-64-v4", "x86-64-v3"], ALL, "_native_x86_64_v4"),
        (["x86-64-v3"], ALL, "_native_x86_64_v3"),
        (["x86-64-v4", "x86-64-v3"], ALL[1:], "_native_x86_64_v3"),
        (["x86-64-v3"], ("_native_x86_64_v4", "_native"), "_native"),
        (None, ("_native",), "_native"),
    ],
)
def test_the_best_build_is_taken(built, has, files, taken):
    built(has, *files)
    assert processor.native("nws.imagined._native").name == taken


def test_one_can_be_chosen(built, monkeypatch):
    built(["x86-64-v4", "x86-64-v3"], *ALL)
    monkeypatch.setenv(processor.CHOICE, "x86-64-v3")
    assert processor.native("nws.imagined._native").name == "_native_x86_64_v3"
    monkeypatch.setenv(processor.CHOICE, "x86-64-v9")
    with pytest.raises(ImportError, match="x86-64-v9"):
        processor.native("nws.imagined._native")


@pytest.mark.parametrize(("has", "why"), [(["x86-64-v3"], "not built"), (None, "not built"), ([], "AVX2")])
def test_it_is_said_why_there_is_none(built, has, why):
    built(has, "_native_x86_64_v4")
    with pytest.raises(ImportError, match=why):
        processor.native("nws.imagined._native")


def test_a_module_that_breaks_is_not_called_missing(tmp_path, monkeypatch):
    (tmp_path / "broken_module.py").write_text("import a_library_that_is_not_there")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError) as error:
        processor.native("broken_module")
    assert error.value.name == "a_library_that_is_not_there"


def test_a_processor_that_is_too_old_is_refused_in_one_line_and_torch_trains():
    code = """
import sys, types
sys.modules["nws._processor"] = types.SimpleNamespace(instruction_sets=list)
sys.modules["nws.train._native"] = None
import nws
from nws.families.cnn2020 import MAIN
from nws.images import load
from nws.train import Job, Schedule, train
job = Job(0, MAIN.with_(dataset="digits", batch_size=32, width_conv=4, width_fc=16).net(seed=0, number=0))
(net,) = train([job], {"digits": load("digits", limit=64, limit_test=10)}, Schedule(epochs=1), engine="auto")
print(net.about["engine"])
list(train([job], {"digits": load("digits", limit=64, limit_test=10)}, Schedule(epochs=1), engine="native"))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["torch"]
    last = done.stderr.splitlines()[-1]
    assert "AVX2" in last
    assert "--engine torch" in last
