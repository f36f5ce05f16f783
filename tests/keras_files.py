"""Keras's files, written with h5py by the structure of real ones; tests and the fuzzer only."""

import io
import json
import zipfile

import numpy as np


def array(*shape):
    """Different numbers, so that a wrong order of dimensions shows."""
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape) / 7


def legacy(path, layers, config=None, root="model_weights", optimizer=True):
    """Keras 1 and 2: layers is layer -> {weight's name: array}; one without any gets an empty list of float64."""
    import h5py

    with h5py.File(path, "w") as file:
        group = file.create_group(root) if root else file
        group.attrs["layer_names"] = [name.encode() for name in layers]
        group.attrs["backend"], group.attrs["keras_version"] = b"tensorflow", b"2.2.4"
        for layer, weights in layers.items():
            inner = group.create_group(layer)
            inner.attrs["weight_names"] = [name.encode() for name in weights]
            assert weights or inner.attrs["weight_names"].dtype == np.float64
            for name, values in weights.items():
                inner[name] = values
        if config is not None:
            file.attrs["model_config"] = json.dumps(config).encode()
        if optimizer and root:
            beside = file.create_group("optimizer_weights")
            beside.attrs["weight_names"] = [b"Adam/iterations:0", b"m_0:0"]
            beside["Adam/iterations:0"], beside["m_0:0"] = 3, array(4, 5)


def layer(kind, name, **config):
    return {"class_name": kind, "config": {"name": name, **config}}


def keras3(path, layers, groups):
    """A .keras archive: layers of the configuration; groups is group -> list of numbered arrays."""
    import h5py

    weights = io.BytesIO()
    with h5py.File(weights, "w") as file:
        for group, arrays in groups.items():
            numbered = file.create_group(f"{group}/vars")
            for k, values in enumerate(arrays):
                numbered[str(k)] = values
        file["optimizer/vars/0"] = np.int64(3)
        file["optimizer/vars/1"] = array(4, 5)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.3.3"}))
        archive.writestr("config.json", json.dumps(layer("Functional", "net", layers=layers)))
        archive.writestr("model.weights.h5", weights.getvalue())


def xception(path):
    """Whole model of Keras 2: every kind of convolution, a nested model, layers without weights, an optimizer beside."""
    norm = {f"bn/{name}:0": array(4) for name in ("gamma", "beta", "moving_mean", "moving_variance")}
    separable = {"sep/depthwise_kernel:0": array(3, 3, 4, 1), "sep/pointwise_kernel:0": array(1, 1, 4, 6), "sep/bias:0": array(6)}
    nested = {"b/kernel:0": array(6, 5), "b/bias:0": array(5), "a/kernel:0": array(6, 6)}
    layers = {
        "input_1": {},
        "conv": {"conv/kernel:0": array(3, 3, 1, 4)},
        "bn": norm,
        "sep": separable,
        "inner": nested,
        "lstm": {"lstm/kernel:0": array(5, 8), "lstm/recurrent_kernel:0": array(2, 8), "lstm/bias:0": array(8)},
        "activation_1": {},
    }
    inner = layer("Model", "inner", layers=[layer("Dense", "a"), layer("Dense", "b")])
    kinds = {"input_1": "InputLayer", "conv": "Conv2D", "bn": "BatchNormalization", "sep": "SeparableConv2D", "lstm": "LSTM"}
    config = [inner if name == "inner" else layer(kinds.get(name, "Activation"), name) for name in layers]
    legacy(path, layers, layer("Model", "model_1", layers=config))


def modern(path):
    """Keras 3 archive: names of the configuration, groups of the classes."""
    layers = [
        layer("InputLayer", "image"),
        layer("Dense", "first", use_bias=False),
        layer("PReLU", "slopes"),
        layer("BatchNormalization", "norm", scale=False),
        layer("LSTM", "memory"),
        layer("DepthwiseConv2D", "depth"),
        layer("Dense", "last"),
    ]
    groups = {
        "layers/dense": [array(3, 4)],
        "layers/p_re_lu": [array(4)],
        "layers/batch_normalization": [array(4), array(4) + 1, array(4) + 2],
        "layers/lstm/cell": [array(4, 8), array(2, 8), array(8)],
        "layers/depthwise_conv2d": [array(3, 3, 2, 2), array(4)],
        "layers/dense_1": [array(2, 5), array(5)],
    }
    keras3(path, layers, groups)
