"""Round trips: what is exported and imported again is the same, bit for bit."""

import csv
import json

import foreign_files as foreign
import numpy as np
import pytest
from fabricated import fabricated_zoo
from test_cli import nws, refused  # noqa: F401 (a fixture)

from nws import FIXED, Net, NwsError, exporters, importers
from nws.families import cnn2020 as cnn
from nws.net import snapshot_records
from nws.zoo import Zoo


def own_net(number, snapshots=5, records=9):
    """A fabricated net of our space, small."""
    rng = np.random.default_rng(number)
    hp = FIXED.net(0, number).with_(filter_size=3, width_conv=1, width_fc=8)
    layout = cnn.layout(hp)
    kept = snapshot_records(records, snapshots)
    theta = rng.standard_normal((snapshots, layout.size)).astype(np.float32)
    history = np.column_stack([np.arange(records) * 10.0, rng.random((records, 4))])
    return Net(number, hp, layout, theta, kept, history, seconds=1.25 * number, about={"seed": 0})


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """Six nets, numbered with a gap; do not change it."""
    zoo = Zoo.create(tmp_path_factory.mktemp("own") / "zoo", FIXED, seed=1)
    for number in (0, 1, 2, 3, 5, 8):
        zoo.append(own_net(number))
    return zoo


def test_to_the_2020_format_and_back(zoo, tmp_path):
    done = exporters.export(zoo, "nws2020", tmp_path / "out")
    assert (done["nets"], done["skipped"]) == (6, [])
    importers.fill(importers.open_source("nws2020", tmp_path / "out/nws"), tmp_path / "back")
    back = Zoo(tmp_path / "back")
    assert back.numbers() == zoo.numbers()
    for number in zoo.numbers():
        a, b = zoo.net(number), back.net(number)
        assert a.theta.tobytes() == b.theta.tobytes()
        assert (a.hp, a.layout, a.epoch.tolist(), a.seconds) == (b.hp, b.layout, b.epoch.tolist(), b.seconds)
        np.testing.assert_allclose(a.history, b.history, atol=1e-15)
    assert zoo.index["split"].tolist() == back.index["split"].tolist()


def test_the_2020_commands_read_what_is_exported(zoo, tmp_path):
    from nws import import_weights

    exporters.export(zoo, "nws2020", tmp_path / "out")
    found = import_weights(tmp_path / "out/nws_train.csv", 5, [5], uniform=False)
    train = [n for n in zoo.numbers() if zoo.index.loc[n, "split"] == "train"]
    assert len(train) == found.N
    np.testing.assert_array_equal(found.X[0], zoo.theta(train[0], 5))


def test_to_state_dicts_and_back(zoo, tmp_path):
    done = exporters.export(zoo, "state-dict", tmp_path / "out")
    assert done["files"] == 30
    importers.fill(importers.open_source("checkpoints", tmp_path / "out"), tmp_path / "back")
    back = Zoo(tmp_path / "back")
    for number in zoo.numbers():
        a, b = zoo.net(number), back.net(number)
        assert a.theta.tobytes() == b.theta.tobytes()
        assert (a.hp, a.layout, a.epoch.tolist(), a.seconds) == (b.hp, b.layout, b.epoch.tolist(), b.seconds)
        np.testing.assert_array_equal(a.history[a.epoch, 1:4], b.history[:, 1:4])
    assert zoo.index["split"].tolist() == back.index["split"].tolist()


@pytest.mark.parametrize("kind", ["model-zoos", "small-cnn-zoo"])
def test_foreign_nets_come_back_from_state_dicts(tmp_path, kind):
    """Whose layers are not in the order of their names (0, 3, 6, 9, 11), and whose kernels were Keras's."""
    make = {"model-zoos": foreign.model_zoo, "small-cnn-zoo": foreign.small_cnn_zoo}[kind]
    make(tmp_path / "source")
    importers.fill(importers.open_source(kind, tmp_path / "source"), tmp_path / "zoo")
    zoo = Zoo(tmp_path / "zoo")
    exporters.export(zoo, "state-dict", tmp_path / "out")
    importers.fill(importers.open_source("checkpoints", tmp_path / "out"), tmp_path / "back")
    back = Zoo(tmp_path / "back")
    assert back.numbers() == zoo.numbers()
    for number in zoo.numbers():
        a, b = zoo.net(number), back.net(number)
        assert (a.hp, a.layout, a.epoch.tolist(), a.about["names"]) == (b.hp, b.layout, b.epoch.tolist(), b.about["names"])
        assert a.theta.tobytes() == b.theta.tobytes()
        np.testing.assert_array_equal(a.history, b.history)


