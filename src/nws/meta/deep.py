"""What the readers of structure have in common: a torch module of nets of any architecture, one loop, one way to disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
import torch
from torch import nn

from nws import device, threads
from nws.errors import NwsError
from nws.meta.contract import Meta, Progress, Shapes, positive, seed
from nws.meta.fit import epochs, falling, fit, on_best_device, steps_per_epoch

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
DECAYS = 50  # of the learning rate, times 0.95 each
_AT_ONCE = 32  # nets that are read together


class Deep(Meta):
    """A kind writes `_rows` (X checked and made ready), `_learn_sizes` and `_sizes_of` (what the module's sizes are), `_make` (the
    module) and `_together` (rows -> what the module takes).

    Cross-entropy, or the absolute error of a regression; Adam, `learning_rate` falling to 8% in the run of `epochs` passes, at
    most `max_steps` steps. One thread, unless the user chose a number. Same arguments, data and machine: the same bits.
    """

    _learned = "module_"
    module_: nn.Module
    sizes_: dict[str, int]
    max_steps: int | None
    epochs: int
    batch_size: int
    learning_rate: float
    dropout: float
    random_state: int

    def fit(self, X: Any, y: Any, progress: Progress | None = None) -> Self:
        """X as the representation says; y (n,) labels or numbers. `progress(step, steps, loss)` is called after each step."""
        target = self._begin(len(X), y)
        targets = torch.from_numpy(target.astype(np.float32) if self.regression else target)
        return self._train(X, targets, _absolute_error if self.regression else nn.functional.cross_entropy, progress)

    @threads.one()
    def _train(self, X: Any, targets: torch.Tensor, loss: Loss, progress: Progress | None) -> Self:
        rows = self._rows(X)
        rng = np.random.default_rng(self.random_state)
        with self._own_random_numbers():
            self.sizes_ = self._learn_sizes(rows)
            module = self._make(self.sizes_, self._outputs)
            self._begin_module(module, rows)

            def draw(batch: np.ndarray) -> tuple[Any, torch.Tensor]:
                return self._together([rows[k] for k in batch]), targets[torch.from_numpy(batch)]

            size = min(self.batch_size, len(rows))
            steps = max(1, self.epochs * steps_per_epoch(len(rows), size))
            steps = min(steps, self.max_steps) if self.max_steps is not None else steps
            rates = falling(self.learning_rate, DECAYS, steps)
            fit(module, draw, epochs(len(rows), size, rng), steps, loss, rates, progress)
        self.n_features_in_ = max(1, sum(self.sizes_.values()))
        self.module_ = module
        return self

    @contextmanager
    def _own_random_numbers(self) -> Iterator[None]:
        """Initialization and dropout draw from the reader's seed, and leave the caller's random numbers alone."""
        chip = device.best()
        with torch.random.fork_rng(devices=[] if chip.type == "cpu" else [chip.index or 0]):
            torch.manual_seed(int(self.random_state))
            yield

    def _rows(self, X: Any) -> list[Any]:
        raise NotImplementedError

    def _learn_sizes(self, rows: list[Any]) -> dict[str, int]:
        raise NotImplementedError

    def _sizes_of(self, found: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
        """The sizes of a saved module, from the shapes in its file; KeyError or IndexError where it is none."""
        raise NotImplementedError

    def _make(self, sizes: Mapping[str, int], outputs: int) -> nn.Module:
        raise NotImplementedError

    def _begin_module(self, module: nn.Module, rows: list[Any]) -> None:
        """What the module is told of the data before it learns."""

    def _fits(self, rows: list[Any]) -> None:
        """NwsError when these rows cannot be read by the fitted module."""

    def _together(self, rows: Sequence[Any]) -> Any:
        raise NotImplementedError

    def _check(self) -> None:
        for name in ("epochs", "batch_size", "max_steps"):
            value = getattr(self, name)
            if value is not None or name != "max_steps":
                positive(name, value, whole=True)
        positive("learning_rate", self.learning_rate)
        if not isinstance(self.dropout, (int, float)) or not 0 <= self.dropout < 1:
            raise NwsError(f"dropout={self.dropout!r}: must be a share of units, at least 0 and below 1")
        seed(self.random_state)

    @threads.one()
    def _scores(self, X: Any) -> np.ndarray:
        if len(X) == 0:
            return np.empty((0, self._outputs))
        rows = self._rows(X)
        self._fits(rows)
        parts = []
        with device.exact(), on_best_device(self.module_) as chip, torch.inference_mode():
            for start in range(0, len(rows), _AT_ONCE):
                parts.append(self.module_(self._together(rows[start : start + _AT_ONCE]).to(chip)).cpu().numpy())
        return np.concatenate(parts).astype(np.float64)

    def _arrays(self) -> dict[str, np.ndarray]:
        return {name: value.contiguous().numpy() for name, value in self.module_.state_dict().items()}

    def _shapes(self, found: Mapping[str, tuple[int, ...]]) -> Shapes:
        try:
            self.sizes_ = self._sizes_of(found)
        except (KeyError, IndexError):
            raise NwsError(f"the arrays are not those of a {type(self).__name__}") from None
        with torch.device("meta"):
            module = self._make(self.sizes_, self._outputs)
        return {name: tuple(value.shape) for name, value in module.state_dict().items()}

    def _restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        with torch.random.fork_rng(devices=[]):
            module = self._make(self.sizes_, self._outputs).eval()
        module.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in arrays.items()})
        self.module_ = module


def head(inputs: int, width: int, outputs: int, dropout: float) -> nn.Sequential:
    """What all end with: two layers from what was seen of a net to the target."""
    return nn.Sequential(nn.LayerNorm(inputs), nn.Linear(inputs, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, outputs))


def _absolute_error(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return (output[:, 0] - target).abs().mean()
