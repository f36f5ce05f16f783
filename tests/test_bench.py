"""Rows of benchmarks say what they must, and a suite that fails costs only itself."""

import importlib
import json
import pkgutil
import subprocess
import sys

import numpy as np
import pytest

from nws import bench, images, terminal
from nws.bench import fashion, suites
from nws.bench.engine import NETS
from nws.bench.rows import Row, machine
from nws.bench.subject import operations
from nws.errors import NwsError


@pytest.mark.parametrize(
    ("said", "reached"),
    [
        ({"value": 3.0, "ratio": 2.0, "target": 2.0}, True),
        ({"value": 3.0, "ratio": 1.9, "target": 2.0}, False),
        ({"value": 3.0, "limit": 2.0}, False),
        ({"value": 3.0, "ratio": 0.1, "limit": 0.2}, True),
        ({"value": 3.0}, None),
        ({"skipped": "no engine", "target": 2.0}, None),
    ],
)
def test_a_row_knows_whether_the_aim_is_reached(said, reached):
    row = Row.of({"benchmark": "b", "what": "w", **said, "extra": 1})
    assert row.reached is reached
    assert Row.of(json.loads(json.dumps(row.to_dict()))).to_dict() == row.to_dict()


@pytest.mark.parametrize("said", [{}, {"value": 1.0, "skipped": "why"}, {"value": 1.0, "target": 2.0}])
def test_rows_refuse_nonsense(said):
    with pytest.raises(NwsError, match="row b, w"):
        Row.of({"benchmark": "b", "what": "w", **said})


def test_the_machine_is_named():
    assert machine()["cores"] >= 1
    assert machine()["machine"]
    assert {"nws", "python", "numpy", "torch"} <= set(machine()["versions"])


def test_every_suite_is_listed():
    modules = [name for _, name, _ in pkgutil.iter_modules(bench.__path__) if not name.startswith("_")]
    found = {name for name in modules if hasattr(importlib.import_module(f"nws.bench.{name}"), "rows")} - {"rows"}
    assert found == set(suites.SUITES), "nws.bench.suites.SUITES names the modules that have rows()"


def test_a_failing_suite_leaves_the_others_alone(monkeypatch):
    row = json.dumps({"benchmark": "b", "what": "w", "value": 1.0})
    code = f"import sys; print({row!r}); sys.exit(sys.argv[1:] == ['bad'] and 'lost')"
    popen = subprocess.Popen
    monkeypatch.setattr(suites.subprocess, "Popen", lambda c, **k: popen([sys.executable, "-c", code, c[3]], **k))
    rows = list(suites.run(["bad", "good"]))
    assert [(row.what, row.skipped) for row in rows] == [("w", None), ("the rest of this suite", "it failed: lost"), ("w", None)]
    shown = [row.to_dict() for row in rows]
    assert terminal.benchmarks(shown).row_count == 3


def test_noise_of_full_size_is_read_as_fashion_is(tmp_path):
    pictures = images.load("fashion", fashion.noise(tmp_path))
    assert (len(pictures.y_train), len(pictures.y_test)) == (60_000, 10_000)
    assert np.bincount(pictures.y_train).tolist() == [6000] * 10


def test_operations_of_the_fixed_net():
    forward = 32**2 * 5**2 * 3 * 8 + 16**2 * 5**2 * 8 * 16 + 8**2 * 5**2 * 16 * 32 + 512 * 128 + 128 * 64 + 64 * 20
    assert operations(NETS["fixed"]) == 6 * forward


@pytest.mark.slow
def test_the_quick_version_of_whole_processes(tmp_path):
    rows = list(suites.run(["sampling"]))
    assert not [row.skipped for row in rows if row.skipped and "core" not in row.skipped]
