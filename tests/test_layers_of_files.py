"""Which tensors of a stranger's file belong together, which are no weights, and what they are called."""

from pathlib import Path

import numpy as np
import pytest

from nws.weights import ordered, read
from nws.weights.checkpoint import Checkpoint

STRANGERS = Path(__file__).resolve().parents[2] / "shared/fixtures/strangers"


def checkpoint(shapes, format="torch", **more):
    rng = np.random.default_rng(0)
    arrays = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    return Checkpoint(Path("a"), format, tuple(arrays), arrays, **more)


def layers(found):
    return {name: {role: t.shape for role, t in roles.items()} for name, roles in found.layout.layers.items()}


def stranger(name):
    path = STRANGERS / name
    if not path.is_file():
        pytest.skip(f"{name} of ../shared/fixtures/strangers is not here")
    return path


def test_slopes_are_no_gamma():
    found = layers(ordered(read(stranger("mtcnn_pnet.pt"))))
    assert list(found) == ["conv1", "prelu1", "conv2", "prelu2", "conv3", "prelu3", "conv4_1", "conv4_2"]
    assert not any("gamma" in roles for roles in found.values())
    assert sum(np.prod(s) for roles in found.values() for s in roles.values()) == 6632


def test_slopes_stand_in_nobodys_way():
    """Neither does a norm behind them join them, nor is the flattened picture behind them overlooked."""
    found = ordered(
        checkpoint({"0.weight": (4, 2, 3, 3), "1.weight": 4, "2.weight": 4, "2.bias": 4, "4.weight": (5, 36), "4.bias": 5})
    )
    assert list(layers(found)) == ["0", "1", "4"]
    assert set(layers(found)["0"]) == {"weight", "gamma", "beta"}
    assert found.layout.tensors[-2].grid == (3, 3)


@pytest.mark.parametrize("name", ["norm1", "layers.0.input_layernorm", "ln_f", "bn", "encoder.bn2"])
def test_a_vector_alone_is_a_gamma_where_its_layer_is_called_a_norm(name):
    found = layers(ordered(checkpoint({"fc.weight": (4, 3), f"{name}.weight": 4})))
    assert found == {"fc": {"weight": (4, 3), "gamma": (4,)}}


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("bn.num_batches_tracked", ()), ("attn.relative_position_index", (49, 49)), ("embeddings.position_ids", (1, 512)),
        ("h.0.attn.bias", (1, 1, 8, 8)), ("h.0.attn.masked_bias", ()), ("attn_mask", (4, 49, 49)), ("head.anchors", (3, 2)),
        ("rotary.inv_freq", (32,)), ("step", ()), ("test_acc", ()),
    ],
)  # fmt: skip
def test_buffers_are_no_weights(name, shape):
    found = ordered(checkpoint({"fc.weight": (4, 3), name: shape}))
    assert layers(found) == {"fc": {"weight": (4, 3)}}
    assert any(name in note for note in found.notes)


def test_weights_that_are_named_like_buffers_of_another_shape_stay():
    shapes = {"attn.bias": 4, "count.weight": (4, 3), "loss": (4, 3), "mask_head.weight": (3, 4)}
    assert sum(np.prod(s) for s in shapes.values()) == ordered(checkpoint(shapes)).theta.size


BARE = {
    "numbered": {"weight_0": (4, 3), "bias_0": 4, "weight_1": (2, 4), "bias_1": 2},
    "letters": {"W1": (4, 3), "W2": (2, 4), "b1": 4, "b2": 2},
    "upper case": {"W1": (4, 3), "B1": (4, 1), "W2": (2, 4), "B2": (2, 1)},
    "inside a list": {"layers.0.w": (4, 3), "layers.0.b": 4, "layers.1.w": (2, 4), "layers.1.b": 2},
    "behind": {"fc1_w": (4, 3), "fc1_b": 4, "fc2_w": (2, 4), "fc2_b": 2},
    "before": {"weight_hidden": (4, 3), "bias_hidden": 4, "weight_out": (2, 4), "bias_out": 2},
    "np.savez of a list": {"arr_0": (4, 3), "arr_1": 4, "arr_2": (2, 4), "arr_3": 2},
    "digits": {"0": (4, 3), "1": 4, "2": (2, 4), "3": 2},
}


@pytest.mark.parametrize("shapes", BARE.values(), ids=BARE)
def test_bare_names_keep_weight_and_bias_together(shapes):
    found = layers(ordered(checkpoint(shapes, "npz")))
    assert list(found.values()) == [{"weight": (4, 3), "bias": (4,)}, {"weight": (2, 4), "bias": (2,)}]


