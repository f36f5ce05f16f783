"""Tables on disk: what was saved is what is read, and a key tells whether it is still true."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from fabricated import fabricated_zoo, tiny

from nws import NwsError, tables
from nws.zoo import Zoo

FRAME = pd.DataFrame({"net": [3, 4], "name": ["a,b", '"<script>'], "x": [1 / 3, np.nan], "on": [True, False]})


def test_saved_and_read_again(tmp_path):
    frame = FRAME.copy()
    frame.attrs = {"about": {"key": "k", "zoo": "z"}, "notes": ["a note"]}
    tables.save(frame, tmp_path / "new", "t")
    read = tables.load(tmp_path / "new", "t")
    assert read.attrs == frame.attrs
    pd.testing.assert_frame_equal(read, frame, rtol=1e-5)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "new" / "t.csv"), frame, rtol=1e-5)
    assert "NaN" not in (tmp_path / "new" / "t.json").read_text()  # JSON that any reader takes


def test_floats_keep_six_significant_digits_and_infinity_is_missing(tmp_path):
    tables.save(pd.DataFrame({"x": [np.pi * 1e-9, np.inf], "all_missing": [np.nan, np.nan]}), tmp_path, "t")
    read = tables.load(tmp_path, "t")
    assert read["x"][0] == 3.14159e-9
    assert np.isnan(read["x"][1])
    assert read["all_missing"].dtype == float


def test_the_key_changes_with_nets_and_settings_and_not_with_the_folder(tmp_path):
    zoo = fabricated_zoo(tmp_path / "zoo")
    key = tables.about(zoo, {"rounds": 2})["key"]
    assert tables.about(zoo, {"rounds": 3})["key"] != key
    moved = Zoo(shutil.copytree(zoo.path, tmp_path / "moved"))
    assert tables.about(moved, {"rounds": 2})["key"] == key
    moved.append(tiny(12))
    assert tables.about(moved, {"rounds": 2})["key"] != key


def test_current_is_what_has_the_key(tmp_path):
    frame = FRAME.copy()
    frame.attrs["about"] = {"key": "k"}
    tables.save(frame, tmp_path, "t")
    assert tables.is_current(tmp_path, "t", "k")
    assert not tables.is_current(tmp_path, "t", "other")
    assert not tables.is_current(tmp_path, "u", "k")


@pytest.mark.parametrize(
    "text", ["", "[]", '{"rows": 3}', json.dumps({"columns": ["a"], "rows": [[1, 2]], "about": {}, "notes": []})]
)
def test_what_is_no_table_is_refused_in_one_line(tmp_path, text):
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(NwsError, match=r"t\.json cannot be read as a table"):
        tables.load(tmp_path, "t")
    with pytest.raises(NwsError, match="is not there: `nws figures` makes it"):
        tables.load(tmp_path, "u")
