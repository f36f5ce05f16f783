"""Model Zoos: runs as they are, and pickled data sets of which nothing is run."""

import foreign_files as foreign
import numpy as np
import pytest
from test_importers import imported

from nws import NwsError, importers
from nws.zoo import Zoo


def test_runs_of_a_model_zoo(tmp_path):
    made = foreign.model_zoo(tmp_path / "runs")
    summary = imported("model-zoos", tmp_path / "runs", tmp_path / "zoo")
    assert (summary.imported, summary.skipped) == (3, [])
    zoo = Zoo(tmp_path / "zoo")
    net = zoo.net(1)
    assert (net.layout.size, net.epoch.tolist(), net.seconds) == (2464, [0, 2, 5], 15.0)
    assert net.history[:, 3] == pytest.approx([np.nan, 0.18, 0.45], nan_ok=True)
    named = net.layout.unflatten(net.theta[2])
    np.testing.assert_array_equal(named["module_list.3.weight"], made[1][5]["module_list.3.weight"])
    flat = made[1][5]["module_list.9.weight"].numpy()  # reads 4 channels of 3 x 3 pixels
    np.testing.assert_array_equal(named["module_list.9.weight"], flat.reshape(20, 4, 3, 3).transpose(0, 2, 3, 1).reshape(20, 36))
    state = net.layout.state_dict(net.theta[2])
    for name, tensor in made[1][5].items():
        np.testing.assert_array_equal(state[name], tensor)
    row = zoo.index.loc[1]
    assert (row["optimizer"], row["activation"], row["initialization"]) == ("sgd", "tanh", "kaiming_uniform")
    assert row["optim::wd"] == 1e-4
    assert "dataset::dump" not in zoo.index
    assert net.about["seed"] == 7


def test_a_pickled_data_set_is_read_without_its_classes(tmp_path):
    rng = np.random.default_rng(0)
    states = [foreign.state_dict(rng) for _ in range(4)]
    said = {"test_acc": 0.5, "optim::optimizer": "adam", "training_iteration": 9}
    samples = {
        "trainset": [("zoo/run_a", 1, states[0], said), ("zoo/run_a", 9, states[1], said), ("zoo/run_b", 9, states[2], said)],
        "testset": [("zoo/run_c", 9, states[3], said)],
    }
    foreign.pickled_data_set(tmp_path / "dataset.pt", samples)
    summary = imported("model-zoos", tmp_path / "dataset.pt", tmp_path / "zoo")
    assert summary.skipped == []
    zoo = Zoo(tmp_path / "zoo")
    assert zoo.index["split"].tolist() == ["train", "train", "test"]
    assert zoo.index["snapshots"].tolist() == [2, 1, 1]
    assert zoo.net(0).about["run"] == "run_a"
    assert zoo.index.loc[2, "optimizer"] == "adam"
    np.testing.assert_array_equal(zoo.layout(0).state_dict(zoo.theta(0, 2))["module_list.6.bias"], states[1]["module_list.6.bias"])


def test_a_pickle_runs_nothing(tmp_path):
    """os.system, eval, and a __reduce__ chain stay names; the data set beside them is read."""
    proof = tmp_path / "ran"
    rng = np.random.default_rng(0)

    def build(global_, tensor):
        call = global_("os", "system") + b"(" + foreign.dump(f"touch {proof}") + b"tR"
        chain = global_("builtins", "getattr") + b"(" + call + foreign.dump("read") + b"tR"
        code = global_("builtins", "eval") + b"(" + foreign.dump(f"open({str(proof)!r}, 'w')") + b"tR"
        state = b"".join(foreign.dump(name) + tensor(t.numpy()) for name, t in foreign.state_dict(rng).items())
        sets = global_("m", "D") + b")\x81}(" + foreign.dump("data_in") + b"](}(" + state + b"ueu" + b"b"
        return b"}(" + foreign.dump("a") + chain + foreign.dump("b") + code + foreign.dump("trainset") + sets + b"u"

    foreign.pickled(tmp_path / "dataset.pt", build)
    assert imported("model-zoos", tmp_path / "dataset.pt", tmp_path / "zoo").nets == 1
    assert not proof.exists()


@pytest.mark.parametrize(
    "body",
    [
        b"r\xff\xff\xff\xff",  # memo of four billion entries
        b"\x82\x01",  # registry of extensions
        b"(" * 5000,
        b"cos\nsystem\n}(X\x01\x00\x00\x00aK\x01ub",  # attributes of a name
        b"cposix\nsystem\n(X\x04\x00\x00\x00trueo",
        b"]" * 100 + b"a" * 99,
    ],
)
def test_hostile_pickles_are_one_line(tmp_path, body):
    foreign.pickled(tmp_path / "dataset.pt", lambda *_: b"}" + body)
    with pytest.raises(NwsError, match=r"dataset\.pt"):
        importers.open_source("model-zoos", tmp_path / "dataset.pt")
