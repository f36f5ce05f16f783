"""Theta: its order, round trips, and the relabelling of hidden units."""

import csv
import gzip
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from nws import FIXED, HyperParameters, Layout, NwsError
from nws.families import cnn2020 as cnn
from nws.layout import STRIPS

RUNS_2020 = ["fixed/0001", "fixed/0002", "main/1001", "main/1002", "main/1012"]
TINY = FIXED.net(0, 0).with_(filter_size=3, depth_conv=4, width_conv=1, depth_fc=1, width_fc=2)
# Layer, shape of its multiplicative weights: conv (O, I, H, W), FC (out, in); written by hand from Algorithm 1.
TINY_LAYERS = [
    ("conv1", (1, 3, 3, 3)),
    ("conv2", (2, 1, 3, 3)),
    ("conv3", (4, 2, 3, 3)),
    ("conv4", (4, 4, 3, 3)),
    ("fc1", (2, 64)),
    ("out", (20, 2)),
]


def counting(layout: Layout) -> np.ndarray:
    """theta (P,) whose values are their own positions."""
    assert layout.size < 2**24  # float32 counts exactly up to here
    return np.arange(layout.size, dtype=np.float32)


def run_2020(shared: Path, run: str) -> SimpleNamespace:
    """A run written by the 2020 program: hp, layout, theta (20, P) float64, error (T, 5)."""
    folder = shared / "fixtures" / "nws2020" / run
    with (folder / "meta.csv").open(newline="") as lines:
        hp = HyperParameters.from_2020(next(csv.DictReader(lines)))
    theta = np.stack([np.fromfile(folder / "weights" / f"{k:03d}.bin") for k in range(1, 21)])
    return SimpleNamespace(hp=hp, layout=cnn.layout(hp), theta=theta, error=np.fromfile(folder / "error.bin").reshape(-1, 5))


# The order


def test_tensors_follow_each_other_in_the_paper_s_order() -> None:
    expected, start = [], 0
    for layer, weight in TINY_LAYERS:
        shapes = {"weight": weight, "bias": weight[:1]}
        if layer != "out":
            shapes |= dict.fromkeys(("beta", "gamma", "mean", "var"), weight[:1])
        for role, shape in shapes.items():
            expected.append((layer, role, shape, start))
            start += int(np.prod(shape))
    layout = cnn.layout(TINY)
    assert [(t.layer, t.role, t.shape, t.start) for t in layout.tensors] == expected
    assert layout.size == start == (27 + 5) + (18 + 10) + (72 + 20) + (144 + 20) + (128 + 10) + (40 + 20)


def test_without_batch_norm_only_weights_and_biases_remain() -> None:
    layout = cnn.layout(TINY.with_(batch_norm=False))
    assert {t.role for t in layout.tensors} == {"weight", "bias"}
    assert layout.size == (27 + 1) + (18 + 2) + (72 + 4) + (144 + 4) + (128 + 2) + (40 + 20)


def test_every_value_of_the_state_dict_comes_from_its_place_in_theta() -> None:
    layout = cnn.layout(TINY)
    state = layout.state_dict(counting(layout))
    conv = next(t.start for t in layout.tensors if t.name == "conv3.weight")
    fc1 = next(t.start for t in layout.tensors if t.name == "fc1.weight")
    out = next(t.start for t in layout.tensors if t.name == "out.weight")
    for o, i, y, x in np.ndindex(4, 2, 3, 3):
        assert state["conv3.weight"][o, i, y, x] == conv + ((o * 2 + i) * 3 + y) * 3 + x
    for o, channel, y, x in np.ndindex(2, 4, 4, 4):  # theta: row, column, channel; PyTorch's flatten: channel, row, column
        assert state["fc1.weight"][o, (channel * 4 + y) * 4 + x] == fc1 + o * 64 + (y * 4 + x) * 4 + channel
    for o, i in np.ndindex(20, 2):
        assert state["out.weight"][o, i] == out + o * 2 + i
    norm = [float(state[f"conv1_norm.{name}"][0]) for name in ("bias", "weight", "running_mean", "running_var")]
    assert [float(state["conv1.bias"][0]), *norm] == [27, 28, 29, 30, 31]


