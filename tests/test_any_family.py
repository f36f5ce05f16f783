"""Figures, report, card and export of zoos whose nets are not the paper's: whatever a zoo lacks is left out with a reason."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from safetensors.numpy import load_file
from test_cli import run
from test_report import data_of
from torch import nn

import nws
from nws import Property, Record, gallery, report, tables
from nws.analysis import reading, statistics
from nws.analysis.study import QUICK, Study
from nws.families import Family, standard
from nws.figures import style
from nws.tasks.inputs import Inputs

TINY = replace(QUICK, rounds=1, dmc_steps=2, slice_length=50, dmc_properties=("rule",))
SETTINGS = {
    "subset_size": {"lengths": (20, 50, 10**6), "dmc_lengths": (20,)},
    "maps": {"grid": (3, 2), "dmc_grid": (2, 2), "svm_rounds": 1},
}
SAMPLED = {"images": "digits", "limit": 100, "limit_test": 50, "snapshots": 3, "epochs": 2, "workers": 1}


class Coder(Family):
    """An autoencoder that trains itself: no classes, no accuracy, names that no figure of the paper knows."""

    name = "coder"
    properties = (
        *standard("dataset"),
        Property("rate", (0.05, 0.5), continuous=True),
        Property("units_in_the_code", (2, 16, 4)),
        Property("shared", (False, True)),
        Property("rule", ("plain_$x$", "sign")),
    )
    measures = ("step", "loss")

    def module(self, config, generator=None):
        units = config.units_in_the_code
        return nn.Sequential(nn.AvgPool2d(16), nn.Flatten(), nn.Linear(12, units), nn.Tanh(), nn.Linear(units, 12))

    def train(self, config, images, rng, epochs):
        net = self.module(config)
        x = torch.from_numpy(images.x_train).permute(0, 3, 1, 2) / 255
        for step in range(epochs + 1):
            loss = ((net(x) - net[1](net[0](x))) ** 2).mean()
            yield Record(step, net, {"loss": loss.item()})
            net.zero_grad()
            loss.backward()
            with torch.no_grad():
                for p in net.parameters():
                    p -= config.rate * (p.grad.sign() * 0.01 if config.rule == "sign" else p.grad)


@pytest.fixture(scope="module")
def zoos(tmp_path_factory):
    """Do not change them."""
    folder = tmp_path_factory.mktemp("families")
    mlp = nws.families.MLP.space.with_(depth=[1, 2], width=[4, 8], side=8, optimizer=["adam", "momentum"])
    return {
        "mlp": nws.sample(folder / "mlp", mlp.sample(24, 0), **SAMPLED),
        "coder": nws.sample(folder / "coder", Coder(), 24, **SAMPLED),
    }


@pytest.fixture(scope="module")
def made(zoos, tmp_path_factory):
    """family -> (zoo, folder, figure -> what became of it)"""
    with pytest.MonkeyPatch.context() as patch:
        for name, table in gallery.TABLES.items():
            settings = {**table.quick, **SETTINGS.get(name, {})}
            if "effort" in settings:
                settings["effort"] = {**settings["effort"], **vars(TINY)}
            patch.setitem(gallery.TABLES, name, replace(table, quick=settings))
        patch.setattr(style, "save", lambda figure, path, *_: figure.savefig(f"{path}.png", dpi=40) or style.files(path))
        found = {}
        for name, zoo in zoos.items():
            out = tmp_path_factory.mktemp("figures") / name
            found[name] = zoo, out, {m.name: m for m in gallery.make(zoo, out)}
    return found


def test_an_mlp_zoo_has_its_figures_and_says_why_not(made):
    _, folder, figures = made["mlp"]
    skipped = {name: m.skipped for name, m in figures.items() if not m.files}
    assert {"figure2", "figure4", "figure5", "figure11", "figure18", "figure20", "figure21", "numbers"} <= set(figures) - set(
        skipped
    )
    assert "batch_norm" in skipped["figure19"]
    assert all(why and "\n" not in why for why in skipped.values())
    local = tables.load(folder / "tables", "local")
    assert set(local["part"]) == {"all"}, "nets without a conv part are read once, not thrice"
    assert set(local["property"]) >= {"width", "depth"}
    pairs = tables.load(folder / "tables", "pairs")
    shown = {figure: (rows["a"].iloc[0], rows["b"].iloc[0]) for figure, rows in pairs.groupby("figure")}
    assert shown["figure10"] == ("initialization", "optimizer"), "the paper's pair where the family has it"
    assert "augmentation" not in shown["figure11"]
    assert figures["figure11"].says == f"mean accuracy by {' and '.join(shown['figure11'])}".replace("_", " ")


def test_a_family_without_accuracies_has_the_other_figures(made):
    _, folder, figures = made["coder"]
    drawn = {name for name, m in figures.items() if m.files}
    assert {"figure2", "figure4", "figure5", "figure6", "figure17", "figure18", "figure20", "numbers"} <= drawn
    for name in ("figure1", "figure7", "figure8", "figure9", "figure14"):
        assert "accurac" in figures[name].skipped
    read = tables.load(folder / "tables", "meta_classification")
    assert set(read["property"]) == {"units_in_the_code", "shared", "rule"}
    assert set(tables.load(folder / "tables", "numbers")["property"]) == {"rate", "loss"}
    assert tables.load(folder / "tables", "nets")["converged"].isna().all(), "what nobody measured is not said to have failed"


def test_the_report_shows_what_the_family_measures(made):
    zoo, folder, _ = made["coder"]
    out = folder / "report.html"
    report.write(zoo, out, folder)
    data = data_of(out.read_text())
    columns = {column["name"]: column for column in data["nets"]["columns"]}
    assert columns["loss"]["kind"] == "number"
    assert columns["units_in_the_code"]["options"] == ["2", "4", "16"]
    assert columns["units_in_the_code"]["ordered"]
    assert not columns["rule"]["ordered"]
    numbers = [row for row in data["meta_classification"] if row["accuracy"] is None]
    assert {row["property"] for row in numbers} == {"rate", "loss"}
    assert all({"r2", "r2_low", "r2_high", "tau"} <= set(row) for row in numbers)
    assert data["colour"] != "test_accuracy"


def test_the_plane_of_nets_without_a_conv_part_is_that_of_all_weights(tmp_path):
    one = nws.families.MLP.space.with_(depth=1, width=4, side=8)
    zoo = nws.sample(tmp_path / "zoo", one.sample(6, 0), **SAMPLED)
    (figure,) = gallery.make(zoo, tmp_path / "out", ["figure13"])
    assert figure.files
    points = tables.load(tmp_path / "out" / "tables", "embedding")
    assert "all weights" in " ".join(points.attrs["notes"])
    assert points["x"].nunique() > 6
    report.write(zoo, tmp_path / "report.html")
    data = data_of((tmp_path / "report.html").read_text())
    assert "310 weights" in data["method"]
    assert data["plane"]["x"]["high"] > data["plane"]["x"]["low"]


def test_info_and_card_name_the_family(zoos, capsys, monkeypatch):
    assert "fully connected networks" in zoos["mlp"].card()
    assert "of the family coder" in zoos["coder"].card()
    assert "convolutional" not in zoos["mlp"].card() + zoos["coder"].card()
    code, out, _ = run(capsys, monkeypatch, "info", zoos["coder"].path, "--json")
    facts = json.loads(out)
    assert code == 0
    assert facts["measured"]["loss"]["min"] < facts["measured"]["loss"]["max"]
    assert "loss" in run(capsys, monkeypatch, "info", zoos["coder"].path)[1]


def test_verify_and_exports_take_any_family(zoos, tmp_path, capsys, monkeypatch):
    for name, zoo in zoos.items():
        assert run(capsys, monkeypatch, "verify", zoo.path)[0] == 0
        for kind in ("state-dict", "numpy"):
            out = tmp_path / f"{name}-{kind}"
            assert run(capsys, monkeypatch, "export", zoo.path, "--to", kind, "--out", out)[0] == 0
    for name, family in (("mlp", nws.families.MLP), ("coder", Coder())):
        zoo = zoos[name]
        state = load_file(tmp_path / f"{name}-state-dict" / "000003" / "003.safetensors")
        module = family.module(family.config(zoo.net(3).hp.to_dict()))
        module.load_state_dict({key: torch.from_numpy(array) for key, array in state.items()})
        assert_array_equal(zoo.layout(3).from_state_dict(module.state_dict()), zoo.theta(3, 3))


def test_a_switch_of_a_stored_family_is_a_switch(zoos):
    known = nws.Zoo(zoos["coder"].path).properties["shared"]
    assert known.check(True) is True
    assert [known.label(option) for option in known.options] == ["off", "on"]


def test_slices_are_shorter_where_no_net_is_as_long_as_they_should_be(zoos):
    study = Study(Inputs(zoos["coder"]), QUICK)
    assert study.slice_length == zoos["coder"].index["weights"].min() // 2
    assert Study(Inputs(zoos["coder"]), TINY).slice_length == 50
    too_long = study.local("rule", 10**6)
    assert "longer than net" in study.why_not(too_long)
    with pytest.raises(tables.NotForThisZooError, match="longer than net"):
        study.asked([too_long])
    with pytest.raises(tables.NotForThisZooError, match="shorter than the shortest slice"):
        reading.subset_size(study, lengths=(10**6,), dmc_lengths=())


def test_names_of_the_paper_are_taken_where_the_family_has_them(zoos):
    study = Study(Inputs(zoos["mlp"]), TINY)
    usual = study.usual(reading.GLOBAL)
    assert len(usual) == len(reading.GLOBAL)
    assert "augmentation" not in usual
    assert usual[0] == "batch_size"
    assert set(usual) - set(reading.GLOBAL) <= {"depth", "width", "weight_decay", "label_noise", "dropout"}
    assert Study(Inputs(zoos["coder"]), TINY).usual(reading.GLOBAL) == ["units_in_the_code", "shared", "rule"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([16, 4, 32], [4, 16, 32]),
        (["0.01", "1e-05", "0"], ["0", "1e-05", "0.01"]),
        (["on", "off"], ["on", "off"]),
        ([True, False], [True, False]),
        (["b", "16", "a"], ["b", "16", "a"]),
    ],
)
def test_options_of_unknown_names_have_an_order_and_colours(given, expected):
    assert style.ordered("something", [*given, *given]) == expected
    assert len(set(style.colours("something", expected).values())) == len(expected)
    assert style.ordered("batch_norm", ["group", "batch"]) == ["batch", "group"]
    assert style.label("batch_norm", "group") == "group", "a known name may have other options in another family"


def test_pairs_of_a_family_with_one_property_are_refused_in_one_line(tmp_path):
    one = nws.families.MLP.space.with_(depth=1, width=[4, 8], side=8, optimizer="adam", activation="relu", initialization="normal")
    one = one.with_(batch_size=32, weight_decay=0.0, label_noise=0.0, dropout=0.0)
    zoo = nws.sample(tmp_path / "zoo", one.sample(4, 0), **SAMPLED)
    with pytest.raises(tables.NotForThisZooError, match="no two of") as refused:
        statistics.pairs(zoo)
    assert "\n" not in str(refused.value)
    assert np.isfinite(statistics.accuracy(zoo)["chance"]).all()
