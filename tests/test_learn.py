"""All models of one zoo at once: one answer per property, sets that hold the truth, and doubts about what was never trained."""

# ruff: noqa: F811 (fixtures of another module)

import json
from types import SimpleNamespace

import numpy as np
import pytest
from test_cli import nws as command  # noqa: F401 (a fixture)
from test_cli import refused
from written_zoo import SPACE

import nws
from nws import auditing
from nws.auditing.calibration import conformal
from nws.auditing.counterfeits import counterfeits
from nws.auditing.specimen import Specimen
from nws.families import cnn2020 as cnn
from nws.net import HISTORY, Net
from nws.zoo import Zoo

SMALL = SPACE.with_(batch_norm=True, width_conv=2, width_fc=16, dataset=["mnist", "toy"], optimizer=["adam", "momentum"])
HELD = (36, 44)


def plausible_net(number, hp):
    """Whose moving means follow from its filters and a mean pixel, once it is trained; the optimizer is in its biases."""
    layout, rng = cnn.layout(hp), np.random.default_rng([number, 8])
    theta = np.tile(cnn.initialize(hp, rng), (4, 1))
    for moment in range(1, 4):
        theta[moment] += 0.1 * moment * rng.standard_normal(layout.size).astype(np.float32)
        named = layout.unflatten(theta[moment])
        named["conv1.bias"][:] += 2.0 if hp.optimizer == "adam" else -2.0
        sums = named["conv1.weight"].sum((2, 3))
        named["conv1.mean"][:] = named["conv1.bias"] + sums.sum(1) * (0.15 if hp.dataset == "mnist" else 0.4)
        for name, x in named.items():
            if name.endswith("var"):
                x[:] = np.abs(x) + 0.1
    history = np.full((4, len(HISTORY)), 0.9)
    return Net(number, hp, layout, theta, np.arange(4), history)


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A zoo of 36 nets, four more that nobody learned from, and the folder of models."""
    folder = tmp_path_factory.mktemp("learn")
    zoo = Zoo.create(folder / "zoo", space=SMALL, seed=0, nets=HELD[0])
    nets = [plausible_net(number, hp) for number, hp in enumerate(SMALL.sample(HELD[1]))]
    for net in nets[: HELD[0]]:
        zoo.append(net)
    made = list(auditing.learned(zoo, folder / "models", properties=["optimizer"]))
    return SimpleNamespace(zoo=zoo, held=nets[HELD[0] :], made=made, models=folder / "models")


def specimen(net, theta=None):
    names = tuple(t.name for t in net.layout.tensors)
    return Specimen("a net", "memory", net.layout, net.theta[-1] if theta is None else theta, names)


def test_there_is_one_answer_per_property_and_it_is_right(learned):
    assert sorted(p.name for p in learned.models.glob("*.json")) == ["genuine.json", "optimizer.json"]
    models = [auditing.load(path) for path in sorted(learned.models.glob("*.json"))]
    right = []
    for net in learned.held:
        found = auditing.examine(specimen(net), models)
        (answer,) = found.answers
        assert not found.skipped
        assert answer.plausible[0] == answer.best
        assert set(answer.plausible) <= set(answer.classes)
        right.append(answer.best == net.hp.optimizer)
    assert np.mean(right) > 0.7


def test_another_architecture_is_answered_too(learned):
    hp = SMALL.net(0, 99).with_(filter_size=5, depth_conv=4, depth_fc=3)
    found = auditing.examine(specimen(plausible_net(99, hp)), learned.made)
    assert found.answers
    assert not found.skipped


def test_nets_that_only_look_trained_are_doubted(learned):
    rng = np.random.default_rng(0)
    doubted = {"genuine": []}
    for net in learned.held:
        for kind, theta in {"genuine": None, **counterfeits(net.theta[-1], net.layout, rng), "early": net.theta[0]}.items():
            found = auditing.examine(specimen(net, theta), learned.made)
            doubted.setdefault(kind, []).append(any("look" in reason for reason in found.reasons))
            assert all(answer.reasons for answer in found.answers) or not doubted[kind][-1]
    assert np.mean(doubted.pop("genuine")) <= 0.25
    assert {kind for kind, found in doubted.items() if np.mean(found) >= 0.75} == {"shuffled", "drawn", "early"}


@pytest.mark.parametrize("sharp", [0.3, 3.0])
def test_sets_hold_the_truth_whatever_probabilities_are_worth(sharp):
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 4000)
    scores = rng.normal(size=(4000, 4)) + np.eye(4)[truth]
    p = np.exp(sharp * scores) / np.exp(sharp * scores).sum(1, keepdims=True)
    least = conformal(p[:2000], truth[:2000])
    assert 0.88 < np.mean(p[np.arange(2000, 4000), truth[2000:]] >= least) < 0.92
    assert conformal(p[:8], truth[:8]) == 0


def test_the_command_says_what_it_made(learned, tmp_path, command):
    arguments = ["learn", learned.zoo.path, "--out", tmp_path / "models", "--property", "optimizer", "--workers", 1]
    code, out, _ = command(*arguments, "--json")
    assert code == 0
    rows = json.loads(out)
    assert [row["property"] for row in rows] == ["optimizer", auditing.GENUINE]
    assert rows[0]["nets"] <= HELD[0]
    net = learned.zoo.path / learned.zoo.index.loc[0, "path"]
    code, out, _ = command("audit", net, "--with", tmp_path / "models", "--json")
    assert code == 0
    assert json.loads(out)["answers"][0]["plausible"]
    refused(command("learn", learned.zoo.path, "--out", tmp_path / "x", "--property", "optimiser"), "is unknown: use one of")
    refused(command("learn", learned.zoo.path, "--out", tmp_path / "x", "--meta", "dcm"), "is unknown: use one of dmc")


def test_a_least_probability_that_is_none_is_refused(learned, tmp_path):
    path = tmp_path / "model"
    learned.made[0].save(path)
    said = json.loads((tmp_path / "model.json").read_text())
    for wrong in (2.0, -1, "x"):
        said["about"]["audit"]["least"] = wrong
        (tmp_path / "model.json").write_text(json.dumps(said))
        with pytest.raises(nws.NwsError, match="cannot be used for an audit"):
            auditing.load(path)
