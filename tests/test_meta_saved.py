"""Saved models that are altered, cut short or made up; that whole ones predict the same is part of the contract (test_meta.py)."""

import hashlib
import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import nws
from nws.meta import DMC, SVM, load, save


@pytest.fixture
def saved(tmp_path):
    """A saved model and a function that damages it: saved(json=change of the JSON's dict, arrays=change of the arrays)."""
    path = tmp_path / "model"
    save(SVM("rbf").fit(np.random.default_rng(0).normal(size=(20, 16)), np.arange(20) % 3), path)

    def damage(json_change=None, arrays_change=None):
        said, arrays = json.loads((tmp_path / "model.json").read_text()), load_file(tmp_path / "model.safetensors")
        if arrays_change:
            arrays_change(arrays)
            save_file(arrays, tmp_path / "model.safetensors")
            said["sha256"] = hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).hexdigest()
        if json_change:
            json_change(said)
        (tmp_path / "model.json").write_text(json.dumps(said))
        return path

    return damage


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "newer nws"),
        ({"version": "a\nb"}, "newer nws"),
        ({"format": "other"}, "not a saved"),
        ({"class": "os.system"}, "class 'os.system' is unknown"),
        ({"class": "DMC"}, "parameters"),
        ({"parameters": {"kernel": "rbf"}}, "parameters"),
        ({"features": 10**15}, "features"),
        ({"features": 17}, "has shape"),
        ({"classes": [0, 1, 2, 3]}, "has shape"),
        ({"classes": [0, 1, True]}, "one type"),
        ({"classes": [2, 1, 0]}, "rising"),
        ({"classes": [0, 1, 10**40]}, "64 bits"),
        ({"classes": 3}, "list"),
        ({"about": 3}, "about"),
        ({"sha256": "0"}, "checksum"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_json_that_makes_no_sense_is_refused(saved, change, message):
    with pytest.raises(nws.NwsError, match=message) as error:
        load(saved(json_change=lambda said: said.update(change)))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda arrays: arrays.pop("mean"),
        lambda arrays: arrays.update(more=np.zeros(3)),
        lambda arrays: arrays.update(mean=np.zeros((16, 1))),
        lambda arrays: arrays.update(mean=np.full(16, np.nan)),
        lambda arrays: arrays.update(mean=np.full(16, False)),
        lambda arrays: arrays.update(support_vectors=np.zeros(())),
    ],
)
def test_arrays_that_do_not_fit_are_refused(saved, change):
    with pytest.raises(nws.NwsError, match=r"model.safetensors: (mean|more|support_vectors|dual_coefficients) "):
        load(saved(arrays_change=change))


def test_a_huge_slice_length_is_refused_before_anything_is_allocated(tmp_path):
    x = np.random.default_rng(0).normal(size=(4, 60)).astype(np.float32)
    save(DMC(60, max_steps=1).fit(x, [0, 1, 0, 1]), tmp_path / "x")
    said = json.loads((tmp_path / "x.json").read_text())
    (tmp_path / "x.json").write_text(json.dumps(said | {"features": 10**9}))
    with pytest.raises(nws.NwsError, match="has shape"):
        load(tmp_path / "x")


def test_files_that_are_missing_or_cut_short_or_not_writable_are_errors(saved, tmp_path):
    with pytest.raises(nws.NwsError, match="No such file"):
        load(tmp_path / "other")
    path = saved()
    arrays = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(arrays[:-8])
    with pytest.raises(nws.NwsError, match="cut short"):
        load(path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(nws.NwsError, match="No such file"):
        load(path)
    for text in ("[" * 100_000, "{", "[]"):
        (tmp_path / "model.json").write_text(text)
        with pytest.raises(nws.NwsError):
            load(path)
    model = SVM().fit(np.eye(3), [0, 1, 2])
    with pytest.raises(nws.NwsError, match="cannot be written"):
        save(model, tmp_path / "model.json" / "inside a file")
    with pytest.raises(nws.NwsError, match="JSON"):
        save(model, tmp_path / "y", {"zoo": object()})
    assert not list(tmp_path.glob("y*"))
