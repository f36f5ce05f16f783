"""A zoo in notebooks and in PyTorch: iterated, indexed, shown, and read by a DataLoader with several workers."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from torch.utils.data import DataLoader

import nws
from nws import FIXED, NwsError
from nws.families import MLP
from nws.zoo.dataset import PLACES, WIDTH, tokens

FEW = {"images": "digits", "limit": 100, "limit_test": 30, "snapshots": 3, "epochs": 2, "workers": 1}


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    space = FIXED.with_(width_conv=2, width_fc=8, dataset="digits")
    return nws.sample(tmp_path_factory.mktemp("zoos") / "zoo", space, 8, **FEW)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    space = MLP.space.with_(dataset="digits", width=[4, 8], depth=[1, 2])
    return nws.sample(tmp_path_factory.mktemp("zoos") / "mixed", space, 8, **FEW)


def test_a_zoo_is_a_sequence_of_nets_and_shows_itself(zoo):
    assert [net.number for net in zoo] == list(range(8))
    assert_array_equal(zoo[3].theta, zoo.net(3).theta)
    with pytest.raises(IndexError):
        zoo[8]
    shown = zoo._repr_html_()
    assert "<td>optimizer</td>" in shown
    assert "cnn2020" in shown


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Python's own, of fork beside threads
def test_several_workers_read_what_one_reads(zoo):
    data = zoo.torch("optimizer", snapshots=[2, 3])
    alone = list(DataLoader(data, batch_size=4))
    several = list(DataLoader(data, batch_size=4, num_workers=2))
    for (x, y), (x2, y2) in zip(alone, several, strict=True):
        assert torch.equal(x, x2)
        assert torch.equal(y, y2)
    assert alone[0][0].shape == (4, zoo.layout(0).size)
    assert [data.classes[k] for k in data.y[::2]] == zoo.index["optimizer"].tolist()


def test_numbers_are_those_of_the_snapshot(zoo):
    data = zoo.torch("test_accuracy", snapshots=[1, 3])
    assert data.y.dtype == torch.float32
    assert data.y[1::2].numpy() == pytest.approx(zoo.index["test_accuracy"].to_numpy())
    assert not torch.equal(data.y[::2], data.y[1::2])


def test_slices_are_spread_or_random(zoo):
    size = zoo.layout(0).size
    spread = zoo.torch("optimizer", "slices", slice_length=50, per_vector=3)
    assert len(spread) == 24
    whole = zoo.theta(0, 3)
    for k, start in enumerate((0, round((size - 50) / 2), size - 50)):
        assert_array_equal(spread[k][0].numpy(), whole[start : start + 50])
    random = zoo.torch("optimizer", "slices", slice_length=50)
    assert not torch.equal(random[0][0], random[0][0])


def test_tokens_hold_every_weight_once_and_a_mask(mixed):
    data = mixed.torch("depth", "tokens")
    loader = DataLoader(data, batch_size=8, collate_fn=data.collate)
    x, mask, y = next(iter(loader))
    assert x.shape == (8, int(mask.sum(1).max()), WIDTH + PLACES)
    assert y.dtype == torch.int64
    for row, number in enumerate(data.numbers):
        theta, layout = mixed.theta(int(number), 3), mixed.layout(int(number))
        found, tensor = tokens(theta, layout)
        assert_array_equal(x[row][mask[row]].numpy(), found)
        assert not x[row][~mask[row]].any()
        values = [found[tensor == k, :WIDTH] for k in range(len(layout.tensors))]
        kept = np.concatenate([np.sort(v[v != 0]) for v in values])
        wanted = [np.sort(theta[t.start : t.stop]) for t in layout.tensors]
        assert_array_equal(kept, np.concatenate([w[w != 0] for w in wanted]))
    x, _, _ = next(iter(DataLoader(data, batch_size=8)))  # without collate, too
    assert len(x) == 8


def test_what_cannot_be_is_refused_in_one_line(mixed):
    for target, view, said in (
        ("depth", "weights", "use view='slices' or view='tokens'"),
        ("depth", "graph", "view 'graph' is unknown: use one of weights, slices, tokens"),
        ("colour", "tokens", "property 'colour' is unknown"),
    ):
        with pytest.raises(NwsError, match=said):
            mixed.torch(target, view)
