"""A zoo in whose weights it is known what is written where, for the tests of the analyses."""

import numpy as np

import nws
from nws.families import cnn2020 as cnn
from nws.net import HISTORY, Net
from nws.zoo import Zoo

SPACE = nws.FIXED.with_(
    filter_size=3,
    width_conv=1,
    width_fc=8,
    learning_rate=0.001,
    batch_size=32,
    augmentation=False,
    activation="relu",
    initialization="normal",
    dataset=["mnist", "toy"],
    optimizer=["adam", "momentum"],
)
SNAPSHOTS = 4


def written_net(number, hp):
    """The optimizer is in the scale of the conv part, from snapshot 2 on, and in the biases, 9 or -9; all else is noise."""
    layout = cnn.layout(hp)
    rng = np.random.default_rng([number, 7])
    theta = rng.normal(size=(SNAPSHOTS, layout.size)).astype(np.float32)
    adam = hp.optimizer == "adam"
    theta[1:, layout.part("conv")] *= 3.0 if adam else 1.0
    for tensor in layout.tensors:
        if tensor.role == "bias":
            theta[:, tensor.start : tensor.stop] = 9.0 if adam else -9.0
    history = np.zeros((SNAPSHOTS, len(HISTORY)))
    history[:, 1:] = 0.9
    return Net(number, hp, layout, theta, np.arange(SNAPSHOTS), history)


def written_zoo(path, space=SPACE, nets=32):
    zoo = Zoo.create(path, space=space, seed=0, nets=nets)
    for number, hp in enumerate(space.sample(nets)):
        zoo.append(written_net(number, hp))
    return zoo
