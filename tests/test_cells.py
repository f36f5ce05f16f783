"""No text in a CSV is a formula; every text comes back."""

import csv
import io

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nws import tables
from nws.cells import csv_of, guarded, unguarded
from nws.exporters.job import table
from nws.importers.csv_rows import read
from nws.legacy.files import csv_text

FORMULAS = [
    "=1+1",
    "+SUM(A1)",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "'=1",
    "''@x",
    '=HYPERLINK("http://a","b")',
]
HARMLESS = ["-1.5", "+3", "-1e-05", "-.5", "-inf", "nan", "adam", "", "'quoted'", "a=b", -1.5, 7, None, True]


@pytest.mark.parametrize("text", FORMULAS)
def test_formulas_get_an_apostrophe(text):
    assert guarded(text) == f"'{text}"
    assert unguarded(guarded(text)) == text


@pytest.mark.parametrize("value", HARMLESS)
def test_numbers_and_other_text_stay(value):
    assert guarded(value) is value


@given(st.text(alphabet="=+-@'\t\r\n1.eEinfa ", max_size=8))
def test_every_text_comes_back(text):
    assert unguarded(guarded(text)) == text
    assert guarded(text)[:1] not in {*"=@\t\r\n"}


def cells_of(text):
    return [cell for row in csv.reader(io.StringIO(text)) for cell in row]


def test_every_table_that_nws_writes_is_guarded(tmp_path):
    frame = pd.DataFrame({"=name": ["=1+1", "adam"], "loss": [-1.5, 2.0]})
    tables.save(frame, tmp_path, "table")
    found = tables.load(tmp_path, "table")  # the JSON is data, as it was
    assert found["=name"].tolist() == ["=1+1", "adam"]
    rows = [{"=name": "=1+1", "loss": -1.5}]
    texts = [csv_of(frame), (tmp_path / "table.csv").read_text(), table(rows).decode(), csv_text([["=name"], ["=1+1", -1.5]])]
    for text in texts:
        assert not [cell for cell in cells_of(text) if cell.startswith("=")]
        assert {"'=name", "'=1+1", "-1.5"} <= set(cells_of(text))


def test_an_exported_table_says_the_same_when_it_is_read(tmp_path):
    rows = [{"path": "a.pt", "=name": text, "loss": -1.5} for text in FORMULAS if "\n" not in text and "\r" not in text]
    (tmp_path / "nets.csv").write_bytes(table(rows))
    assert [cells["=name"] for _, cells in read(tmp_path / "nets.csv")] == [row["=name"] for row in rows]
    assert {cells["loss"] for _, cells in read(tmp_path / "nets.csv")} == {"-1.5"}