def test_parts_meet_after_the_last_convolution_s_batch_norm() -> None:
    layout = cnn.layout(TINY)
    fc1 = next(t.start for t in layout.tensors if t.layer == "fc1")
    assert [layout.part(name) for name in ("all", "conv", "fc")] == [slice(0, layout.size), slice(0, fc1), slice(fc1, layout.size)]
    assert layout.size_of("conv") + layout.size_of("fc") == layout.size_of("all") == layout.size
    with pytest.raises(NwsError, match="use one of conv"):
        layout.part("convs")


# Round trips

names = st.text("abcdef", min_size=1, max_size=4)
shapes = st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple)


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    """Any layout: layers of any name, with some roles, conv part first."""
    rows = []
    for i, name in enumerate(draw(st.lists(names, min_size=1, max_size=4, unique=True))):
        part = "conv" if i == 0 and draw(st.booleans()) else "fc"
        roles = draw(st.lists(st.sampled_from(["weight", "bias", "beta", "gamma", "mean", "var"]), min_size=1, unique=True))
        rows += [(name, role, draw(shapes), part) for role in roles]
    return Layout(rows)


@given(layouts(), st.integers(0, 2**32 - 1))
def test_flatten_and_unflatten_are_inverse(layout: Layout, seed: int) -> None:
    theta = np.random.default_rng(seed).standard_normal((3, layout.size)).astype(np.float32)
    named = layout.unflatten(theta)
    assert [named[t.name].shape for t in layout.tensors] == [(3, *t.shape) for t in layout.tensors]
    for s in range(3):
        assert_array_equal(layout.flatten({name: tensor[s] for name, tensor in named.items()}), theta[s])
    stops = [t.stop for t in layout.tensors]
    assert [t.start for t in layout.tensors] == [0, *stops[:-1]]
    assert stops[-1] == layout.size


@given(layouts())
def test_a_layout_survives_json(layout: Layout) -> None:
    again = Layout.from_json(layout.to_json())
    assert again == layout
    assert hash(again) == hash(layout)


@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("architecture", [(3, 3, 2, 4, 64), (5, 4, 3, 8, 64), (7, 5, 4, 4, 128)])
def test_state_dict_round_trip_and_strict_loading(architecture: tuple[int, ...], batch_norm: bool) -> None:
    size = dict(zip(("filter_size", "depth_conv", "depth_fc", "width_conv", "width_fc"), architecture, strict=True))
    hp = FIXED.net(0, 0).with_(**size, batch_norm=batch_norm)
    layout, module = cnn.layout(hp), cnn.module(hp)
    theta = counting(layout)
    state = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in layout.state_dict(theta).items()}
    assert_array_equal(layout.from_state_dict(state), theta)
    counters = {name: torch.tensor(0) for name in module.state_dict() if name.endswith("num_batches_tracked")}
    module.load_state_dict(state | counters, strict=True)
    assert_array_equal(layout.from_state_dict(module.state_dict()), theta)
    assert Layout.from_json(layout.to_json()) == layout  # the order of the first FC layer's inputs included


# Relabelling


def logits(hp: HyperParameters, theta: np.ndarray, images: torch.Tensor) -> torch.Tensor:
    module = cnn.module(hp)
    state = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in cnn.layout(hp).state_dict(theta).items()}
    module.load_state_dict(state, strict=False)
    with torch.no_grad():
        return module.eval()(images)


def lively(hp: HyperParameters, seed: int) -> np.ndarray:
    """theta (P,) with every role away from rest, so that a misplaced value shows."""
    rng = np.random.default_rng(seed)
    named = dict(cnn.layout(hp).unflatten(cnn.initialize(hp, rng)))
    for name, tensor in named.items():
        if name.endswith(".weight"):
            named[name] = tensor * (8 if hp.activation == "sigmoid" else 1)  # whose slope is at most a quarter
        else:
            named[name] = (
                rng.uniform(0.5, 1.5, tensor.shape) if name.endswith(("gamma", "var")) else 0.3 * rng.standard_normal(tensor.shape)
            )
    return cnn.layout(hp).flatten(named)


