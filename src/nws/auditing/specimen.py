"""The net that is audited: its weights in our order, and what is odd about them whatever they are compared with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from nws.auditing.architecture import Architecture
from nws.auditing.outputs import Unused
from nws.auditing.reference import portrait
from nws.errors import NwsError
from nws.layout import Layout
from nws.net import Net
from nws.recorded import printable
from nws.weights import ordered, read
from nws.weights.checkpoint import shown
from nws.weights.state import LEFT_OUT
from nws.zoo.netfile import read_net
from nws.zoo.shardfile import Shard, looks_like_shard

# Words in the names of tensors that no convolutional net has.
_FAMILIES = {
    "a transformer": r"attn|attention|[qkv]_proj|in_proj|query|cls_token|wte|wpe|(pos|position|token|patch)_?embed\w*|layer_?norm",
    "a recurrent net": r"weight_[ih]h(_l\d+)?|lstm\w*|gru\w*|rnn\w*",
}
_LEVELS = 256  # values that a quantised weight can take
_MANY = 256  # weights of a tensor that would hardly all take one of so few values by chance
_AT_THE_START = {"bias": 0.0, "beta": 0.0, "gamma": 1.0, "mean": 0.0, "var": 1.0}


@dataclass(frozen=True, eq=False)
class Specimen:
    """One net's weights.

    name     for people, printable
    layout, theta   (P,) float32
    tensors  the file's own name of each tensor of the layout
    notes    what the reader assumed or left out
    nets     what else the file holds, as `nws.weights.Checkpoint.nets`
    """

    name: str
    format: str
    layout: Layout
    theta: np.ndarray
    tensors: tuple[str, ...]
    notes: tuple[str, ...] = ()
    nets: tuple[Mapping[str, Any], ...] = ()
    _portraits: dict[Any, np.ndarray] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def read(cls, path: str | Path, net: str | None = None) -> Specimen:
        """The weights of a file, of a zoo's net its last snapshot; nothing in it is run. NwsError, one line, if there are none.

        net: which one of several in the file.
        """
        if looks_like_shard(Path(path)):
            return cls._of_shard(Path(path), net)
        checkpoint = read(path, net=net)
        if "theta_sha256" in checkpoint.metadata:
            return cls._of_zoo(Path(path))
        try:
            found = ordered(checkpoint)
        except NwsError as error:
            raise NwsError(f"{shown(path)}: {error}") from None
        return cls(shown(path), checkpoint.format, found.layout, found.theta, found.names, found.notes, checkpoint.nets)

    @classmethod
    def _of_shard(cls, path: Path, number: str | None) -> Specimen:
        """One of the nets of a shard of a zoo, by its number."""
        try:
            shard = Shard(path)
        except OSError as error:
            raise NwsError(f"{shown(path)}: cannot be read ({error.strerror}): see that it is there and readable") from None
        if number is None or not number.isdecimal() or int(number) not in shard:
            numbers = shard.numbers
            raise NwsError(f"{shown(path)} holds nets {numbers[0]} to {numbers[-1]} of a zoo: name one, --net {numbers[0]}")
        return cls._of_net(path, shard.net(int(number)))

    @classmethod
    def _of_zoo(cls, path: Path) -> Specimen:
        return cls._of_net(path, read_net(path))

    @classmethod
    def _of_net(cls, path: Path, net: Net) -> Specimen:
        names = tuple(t.name for t in net.layout.tensors)
        note = f"a net of a zoo: the last of its {len(net.theta)} snapshots; what the file says of its training was not looked at"
        return cls(shown(path), "net of a zoo", net.layout, net.theta[-1], names, (note,))

    def layers(self) -> list[dict[str, Any]]:
        """Per layer in order: name, part, role -> shape, and how many weights."""
        return [
            {
                "name": printable(name),
                "part": next(iter(roles.values())).part,
                "shapes": {role: list(t.shape) for role, t in roles.items()},
                "weights": sum(t.stop - t.start for t in roles.values()),
            }
            for name, roles in self.layout.layers.items()
        ]

    @cached_property
    def architecture(self) -> Architecture:
        """What the shapes say by themselves."""
        return Architecture.of(self.layout, self.format)

    def portrait(self, unused: Unused | None) -> np.ndarray:
        """What it is compared with a zoo by: `portrait` (112,). Remembered, for the models of one zoo ask for the same."""
        key = None if unused is None else tuple(unused.items())
        if key not in self._portraits:
            self._portraits[key] = portrait(self.theta, self.layout, unused)
        return self._portraits[key]

    @cached_property
    def oddities(self) -> tuple[str, ...]:
        """Sentences on why no meta-classifier's answer should be trusted, each one a reason by itself."""
        found = []
        wrong = int((~np.isfinite(self.theta)).sum())
        if wrong:
            found.append(f"{wrong:,} of its {self.theta.size:,} weights are NaN or infinite.")
        for family, words in _FAMILIES.items():
            pattern = re.compile(rf"(^|[./_])({words})($|[./_])", re.IGNORECASE)
            name = next((name for name in self.tensors if pattern.search(name)), None)
            if name:
                found.append(f"Its tensors are named like those of {family} ({printable(name)[:60]}), not of a convolutional net.")
        if any(note.startswith(LEFT_OUT) for note in self.notes):
            found.append("It also holds whole numbers, which were left out: if they are its weights, it is quantised.")
        coarse = [
            t.name for t in self.layout.tensors if t.role == "weight" and _quantised(self.theta[t.start : t.stop], t.shape[0])
        ]
        if coarse:
            found.append(f"Its weights are quantised: those of {printable(coarse[0])[:60]} lie on few, evenly spaced values.")
        if self._untrained():
            found.append("It looks untrained: its biases and norms all have the values they get before the first step.")
        return tuple(found)

    def _untrained(self) -> bool:
        vectors = {t: self.theta[t.start : t.stop] for t in self.layout.tensors if t.role in _AT_THE_START}
        exact = [(found == _AT_THE_START[t.role]).all() for t, found in vectors.items() if t.role != "gamma"]
        near = [(np.abs(found - 1) < 0.02).all() for t, found in vectors.items() if t.role == "gamma"]  # some draw it around 1
        return bool(exact) and all(exact) and all(near)


def _quantised(values: np.ndarray, units: int) -> bool:
    """Whether a tensor's weights lie on an even grid of few values, as a whole or for each of its units (first dimension)."""
    if values.size < _MANY:
        return False
    rows = values.reshape(units, -1)
    if rows.shape[1] < 64:
        return _on_a_grid(values)
    return _on_a_grid(values) or float(np.mean([_on_a_grid(row) for row in rows[:16]])) > 0.5


def _on_a_grid(values: np.ndarray) -> bool:
    levels = np.unique(values[np.isfinite(values)]).astype(np.float64)
    if len(levels) < 4:  # binary or ternary weights; a unit that is dead or was started constant has few values as well
        return len(levels) > 1 and np.allclose(levels, -levels[::-1])
    if len(levels) > _LEVELS:
        return False
    multiples = levels / np.diff(levels).min()
    # Constant initialization leaves few values as well; where they lie evenly, it is by the last bits of a float.
    return bool(np.abs(multiples).max() <= 2 * _LEVELS and (np.abs(multiples - np.round(multiples)) < 0.01).all())
