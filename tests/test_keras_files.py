"""Keras's files of every version: on files that others wrote, and on small ones written by their structure."""

import io
import zipfile

import keras_files as files
import numpy as np
import pytest
from keras_files import array, layer
from test_hostile_files import refused

from nws.weights import ordered, read

h5py = pytest.importorskip("h5py")


def rows(path):
    """layer -> role -> shape in our order."""
    return {name: {r: t.shape for r, t in roles.items()} for name, roles in ordered(read(path)).layout.layers.items()}


@pytest.fixture
def stranger(shared):
    def find(name):
        path = shared / "fixtures/strangers" / name
        if not path.exists():
            pytest.skip(f"no {name} in the folder of shared data")
        return path

    return find


def test_mini_xception_of_keras_2(stranger):
    """Its layers without weights have an empty list of float64; its convolutions are separable; an optimizer lies beside."""
    path = stranger("mini_xception_fer.hdf5")
    found = ordered(read(path))
    assert (len(found.layout.layers), found.layout.size) == (23, 58423)
    names = list(found.layout.layers)
    assert names[:4] == ["conv2d_1", "conv2d_2", "separable_conv2d_1/depthwise_kernel", "separable_conv2d_1/pointwise_kernel"]
    assert not any("optimizer" in name or "training" in name for name in found.names)
    with h5py.File(path) as file:
        whole = file["model_weights"]
        raw = {f"{a}/{b[:-2]}": whole[a][n] for a in whole for n, b in ((n, n.split("/")[-1]) for n in listed(whole[a]))}
        assert set(raw) == set(found.names)
        ours = found.layout.unflatten(found.theta)
        depthwise = raw["separable_conv2d_1/depthwise_kernel"][()]
        np.testing.assert_array_equal(
            ours["separable_conv2d_1/depthwise_kernel.weight"][:, 0], depthwise[..., 0].transpose(2, 0, 1)
        )
        np.testing.assert_array_equal(ours["conv2d_2.weight"], raw["conv2d_2/kernel"][()].transpose(3, 2, 0, 1))
        np.testing.assert_array_equal(ours["conv2d_1.var"], raw["batch_normalization_1/moving_variance"][()])


def listed(group):
    return [name.decode() for name in group.attrs["weight_names"]] if group.attrs["weight_names"].size else []


def test_weights_only_of_keras_2(stranger):
    path = stranger("hls_conv2d.h5")
    found = read(path)
    assert ordered(found).layout.size == 1310
    with h5py.File(path) as file:
        order = [name for one in file.attrs["layer_names"] for name in listed(file[one])]
        assert [name.split("/")[-1] for name in found.names] == [name.split("/")[-1][:-2] for name in order]
        values = [file[one.decode()][name][()] for one in file.attrs["layer_names"] for name in listed(file[one])]
    for name, value in zip(found.names, values, strict=True):
        np.testing.assert_array_equal(found.arrays[name], value)


def test_an_archive_of_keras_3(stranger):
    path = stranger("qkeras3.keras")
    assert rows(path) == {
        "fc1": {"weight": (64, 16), "bias": (64,)},
        "fc2": {"weight": (32, 64), "bias": (32,)},
        "fc3": {"weight": (32, 32), "bias": (32,)},
        "output": {"weight": (5, 32), "bias": (5,)},
    }
    with zipfile.ZipFile(path) as archive, h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
        np.testing.assert_array_equal(read(path).arrays["fc2/kernel"], file["layers/q_dense_1/vars/0"][()])


def test_a_whole_model_of_keras_2(tmp_path):
    files.xception(tmp_path / "a.h5")
    checkpoint = read(tmp_path / "a.h5")
    assert list(rows(tmp_path / "a.h5").items()) == [
        ("conv", {"weight": (4, 1, 3, 3), "beta": (4,), "gamma": (4,), "mean": (4,), "var": (4,)}),
        ("sep/depthwise_kernel", {"weight": (4, 1, 3, 3)}),
        ("sep/pointwise_kernel", {"weight": (6, 4, 1, 1), "bias": (6,)}),
        ("inner/a", {"weight": (6, 6)}),  # in the order of its configuration: weight_names lists b first
        ("inner/b", {"weight": (5, 6), "bias": (5,)}),
        ("lstm", {"weight": (8, 7), "bias": (8,)}),
    ]
    np.testing.assert_array_equal(checkpoint.arrays["sep/depthwise_kernel"], array(3, 3, 4, 1))
    assert not any("optimizer" in name for name in checkpoint.names)