def test_a_state_dict_is_that_of_the_module(zoo, tmp_path):
    from safetensors.torch import load_file

    exporters.export(zoo, "state-dict", tmp_path / "out", [5])
    net = zoo.net(3)
    module = cnn.module(net.hp)
    missing, unexpected = module.load_state_dict(load_file(tmp_path / "out/000003/005.safetensors"), strict=False)
    assert all(name.endswith("num_batches_tracked") for name in missing)
    assert not unexpected
    np.testing.assert_array_equal(net.layout.from_state_dict(module.state_dict()), net.theta[4])


def test_to_matrices(zoo, tmp_path):
    done = exporters.export(zoo, "numpy", tmp_path / "out", [1, 5])
    assert (done["nets"], done["files"]) == (6, 1)
    matrix = np.load(tmp_path / "out/theta-0.npy", allow_pickle=False)
    with open(tmp_path / "out/rows.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(matrix) == len(rows) == 12
    for row, theta in zip(rows, matrix):
        np.testing.assert_array_equal(theta, zoo.theta(int(row["net"]), int(row["snapshot"])))
        assert row["optimizer"] == zoo.index.loc[int(row["net"]), "optimizer"]
    assert json.loads((tmp_path / "out/layout-0.json").read_text()) == json.loads(zoo.layout(0).to_json())


def test_nets_of_two_layouts_go_to_two_matrices_and_not_to_2020(tmp_path):
    zoo = fabricated_zoo(tmp_path / "zoo")
    assert exporters.export(zoo, "numpy", tmp_path / "np")["files"] == 2
    foreign = exporters.export(zoo, "state-dict", tmp_path / "sd", [5])
    assert foreign["files"] == 12


@pytest.mark.parametrize("kind", exporters.KINDS)
def test_the_same_export_goes_on(zoo, tmp_path, kind):
    exporters.export(zoo, kind, tmp_path / "whole")
    stopped = tmp_path / "stopped"

    def stop(done, of, where):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        exporters.export(zoo, kind, stopped, on_progress=stop)
    exporters.export(zoo, kind, stopped)
    names = sorted(p.relative_to(stopped) for p in stopped.rglob("*") if p.is_file())
    assert names == sorted(p.relative_to(tmp_path / "whole") for p in (tmp_path / "whole").rglob("*") if p.is_file())
    for name in names:
        one, other = (stopped / name).read_bytes(), (tmp_path / "whole" / name).read_bytes()
        skip = 8 + int.from_bytes(one[:8], "little") if name.suffix == ".safetensors" else 0  # its metadata have no order
        assert (len(one), one[skip:]) == (len(other), other[skip:])


def test_a_folder_of_something_else_is_left_alone(zoo, tmp_path, nws):  # noqa: F811
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(NwsError, match="is not empty and no export"):
        exporters.export(zoo, "numpy", tmp_path)
    exporters.export(zoo, "numpy", tmp_path / "out")
    with pytest.raises(NwsError, match="holds another export"):
        exporters.export(zoo, "state-dict", tmp_path / "out")
    refused(nws("export", zoo.path, "--to", "numpy", "--out", tmp_path / "b", "--snapshots", "6"), "has snapshots 1 to 5, not 6")
    refused(nws("export", zoo.path, "--to", "npz", "--out", tmp_path / "b"), "--to")


def test_the_command_tells_what_it_did(zoo, tmp_path, nws):  # noqa: F811
    code, out, _ = nws("export", zoo.path, "--to", "state-dict", "--out", tmp_path / "out", "--snapshots", "4:5", "--json")
    assert code == 0
    assert json.loads(out)["files"] == 12
