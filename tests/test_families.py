"""Families: a user's own nets and trainings go through sampling, resuming, the zoo and the readers like the built-in ones."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn

import nws
from nws import NwsError, Property, Record, Zoo
from nws.families import CNN2020, MLP, Family, standard
from nws.families.space import Config, Space
from nws.images import ImageSet
from nws.layout import Axis, Layout, Tensor
from nws.train import Job, Schedule, train

FEW = {"images": "digits", "limit": 100, "limit_test": 30, "snapshots": 3, "epochs": 2, "workers": 1}
ACTIVATIONS = {"relu": nn.ReLU, "elu": nn.ELU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}
OWN = """
import torch
from torch import nn
import nws
from nws.families import standard

class Bow(nws.Family):
    name = "bow"
    properties = (*standard("dataset", "learning_rate", "batch_size", "optimizer"), nws.Property("hidden", (8, 16)))

    def module(self, config, generator=None):
        return nn.Sequential(nn.AvgPool2d(4), nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(),
                             nn.Linear(144, config.hidden), nn.ReLU(), nn.Linear(config.hidden, 10))
"""


class Line(Family):
    """A training of its own: plain gradient steps on one matrix, measured by its loss."""

    name = "line"
    properties = (*standard("dataset"), Property("rate", (0.1, 0.5), continuous=True), Property("rule", ("plain", "sign")))
    measures = ("step", "loss", "test_accuracy")

    def module(self, config, generator=None):
        return nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(48, 10))

    def train(self, config, images, rng, epochs):
        net = self.module(config)
        with torch.no_grad():
            net[2].weight.copy_(torch.from_numpy(rng.normal(0, 0.1, (10, 48))))
        x, y = torch.from_numpy(images.x_train).permute(0, 3, 1, 2) / 255, torch.from_numpy(images.y_train)
        for step in range(epochs + 1):
            loss = nn.functional.cross_entropy(net(x), y)
            yield Record(step, net, {"loss": loss.item(), "test_accuracy": 0.1 * step})
            net.zero_grad()
            loss.backward()
            with torch.no_grad():
                for p in net.parameters():
                    p -= config.rate * (p.grad if config.rule == "plain" else 0.01 * p.grad.sign())


def test_an_own_family_is_sampled_resumed_verified_and_read(tmp_path: Path) -> None:
    family = Line()
    part = nws.sample(tmp_path / "a", family, 3, **FEW)
    zoo = nws.sample(tmp_path / "a", family, 8, **FEW)  # goes on
    whole = nws.sample(tmp_path / "b", family, 8, **{**FEW, "workers": 2})
    assert len(part) == 8  # the same folder
    assert len(zoo) == 8
    for number in range(8):
        assert_array_equal(zoo.theta(number), whole.theta(number))
    assert zoo.verify().ok
    assert Zoo(zoo.path).family.name == "line"  # known from zoo.json, without the code
    assert set(zoo.index["rule"]) <= {"plain", "sign"}
    assert_allclose(zoo.index["test_accuracy"], 0.2)
    assert zoo.index["loss"].notna().all()
    assert list(zoo.properties) == ["dataset", "rate", "rule"]
    net = zoo.net(0)
    assert net.measures == Line.measures
    assert net.hp.rule == zoo.index["rule"][0]


def test_the_command_line_takes_a_users_module(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(OWN)

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "nws", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    few = ("--images", "digits", "--limit", "100", "--limit-test", "30", "--epochs", "2", "--snapshots", "4", "--workers", "2")
    run("sample", "zoo", "--family", "mine:Bow", "--nets", "12", *few)
    zoo = Zoo(tmp_path / "zoo")
    assert sorted(zoo.index["hidden"].unique()) == [8, 16]
    assert {t.role for t in zoo.layout(0).tensors} == {"weight", "bias", "beta", "gamma", "mean", "var"}
    run("verify", "zoo")
    assert "hidden" in run("info", "zoo", "--json")
    assert '"accuracy"' in run("classify", "zoo", "--property", "hidden", "--meta", "svm-linear-16", "--rounds", "1", "--json")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere:Bow", "neither in this folder nor installed"),
        ("json:Bow", "json has no Bow"),
        ("json:loads", "this is no family"),
        ("cnn2021", "use one of cnn2020, mlp"),
    ],
)
def test_a_family_that_is_none_is_refused_in_one_line(name: str, said: str) -> None:
    with pytest.raises(NwsError, match=rf"^[^\n]*{said}[^\n]*$"):
        nws.families.named(name)


def test_a_zoo_never_runs_code_that_it_names(tmp_path: Path) -> None:
    (tmp_path / "evil.py").write_text("raise SystemExit('ran')")
    zoo = nws.sample(tmp_path / "zoo", Line(), 2, **FEW)
    plan = zoo.path / "zoo.json"
    plan.write_text(plan.read_text().replace('"line"', '"evil:Name"'))
    assert Zoo(zoo.path).family.name == "evil:Name"


def test_zoos_of_different_families_do_not_mix(tmp_path: Path) -> None:
    zoo = nws.sample(tmp_path / "zoo", Line(), 2, **FEW)
    with pytest.raises(NwsError, match=r"nets of line, not of mlp"):
        nws.sample(tmp_path / "zoo", MLP, 2, **FEW)
    ours = nws.sample(tmp_path / "ours", MLP, 1, **FEW)
    with pytest.raises(NwsError, match="holds nets of line"):
        zoo.append(ours.net(0))


class Older(Family):
    name = "aging"
    properties = (*standard("dataset", "learning_rate", "batch_size"), Property("width", (2, 3)))

    def module(self, config, generator=None):
        return nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(48, config.width), nn.ReLU(), nn.Linear(config.width, 10))


class Newer(Older):
    version = 2
    properties = (*Older.properties, Property("weight_decay", (0.0, 0.1), minimum=0, default=0.0))


def test_a_new_property_leaves_old_configs_and_the_other_draws_as_they_were() -> None:
    old, new = Older(), Newer()
    values = old.space.net(0, 5).to_dict()
    assert new.config(values).weight_decay == 0.0
    assert {**new.space.net(0, 5).to_dict(), "weight_decay": None} == {**values, "weight_decay": None}
    with pytest.raises(NwsError, match="lack width"):
        new.config({name: value for name, value in values.items() if name != "width"})


def test_families_refuse_tables_that_make_no_sense() -> None:
    for wrong, said in (
        ((Property("width", (1, 2)),), "lacks the property dataset"),
        ((*standard("dataset"), Property("status", (1, 2))), "like a column that every zoo has"),
        ((*standard("dataset"), *standard("dataset")), "named twice"),
    ):
        with pytest.raises(NwsError, match=said):
            type("Wrong", (Family,), {"name": "wrong", "properties": wrong})


def test_weights_decay_and_labels_are_noisy_as_asked() -> None:
    images = nws.images.load("digits", limit=200, limit_test=30)
    plain = MLP.space.with_(dropout=0.0, label_noise=0.0, weight_decay=0.0).net(0, 0).with_(dataset="digits", width=32)
    decayed, noisy = plain.with_(weight_decay=0.01), plain.with_(label_noise=0.5)
    nets = {}
    for name, hp in (("plain", plain), ("decayed", decayed), ("noisy", noisy)):
        (nets[name],) = train([Job(0, hp)], {"digits": images}, Schedule(0, 2, 30))
    size = {name: np.abs(net.layout.unflatten(net.theta[-1])["fc1.weight"]).mean() for name, net in nets.items()}
    assert size["decayed"] < 0.9 * size["plain"]
    assert_array_equal(nets["plain"].theta[0], nets["noisy"].theta[0])  # the same beginning
    assert nets["noisy"].test_accuracy < nets["plain"].test_accuracy


@pytest.mark.parametrize("config", MLP.space.with_(dataset="digits").sample(4, seed=2), ids=str)
def test_layout_and_module_of_the_mlp_agree(config: Config) -> None:
    theta = MLP.init(config, np.random.default_rng(0))
    state = MLP.layout(config).state_dict(theta)
    module = MLP.module(config)
    assert {name: tuple(v.shape) for name, v in module.state_dict().items()} == {n: v.shape for n, v in state.items()}
    assert MLP.layout(config) == Layout.of_module(module)


def answers(module: nn.Module, layout: Layout, theta: np.ndarray, x: torch.Tensor) -> np.ndarray:
    module.load_state_dict(
        {name: torch.from_numpy(np.ascontiguousarray(v)) for name, v in layout.state_dict(theta).items()}, strict=False
    )
    with torch.no_grad():
        return module.eval().double()(x.double()).numpy()


@pytest.mark.parametrize("seed", range(3))
def test_permuted_nets_of_the_mlp_and_the_paper_compute_the_same(seed: int) -> None:
    rng = np.random.default_rng(seed)
    small = CNN2020.spaces["main"].with_(width_conv=3, width_fc=12, depth_fc=2).net(seed, 0)
    for family, config, shape in ((MLP, MLP.space.net(seed, 1), (5, 1, 14, 14)), (CNN2020, small, (5, 3, 32, 32))):
        layout = family.layout(config)
        theta = layout.flatten({t.name: rng.normal(0.5, 0.2, t.shape) ** 2 for t in layout.tensors})
        x = torch.rand(shape)
        permuted = layout.permute(theta, rng)
        assert (permuted != theta).mean() > 0.5
        before, after = (answers(family.module(config), layout, t, x) for t in (theta, permuted))
        assert_allclose(after, before, rtol=1e-9, atol=1e-9)


class Block(nn.Module):
    """x + conv2(relu(conv1(x))): its output shares the units of its input."""

    def __init__(self, width: int, inner: int):
        super().__init__()
        self.conv1, self.norm = nn.Conv2d(width, inner, 3, padding=1), nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, width, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv2(torch.relu(self.norm(self.conv1(x))))


def resnet() -> tuple[nn.Module, Layout]:
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), Block(6, 4), Block(6, 5), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(6 * 16, 7)
    )
    stream, picture = Axis("stream"), (Axis(), Axis())
    axes = {"0.weight": (stream, Axis("input"), *picture), "0.bias": (stream,)}
    axes |= {"5.weight": (Axis("output"), Axis("stream", inner=16)), "5.bias": (Axis("output"),)}
    for block in ("1", "2"):
        inner = Axis(f"inner{block}")
        axes |= {f"{block}.conv1.weight": (inner, stream, *picture), f"{block}.conv2.weight": (stream, inner, *picture)}
        axes |= {f"{block}.conv2.bias": (stream,)}
        axes |= {
            f"{block}.{name}": (inner,)
            for name in ("conv1.bias", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var")
        }
    from dataclasses import replace

    found = Layout.of_module(net)
    return net, Layout([replace(t, axes=axes[t.torch_name]) for t in found.tensors])


def test_a_residual_net_is_permuted_exactly_and_a_chains_axes_would_not_do() -> None:
    rng = np.random.default_rng(0)
    net, layout = resnet()
    theta = layout.flatten({t.name: rng.normal(0.3, 0.3, t.shape) ** 2 for t in layout.tensors})
    x = torch.rand(4, 3, 8, 8)
    before, after = answers(net, layout, theta, x), answers(net, layout, layout.permute(theta, rng), x)
    assert_allclose(after, before, rtol=1e-9)
    assert layout.groups == {"stream": 6, "input": 3, "output": 7, "inner1": 4, "inner2": 5}
    assert [t.axes for t in Layout.from_json(layout.to_json()).tensors] == [t.axes for t in layout.tensors]
    unknown = Layout.of_module(net)  # it is no plain chain, so nothing is assumed
    with pytest.raises(NwsError, match="which units its axes belong to is not known"):
        unknown.permute(theta, rng)
    chain = Layout([replace(t, axes=()) for t in layout.tensors], chain=True)  # its shapes would allow that
    assert np.abs(answers(net, layout, chain.permute(theta, rng), x) - before).max() > 1e-3


def test_groups_of_different_sizes_are_refused() -> None:
    with pytest.raises(NwsError, match="group u has 3 units elsewhere, here 4"):
        Layout(
            [
                Tensor("a", "weight", (3, 2), "fc", 0, axes=(Axis("u"), Axis())),
                Tensor("a", "bias", (4,), "fc", 0, axes=(Axis("u"),)),
            ]
        )


def test_pictures_of_any_size_and_a_hundred_classes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (200, 64, 64, 3), dtype=np.uint8), np.arange(200) % 100
    images = ImageSet("big", x, y, x[:100], y[:100], tuple(map(str, range(100))))
    zoo = nws.sample(tmp_path / "zoo", MLP.space.with_(side=64, channels=3, depth=1, width=4), 1, **{**FEW, "images": images})
    assert zoo.net(0).layout.layers["out"]["weight"].shape == (100, 4)
    with pytest.raises(NwsError, match=r"read pictures of 32 x 32 x 3, big has \(64, 64, 3\)"):
        nws.sample(tmp_path / "no", nws.FIXED, 1, **{**FEW, "images": images})


def test_resized_pictures_keep_their_mean() -> None:
    images = nws.images.load("scenes", limit=20, limit_test=10)
    small = images.resized(8, 1)
    assert small.shape == (8, 8, 1)
    assert_allclose(small.x_train.mean((1, 2, 3)), images.x_train.mean((1, 2, 3)), atol=1)


def test_spaces_show_in_notebooks_and_refuse_sets() -> None:
    assert "<td>hidden layers</td>" in MLP.space._repr_html_()
    with pytest.raises(NwsError, match="a set has no order"):
        MLP.space.with_(width={1, 2})
    assert Space(MLP.space.options, MLP) == MLP.space


def test_a_stored_family_accepts_what_its_code_accepted(tmp_path: Path) -> None:
    class Signed(Family):
        name = "signed"
        properties = (
            *standard("dataset", "weight_decay"),
            nws.Property("on", (False, True)),
            nws.Property("shift", (-1.5, 0.0), minimum=-2),
            nws.Property("steps", (0, 3), minimum=0),
        )

    space = Signed().space
    zoo = Zoo.create(tmp_path / "zoo", space, nets=4)
    assert zoo.space.options == space.options
    assert zoo.family.config({**space.net(0, 0).to_dict(), "shift": -0.5}).on in (False, True)
    with pytest.raises(NwsError, match="on 'perhaps' is unknown"):
        zoo.family.config({**space.net(0, 0).to_dict(), "on": "perhaps"})