def test_layers_keep_the_order_of_the_list_and_lists_that_keras_cut(tmp_path):
    """Keras cuts lists that do not fit into a header: layer_names0, layer_names1."""
    files.legacy(tmp_path / "a.h5", {f"dense_{k}": {"kernel:0": array(2, 2)} for k in (3, 1, 2)}, root="")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        del file.attrs["layer_names"]
        file.attrs["layer_names0"], file.attrs["layer_names1"] = [b"dense_3", b"dense_1"], [b"dense_2"]
    assert read(tmp_path / "a.h5").names == ("dense_3/kernel", "dense_1/kernel", "dense_2/kernel")


def test_dimensions_that_differ_from_a_convolutions(tmp_path):
    layers = {
        "up": {"up/kernel:0": array(3, 3, 2, 5)},
        "depthwise_conv2d_2": {"depthwise_conv2d_2/depthwise_kernel:0": array(3, 3, 2, 2), "depthwise_conv2d_2/bias:0": array(4)},
        "words": {"words/embeddings:0": array(7, 3)},
        "slopes": {"slopes/alpha:0": array(1, 1, 4)},
        "heads": {"heads/query/kernel:0": array(6, 2, 3), "heads/query/bias:0": array(2, 3)},
    }
    files.legacy(tmp_path / "a.h5", layers, layer("Sequential", "s", layers=[layer("Conv2DTranspose", "up")]))
    found = ordered(read(tmp_path / "a.h5"))
    ours = found.layout.unflatten(found.theta)
    np.testing.assert_array_equal(ours["up.weight"], array(3, 3, 2, 5).transpose(2, 3, 0, 1))
    depthwise = array(3, 3, 2, 2)
    for channel, multiple in np.ndindex(2, 2):
        unit = ours["depthwise_conv2d_2.weight"][2 * channel + multiple, 0]
        np.testing.assert_array_equal(unit, depthwise[:, :, channel, multiple])
    np.testing.assert_array_equal(ours["words.weight"], array(7, 3))
    assert {r: t.shape for r, t in found.layout.layers["slopes"].items()} == {"weight": (4,)}
    np.testing.assert_array_equal(ours["heads/query.weight"], array(6, 2, 3).reshape(6, 6).T)
    assert found.layout.layers["heads/query"]["bias"].shape == (6,)


def test_keras_1_and_theanos_kernels(tmp_path):
    layers = {
        "convolution2d_1": {"convolution2d_1_W": array(5, 1, 3, 3), "convolution2d_1_b": array(5)},
        "batchnormalization_1": {f"batchnormalization_1_{n}": array(5) for n in ("gamma", "beta", "running_mean", "running_std")},
        "dense_1": {"dense_1_W": array(4, 3), "dense_1_b": array(3)},
    }
    config = layer("Sequential", "s", layers=[layer("Convolution2D", "convolution2d_1", dim_ordering="th")])
    files.legacy(tmp_path / "a.h5", layers, config)
    assert rows(tmp_path / "a.h5") == {
        "convolution2d_1": {"weight": (5, 1, 3, 3), "bias": (5,), "beta": (5,), "gamma": (5,), "mean": (5,), "var": (5,)},
        "dense_1": {"weight": (3, 4), "bias": (3,)},
    }


