"""What the command line says, word by word: options that mean one thing, messages that name what was typed."""

# ruff: noqa: F811 (fixtures of another module)

import json
import os

import numpy as np
import pytest
from test_cli import QUICK, copied, made, nws, refused  # noqa: F401 (fixtures)

import nws.zoo as nws_zoo
from nws import Layout, NwsError, terminal
from nws.auditing.reference import WIDTH, Reference
from nws.tasks.protocol import draw_round

# One word, one meaning


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sample", "new", "--set", "optimizer"], ["--set optimizer: it needs a value, such as --set optimizer=adam"]),
        (["sample", "new", "--with", "optimizer="], ["--set optimizer: it needs a value"]),
        (["classify", "ZOO", "--where", "batch_norm"], ["--where batch_norm: it needs a value, such as --where batch_norm=off"]),
        (["classify", "ZOO", "--where", "optimizer=adam,rmsprop"], ["--where optimizer: give one value, not 2"]),
    ],
)
def test_a_property_without_its_value_is_called_that(nws, made, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    refused(nws(*[str(made) if a == "ZOO" else a for a in arguments]), *words)


@pytest.mark.parametrize(
    ("command", "former", "now", "value"),
    [
        ("sample", "--with", "--set", "optimizer=adma"),
        ("classify", "--only", "--where", "optimizer=adma"),
        ("figures", "--only", "--figures", "figure66"),
        ("bench", "--only", "--suites", "engin"),
    ],
)
def test_former_names_of_options_still_work_and_are_not_shown(nws, made, command, former, now, value):
    where = [] if command == "bench" else [made]
    said = nws(command, *where, now, value)
    refused(said, "is unknown: use one of")
    assert nws(command, *where, former, value) == said
    assert nws(command, *where, f"{former}={value}") == said
    shown = nws(command, "--help")[1].split()
    assert now in shown
    assert former not in shown


def test_another_limit_is_named(nws, copied):
    arguments = [*QUICK, "--nets", 24]
    arguments[arguments.index("--limit") + 1] = "110"
    refused(nws("sample", copied, *arguments), "limit=100, not 110")


def test_where_figures_and_exports_go_when_nobody_says(nws, copied):
    assert nws("figures", copied, "--figures", "figure6")[0] == 0
    assert (copied.parent / "zoo-figures" / "figure6.png").is_file()
    assert nws("export", copied, "--to", "numpy", "--snapshots", 1)[0] == 0
    assert (copied.parent / "zoo-numpy" / "rows.csv").is_file()
    code, out, _ = nws("report", copied, "--out", copied.parent / "report.html", "--json")
    assert code == 0
    assert "regression" in json.loads(out)["absent"]
    (copied.parent / "zoo-figures" / "tables" / "maps.json").write_text("{")
    refused(nws("report", copied, "--out", copied.parent / "report.html"), "zoo-figures", "maps")  # it looks there by itself


def test_verify_repair_does_not_tell_to_run_itself(nws, copied):
    os.truncate(copied / "nets/000/000003.safetensors", 500)
    (copied / "nets/000/000005.safetensors").unlink()
    code, before, _ = nws("verify", copied)
    assert code == 2
    assert before.count("--repair") == 1
    code, out, _ = nws("verify", copied, "--repair")
    assert code == 0  # as its help says
    assert "--repair" not in out
    assert out.count("000003.safetensors") == 2  # why, and where to
    assert "moved to damaged/000003.safetensors" in out
    assert "--repair has moved aside" in " ".join(nws("verify", "--help")[1].replace("│", " ").split())


def test_models_that_do_not_exist_are_called_that(nws, copied):
    net = copied / "nets/000/000003.safetensors"
    refused(nws("audit", net, "--with", "nomodels"), "nomodels does not exist", "name a saved meta-classifier, or a folder of them")


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("it reads every weight, and some are NaN", "It reads every weight, and some are NaN."),
        ("Already one.", "Already one."),
        ("conv1.weight is left out", "conv1.weight is left out."),
        ("3 nets left out", "3 nets left out."),
    ],
)
def test_remarks_are_sentences(said, shown):
    assert terminal.sentence(said) == shown


def test_one_is_singular():
    assert [terminal.count(n, "layer") for n in (0, 1, 2_000)] == ["0 layers", "1 layer", "2,000 layers"]


def test_accuracies_of_an_unrecorded_image_set_are_called_that(made, monkeypatch):
    summary = nws_zoo.Zoo(made).summary()
    summary["accuracies"] = {"not recorded": summary["accuracies"]["digits"]}
    with terminal.out.capture() as shown:
        terminal.out.print(terminal.zoo_table(summary))
    assert "test accuracy (image set not recorded)" in shown.get()


def test_the_cure_for_few_nets_is_one_that_was_not_taken_yet():
    labels, rng = np.array(["adam", "adam", "momentum"]), np.random.default_rng(0)
    with pytest.raises(NwsError, match=r"train more nets, or use --split rounds \(in Python split='rounds'\)"):
        draw_round(np.arange(3), labels, np.array(["train"] * 3), rng)
    with pytest.raises(NwsError, match=r"train more nets$"):
        draw_round(np.arange(3), labels, None, rng)


def test_sizes_unlike_the_zoo_s_are_said_in_english():
    rows = np.random.default_rng(0).normal(size=(3, WIDTH)).astype(np.float32)
    layout = Layout([("conv1", "weight", (2, 3, 3, 3), "conv"), ("out", "weight", (20, 8), "fc", (2, 2))])
    said = " ".join(Reference(rows, {"matrices": (3, 3), "inputs": (1, 2)}, None).unlike(layout))
    assert "it has 1 fully connected layer, the nets of the zoo have 3." in said
    assert "it has 3 input channels, the nets of the zoo have 1 to 2." in said
