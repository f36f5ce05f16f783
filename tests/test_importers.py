"""Other people's zoos become ours: what is imported is what their files say, damaged nets are skipped, nothing is run."""

import json
import os
import shutil
from pathlib import Path

import foreign_files as foreign
import numpy as np
import pytest
from test_cli import nws, refused  # noqa: F401 (a fixture)

from nws import FIXED, NwsError, Recorded, Task, evaluate, importers
from nws.families import cnn2020 as cnn
from nws.zoo import Zoo


def imported(kind, source, zoo, **options):
    return importers.fill(importers.open_source(kind, source, **options), zoo)


# -- the Small CNN Zoo -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """(matrix, zoo): do not change them."""
    folder = tmp_path_factory.mktemp("small")
    matrix = foreign.small_cnn_zoo(folder / "source", nets=40)
    imported("small-cnn-zoo", folder / "source", folder / "zoo")
    return matrix, Zoo(folder / "zoo")


def test_a_small_cnn_zoo_keeps_its_weights_and_their_order(small):
    matrix, zoo = small
    layout = zoo.layout(3)
    assert [t.name.removeprefix("sequential/") for t in layout.tensors][:3] == ["conv2d.weight", "conv2d.bias", "conv2d_1.weight"]
    assert (layout.size_of("conv"), layout.size_of("fc")) == (4 * 9 + 4 + 16 * 9 + 4, 50)
    row = matrix[3 * 3 + 2]  # net 3 at its third snapshot
    bias, kernel = row[:4], row[4:40].reshape(3, 3, 1, 4)
    named = layout.unflatten(zoo.theta(3, 3))
    np.testing.assert_array_equal(named["sequential/conv2d.weight"], kernel.transpose(3, 2, 0, 1))
    np.testing.assert_array_equal(named["sequential/conv2d.bias"], bias)
    np.testing.assert_array_equal(named["sequential/dense.weight"], row[-40:].reshape(4, 10).T)


def test_a_small_cnn_zoo_keeps_its_properties_in_their_own_values(small):
    _, zoo = small
    row = zoo.index.loc[5]
    assert (row["optimizer"], row["activation"], row["initialization"], row["dataset"]) == ("sgd", "relu", "orthogonal", "cifar10")
    assert row["learning_rate"] == pytest.approx(0.006)
    assert row["config.l2reg"] == 10.0**-6
    assert (row["snapshots"], row["epochs"]) == (3, 86)
    assert row["test_accuracy"] == pytest.approx(0.53)
    assert np.isnan(row["batch_size"])
    assert zoo.properties["optimizer"].options == ("adam", "sgd")
    assert zoo.properties["config.l2reg"].continuous
    assert "batch_size" not in zoo.properties
    assert zoo.net(5).epoch.tolist() == [0, 1, 86]


def test_every_command_works_on_an_imported_zoo(small, nws, tmp_path):  # noqa: F811
    _, zoo = small
    code, out, _ = nws("info", zoo.path)
    assert code == 0
    assert "adam 20, sgd 20" in out
    assert nws("verify", zoo.path)[0] == 0
    assert nws("info", shutil.copytree(zoo.path, tmp_path / "zoo"), "--card")[0] == 0
    rounds = ("--rounds", 2, "--json", "--meta")
    code, out, err = nws("classify", zoo.path, "--property", "optimizer,config.l2reg", *rounds, "svm-linear-16,svm-linear-480")
    assert code == 0, err
    rows = json.loads(out)
    assert [r["accuracy"] for r in rows[:2]] == [1.0, 1.0]  # by the sign of their mean
    assert rows[0]["classes"] == ["adam", "sgd"]
    assert rows[2]["error"] is not None  # a regression
    code, out, err = nws("classify", zoo.path, *rounds, "svm-linear-16", "--property", "optimizer", "--part", "conv", "--slice", 40)
    assert code == 0, err
    refused(nws("classify", zoo.path, "--property", "batch_size"), "property 'batch_size' is unknown: use one of")


