"""The command line as users meet it: results, resuming, Ctrl-C, and one line with exit code 2 for bad input."""

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from nws import cli
from nws.zoo import Zoo

SMALL = ["--with", "filter_size=3", "--with", "width_conv=1", "--with", "width_fc=8", "--with", "batch_size=32"]
QUICK = [*SMALL, "--images", "digits", "--limit", "100", "--limit-test", "50", "--epochs", "3", "--snapshots", "4"]


def run(capsys, monkeypatch, *arguments):
    """(exit code, stdout, stderr) of `nws ARGUMENTS` in this process."""
    monkeypatch.setattr(sys, "argv", ["nws", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr()
    return ended.value.code, said.out, said.err


@pytest.fixture
def nws(capsys, monkeypatch):
    return lambda *arguments: run(capsys, monkeypatch, *arguments)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A zoo of 24 tiny nets, made by the command line; do not change it."""
    folder = tmp_path_factory.mktemp("cli") / "zoo"
    command = [sys.executable, "-m", "nws", "sample", folder, *QUICK, "--nets", "24", "--workers", "2", "--json"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["nets"] == 24
    return folder


@pytest.fixture
def copied(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "zoo"))


def refused(result, *words):
    """One line, exit code 2, and the words in it."""
    code, out, err = result
    assert code == 2, (out, err)
    assert err.startswith("nws: ")
    assert err.count("\n") == 1, err
    assert "Traceback" not in err
    for word in words:
        assert word in err, err


# Sampling


def test_sample_again_says_that_all_is_done_and_changes_nothing(nws, made):
    before = {p: p.stat().st_mtime_ns for p in made.rglob("*.safetensors")}
    code, _, err = nws("sample", made, *QUICK, "--nets", 24)
    assert code == 0
    assert "all 24 nets are done" in err
    assert {p: p.stat().st_mtime_ns for p in made.rglob("*.safetensors")} == before


def test_more_nets_extend_a_zoo_and_the_old_ones_stay(nws, copied):
    before = Zoo(copied).theta(3)
    code, _, err = nws("sample", copied, *QUICK, "--nets", 26)
    assert code == 0
    assert "going on after 24 of 26 nets" in err
    zoo = Zoo(copied)
    assert len(zoo) == 26
    np.testing.assert_array_equal(zoo.theta(3), before)


def test_resumed_is_uninterrupted_and_workers_do_not_matter(nws, made, copied):
    for number in (2, 7, 23):
        (copied / f"nets/000/{number:06d}.safetensors").unlink()
    code, _, _ = nws("sample", copied, *QUICK, "--nets", 24, "--workers", 1)
    assert code == 0
    a, b = Zoo(made), Zoo(copied)
    for number in range(24):
        np.testing.assert_array_equal(a.theta(number), b.theta(number))


def test_other_settings_are_refused_by_name(nws, copied):
    refused(nws("sample", copied, *QUICK, "--nets", 24, "--seed", 5), "seed=0, not 5")
    refused(nws("sample", copied, *QUICK[:-4], "--epochs", 9, "--snapshots", 4, "--nets", 24), "epochs=3, not 9")


def test_ctrl_c_stops_cleanly_and_the_same_command_goes_on(tmp_path):
    zoo = tmp_path / "zoo"
    settings = [*SMALL, "--images", "digits", "--limit", "300", "--epochs", "30", "--nets", "2000", "--workers", "2"]
    command = [sys.executable, "-m", "nws", "sample", str(zoo), *settings]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 120
    while len(list(zoo.rglob("*.safetensors"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as the terminal does: to all processes
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, (out, err)
    assert "Traceback" not in err
    assert "the same command goes on" in err
    finished = Zoo(zoo)
    assert 3 <= len(finished) < 2000
    assert finished.verify().ok
    assert not list(zoo.rglob("*.tmp"))


def test_kill_9_leaves_a_whole_zoo(tmp_path):
    zoo = tmp_path / "zoo"
    command = [sys.executable, "-m", "nws", "sample", str(zoo), *QUICK, "--nets", "2000", "--workers", "2"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 120
    while len(list(zoo.rglob("*.safetensors"))) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    finished = Zoo(zoo)
    assert len(finished.index) >= 5
    assert not finished.verify().damaged


def test_few_epochs_and_small_sets_are_pointed_out(nws, tmp_path):
    settings = ["--images", "digits", "--limit", 100, "--epochs", 1, "--nets", 1, *SMALL[:-1], "batch_size=256"]
    code, _, err = nws("sample", tmp_path / "zoo", *settings)
    assert code == 0
    assert "note: 1 epoch gives 2 records, fewer than 20 snapshots" in err
    assert "note: digits: 90 images are left for training, fewer than the batch size of 1 net:" in err


# Looking and checking


def test_info_for_people_and_machines(nws, made):
    code, out, _ = nws("info", made)
    assert code == 0
    assert "24, ok 24" in out
    assert "optimizer" in out
    facts = json.loads(nws("info", made, "--json")[1])
    assert facts["nets"] == 24
    assert sum(facts["properties"]["optimizer"].values()) == 24
    assert facts["accuracies"]["digits"]["nets"] == 24


def test_info_of_this_installation(nws):
    facts = json.loads(nws("info", "--system", "--json")[1])
    assert facts["cores"] >= 1


def test_card(nws, copied):
    assert nws("info", copied, "--card")[0] == 0
    assert (copied / "README.md").read_text().startswith("---\n")


def test_verify_finds_truncated_altered_and_missing_nets(nws, copied):
    assert nws("verify", copied)[0] == 0
    files = sorted(copied.rglob("*.safetensors"))
    os.truncate(files[0], 1000)
    content = bytearray(files[5].read_bytes())
    content[-7] ^= 1
    files[5].write_bytes(content)
    files[9].unlink()
    code, out, _ = nws("verify", copied)
    assert code == 2
    assert "000000.safetensors" in out
    assert "000005.safetensors" in out
    assert "2 damaged, 1 missing" in out
    assert "--repair" in out
    assert json.loads(nws("verify", copied, "--json")[1])["ok"] is False


def test_repair_moves_aside_and_sampling_trains_exactly_those_again(nws, made, copied):
    files = sorted(copied.rglob("*.safetensors"))
    os.truncate(files[0], 1000)
    files[9].unlink()
    code, out, _ = nws("verify", copied, "--repair")
    assert code == 0
    assert (copied / "damaged").is_dir()
    assert "trains the 2 missing nets again" in out
    assert nws("sample", copied, *QUICK, "--nets", 24)[0] == 0
    assert nws("verify", copied)[0] == 0
    np.testing.assert_array_equal(Zoo(copied).theta(0), Zoo(made).theta(0))


def test_image_sets_are_listed(nws):
    code, out, _ = nws("images", "--json")
    assert code == 0
    assert json.loads(out)["digits"] == "embedded"


# Classification

ROW = {"property", "meta", "part", "slice_length", "snapshots", "accuracy", "low", "high", "chance"} | {
    "n_train",
    "n_test",
    "rounds",
    "seconds",
}


def test_classify_prints_rows_and_writes_everything(nws, made, tmp_path):
    arguments = [
        "--property",
        "initialization,augmentation",
        "--meta",
        "svm-linear-16,svm-rbf-480",
        "--rounds",
        2,
        "--snapshots",
        "3:4",
    ]
    code, out, _ = nws("classify", made, *arguments, "--out", tmp_path, "--json")
    assert code == 0
    rows = json.loads(out)
    assert [(r["property"], r["meta"]) for r in rows] == [
        (p, m) for p in ("initialization", "augmentation") for m in ("svm-linear-16", "svm-rbf-480")
    ]
    for row in rows:
        assert set(row) >= ROW
        assert 0 <= row["low"] <= row["accuracy"] <= row["high"] <= 1
        assert row["snapshots"] == [3, 4]
        assert row["rounds"] == 2
    for name in ("results.json", "results.csv", "meta_classification.png", "meta_classification.pdf"):
        assert (tmp_path / name).stat().st_size > 200
    assert len(list((tmp_path / "models").iterdir())) == 8
    code, table, _ = nws("classify", made, *arguments, "--out", tmp_path)
    assert code == 0
    assert "svm-rbf-480" in table


def test_classify_with_a_dmc_on_slices(nws, made):
    which = ["--property", "optimizer", "--meta", "dmc", "--slice", 100, "--part", "conv"]
    code, out, _ = nws("classify", made, *which, "--rounds", 1, "--steps", 2, "--json")
    assert code == 0
    (row,) = json.loads(out)
    assert row["slice_length"] == 100
    assert row["part"] == "conv"
    assert row["chance"] == pytest.approx(1 / 3)


# Bad input


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["classify", "ZOO", "--property", "optimiser"], ["property 'optimiser' is unknown: use one of optimizer,"]),
        (["classify", "ZOO", "--property", "optimizer", "--meta", "svm"], ["meta-classifier 'svm' is unknown", "svm-rbf-16"]),
        (["classify", "ZOO", "--property", "filter_size"], ["filter_size cannot be told apart", "filter_size=3"]),
        (["classify", "ZOO", "--property", "optimizer", "--slice", "1000000"], ["slice 1,000,000 is longer than", "weights"]),
        (
            ["classify", "ZOO", "--slice", "500", "--meta", "svm-rbf-16,svm-rbf-480"],
            ["svm-rbf-480 reads whole nets, not slices of 500"],
        ),
        (["classify", "ZOO", "--property", "optimizer", "--slice", "some"], ["give a number of weights"]),
        (["classify", "ZOO", "--property", "optimizer", "--snapshots", "x:y"], ["write 11:20, 20 or 1,5,20"]),
        (["classify", "ZOO", "--property", "optimizer", "--snapshots", "21"], ["have snapshots 1 to 4"]),
        (["classify", "ZOO", "--property", "optimizer", "--rounds", "0"], ["--rounds 0: must be at least 1"]),
        (["classify", "ZOO", "--part", "head"], ["head"]),
        (["classify", "nowhere"], ["nowhere does not exist"]),
        (["info", "nowhere"], ["nowhere does not exist", "nws sample"]),
        (["info"], ["which zoo?"]),
        (["verify", "nowhere"], ["nowhere does not exist"]),
        (["sample", "new", "--images", "minst"], ["image set 'minst' is unknown: use one of mnist,"]),
        (["sample", "new", "--with", "optimizer=adma"], ["optimizer 'adma' is unknown: use one of adam,"]),
        (["sample", "new", "--with", "optimiser=adam"], ["property 'optimiser' is unknown: use one of optimizer,"]),
        (["sample", "new", "--with", "filter_size=4"], ["filter_size=4", "odd"]),
        (["sample", "new", "--with", "batch_size=many"], ["batch_size=many: write it like 32"]),
        (["sample", "new", "--nets", "0"], ["--nets 0: must be at least 1"]),
        (["sample", "new", "--nets", "few"], ["few"]),
        (["sample", "new", "--images", "digits", "--limit", "99999"], ["digits", "99999", "at most"]),
        (
            ["sample", "new", "--images", "fashion", "--data", "nowhere"],
            ["fashion", "train-images-idx3", "get them from"],
        ),
        (["sample", "new", "--space", "huge"], ["huge"]),
        (["smaple"], ["smaple"]),
        (["sample"], ["ZOO"]),
        (["sample", "new", "--what"], ["--what"]),
    ],
    ids=lambda value: " ".join(value[:4]).replace("/", "") if isinstance(value, list) else None,
)
def test_bad_arguments_are_one_line_and_write_nothing(nws, made, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    refused(nws(*[str(made) if a == "ZOO" else a for a in arguments]), *words)
    assert not (tmp_path / "new").exists()


def test_a_truncated_image_file_is_named(nws, tmp_path):
    folder = tmp_path / "mnist"
    folder.mkdir()
    whole = gzip.compress(bytes([0, 0, 8, 3, 0, 0, 0, 9, 0, 0, 0, 28, 0, 0, 0, 28]) + bytes(9 * 784))
    labels = gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 9]) + bytes(9))
    for split in ("train", "t10k"):
        (folder / f"{split}-images-idx3-ubyte.gz").write_bytes(whole[:-20] if split == "train" else whole)
        (folder / f"{split}-labels-idx1-ubyte.gz").write_bytes(labels)
    refused(
        nws("sample", tmp_path / "zoo", "--images", "mnist", "--data", tmp_path), "train-images-idx3-ubyte.gz", "download it again"
    )
    assert not (tmp_path / "zoo").exists()


def test_a_zoo_of_a_newer_format_is_left_alone(nws, copied):
    plan = json.loads((copied / "zoo.json").read_text())
    (copied / "zoo.json").write_text(json.dumps(plan | {"format": 99}))
    for command in (["info"], ["verify"], ["classify"]):
        refused(nws(command[0], copied), "format 99 was written by a newer nws: upgrade nws")
    refused(nws("sample", copied, *QUICK), "newer nws")


def test_a_folder_that_is_no_zoo_and_a_file(nws, tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    refused(nws("info", tmp_path), "is no zoo")
    refused(nws("sample", tmp_path, *QUICK, "--nets", 1), "is not empty and no zoo")
    refused(nws("info", tmp_path / "letter.txt"), "is a file")
    assert (tmp_path / "letter.txt").read_text() == "dear"


def test_an_out_folder_that_is_a_file(nws, made, tmp_path):
    (tmp_path / "out").write_text("")
    refused(
        nws("classify", made, "--property", "optimizer", "--meta", "svm-linear-16", "--rounds", 1, "--out", tmp_path / "out"), "out"
    )


def test_a_full_disk_drops_the_net_and_keeps_the_zoo(nws, copied, monkeypatch):
    import nws.atomic as atomic

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic.os, "fsync", full)
    refused(nws("sample", copied, *QUICK, "--nets", 24 + 2, "--workers", 1))
    monkeypatch.undo()
    zoo = Zoo(copied)
    assert len(zoo) == 24
    assert zoo.verify().ok


def test_a_damaged_net_is_left_out_of_classification_and_said_by_info(nws, copied):
    os.truncate(copied / "nets/000/000003.safetensors", 500)
    code, out, _ = nws("info", copied)
    assert code == 0
    assert "nws verify" in out
    code, out, _ = nws("classify", copied, "--property", "augmentation", "--meta", "svm-linear-16", "--rounds", 1, "--json")
    assert code == 0


def test_help_names_every_property_and_option(nws):
    code, out, _ = nws("sample", "--help")
    assert code == 0
    flat = " ".join(out.replace("│", " ").split())
    for word in ("optimizer: adam, rmsprop, momentum", "initialization: constant", "--limit-test", "--workers", "--snapshots"):
        assert word in flat
    for command in ("classify", "verify", "info", "demo", "images", "figures"):
        assert nws(command, "--help")[0] == 0


# Figures


def test_figures_are_made_and_listed(nws, made, tmp_path):
    code, out, _ = nws("figures", made, "--out", tmp_path / "figures", "--only", "figure6,figure14")
    assert code == 0
    assert "figure6" in out
    assert (tmp_path / "figures" / "figure6.pdf").exists()
    code, out, _ = nws("figures", made, "--out", tmp_path / "figures", "--only", "figure6,figure14", "--json")
    assert code == 0
    first, second = json.loads(out)
    assert first["fresh"] is False
    assert first["files"][0].endswith("figure6.png")
    assert "converged" in second["skipped"]
    refused(nws("figures", made, "--out", tmp_path, "--only", "figure66"), "figure 'figure66' is unknown: use one of figure6,")
    refused(nws("figures", made, "--out", tmp_path, "--budget", "huge"), "huge")
