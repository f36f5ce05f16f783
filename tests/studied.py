"""A zoo whose accuracies follow a known law, for the tests of analyses and figures."""

import numpy as np
from fabricated import LAYOUT, tiny

from nws import MAIN
from nws.zoo import Zoo

SPACE = MAIN.with_(dataset=["mnist", "kmnist"])
EFFECTS = {"initialization": {"constant": -0.06, "normal": -0.02}, "activation": {"relu": 0.03}, "augmentation": {True: 0.01}}
LEARNING_RATE = 10.0  # accuracy per unit


def law(hp):
    """Test accuracy of a net without its noise."""
    effects = sum(options.get(getattr(hp, name), 0.0) for name, options in EFFECTS.items())
    return 0.88 + effects + LEARNING_RATE * (hp.learning_rate - 0.0026)


def studied_zoo(path, nets=140, noise=0.01, space=SPACE):
    """Net i has the law's accuracy and some noise; every tenth did not learn (10%). All have five snapshots and nine records."""
    zoo = Zoo.create(path, space, seed=0, nets=nets)
    for number in range(nets):
        hp = space.net(0, number)
        end = 0.1 if number % 10 == 9 else law(hp) + noise * np.random.default_rng(number).standard_normal()
        history = np.linspace([0, 0.1, 0.1, 0.1, 0.1], [80, end + 0.02, end, end, end], 9)
        zoo.append(tiny(number, LAYOUT, hp=hp, history=history))
    return zoo