def test_the_matrix_and_the_table_must_belong_together(tmp_path):
    foreign.small_cnn_zoo(tmp_path / "a", nets=2, packed=False)
    matrix = np.load(tmp_path / "a/weights.npy")
    np.save(tmp_path / "a/weights.npy", matrix[:-1])
    with pytest.raises(NwsError, match=r"metrics.csv has 6 rows, weights.npy beside it 5"):
        importers.open_source("small-cnn-zoo", tmp_path / "a")
    np.save(tmp_path / "a/weights.npy", matrix[:, 1:])
    with pytest.raises(NwsError, match="describes rows of"):
        importers.open_source("small-cnn-zoo", tmp_path / "a")
    np.save(tmp_path / "a/weights.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(NwsError, match="no array that can be read"):
        importers.open_source("small-cnn-zoo", tmp_path / "a")


@pytest.mark.parametrize("shape", ["__import__('os').system('true')", "(3, 3, -1)", "(99999999999,)", "(" * 90, "3.5"])
def test_shapes_of_a_layout_are_data(tmp_path, shape):
    foreign.small_cnn_zoo(tmp_path / "a", nets=1)
    (tmp_path / "a/layout.csv").write_text(f'varname,start_idx,end_idx,shape\nx,0,9,"{shape}"\n')
    with pytest.raises(NwsError, match="line 2: must say varname"):
        importers.open_source("small-cnn-zoo", tmp_path / "a")


# -- folders of checkpoints -----------------------------------------------------------------------------------------------------


def checkpoints(folder, nets=3):
    import torch

    folder.mkdir(exist_ok=True)
    for net in range(nets):
        torch.save(foreign.state_dict(np.random.default_rng(net)), folder / f"net{net}.pt")
    foreign.table(
        folder / "nets.csv",
        [{"path": f"net{k}.pt", "optimizer": ("sgd", "lion")[k % 2], "epoch": 9, "test_accuracy": 0.7} for k in range(nets)],
    )
    return folder


def test_a_folder_of_checkpoints_with_a_table(tmp_path):
    folder = checkpoints(tmp_path / "a")
    summary = imported("checkpoints", folder, tmp_path / "zoo")
    assert summary.nets == 3
    row = Zoo(tmp_path / "zoo").index.loc[1]
    assert (row["optimizer"], row["test_accuracy"], row["epochs"]) == ("lion", 0.7, 9)


def test_a_glob_takes_what_the_files_say_themselves(tmp_path):
    import torch

    folder = checkpoints(tmp_path / "a", 1)
    state = {"model": foreign.state_dict(np.random.default_rng(1)), "config": {"activation": "gelu"}, "epoch": 4}
    torch.save({**state, "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}}}, folder / "whole.ckpt")
    (folder / "nets.csv").unlink()
    imported("checkpoints", folder / "*.ckpt", tmp_path / "zoo")
    zoo = Zoo(tmp_path / "zoo")
    assert zoo.index["config.activation"].tolist() == ["gelu"]
    assert zoo.net(0).epoch.tolist() == [4]
    assert zoo.net(0).about["files"] == ["whole.ckpt"]


def test_damaged_nets_are_skipped_and_listed_and_read_when_they_are_whole_again(tmp_path, nws):  # noqa: F811
    folder = checkpoints(tmp_path / "a")
    whole = (folder / "net1.pt").read_bytes()
    (folder / "net1.pt").write_bytes(whole[:100])
    code, out, _ = nws("import", "checkpoints", folder, tmp_path / "zoo", "--json")
    said = json.loads(out)
    assert (code, said["imported"], said["nets"]) == (0, 2, 2)
    assert said["skipped"][0][0].endswith("net1.pt")
    assert Zoo(tmp_path / "zoo").numbers() == [0, 2]
    refused(nws("import", "checkpoints", folder, tmp_path / "strict", "--strict"), "net1.pt")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "zoo").rglob("*.safetensors")}
    (folder / "net1.pt").write_bytes(whole)
    again = imported("checkpoints", folder, tmp_path / "zoo")
    assert (again.already, again.imported, again.nets) == (2, 1, 3)
    assert all(p.stat().st_mtime_ns == t for p, t in before.items())


def test_an_interrupted_import_goes_on_to_the_same_zoo(tmp_path):
    folder = checkpoints(tmp_path / "a", 4)

    def stop(done, of, where):
        if done == 2:
            raise KeyboardInterrupt

    source = importers.open_source("checkpoints", folder)
    with pytest.raises(KeyboardInterrupt):
        importers.fill(source, tmp_path / "zoo", on_progress=stop)
    assert Zoo(tmp_path / "zoo").numbers() == [0, 1]
    imported("checkpoints", folder, tmp_path / "zoo")
    imported("checkpoints", folder, tmp_path / "at_once")
    one, other = Zoo(tmp_path / "zoo"), Zoo(tmp_path / "at_once")
    assert one.index["sha256"].tolist() == other.index["sha256"].tolist()


def test_another_source_is_refused(tmp_path):
    imported("checkpoints", checkpoints(tmp_path / "a"), tmp_path / "zoo")
    with pytest.raises(NwsError, match="was made with source="):
        imported("checkpoints", checkpoints(tmp_path / "b", 2), tmp_path / "zoo")


@pytest.mark.parametrize("path", ["../net0.pt", "/etc/passwd", "link.pt", "sub/net0.pt", "a\0b.pt", "x" * 5000 + ".pt"])
def test_paths_of_a_table_stay_in_its_folder(tmp_path, path):
    folder = checkpoints(tmp_path / "a")
    shutil.copy(folder / "net0.pt", tmp_path / "net0.pt")
    (folder / "link.pt").symlink_to(tmp_path / "net0.pt")
    (folder / "sub").symlink_to(tmp_path)
    foreign.table(folder / "nets.csv", [{"path": path}, {"path": "net1.pt"}])
    summary = imported("checkpoints", folder, tmp_path / "zoo")
    assert summary.imported == 1
    assert len(summary.skipped) == 1


def test_names_are_data_whatever_they_are(tmp_path, nws):  # noqa: F811
    folder = checkpoints(tmp_path / "a")
    odd = os.fsencode(folder) + b"/bad\xff[bold]name.pt"
    shutil.copy(folder / "net0.pt", odd)
    text = (folder / "nets.csv").read_bytes()
    extra = b"bad\xff[bold]name.pt,=HYPERLINK(1)|<script>alert(1)</script>,9,0.1\n"
    (folder / "nets.csv").write_bytes(text + extra)
    summary = imported("checkpoints", folder, tmp_path / "zoo")
    assert summary.nets == 4
    zoo = Zoo(tmp_path / "zoo")
    assert zoo.index.loc[3, "optimizer"] == "=HYPERLINK(1)|<script>alert(1)</script>"
    code, out, _ = nws("info", zoo.path)
    assert code == 0
    assert "<script>" in out
    assert "<script>" not in zoo.card()


# -- the published data -----------------------------------------------------------------------------------------------------------


def test_published_runs_keep_weights_history_and_split(shared, tmp_path):
    folder = shared / "fixtures" / "nws2020"
    summary = imported("nws2020", folder / "nws_main", tmp_path / "zoo")
    assert (summary.nets, summary.skipped, summary.largest_rounding_difference) == (3, [], 0.0)
    zoo = Zoo(tmp_path / "zoo")
    assert zoo.index["split"].tolist() == ["train", "train", "test"]
    net = zoo.net(0)
    assert net.about["path"] == "main/1001"
    assert net.layout == cnn.layout(net.hp)
    for snapshot in (1, 20):
        exact = np.fromfile(folder / f"main/1001/weights/{snapshot:03d}.bin", "<f8")
        np.testing.assert_array_equal(net.theta[snapshot - 1], exact)
    error = np.fromfile(folder / "main/1001/error.bin", "<f8").reshape(-1, 5)
    np.testing.assert_allclose(net.history[:, 1:], 1 - error[:, 1:] / 100, atol=1e-15)
    assert net.epoch.tolist() == np.round(np.linspace(0, 20, 20)).astype(int).tolist()
    assert nws_accuracy(zoo) == pytest.approx(1 - error[-1, 3] / 100)


def nws_accuracy(zoo):
    return zoo.index.loc[0, "test_accuracy"]


def run_folder(folder, numbers=(0, 1, 2)):
    """Runs as classifier.py writes them, of tiny nets."""
    from test_exporters import own_net

    from nws.legacy import write_run

    for number in numbers:
        write_run(own_net(number), folder / f"{number:04d}")
    return folder


def test_a_folder_of_runs_and_a_damaged_one(tmp_path):
    folder = run_folder(tmp_path / "runs")
    (folder / "0001/weights/003.bin").write_bytes(b"short")
    summary = imported("nws2020", folder, tmp_path / "zoo")
    assert summary.imported == 2
    assert "0001" in summary.skipped[0][0]
    assert "003.bin holds 5 bytes" in summary.skipped[0][1]


def test_float64_that_is_no_float32_is_rounded_and_reported(tmp_path):
    folder = run_folder(tmp_path / "runs", [0])
    path = folder / "0000/weights/001.bin"
    values = np.fromfile(path, "<f8")
    values[5] = 1 + 2.0**-30
    values.tofile(path)
    summary = imported("nws2020", folder, tmp_path / "zoo")
    assert summary.largest_rounding_difference == 2.0**-30
    assert Zoo(tmp_path / "zoo").net(0).about["rounding_difference"] == 2.0**-30


def test_a_bad_row_of_a_table_is_skipped(tmp_path):
    from nws.legacy import write_table

    folder = run_folder(tmp_path / "runs")
    write_table(folder / "x_train.csv", sorted(folder.glob("0*")))
    lines = (folder / "x_train.csv").read_text().splitlines()
    lines[2] = lines[2].replace("0001", "../../0001")
    wrong = lines[3].split(",")
    wrong[9] = str(10**9)  # depth_conv: a loop that long would not end
    (folder / "x_train.csv").write_text("\n".join([*lines[:3], ",".join(wrong)]))
    summary = imported("nws2020", folder / "x", tmp_path / "zoo")
    assert summary.imported == 1
    assert [why.split(": ", 1)[1][:20] for _, why in summary.skipped] == ["the path '../../0001", "depth_conv=100000000"]
    assert Zoo(tmp_path / "zoo").index["split"].tolist() == ["train"]


# -- the source and the zoo ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "make", "message"),
    [
        ("small-cnn-zoo", lambda p: p, "lacks weights.npy"),
        ("model-zoos", lambda p: p, "holds no runs"),
        ("model-zoos", lambda p: p / "none", "is not there"),
        ("checkpoints", lambda p: p, "holds no checkpoints"),
        ("checkpoints", lambda p: p / "none", "is no folder"),
        ("nws2020", lambda p: p, "holds no runs"),
        ("nws2020", lambda p: p / "none", "is no table, no folder"),
        ("keras-zoo", lambda p: p, "kind 'keras-zoo' is unknown"),
    ],
)
def test_what_is_no_source_is_one_line(tmp_path, kind, make, message):
    with pytest.raises(NwsError, match=message):
        importers.open_source(kind, make(tmp_path))


