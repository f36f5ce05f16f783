"""The deep meta-classifier: a 1D CNN that reads raw weights (Table 3 of the paper)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, Self

import numpy as np
import torch
from torch import nn

from nws import device, threads
from nws.dropout import Dropout
from nws.errors import NwsError, unknown
from nws.meta.batch_norm import BatchNorm
from nws.meta.contract import Meta, Progress, Shapes, positive, seed, slice_rows, weight_vectors
from nws.meta.fit import epochs, falling, fit, on_best_device, settle_norms, steps_per_epoch
from nws.meta.winograd import Convolution

# Channels of each convolution; p: pooled, ?: pooled only while the signal is longer than SHORT.
_LOCAL = ("8p", "16p", "32", "64p", "128", "256?", "256?", "256?", "256?", "256?", "256?", "256p")
_GLOBAL = ("8p", "16p", "32p", "64p", "128p", "128p", "128p", "128p", "128p", "128", "256p", "256", "256p", "256", "256p")
LONGEST_LOCAL = 40_000  # longer slices are read by the global net
SHORT = 50
PRECISIONS = ("float32", "bfloat16")
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # outputs (B, outputs), targets (B, ...)
UNITS = (1024, 1024, 1024, 1024, 64)
_PREDICTED_AT_ONCE = 1 << 20  # weights: about 250 MB of activations


def architecture(slice_length: int) -> list[tuple[int, bool]]:
    """(channels, pooled) of each convolution that reads slices of this length. A signal of one value is not pooled."""
    layers, length = [], slice_length
    for entry in _GLOBAL if slice_length > LONGEST_LOCAL else _LOCAL:
        pooled = length > 1 and (entry.endswith("p") or (entry.endswith("?") and length > SHORT))
        layers.append((int(entry.rstrip("p?")), pooled))
        length //= 1 + pooled
    return layers


class Network(nn.Sequential):
    """Multiplies in `precision` while it trains; batch norm's statistics, the weights and all predictions are float32."""

    precision = "float32"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or self.precision == "float32":
            return super().forward(x)
        with torch.autocast(x.device.type, torch.bfloat16):
            return super().forward(x).float()


def module(slice_length: int, outputs: int, dropout: float = 0.5, generator: torch.Generator | None = None) -> Network:
    """The net: slices (B, L) -> (B, outputs). Its values are PyTorch's defaults, see `glorot`."""
    # Convolutions over pictures one row high, because channels_last exists for pictures only.
    steps: OrderedDict[str, nn.Module] = OrderedDict(picture=nn.Unflatten(1, (1, 1, slice_length)))
    channels, length = 1, slice_length
    for i, (width, pooled) in enumerate(architecture(slice_length), 1):
        steps[f"conv{i}"] = Convolution(channels, width)
        steps[f"conv{i}_activation"] = nn.ReLU()
        steps[f"conv{i}_norm"] = BatchNorm(width)
        if pooled:
            steps[f"pool{i}"] = nn.MaxPool2d((1, 2))
        channels, length = width, length // (1 + pooled)
    steps["flatten"] = nn.Flatten()
    for i, (units, width) in enumerate(pairwise((channels * length, *UNITS)), 1):
        steps[f"fc{i}"] = nn.Linear(units, width)
        steps[f"fc{i}_activation"] = nn.ReLU()
        steps[f"fc{i}_norm"] = nn.BatchNorm1d(width)
        steps[f"fc{i}_dropout"] = Dropout(dropout, generator)
    steps["out"] = nn.Linear(UNITS[-1], outputs)
    return Network(steps).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # absent from torch's stubs


def glorot(net: nn.Module, generator: torch.Generator) -> None:
    """Filters and matrices from Glorot's normal distribution, biases 0."""
    for layer in net.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.xavier_normal_(layer.weight, generator=generator)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]  # every layer here has one


