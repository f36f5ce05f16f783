"""benchmarks/gpu.py, tried on the CPU: whoever has a GPU for once must get figures from it, not a traceback."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "gpu.py"
NOT_NEEDED = {"cyclopts", "rich", "pooch", "skimage", "pyarrow", "matplotlib", "PIL", "statsmodels"}
BLOCKER = f"""
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {NOT_NEEDED!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocker())
"""


@pytest.fixture
def script(monkeypatch):
    """The script as a module."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", os.environ.get("CUDA_VISIBLE_DEVICES", ""))
    spec = importlib.util.spec_from_file_location("gpu_benchmark", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_it_runs_with_nothing_but_the_packages_of_a_pytorch_image(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(BLOCKER)
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, SCRIPT, "--quick", "--device", "cpu"], env=environment, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr
    found = rows(done.stdout)
    assert {row["part"] for row in found} == {"check", "streams", "mixture", "uncaptured", "local DMC", "global DMC"}
    assert not [row for row in found if "error" in row or "skipped" in row]
    assert [row["right"] for row in found if "right" in row] == [True] * 3
    assert all(row["nets_per_hour"] > 0 and row["share_of_float32"] > 0 for row in found if "streams" in row)
    assert len([row for row in found if "nets_per_hour" in row]) == 5
    assert len([row for row in found if "minutes_for_the_paper" in row]) == 4
    assert all("trial" in row and row["chip"] == "CPU" for row in found)


def test_a_failing_part_leaves_the_others_alone(script, monkeypatch, capsys):
    def failing(sizes, seconds):
        yield {"what": "first"}
        raise RuntimeError("CUDA error: out of luck")

    def good(sizes, seconds):
        yield from script.tried("half", lambda: 1 / 0)
        yield {"what": "whole"}

    monkeypatch.setattr(script, "PARTS", {"bad": (failing, 0.5), "good": (good, 0.5)})
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--quick", "--device", "cpu"])
    script.main()
    found = rows(capsys.readouterr().out)
    assert [row["what"] for row in found] == ["first", "bad", "half", "whole"]
    assert found[1]["error"] == "RuntimeError: CUDA error: out of luck"
    assert "ZeroDivisionError" in found[2]["error"]


def test_parts_that_do_not_fit_say_so(script, monkeypatch, capsys):
    monkeypatch.setattr(script, "PARTS", dict.fromkeys(script.PARTS, (None, 2.0)))
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--quick", "--device", "cpu", "--budget", "10"])
    script.main()
    assert all("it needs 20 s of the 10 s" in row["skipped"] for row in rows(capsys.readouterr().out))


def test_the_parts_fit_into_the_time(script):
    assert sum(share for _, share in script.PARTS.values()) <= 1


def test_a_part_that_hangs_or_dies_is_a_row(script, capsys):
    script.run_apart("check", 0.2, ["--device", "cpu"])
    script.run_apart("check", 60, ["--no-such-flag"])
    hung, died = rows(capsys.readouterr().out)
    assert hung["error"] == "not done after 0 s"
    assert died["error"].startswith("exit code 2: ")


def test_what_cannot_be_measured_is_no_figure(script):
    sizes = script.Sizes(quick=True, chip="cpu")
    sizes.epochs = 1
    from nws.bench.subject import FIXED

    (row,) = script.tried("one epoch", lambda: script.nets_per_hour([FIXED], 1, 60, sizes, 1.0))
    assert "no net trained two epochs" in row["error"]