@pytest.mark.parametrize("activation", ["relu", "elu", "sigmoid", "tanh"])
@pytest.mark.parametrize(
    ("architecture", "batch_norm"), [((3, 3, 2, 4, 64), True), ((5, 4, 3, 8, 64), True), ((3, 5, 4, 4, 128), False)]
)
def test_relabelling_hidden_units_leaves_the_function(architecture: tuple[int, ...], batch_norm: bool, activation: str) -> None:
    size = dict(zip(("filter_size", "depth_conv", "depth_fc", "width_conv", "width_fc"), architecture, strict=True))
    hp = FIXED.net(0, 0).with_(**size, batch_norm=batch_norm, activation=activation, initialization="glorot_normal")
    theta, images = lively(hp, 1), torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    relabelled = cnn.layout(hp).permute(theta, np.random.default_rng(3))
    before, after = logits(hp, theta, images), logits(hp, relabelled, images)
    scale = before.abs().max().item()
    assert (before - before.mean(0)).abs().max() > 1e-3 * scale  # the function says something about its input
    torch.testing.assert_close(after, before, atol=1e-4 * scale, rtol=0)
    assert (relabelled != theta).mean() > 0.5
    assert_array_equal(np.sort(relabelled), np.sort(theta))  # the same values elsewhere


def test_relabelling_half_of_it_changes_the_function() -> None:
    """What the test above would miss if it could not fail: units in a new order, the next layer's inputs in the old one."""
    hp = FIXED.net(0, 0).with_(width_conv=4, width_fc=64, activation="tanh", initialization="glorot_normal")
    layout, theta = cnn.layout(hp), lively(hp, 1)
    images = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    before = logits(hp, theta, images)
    for layer in ("conv1", "conv3", "fc1"):
        named = dict(layout.unflatten(theta))
        order = np.random.default_rng(3).permutation(len(named[f"{layer}.bias"]))
        for t in layout.layers[layer].values():
            named[t.name] = named[t.name][order]
        assert (logits(hp, layout.flatten(named), images) - before).abs().max() > 1e-2 * before.abs().max()


# Refusals


def test_a_theta_of_another_length_is_refused() -> None:
    layout = cnn.layout(TINY)
    with pytest.raises(NwsError, match="513 weights, its layout 514"):
        layout.unflatten(np.zeros(513, np.float32))
    named = layout.unflatten(np.zeros(514, np.float32))
    with pytest.raises(NwsError, match=r"fc1\.weight"):
        layout.flatten({**named, "fc1.weight": np.zeros((64, 2))})
    with pytest.raises(NwsError, match=r"fc1\.weight"):
        layout.from_state_dict({k: v for k, v in layout.state_dict(np.zeros(514, np.float32)).items() if k != "fc1.weight"})


@pytest.mark.parametrize(
    "rows",
    [
        [("a", "slope", (2,), "fc")],
        [("a", "weight", (2,), "head")],
        [("a", "weight", (0, 3), "fc")],
        [("a", "weight", (), "fc")],
        [("a", "weight", (2,), "fc"), ("b", "weight", (2,), "conv")],
        [("a", "bias", (2,), "fc"), ("a", "bias", (3,), "fc")],
        [("a", "weight", (2, 10), "fc", (4, 4))],
        [("a", "weight", (2, 16), "fc", (4, 0))],
        [("a", "weight", (2, 16), "fc", (4,))],
        [("a", "bias", (16,), "fc", (4, 4))],
    ],
)
def test_layouts_that_make_no_sense_are_refused(rows: list) -> None:
    with pytest.raises(NwsError):
        Layout(rows)
    with pytest.raises(NwsError):
        Layout.from_json(json.dumps(rows))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "7",
        "null",
        '[["a"]]',
        '[["a", "bias", 3, "fc"]]',
        '[["a", "bias", [Infinity], "fc"]]',
        '[["a", "bias", [2.5], "fc"]]',
        "[" * 100_000,
    ],
)
def test_hostile_json_is_refused(text: str) -> None:
    with pytest.raises(NwsError):
        Layout.from_json(text)


# What the 2020 program itself wrote