class DMC(Meta):
    """Reads raw weights: slices of `slice_length`, or with None whole vectors of equal length.

    While fitting, each step reads one fresh random slice of each vector of its batch. Cross-entropy, or the absolute error of a
    regression; Adam, `learning_rate` times 0.95 `decays` times in the run of `epochs` passes (at most `max_steps` steps).
    Batch norm's statistics are settled after the last step (`settle_norms`).
    `precision` "bfloat16" multiplies in 16 bits while fitting, for processors and GPUs that have instructions for it.
    One thread, unless the user chose a number (nws.threads).
    Same arguments, data, machine and number of threads: the same weights, bit for bit.

    Fitted: `module_`, the net in evaluation mode, (B, L) -> (B, outputs); `n_features_in_`, the slice length L.
    """

    reads = "weights"
    _learned = "module_"
    module_: Network

    def __init__(
        self,
        slice_length: int | None = 5000,
        epochs: int = 500,
        batch_size: int = 64,
        learning_rate: float = 1e-3,
        decays: int = 50,
        dropout: float = 0.5,
        max_steps: int | None = None,
        random_state: int = 0,
        regression: bool = False,
        precision: str = "float32",
    ):
        self.slice_length = slice_length
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.decays = decays
        self.dropout = dropout
        self.max_steps = max_steps
        self.random_state = random_state
        self.regression = regression
        self.precision = precision

    def fit(self, X: Any, y: Any, progress: Progress | None = None) -> Self:
        """X: n float vectors, of any lengths from a slice up (memory maps will do); y (n,) labels or numbers.

        `progress(step, steps, loss)` is called after each step.
        """
        target = self._begin(len(X), y)
        targets = torch.from_numpy(target.astype(np.float32) if self.regression else target)
        loss = _absolute_error if self.regression else nn.functional.cross_entropy
        return self._train(X, targets, self._outputs, loss, progress)

    @threads.one()
    def _train(self, X: Any, targets: torch.Tensor, outputs: int, loss: Loss, progress: Progress | None) -> Self:
        """Learn targets (n, ...) from a net of so many outputs."""
        vectors, self.n_features_in_ = weight_vectors(X, self.slice_length)
        rng = np.random.default_rng(self.random_state)
        generator = torch.Generator().manual_seed(int(self.random_state))
        chip = device.best()  # of which dropout wants a generator of its own
        dropped = generator if chip.type == "cpu" else torch.Generator(chip).manual_seed(int(self.random_state))
        net = self._module(outputs, dropped)
        glorot(net, generator)
        net.precision = self.precision

        def draw(rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
            slices = [_random_slice(vectors[row], self.n_features_in_, rng) for row in rows]
            return torch.from_numpy(np.stack(slices)), targets[torch.from_numpy(rows)]

        steps = self.epochs * steps_per_epoch(len(X), self.batch_size)
        if self.max_steps is not None:
            steps = min(steps, self.max_steps)
        rates = falling(self.learning_rate, self.decays, steps)
        batches = epochs(len(X), self.batch_size, rng)
        fit(net, draw, batches, steps, loss, rates, progress)
        settle_norms(net, draw, batches, steps)
        self.module_ = net
        return self

    def _check(self) -> None:
        for name, value, least in (
            ("slice_length", self.slice_length, 1),
            ("epochs", self.epochs, 1),
            ("batch_size", self.batch_size, 2),  # batch norm needs two examples
            ("max_steps", self.max_steps, 1),
        ):
            if value is not None or name in ("epochs", "batch_size"):
                positive(name, value, whole=True, least=least)
        positive("learning_rate", self.learning_rate)
        if self.decays != 0:
            positive("decays", self.decays, whole=True)
        if not isinstance(self.dropout, (int, float)) or not 0 <= self.dropout < 1:
            raise NwsError(f"dropout={self.dropout!r}: must be a share of units, at least 0 and below 1")
        if self.precision not in PRECISIONS:
            raise unknown("precision", self.precision, PRECISIONS)
        seed(self.random_state)

    def _module(self, outputs: int, generator: torch.Generator | None = None) -> Network:
        with torch.random.fork_rng(devices=[]):  # PyTorch's own initialization must not disturb the caller's random numbers
            return module(self.n_features_in_, outputs, self.dropout, generator)

    def _scores(self, X: Any) -> np.ndarray:
        return scores(self.module_, X, self.n_features_in_)

    def _arrays(self) -> dict[str, np.ndarray]:
        return {name: value.contiguous().numpy() for name, value in _values(self.module_).items()}

    def _shapes(self, found: Mapping[str, tuple[int, ...]]) -> Shapes:
        with torch.device("meta"):
            return {name: tuple(value.shape) for name, value in _values(self._module(self._outputs)).items()}

    def _restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        net = self._module(self._outputs).eval()
        net.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()}, strict=False)
        self.module_ = net


@threads.one()
def scores(net: Network, X: Any, length: int) -> np.ndarray:
    """(n, outputs) float64 of slices (n, L), a number of them at a time. Refuses X of another length."""
    X = slice_rows(X, length)
    step = max(1, _PREDICTED_AT_ONCE // length)
    # Copied, because torch warns of arrays that cannot be written, such as memory maps.
    with on_best_device(net) as chip, torch.inference_mode():
        slices = (torch.tensor(X[start : start + step]) for start in range(0, len(X), step))
        parts = [net(some.to(chip)).cpu().numpy() for some in slices]
    return np.concatenate([np.empty((0, int(net.get_parameter("out.bias").numel()))), *parts])


def _values(net: nn.Module) -> dict[str, torch.Tensor]:
    """The state dict but for batch norm's counts of batches, which nothing reads."""
    return {name: value for name, value in net.state_dict().items() if not name.endswith("num_batches_tracked")}


def _random_slice(vector: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    start = int(rng.integers(0, vector.size - length + 1))
    return np.asarray(vector[start : start + length], np.float32)


def _absolute_error(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    # (B, 1) against (B,) would broadcast to (B, B), and the net would learn the median of all targets.
    return (output[:, 0] - target).abs().mean()
