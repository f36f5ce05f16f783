"""The page as a file: what is packed comes back, strangers' text stays text, size within its budget, and no half-written file."""

import base64
import hashlib
import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from fabricated import fabricated_zoo, tiny
from foreign_files import foreign_zoo
from hypothesis import given, settings
from hypothesis import strategies as st
from studied import studied_zoo

from nws import FIXED, cli, gallery, report
from nws import tables as nws_tables
from nws.analysis import regression
from nws.errors import NwsError
from nws.report import data, findings, glance, page
from nws.report.packing import MISSING, packed, plain, quantised
from nws.zoo import Zoo

EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """Twelve fabricated nets, the last of them on an image set with a hostile name; do not change it."""
    made = fabricated_zoo(tmp_path_factory.mktemp("report") / "zoo")
    net = tiny(12)
    made.append(replace(net, hp=net.hp.with_(dataset=EVIL)))
    return made


def data_of(text):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])


def unpacked(value):
    return np.frombuffer(base64.b64decode(value["b64"]), f"<{value['type']}")


def dequantised(value):
    codes = unpacked(value).astype(float)
    return np.where(codes == MISSING, np.nan, value["low"] + codes * (value["high"] - value["low"]) / (MISSING - 1))


def write_table(folder, name, frame):
    folder.mkdir(parents=True, exist_ok=True)
    whole = {"name": name, "about": {}, "notes": [], "columns": list(frame.columns)}
    values = frame.astype(object).where(frame.notna(), None).to_numpy().tolist()
    (folder / f"{name}.json").write_text(json.dumps({**whole, "rows": values}))


def maps_of(cells):
    """The table maps from (property, position, snapshot, accuracy)."""
    frame = pd.DataFrame(cells, columns=["property", "position", "snapshot", "accuracy"])
    return frame.assign(meta="svm-rbf-16", part="all", n=24, chance=0.25)


# Packing


@given(st.lists(st.integers(0, 2**32 - 1), max_size=20))
def test_whole_numbers_come_back_exactly(values):
    assert unpacked(packed(np.array(values, np.int64))).tolist() == values


@given(st.lists(st.floats(width=32), max_size=20))
def test_quantised_floats_come_back_within_half_a_level_and_missing_stays_missing(values):
    got, values = quantised(np.array(values)), np.array(values, float)
    finite = np.isfinite(values)
    back = dequantised(got)
    assert np.isnan(back[~finite]).all()
    assert np.all(np.abs(back - values)[finite] <= (got["high"] - got["low"]) / (MISSING - 1) * 0.51)


@pytest.mark.parametrize("value", [np.nan, np.inf, np.float32(np.nan), pd.NA])
def test_what_json_cannot_hold_is_not_in_it(value):
    json.dumps(plain(value), allow_nan=False)


# Escaping


def test_text_from_data_cannot_leave_its_script_element(zoo, tmp_path):
    report.write(zoo, tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text()
    assert EVIL in str(data_of(text)["nets"]["columns"])
    assert "alert(1)" in text
    assert "<script>alert" not in text
    assert len(re.findall(r"<script", text)) == len(re.findall(r"</script", text)) == 2


@settings(max_examples=30)
@given(st.text(max_size=20))
def test_embedded_json_says_the_same_without_markup(text):
    found = page.embedded({"a": text})
    assert json.loads(found) == {"a": text}
    assert not set("<>&\u2028\u2029") & set(found)


def test_a_hostile_title_is_escaped(zoo):
    values = data.gather(zoo)
    assert "<title>&lt;script&gt;" in page.html({**values, "title": EVIL})


def test_the_policy_lets_only_this_script_and_style_in(zoo):
    text = page.html(data.gather(zoo))
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)[1]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    for inside in (
        re.search(r"<style>(.*?)</style>", text, re.DOTALL)[1],
        re.search(r'"module">(.*?)</script>', text, re.DOTALL)[1],
    ):
        assert base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode() in policy
    assert not re.search(r'(src|href)="https?:', text)


