"""SIRENs, nets with sine units (Sitzmann et al. 2020), and the same with rectifiers; their symmetries and a canonical form."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from math import pi, sqrt
from typing import Any

import numpy as np

from nws.errors import NwsError
from nws.families.inr import Inr, spaces, table, uniform
from nws.families.space import Property, Space


class Siren(Inr):
    """Hidden units sin(omega (W x + b)), a linear output plus an offset.

    initialization  "sitzmann": first matrix U(+-1/inputs), others U(+-sqrt(6/inputs)/omega), biases U(+-1/sqrt(inputs)), as in
                    Zhou's corpus. "navon", as in Navon's: hidden matrices U(+-sqrt(6/inputs)/omega), the first too, biases 0, the
                    last layer U(+-1/sqrt(inputs)). The first reaches 40 dB in a tenth of the steps
    Spaces: "main" (Sitzmann's, 40 dB or 1,000 steps), "navon" (his initialization, offset 0.5, 2,000 steps of 5e-4, which by its
    statistics is the MNIST corpus).
    """

    name = "siren"
    properties = table(
        Property("initialization", ("sitzmann", "navon"), "how weights are initialized"),
        Property("omega", (30.0,), "frequency of the sine units"),
        Property("offset", (0.0,), "added to the output: 0.5 in Navon's corpora", minimum=-1000),
        Property("values", ("unit", "symmetric"), "black to white: unit 0 to 1, symmetric -1 to 1"),
        Property("learning_rate", (2e-3,), "step size of Adam"),
    )

    @property
    def spaces(self) -> Mapping[str, Space]:
        navon = {"initialization": "navon", "offset": 0.5, "learning_rate": 5e-4, "steps": 2000, "target_psnr": 40.0}
        return spaces(self, navon=navon)

    def begin(self, config: Any, layer: int, weight: np.ndarray, bias: np.ndarray, rng: np.random.Generator) -> None:
        inputs = weight.shape[1]
        last, small = layer == config.depth, sqrt(6 / inputs) / config.omega
        if config.initialization == "sitzmann":
            weight[:] = uniform(weight.shape, small if layer else 1 / inputs, rng)
            bias[:] = uniform(bias.shape, 1 / sqrt(inputs), rng)
        else:
            weight[:] = uniform(weight.shape, 1 / sqrt(inputs) if last else small, rng)
            bias[:] = uniform(bias.shape, 1 / sqrt(inputs) if last else 0.0, rng)

    # -- symmetries: theta (..., P) -> theta of the same function; the permutations of hidden units are `Layout.permute` --------

    def flip(self, theta: np.ndarray, rng: np.random.Generator, config: Any = None) -> np.ndarray:
        """Random hidden units negated: their weights, biases, and what the next layer makes of them (sine is odd)."""
        config = self._config(theta, config)
        found, layers = self._layers(theta, config)
        for (weight, bias), (outgoing, _) in pairwise(layers):
            sign = rng.choice([-1.0, 1.0], bias.shape[-1]).astype(theta.dtype)
            weight *= sign[:, None]
            bias *= sign
            outgoing *= sign
        return found

    def shift(self, theta: np.ndarray, rng: np.random.Generator, config: Any = None, turns: int = 1) -> np.ndarray:
        """Phases of hidden units moved: some biases by whole turns 2 pi / omega, at most `turns`, some units mirrored, (W, b) ->
        (-W, pi / omega - b), as sin(pi - z) = sin(z)."""
        config = self._config(theta, config)
        found, layers = self._layers(theta, config)
        for weight, bias in layers[:-1]:
            units = bias.shape[-1]
            mirrored = rng.random(units) < 0.5
            weight *= np.where(mirrored, -1, 1)[:, None].astype(theta.dtype)
            bias[:] = np.where(mirrored, pi / config.omega - bias, bias) + rng.integers(-turns, turns + 1, units) * (
                2 * pi / config.omega
            )
        return found

    def canonical(self, theta: np.ndarray, config: Any = None) -> np.ndarray:
        """theta (..., P) of the same function whose signs and phases are settled; what is left is the order of the hidden units.

        Each hidden unit's phase z = omega b is wrapped to (-pi, pi], mirrored into [-pi/2, pi/2], then its sign chosen so that
        b >= 0 (where b is 0: so that its weights sum to no less than 0). Biases that need no wrapping keep their bits.
        config: of the nets; None: 2-32-32-c nets with omega 30, as in Navon's and Zhou's corpora. NwsError where theta is none.
        """
        config = self._config(theta, config)
        found, layers = self._layers(theta, config)
        omega = config.omega
        for (weight, bias), (outgoing, _) in pairwise(layers):
            turns = np.ceil((omega * bias - pi) / (2 * pi))
            bias[:] = np.where(turns, bias - turns * (2 * pi / omega), bias)
            mirrored = np.abs(omega * bias) > pi / 2
            weight *= np.where(mirrored, -1, 1)[..., None].astype(theta.dtype)
            bias[:] = np.where(mirrored, np.copysign(pi / omega, bias) - bias, bias)
            negative = (bias < 0) | ((bias == 0) & (weight.sum(-1) < 0))
            sign = np.where(negative, -1, 1).astype(theta.dtype)
            weight *= sign[..., None]
            bias *= sign
            outgoing *= sign[..., None, :]
        return found

    def _config(self, theta: np.ndarray, config: Any) -> Any:
        if config is not None:
            return config
        values = {p.name: p.options[0] for p in self.properties}
        for channels in (1, 3):
            usual = self.config({**values, "channels": channels})
            if self.layout(usual).size == np.shape(theta)[-1]:
                return usual
        raise NwsError(
            f"theta has {np.shape(theta)[-1]:,} weights, nets of 2-32-32-1 or 2-32-32-3 units have 1,185 or 1,251: give the config"
        )

    def _layers(self, theta: np.ndarray, config: Any) -> tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:
        """A copy of theta, and (weight, bias) of each layer as views of it."""
        where, found = self.layout(config), np.array(theta)
        named = list(where.unflatten(found).values())
        return found, list(zip(named[::2], named[1::2]))


class ReluInr(Inr):
    """Hidden units max(W x + b, 0), output 1 / (1 + exp(-y)); weights N(0, 2/inputs), biases 0 (He et al. 2015)."""

    name = "relu-inr"
    sine = False
    properties = table(Property("learning_rate", (1e-2,), "step size of Adam"))

    @property
    def spaces(self) -> Mapping[str, Space]:
        return spaces(self)

    def begin(self, config: Any, layer: int, weight: np.ndarray, bias: np.ndarray, rng: np.random.Generator) -> None:
        weight[:] = rng.normal(0, sqrt(2 / weight.shape[1]), weight.shape).astype(np.float32)


SIREN = Siren()
RELU_INR = ReluInr()