def test_theanos_kernels_are_known_by_their_biases(tmp_path):
    """Weights alone do not say which of the two orders they have."""
    layers = {"a": {"a_W": array(5, 1, 3, 3), "a_b": array(5)}, "b": {"b_W": array(5, 5, 3, 3)}}
    files.legacy(tmp_path / "a.h5", layers, root="")
    assert rows(tmp_path / "a.h5") == {"a": {"weight": (5, 1, 3, 3), "bias": (5,)}, "b": {"weight": (5, 5, 3, 3)}}
    layers = {"a": {"a_W": array(3, 3, 1, 5), "a_b": array(5)}}
    files.legacy(tmp_path / "b.h5", layers, root="")
    assert rows(tmp_path / "b.h5") == {"a": {"weight": (5, 1, 3, 3), "bias": (5,)}}


def test_numbered_variables_are_what_their_class_says(tmp_path):
    """A lone vector is no bias and has no norm; a norm without scale begins with beta; names and order are the configuration's."""
    files.modern(tmp_path / "a.keras")
    assert list(rows(tmp_path / "a.keras").items()) == [
        ("first", {"weight": (4, 3), "beta": (4,), "mean": (4,), "var": (4,)}),
        ("slopes", {"weight": (4,)}),
        ("memory", {"weight": (8, 6), "bias": (8,)}),
        ("depth", {"weight": (4, 1, 3, 3), "bias": (4,)}),
        ("last", {"weight": (5, 2), "bias": (5,)}),
    ]


def test_groups_whose_counters_skip_numbers(tmp_path):
    """Keras 2.13 counts some layers twice: conv2d, conv2d_2, conv2d_4."""
    layers = [layer("Dense", "head", use_bias=False), *(layer("Conv2D", name, use_bias=False) for name in "abc")]
    groups = {f"_layer_checkpoint_dependencies/conv2d{k}": [array(1, 1, 2, n)] for k, n in (("", 3), ("_2", 4), ("_10", 5))}
    files.keras3(tmp_path / "a.keras", layers, {**groups, "_layer_checkpoint_dependencies\\dense": [array(2, 2)]})
    shapes = {name: roles["weight"] for name, roles in rows(tmp_path / "a.keras").items()}
    assert shapes == {"head": (2, 2), "a": (3, 2, 1, 1), "b": (4, 2, 1, 1), "c": (5, 2, 1, 1)}
    assert list(shapes) == ["head", "a", "b", "c"]


def test_without_a_configuration_layers_are_in_the_order_of_writing(tmp_path):
    with h5py.File(tmp_path / "a.weights.h5", "w") as file:
        for group in ("embedding", "dense", "conv1d", "dense_1"):
            file[f"layers/{group}/vars/0"] = array(3, 4) if group != "conv1d" else array(3, 4, 5)
    checkpoint = read(tmp_path / "a.weights.h5")
    assert checkpoint.names == ("embedding/embeddings", "dense/kernel", "conv1d/kernel", "dense_1/kernel")
    assert "order of writing" in checkpoint.notes[0]


@pytest.mark.parametrize(("write", "name"), [(files.xception, "a.keras"), (files.modern, "a.h5")])
def test_what_a_file_is_its_contents_tell(tmp_path, write, name):
    """Real .keras files are HDF5 as often as not."""
    write(tmp_path / name)
    write(tmp_path / ("b.h5" if name == "a.keras" else "b.keras"))
    assert rows(tmp_path / name) == rows(tmp_path / ("b.h5" if name == "a.keras" else "b.keras"))


def test_a_weight_that_is_listed_and_not_there(tmp_path):
    files.xception(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        del file["model_weights/sep/sep/bias:0"]
    assert "lacks model_weights/sep/sep/bias:0" in refused(read, tmp_path / "a.h5")


@pytest.mark.parametrize("name", ["a.h5", "a.keras", "a.pt", "a.safetensors"])
def test_a_pointer_of_git_lfs_is_named(tmp_path, name):
    (tmp_path / name).write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12345\n")
    assert "git lfs pull" in refused(read, tmp_path / name)


def test_what_is_no_hdf5_at_all(tmp_path):
    (tmp_path / "a.h5").write_bytes(b"<!DOCTYPE html>" * 100)
    assert "is a web page" in refused(read, tmp_path / "a.h5")
    (tmp_path / "a.h5").write_bytes(bytes(range(256)) * 10)
    assert "is no HDF5 file" in refused(read, tmp_path / "a.h5")