def test_no_script_sets_markup_or_asks_for_anything():
    for name in page.SCRIPTS:
        text = (page.files("nws.report") / "static" / f"{name}.js").read_text()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|fetch\(|XMLHttp|import\(", text), name


def test_every_script_stands_after_what_it_imports():
    folder = page.files("nws.report") / "static"
    assert {f"{name}.js" for name in page.SCRIPTS} == {file.name for file in folder.iterdir() if file.name.endswith(".js")}
    for at, name in enumerate(page.SCRIPTS):
        wanted = re.findall(r'from "\./(\w+)\.js"', (folder / f"{name}.js").read_text())
        assert set(wanted) <= set(page.SCRIPTS[:at]), name


# Data


def test_nets_and_places_are_those_of_the_zoo(zoo):
    values = data.gather(zoo)
    frame = zoo.index
    columns = {c["name"]: c for c in values["nets"]["columns"]}
    assert unpacked(values["nets"]["number"]).tolist() == frame.index.tolist()
    optimizers = [columns["optimizer"]["options"][code] for code in unpacked(columns["optimizer"])]
    assert optimizers == frame["optimizer"].tolist()
    np.testing.assert_allclose(unpacked(columns["test_accuracy"]), frame["test_accuracy"], rtol=1e-6)
    curves = dequantised(values["curves"]["test"]).reshape(len(frame), -1)
    np.testing.assert_allclose(curves[:, -1], frame["test_accuracy"], atol=1e-5)
    assert values["plane"]["count"] == 12 * 5  # net 4 diverged: it has no place


def test_the_plane_of_equal_nets_is_their_principal_components(tmp_path):
    zoo = Zoo.create(tmp_path / "zoo", FIXED)
    for number in range(6):
        zoo.append(tiny(number))
    table, method = glance.plane(zoo, lambda doing: None)
    assert "56 convolutional weights" in method
    x = np.stack([zoo.theta(n, s)[:56] for n, s in zip(table["net"], table["snapshot"])]).astype(float)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    spread = np.linalg.svd(x - x.mean(0), compute_uv=False)[:2]
    np.testing.assert_allclose(np.linalg.norm(table[["x", "y"]] - table[["x", "y"]].mean(), axis=0), spread, rtol=1e-4)


def test_neighbours_share_what_the_plane_separates_and_nothing_else():
    rng = np.random.default_rng(0)
    nets = pd.DataFrame({"told": np.repeat(["a", "b"], 100), "hidden": rng.permutation(np.repeat(["a", "b"], 100))})
    plane = pd.DataFrame({"net": nets.index, "snapshot": 1, "x": (nets["told"] == "a") * 9 + rng.random(200), "y": rng.random(200)})
    shared = findings.shared_neighbours(nets, plane, ["told", "hidden"])
    assert shared["told"][0] == 1
    assert abs(shared["hidden"][0] - shared["hidden"][1]) < 0.1
    assert findings.clearest(shared) == "told"


def test_the_sentence_names_the_clearest_property_and_no_unclear_one():
    rows = [
        {"property": "optimizer", "accuracy": 0.9, "low": 0.8, "high": 0.95, "chance": 0.33},
        {"property": "augmentation", "accuracy": 0.52, "low": 0.4, "high": 0.6, "chance": 0.5},
    ]
    said = findings.sentence(pd.DataFrame(), rows, {})
    assert "the optimizer in 90% of cases (chance 33%)" in said
    assert "augmentation they do not give away" in said


# Tables


def test_tables_of_nws_figures_are_shown(zoo, tmp_path):
    write_table(tmp_path / "tables", "maps", maps_of([("optimizer", p, s, (p + s) / 10) for p in range(4) for s in range(1, 4)]))
    effect = {"dataset": EVIL, "property": "optimizer", "option": "adam", "coefficient": -0.1, "p": np.nan}
    write_table(tmp_path / "tables", "regression", pd.DataFrame([effect]))
    where = pd.DataFrame([(0, 1, 0.5, 1.0), (0, 2, np.nan, 1.0), (99, 1, 3.0, 3.0)], columns=["net", "snapshot", "x", "y"])
    write_table(tmp_path / "tables", "embedding", where)
    values = data.gather(zoo, tmp_path)
    (shown,) = values["maps"]
    np.testing.assert_allclose(dequantised(shown["accuracy"]).reshape(3, 4)[2], [0.3, 0.4, 0.5, 0.6], atol=1e-4)
    assert values["regression"][0]["p"] is None
    assert values["plane"]["count"] == 1, "what has no place, or belongs to no net of the zoo, is left out"
    assert values["importance"] is None


def test_the_page_says_how_the_picture_was_made_and_how_long_the_dmc_learned(zoo, tmp_path):
    where = pd.DataFrame([(0, 1, 0.5, 1.0)], columns=["net", "snapshot", "x", "y"])
    where.attrs["notes"] = ["t-SNE of 10 principal components (umap-learn is not installed)"]
    nws_tables.save(where, tmp_path, "embedding")
    row = {"property": "optimizer", "meta": "dmc", "accuracy": 0.4, "low": 0.3, "high": 0.5, "chance": 0.33, "part": "all"}
    rows = pd.DataFrame([{**row, "slice_length": 1000}])
    rows.attrs = {"about": {"settings": {"effort": {"dmc_steps": 150}}}, "notes": ["1 net left out"]}
    nws_tables.save(rows, tmp_path, "meta_classification")
    nws_tables.save(rows, tmp_path, "local")
    values = data.gather(zoo, tmp_path)
    assert values["method"] == where.attrs["notes"][0]
    assert "150 training steps" in values["notes"]["meta_classification"][0]
    assert "1 net left out" in values["notes"]["meta_classification"]
    assert len(values["meta_classification"]) == 1
    assert values["local"] == [], "a row of both tables is shown once"


def test_the_tables_of_nws_figures_fill_every_section(tmp_path):
    zoo = studied_zoo(tmp_path / "zoo", nets=90)
    gallery.make(zoo, tmp_path / "figures", ["figure7", "figure14"])
    values = data.gather(zoo, tmp_path / "figures")
    table = regression.regression(zoo)
    assert [row["coefficient"] for row in values["regression"]] == pytest.approx(table["coefficient"], rel=1e-5)
    assert {row["option"] for row in values["regression"]} == set(table["option"])
    assert values["notes"]["regression"] == table.attrs["notes"]


def test_foreign_nets_make_a_page_with_what_their_source_recorded(tmp_path):
    report.write(foreign_zoo(tmp_path, nets=8), tmp_path / "r.html")
    values = data_of((tmp_path / "r.html").read_text())
    columns = {c["name"]: c for c in values["nets"]["columns"]}
    assert columns["optimizer"]["options"] == ["adam", "sgd"]
    assert columns["config.dropout"]["kind"] == "number"  # every net has a value of its own
    assert "batch_size" not in columns, "nobody recorded it"
    assert values["plane"]["count"] == 8 * 3


@pytest.mark.parametrize("content", ["{", "[1, 2]", '{"columns": ["a"]}', '{"columns": ["a"], "rows": [[1]]}'])
def test_a_table_that_is_none_is_named(zoo, tmp_path, content):
    (tmp_path / "maps.json").write_text(content)
    with pytest.raises(NwsError, match=r"maps\.json"):
        data.gather(zoo, tmp_path)


def test_bad_folders_are_refused(zoo, tmp_path):
    with pytest.raises(NwsError, match="no folder"):
        report.write(zoo, tmp_path / "r.html", tmp_path / "none")
    with pytest.raises(NwsError, match="holds no tables"):
        report.write(zoo, tmp_path / "r.html", tmp_path)
    with pytest.raises(NwsError, match="is a folder"):
        report.write(zoo, tmp_path)
    with pytest.raises(NwsError, match="is no folder"):
        report.write(zoo, tmp_path / "none" / "r.html")
    assert not list(tmp_path.iterdir())


def test_an_empty_zoo_is_refused_and_few_nets_still_make_a_page(tmp_path):
    zoo = Zoo.create(tmp_path / "zoo", FIXED)
    with pytest.raises(NwsError, match="no nets yet"):
        report.write(zoo, tmp_path / "r.html")
    zoo.append(tiny(0))
    written = report.write(zoo, tmp_path / "r.html")
    assert written.absent[0] == "plane"
    assert written.bytes == (tmp_path / "r.html").stat().st_size


# The command


def test_the_command_tells_what_it_wrote(zoo, tmp_path, capsys, monkeypatch):
    out = tmp_path / "r.html"
    monkeypatch.setattr("sys.argv", ["nws", "report", str(zoo.path), "--out", str(out), "--json"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["path"], said["bytes"], said["nets"]) == (str(out), out.stat().st_size, 13)
    assert [file.name for file in tmp_path.iterdir()] == ["r.html"]


# Size


def grown(zoo, nets):
    """What `gather` says of a zoo, for so many nets of 20 snapshots, with every table as large as the paper's."""
    rng = np.random.default_rng(0)
    frame = pd.concat([zoo.index] * (nets // len(zoo.index) + 1), ignore_index=True).iloc[:nets].assign(snapshots=20)
    for name in ("test_accuracy", "validation_accuracy", "train_accuracy", "learning_rate", "seconds"):
        frame[name] = rng.random(nets)
    where = pd.DataFrame({"net": np.repeat(np.arange(nets), 20), "snapshot": np.tile(np.arange(1, 21), nets)})
    told = {name: rng.random(len(where)) for name in ("x", "y", "train", "validation", "test")}
    table = where.assign(epoch=where["snapshot"], **told)
    values = data.gather(zoo)
    values |= {"nets": data._nets(frame, zoo.properties), "curves": data._curves(frame, table), "plane": data._points(frame, table)}
    cells = [(f"p{k}", part, p, s) for k in range(11) for part in ("all", "conv", "fc") for p in range(100) for s in range(1, 21)]
    maps = pd.DataFrame(cells, columns=["property", "part", "position", "snapshot"])
    maps = maps.assign(accuracy=rng.random(len(cells)), meta="svm-rbf-16", n=500, chance=0.25)
    feature = {"layer": "conv1", "type": "weight", "statistic": "variance_d", "mean": 0.123456, "spread": 0.0123456}
    return {**values, "maps": data._maps(maps), "importance": [{"property": "initialization", **feature}] * 480 * 11}


@pytest.mark.parametrize(("nets", "megabytes"), [(300, 3), pytest.param(3000, 10, marks=pytest.mark.slow)])
def test_the_page_stays_within_its_budget(zoo, nets, megabytes):
    assert len(page.html(grown(zoo, nets)).encode()) < megabytes * 1e6
