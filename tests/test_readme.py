"""What the README shows on its first page works together: its Python lines go on with the zoo that its command lines made."""

import ast
import os
import shlex
import sys

import numpy as np
import pytest
from image_files import tiny_mnist
from test_docs import README, commands, fenced

from nws import cli


def test_the_python_lines_go_on_in_the_folder_of_the_command_lines(tmp_path, monkeypatch):
    """The lines as they are, but for the sizes: 12 nets instead of 200, few epochs, an SVM instead of the DMC."""
    tiny_mnist(tmp_path / "data/fashion", np.random.default_rng(0))
    monkeypatch.setenv("NWS_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    line = next(line for line in commands(README) if line.startswith("nws sample zoo/fashion"))
    small = line.replace("--nets 200", "--nets 11").replace("--workers 2", "--workers 1 --epochs 1")
    assert small.count("--epochs") == 1 and "--nets 11" in small  # noqa: PT018
    monkeypatch.setattr(sys, "argv", shlex.split(small))
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    (text,) = (text for language, text in fenced(README) if language == "python")
    sizes = {"200": "12", "100": "2", "workers=2": "workers=1, epochs=1", "rounds=10": "rounds=1", '"dmc"': '"svm-linear-16"'}
    for size, small in sizes.items():
        assert size in text
        text = text.replace(size, small)
    names: dict = {}
    lines = [node for node in ast.parse(text).body if "audit" not in ast.unparse(node)]  # that one has a test of its own
    exec(compile(ast.Module(lines, []), str(README), "exec"), names)
    assert os.path.samefile(names["zoo"].path, tmp_path / "zoo/fashion")
    assert len(names["zoo"]) == 12, "eleven by the command line, one by Python"
    assert len(names["mlps"]) == 2
    assert names["data"][0][0].shape == (5000,)
    assert names["x"].shape[0] == len(names["y"]) == 12 * 4
    assert names["results"][0].property == "optimizer"
