"""Reading weights out of a zoo: slices, views, and arrays for scikit-learn."""

import subprocess
import sys

import numpy as np
import pytest
from fabricated import fabricated_zoo, file_of, tiny
from numpy.testing import assert_array_equal

from nws import FIXED, NwsError
from nws.zoo import Zoo, split


@pytest.fixture
def zoo(tmp_path):
    return fabricated_zoo(tmp_path / "zoo")


@pytest.mark.parametrize("via", ["auto", "pread", "memmap"])
@pytest.mark.parametrize("kept", [1, 100])
def test_slices_are_cut_from_theta(zoo, via, kept):
    zoo._reader._kept = kept  # files held open at a time
    rng = np.random.default_rng(0)
    nets, snapshots, starts = rng.integers(12, size=200), rng.integers(1, 6, size=200), rng.integers(92 - 17 + 1, size=200)
    got = zoo.slices(nets, snapshots, starts, 17, via=via)
    assert got.dtype == np.float32
    for row, net, snapshot, start in zip(got, nets, snapshots, starts):
        assert_array_equal(row, zoo.theta(net, snapshot)[start : start + 17])
    assert_array_equal(zoo.slices(3, [1, 5], 75, 17, via=via), tiny(3).theta[[0, 4], 75:92])
    assert zoo.slices([], [], [], 17, via=via).shape == (0, 17)


@pytest.mark.parametrize("part", ["all", "conv", "fc"])
def test_vectors_are_views(zoo, part):
    vectors = zoo.vectors([0, 5, 0], [1, 5, 2], part)
    for vector, (net, snapshot) in zip(vectors, [(0, 1), (5, 5), (0, 2)]):
        assert_array_equal(vector, zoo.theta(net, snapshot)[zoo.layout(net).part(part)])
        assert not vector.flags.writeable
        assert not vector.flags.owndata


def test_load_gives_every_usable_net_in_order(zoo):
    x, y = zoo.load("optimizer", [4, 5], part="fc", split="train")
    usable = [n for n in range(12) if n != 4 and split(3, n) == "train"]
    assert len(x) == len(y) == 2 * len(usable)
    assert y.tolist() == [tiny(n).hp.optimizer for n in usable for _ in range(2)]
    for row, (number, snapshot) in zip(x, [(n, s) for n in usable for s in (4, 5)]):
        assert_array_equal(row, zoo.theta(number, snapshot)[zoo.layout(number).part("fc")])
    last, _ = zoo.load("optimizer", part="fc", slice_length=30, split="test")
    five, _ = zoo.load("optimizer", 5, "fc", slice_length=30, split="test")
    assert_array_equal(last, five)


def test_load_gives_an_array_when_sizes_agree_else_a_list(zoo):
    assert isinstance(zoo.load("augmentation")[0], list)
    assert zoo.load("augmentation", slice_length=30)[0].shape == (11, 30)
    file_of(zoo, 5).unlink()
    x, y = zoo.load("augmentation")
    assert (x.shape, x.dtype, y.dtype) == ((10, 92), np.float32, bool)
    assert zoo.load("batch_size")[1].dtype == np.int64
    assert zoo.load("learning_rate")[1].dtype == np.float64


@pytest.mark.parametrize("part", ["conv", "fc"])
def test_loaded_slices_lie_in_their_part(zoo, part):
    x, _ = zoo.load("optimizer", [1, 2], part=part, slice_length=20, seed=1)
    for row, (number, snapshot) in zip(x, [(n, s) for n in range(12) if n != 4 for s in (1, 2)]):
        inside = zoo.theta(number, snapshot)[zoo.layout(number).part(part)]
        assert row.tobytes() in inside.tobytes()
    assert_array_equal(x, zoo.load("optimizer", [1, 2], part=part, slice_length=20, seed=1)[0])
    assert not np.array_equal(x, zoo.load("optimizer", [1, 2], part=part, slice_length=20, seed=2)[0])


def test_nets_too_short_for_a_slice_are_left_out_and_counted(zoo):
    frame, notes = zoo.select("optimizer", part="conv", slice_length=100)
    assert frame.index.tolist() == [5]
    assert notes[:2] == [
        "1 net left out: training diverged (weights not finite)",
        "10 nets left out: their conv part is shorter than a slice of 100",
    ]
    assert notes[2].startswith("no net has optimizer=")
    assert zoo.load("optimizer", part="conv", slice_length=100)[0].shape == (1, 100)


def test_converged_filter(tmp_path):
    zoo = Zoo.create(tmp_path)
    for number, (dataset, accuracy) in enumerate(
        [("mnist", 0.8), ("mnist", 0.79), ("kmnist", 0.25), ("kmnist", 0.24), ("svhn", 0.3)]
    ):
        history = np.full((2, 5), accuracy)
        zoo.append(tiny(number, hp=tiny(number).hp.with_(dataset=dataset), history=history))
    zoo.append(tiny(5, history=np.full((2, 5), np.nan)))
    assert zoo.select(converged=True)[0].index.tolist() == [0, 2]
    assert zoo.select(converged={"svhn": 0.3, "kmnist": 0.1})[0].index.tolist() == [0, 2, 3, 4]
    assert len(zoo.select()[0]) == 6
    with pytest.raises(NwsError, match=r"no net is left \(6 nets left out: not converged"):
        zoo.select(converged=dict.fromkeys(FIXED.options["dataset"] + ("kmnist",), 1.0))


def test_balance_gives_every_option_the_same_number_of_nets(tmp_path):
    zoo = Zoo.create(tmp_path)
    for number in range(12):
        zoo.append(tiny(number, hp=tiny(number).hp.with_(optimizer="adam" if number % 3 else "rmsprop")))
    _, y = zoo.load("optimizer", [1, 2], balance=True)
    assert sorted(y) == ["adam"] * 8 + ["rmsprop"] * 8
    assert "no net has optimizer=momentum" in zoo.select("optimizer")[1]


@pytest.mark.skipif(sys.platform != "linux", reason="limits of open files differ")
def test_more_nets_than_files_may_be_open(zoo):
    code = (
        "import resource, sys; from nws.zoo import Zoo\n"
        "zoo = Zoo(sys.argv[1])\n"
        "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (10, int(sys.argv[2]) or hard))\n"
        "views = zoo.vectors(range(12), 1)\n"
        "assert views[11][0] == zoo.theta(11, 1)[0]\n"
    )
    run = [sys.executable, "-c", code, str(zoo.path)]
    assert subprocess.run([*run, "0"], check=False).returncode == 0
    limited = subprocess.run([*run, "10"], check=False, capture_output=True, text=True)
    assert "NwsError: too many open files (10): raise the limit with `ulimit -n`" in limited.stderr
