"""Every recipe runs to its end: with its own steps, and sizes of a test."""

import importlib.util
import json
from pathlib import Path

import pytest
from written_zoo import SNAPSHOTS, written_zoo

import nws
from nws import gallery

RECIPES = {path.stem: path for path in (Path(__file__).resolve().parents[1] / "recipes").glob("*.py")}
SMALL = nws.FIXED.with_(filter_size=3, width_conv=1, width_fc=8, batch_size=32, initialization="glorot_normal")


def recipe(name, **sizes):
    """The recipe as a module, some of its constants replaced; one it does not have is a mistake of the test."""
    spec = importlib.util.spec_from_file_location(name, RECIPES[name])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for constant, value in sizes.items():
        assert hasattr(module, constant), constant
        setattr(module, constant, value)
    return module


def test_four_image_sets(tmp_path, capsys):
    zoo = written_zoo(tmp_path / "zoo")
    names = ("dataset", "optimizer")
    sizes = {"ROUNDS": 1, "SNAPSHOTS": (3, 4), "DMC": ("optimizer",), "DMC_ROUNDS": 1, "DMC_SLICE": 100, "DMC_STEPS": 2}
    recipe("four_image_sets", PROPERTIES=names, **sizes).main(str(zoo.path), str(tmp_path / "out"), "--dmc")
    assert (tmp_path / "out/figure2.png").stat().st_size > 5000
    assert len(json.loads((tmp_path / "out/results.json").read_text())) == 2 * 4 + 3
    assert "svm-rbf-480" in capsys.readouterr().out


def test_audit_models(tmp_path, capsys):
    zoo = written_zoo(tmp_path / "zoo")
    recipe("audit_models", SNAPSHOTS=(SNAPSHOTS,), SLICE=200).main(
        str(zoo.path), str(tmp_path / "models"), "optimizer", "--workers", "1"
    )
    assert {path.name for path in (tmp_path / "models").glob("*.json")} == {
        "optimizer-svm-linear-480.json",
        "optimizer-svm-rbf-16.json",
    }
    assert "calibration error" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["fixed", "main"])
def test_reference_zoos(tmp_path, monkeypatch, kind, capsys):
    """With the cheap figures only: the others are tested one by one in test_gallery.py."""
    monkeypatch.setattr(gallery, "FIGURES", {name: gallery.FIGURES[name] for name in ("figure6", "figure7", "figure8")})
    sizes = {"SETS": ("digits", "scenes"), "NETS": 6, "LIMIT": 60, "LIMIT_TEST": 20, "EPOCHS": 2, kind.upper(): SMALL}
    script = recipe(f"reference_{kind}", **sizes)
    for _ in range(2):  # the second time it goes on, with nothing to do
        script.main(str(tmp_path / "zoo"), str(tmp_path / "out"))
    assert len(nws.Zoo(tmp_path / "zoo")) == 6
    assert {"figure6.png", "figure8.pdf", "report.html"} <= {path.name for path in (tmp_path / "out").iterdir()}


def test_every_recipe_is_tried():
    tried = {"audit_models", "four_image_sets", "reference_fixed", "reference_main", "resnet8_zoo"}
    assert set(RECIPES) == tried, "give a new recipe a test here"


def test_resnet8_zoo(tmp_path, capsys):
    few = {"IMAGES": "digits", "NETS": 8, "WIDTH": 4, "LIMIT": 100, "LIMIT_TEST": 50, "PASSES": (1, 8), "SNAPSHOTS": 2, "ROUNDS": 1}
    recipe("resnet8_zoo", READERS=("svm-linear-16",), **few).main(str(tmp_path / "zoo"), str(tmp_path / "out"))
    assert len(nws.Zoo(tmp_path / "zoo")) == 8
    assert "test_accuracy" in capsys.readouterr().out