def test_matrices_of_numpy_are_turned_where_their_biases_say_so():
    """Written (in, out), as most hand-made nets are: the layout is the same as that of the usual order."""
    net = checkpoint({"W1": (3, 4), "b1": (1, 4), "W2": (4, 2), "b2": (1, 2)}, "npz")
    found = ordered(net)
    assert [list(roles.values()) for roles in layers(found).values()] == [[(4, 3), (4,)], [(2, 4), (2,)]]
    np.testing.assert_array_equal(found.theta[:12].reshape(4, 3), net.arrays["W1"].T)
    square = ordered(checkpoint({"W1": (4, 4), "b1": 4}, "npz"))  # tells nothing
    assert not any("(in, out)" in note for note in square.notes)


def test_a_list_of_keras_weights_has_its_norms():
    shapes = [(3, 3, 2, 4), 4, 4, 4, 4, 4, (4, 2), 2]
    found = layers(ordered(checkpoint({f"arr_{k}": shape for k, shape in enumerate(shapes)}, "npz")))
    assert list(found.values()) == [
        {"weight": (4, 2, 3, 3), **dict.fromkeys(("bias", "beta", "gamma", "mean", "var"), (4,))},
        {"weight": (2, 4), "bias": (2,)},
    ]


def test_a_recurrent_layer_is_one_layer(tmp_path):
    import torch

    net = torch.nn.Sequential(torch.nn.LSTM(3, 5, 2, bidirectional=True))
    torch.save(net.state_dict(), tmp_path / "a.pt")
    found = ordered(read(tmp_path / "a.pt"))
    assert list(layers(found)) == ["0.l0", "0.l0_reverse", "0.l1", "0.l1_reverse"]
    assert layers(found)["0.l0"] == {"weight": (20, 8), "bias": (40,)}
    assert found.theta.size == sum(p.numel() for p in net.parameters())
    again = ordered(checkpoint({name: t.shape for name, t in zip(found.names, found.layout.tensors)}))  # as an export names them
    assert again.layout == found.layout


@pytest.mark.parametrize("old", [True, False], ids=["weight_g", "parametrizations"])
def test_weight_norm_is_multiplied(tmp_path, old):
    import torch

    made = torch.nn.utils.weight_norm if old else torch.nn.utils.parametrizations.weight_norm
    conv = made(torch.nn.Conv2d(2, 3, 3)) if not old else _old(made, torch.nn.Conv2d(2, 3, 3))
    torch.save({f"a.{name}": t for name, t in conv.state_dict().items()}, tmp_path / "a.pt")
    found = ordered(read(tmp_path / "a.pt"))
    assert layers(found) == {"a": {"weight": (3, 2, 3, 3), "bias": (3,)}}
    np.testing.assert_allclose(found.theta[:54], conv.weight.detach().numpy().ravel(), rtol=1e-5)


def _old(make, module):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make(module)


@pytest.mark.parametrize("kind", ["old", "parametrizations", "pruned"])
def test_spectral_norm_and_pruning_are_applied(tmp_path, kind):
    import torch

    linear = torch.nn.Linear(4, 3)
    if kind == "old":
        linear = torch.nn.utils.spectral_norm(linear)
    elif kind == "pruned":
        import torch.nn.utils.prune as prune

        prune.l1_unstructured(linear, "weight", amount=0.5)
    else:
        linear = torch.nn.utils.parametrizations.spectral_norm(linear)
    linear.eval()
    linear(torch.ones(1, 4))  # computes the weight
    torch.save(linear.state_dict(), tmp_path / "a.pt")
    found = ordered(read(tmp_path / "a.pt"))
    assert sorted(t.shape for t in found.layout.tensors) == [(3,), (3, 4)]
    weight = found.theta[: 3 * 4] if found.layout.tensors[0].role == "weight" else found.theta[3:]
    np.testing.assert_allclose(weight, linear.weight.detach().numpy().ravel(), rtol=1e-4, atol=1e-6)


def test_keras_recurrent_and_separable_layers():
    shapes = {"lstm/kernel": (3, 8), "lstm/recurrent_kernel": (2, 8), "lstm/bias": 8}
    separable = {"sep/depthwise_kernel": (3, 3, 4, 1), "sep/pointwise_kernel": (1, 1, 4, 6), "sep/bias": 6}
    kinds = {"sep/depthwise_kernel": "depthwise"}
    found = layers(ordered(checkpoint({**separable, **shapes}, "hdf5", kernels="keras", kinds=kinds)))
    assert found == {
        "sep/depthwise_kernel": {"weight": (4, 1, 3, 3)},
        "sep/pointwise_kernel": {"weight": (6, 4, 1, 1), "bias": (6,)},
        "lstm": {"weight": (8, 5), "bias": (8,)},
    }