@pytest.mark.parametrize("run", RUNS_2020)
def test_2020_vectors_have_the_layout_s_length(shared: Path, run: str) -> None:
    written = run_2020(shared, run)
    assert written.theta.shape == (20, written.layout.size)
    with next((shared / "fixtures" / "nws2020").glob(f"nws_{run[:-5]}_train.csv")).open(newline="") as lines:
        for row in csv.DictReader(lines):
            if row["path"] == run:
                assert [written.layout.size_of(p) for p in ("conv", "fc")] == [int(row["weightn_conv"]), int(row["weightn_fc"])]


@pytest.mark.parametrize("run", RUNS_2020)
def test_2020_initial_values_lie_where_the_layout_says(shared: Path, run: str) -> None:
    """A tensor one place off would carry a gamma into a bias: roles and Glorot bounds tell them apart."""
    written = run_2020(shared, run)
    for name, tensor in written.layout.unflatten(written.theta[0]).items():
        role = name.partition(".")[2]
        if role in ("bias", "beta"):
            assert not tensor.any(), name
        elif role == "gamma":
            assert 0.985 < tensor.min() < 1 < tensor.max() < 1.015, name  # N(1, 0.002)
        elif role == "var":
            assert 0 < tensor.min() <= tensor.max() < 5, name  # moved from 1 by its evaluation batches
        elif role == "weight":
            window = int(np.prod(tensor.shape[2:]))
            deviation = np.sqrt(2 / ((tensor.shape[0] + tensor.shape[1]) * window))
            bound = deviation * (np.sqrt(3) if written.hp.initialization == "glorot_uniform" else 2 / 0.8796256610342398)
            assert (0.95 if tensor.size > 200 else 0.8) * bound < np.abs(tensor).max() < 1.0001 * bound, name
            assert abs(tensor.std() / deviation - 1) < 4 / np.sqrt(tensor.size), name


@pytest.mark.parametrize("run", RUNS_2020)
def test_2020_nets_recognize_their_images(shared: Path, run: str) -> None:
    """The whole chain on real weights: order of theta, order of layers, and the first FC layer's inputs."""
    written = run_2020(shared, run)
    folder = shared / "data" / written.hp.dataset
    pixels = np.frombuffer(gzip.decompress((folder / "t10k-images-idx3-ubyte.gz").read_bytes()), np.uint8, 300 * 784, 16)
    labels = torch.tensor(list(gzip.decompress((folder / "t10k-labels-idx1-ubyte.gz").read_bytes())[8:308]))
    grey = torch.from_numpy(pixels.reshape(300, 1, 28, 28).copy()) / 255
    images = torch.nn.functional.interpolate(grey, (32, 32), mode="bilinear").expand(-1, 3, -1, -1)

    def accuracy(theta: np.ndarray) -> float:
        return (logits(written.hp, theta, images).argmax(1) == labels).double().mean().item()

    theta = written.theta[-1].astype(np.float32)
    reported = 1 - written.error[-1, 3] / 100  # on 1,000 images, augmented where the training was
    assert accuracy(theta) > reported - 0.05
    t = written.layout.layers["fc1"]["weight"]
    wrong = theta.copy()  # as if the first FC layer read its picture channel by channel, like PyTorch
    wrong[t.start : t.stop] = theta[t.start : t.stop].reshape(t.shape[0], -1, 4, 4).transpose(0, 2, 3, 1).ravel()
    assert accuracy(wrong) < 0.3


# Weights taken out


@pytest.mark.parametrize("without", [("bias",), ("moving",), ("norm", "bias"), ("beta", "var")])
def test_what_is_taken_out_is_gone_and_the_rest_is_where_its_layout_says(without):
    layout = cnn.layout(FIXED.net(0, 0))
    theta = np.arange(layout.size, dtype=np.float32)
    left = layout.without(without)
    found, before = left.unflatten(theta[layout.kept(without)]), layout.unflatten(theta)
    gone = {role for name in without for role in STRIPS[name]}
    assert set(found) == {name for name in before if name.split(".")[1] not in gone}
    for name, values in found.items():
        assert_array_equal(values, before[name])
    assert left.size_of("conv") + left.size_of("fc") == left.size == len(layout.kept(without))


def test_nothing_taken_out_is_the_same_layout():
    layout = cnn.layout(FIXED.net(0, 0))
    assert layout.without(()) == layout
    assert len(layout.kept(())) == layout.size