def test_options_of_another_kind_are_refused(tmp_path):
    with pytest.raises(NwsError, match="--table: nws2020 has no use for it"):
        importers.open_source("nws2020", tmp_path, table=Path("x.csv"))


def test_when_nothing_can_be_read_the_first_reason_is_told(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/x.npz").write_bytes(b"no archive")
    with pytest.raises(NwsError, match=r"none of 1 nets could be read \(.*x\.npz"):
        imported("checkpoints", tmp_path / "a", tmp_path / "zoo")


def test_what_verify_says_of_an_imported_zoo(tmp_path):
    imported("checkpoints", checkpoints(tmp_path / "a"), tmp_path / "zoo")
    zoo = Zoo(tmp_path / "zoo")
    assert len(zoo.index) == 3
    (tmp_path / "zoo/nets/000/000001.safetensors").unlink()
    assert "run the same `nws import` command: it imports the 1 missing net again" in zoo.verify().lines()[-1]


def test_our_own_nets_come_back_as_ours(tmp_path):
    from nws.weights import ordered, read

    hp = FIXED.net(0, 0).with_(filter_size=3, width_conv=1, width_fc=8)
    theta = cnn.initialize(hp, np.random.default_rng(0))
    from safetensors.numpy import save_file

    where = cnn.layout(hp)
    save_file({k: v.copy() for k, v in where.state_dict(theta).items()}, tmp_path / "a.safetensors")
    found = ordered(read(tmp_path / "a.safetensors"))
    assert set(found.names) == set(where.state_dict(theta))


def test_a_task_on_a_recorded_property_and_missing_values(tmp_path):
    from dataclasses import replace

    from fabricated import tiny

    zoo = Zoo.create(tmp_path / "zoo")
    for n in range(30):
        values = {"schedule": ("cosine", "step")[n % 2], "wd": n / 7, "heads": n % 3, "optimizer": "sgd", "nested": n % 2 == 0}
        if n >= 24:
            del values["schedule"]
        net = tiny(n, hp=Recorded(values), epoch=np.array([0, 2, 4, 6, 50]))
        zoo.append(replace(net, theta=net.theta + (n % 2)))
    index = Zoo(zoo.path).index
    assert index["heads"].dtype == "int64"
    assert index["nested"].dtype == bool
    assert index["schedule"].isna().sum() == 6
    assert set(index["epochs"]) == {50}
    assert zoo.varying() == ["schedule", "wd", "heads", "nested"]
    (row,) = evaluate("svm-linear-16", Task("schedule"), zoo, rounds=2)
    assert row.accuracy == 1
    assert "6 nets left out: nobody recorded their schedule" in row.notes
    (row,) = evaluate("svm-linear-16", Task("wd"), zoo, rounds=1)
    assert row.error is not None
    with pytest.raises(NwsError, match="property 'schedul' is unknown: use one of schedule"):
        evaluate("svm-linear-16", Task("schedul"), zoo)
