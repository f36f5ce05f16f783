"""Training steps of the DMC against the plain module, what 16 bits and the reader do to them, and SVMs against scikit-learn's."""

from __future__ import annotations

import re
import tempfile
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nws.bench.rows import paired, seconds

if TYPE_CHECKING:
    from torch import nn

CLASSES = 3
BATCH = 64


def rows(quick: bool = False) -> Iterator[dict[str, Any]]:
    """Steps of the local DMC, batch 64, and whole SVMs, on one thread: seconds of CPU time."""
    import torch

    yield from _svm_rows(quick)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for length, target in ((1000, None), (5000, 1.25)):
            yield _step_row(length, "float32", 2 if quick else 7, target)
        if has_bfloat16():
            yield _step_row(5000, "bfloat16", 2 if quick else 7, 2.2)
        if not quick:
            if has_bfloat16():  # emulated it takes minutes a round
                yield from _accuracy_rows()
            yield _reader_row()
    finally:
        torch.set_num_threads(threads)


def plain_module(slice_length: int, outputs: int, dropout: float = 0.5) -> nn.Sequential:
    """The DMC as Table 3 reads: Conv1d, ReLU, BatchNorm1d, MaxPool1d."""
    from torch import nn

    from nws.meta.dmc import UNITS, architecture

    layers: list[nn.Module] = [nn.Unflatten(1, (1, slice_length))]
    channels, length = 1, slice_length
    for width, pooled in architecture(slice_length):
        layers += [nn.Conv1d(channels, width, 5, padding=2), nn.ReLU(), nn.BatchNorm1d(width)]
        if pooled:
            layers.append(nn.MaxPool1d(2))
        channels, length = width, length // (1 + pooled)
    layers.append(nn.Flatten())
    for units, width in pairwise((channels * length, *UNITS)):
        layers += [nn.Linear(units, width), nn.ReLU(), nn.BatchNorm1d(width), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(UNITS[-1], outputs))


def has_bfloat16() -> bool:
    """Whether the processor has instructions that multiply in bfloat16 (Linux; elsewhere unknown, and so False)."""
    info = Path("/proc/cpuinfo")
    return info.exists() and bool(re.search(r"\b(avx512_bf16|amx_bf16|bf16)\b", info.read_text()))


def _step_row(length: int, precision: str, rounds: int, target: float | None) -> dict[str, Any]:
    from nws.meta.dmc import module

    ours = module(length, CLASSES)
    ours.precision = precision
    step, _, ratio = paired(_training(ours, length), _training(plain_module(length, CLASSES), length), rounds)
    return {
        "benchmark": "meta",
        "what": f"DMC training step, slices of {length:,}, batch {BATCH}, {precision}",
        "value": step,
        "unit": "s",
        "ratio": ratio,
        "against": "plain Conv1d module, float32",
        "target": target,
    }


def _training(net: nn.Module, length: int) -> Callable[[], None]:
    import torch

    optimizer = torch.optim.Adam(net.parameters())
    x, y = torch.randn(BATCH, length), torch.arange(BATCH) % CLASSES

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()

    return step


def _svm_rows(quick: bool) -> Iterator[dict[str, Any]]:
    """Fits on fabricated features as correlated, and as far out of line, as statistics of layers are."""
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.svm import SVC, LinearSVC

    from nws.meta import SVM

    rng = np.random.default_rng(0)
    n, F = (600, 240) if quick else (3000, 480)
    X = rng.standard_t(3, (n, F)) @ (rng.standard_normal((F, F)) * np.geomspace(1, 1e-3, F)[:, None])
    y = (X[:, :CLASSES] / X[:, :CLASSES].std(0) + rng.standard_normal((n, CLASSES))).argmax(1)
    X = (X - X.mean(0)) / X.std(0)
    for kernel, machine in (("linear", LinearSVC(dual=False, max_iter=1000)), ("rbf", SVC(gamma=1 / F, cache_size=500))):
        ours, theirs = SVM(kernel), OneVsRestClassifier(machine)
        taken, _, ratio = paired(partial(ours.fit, X, y), partial(_unconverged, theirs.fit, X, y), 1 if quick else 3)
        yield {
            "benchmark": "meta",
            "what": f"SVM, {kernel}, {n:,} samples of {F} correlated features, {CLASSES} classes",
            "value": taken,
            "unit": "s",
            "ratio": ratio,
            "against": f"{type(machine).__name__}, each class against the rest",
            "target": None,
        }


def _unconverged(fit: Callable[..., Any], *given: Any) -> None:
    """A thousand rounds and no more, as a user would leave it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit(*given)


def _accuracy_rows() -> Iterator[dict[str, Any]]:
    """Both precisions on the same rounds: vectors whose kind is in the correlation of neighbouring weights."""
    from nws.meta import DMC

    rounds: dict[str, list[float]] = {"float32": [], "bfloat16": []}
    for seed in range(5):
        rng = np.random.default_rng(seed)
        kind = np.arange(600) % CLASSES
        noise = rng.standard_normal((600, 401)).astype(np.float32)
        x = noise[:, 1:] + np.array([-0.25, 0, 0.25], np.float32)[kind, None] * noise[:, :-1]
        for precision, found in rounds.items():
            model = DMC(slice_length=200, batch_size=32, max_steps=150, random_state=seed, precision=precision)
            found.append(model.fit(list(x[:300]), kind[:300]).score(x[300:, 100:300], kind[300:]))
    for precision, found in rounds.items():
        yield {
            "benchmark": "meta",
            "what": f"accuracy of a DMC fitted in {precision}, 5 rounds of fabricated vectors",
            "value": float(np.mean(found)),
            "unit": "accuracy",
            "ratio": float(np.mean(found) / np.mean(rounds["float32"])),
            "against": "float32",
            "target": None,
            "rounds": found,
        }


def _reader_row() -> dict[str, Any]:
    """What reading takes of a step: 64 random slices from memory maps, as `DMC.fit` draws them."""
    from nws.bench.store import fabricate
    from nws.meta.dmc import _random_slice, module

    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        zoo = fabricate(Path(folder) / "zoo", nets=16)
        vectors = zoo.vectors(np.repeat(np.arange(16), 4), np.tile(np.arange(17, 21), 16))
        draw = min(seconds(lambda: np.stack([_random_slice(v, 5000, rng) for v in vectors])) for _ in range(20))
    train = _training(module(5000, CLASSES), 5000)
    train()
    step = seconds(train)
    return {
        "benchmark": "meta",
        "what": f"reading {BATCH} slices of 5,000 for a DMC training step",
        "value": 1000 * draw,
        "unit": "ms",
        "ratio": draw / (draw + step),
        "against": "share of the step",
        "target": None,
    }
