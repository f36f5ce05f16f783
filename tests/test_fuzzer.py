"""benchmarks/fuzz.py itself: its valid files are read, its strange ones are read or refused in one line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FUZZER = Path(__file__).resolve().parents[1] / "benchmarks/fuzz.py"
INPUTS = 20


@pytest.mark.skipif(sys.platform != "linux", reason="the fuzzer limits memory as Linux does")
def test_every_format(tmp_path):
    for package in ("torch", "h5py", "onnx", "msgpack"):
        pytest.importorskip(package)
    command = [sys.executable, FUZZER, "all", "--inputs", str(INPUTS), "--seed", "1"]
    environment = {**os.environ, "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    said = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert said.returncode == 0, said.stderr[-2000:]
    rows = [json.loads(line) for line in said.stdout.splitlines()]
    assert len(rows) >= 25
    for row in rows:
        assert row["findings"] == 0, row
        assert row["accepted"] + row["refused"] == INPUTS, row
