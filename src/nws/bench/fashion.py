"""One net on Fashion-MNIST at full size: the training that the 2020 program was timed with."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from nws import images
from nws.bench.engine import matrix_product
from nws.bench.whole import nws_sample
from nws.families.cnn2020 import PROPERTIES

EPOCHS = 20
LIMITS = {True: (110.0, 670), False: (105.0, 509)}  # augmentation -> seconds aimed at, seconds of the 2020 program on a Zen 4 core


def rows(quick: bool = False) -> Iterator[dict[str, Any]]:
    """Wall seconds of `nws sample` of one fixed net, one worker, evaluation and writing included. None when quick: minutes each.

    On the real files where they are found ($NWS_DATA, or the cache), else on noise of the same size: the arithmetic is the same.
    "matrix_product": what the core did just before and just after, in Gop/s. Shared machines change by half within minutes, and
    there is nothing to pair two minutes with.
    """
    if quick:
        return
    product = matrix_product()
    product()
    with tempfile.TemporaryDirectory() as folder:
        real = not images.where("fashion").startswith("not in")
        data = [] if real else ["--data", str(noise(Path(folder)))]
        for augmentation, (limit, program) in LIMITS.items():
            label = PROPERTIES["augmentation"].label(augmentation)
            chosen = [
                f"augmentation={label}",
                "batch_size=64",
                "optimizer=adam",
                "activation=relu",
                "initialization=glorot_uniform",
            ]
            given = ["--images", "fashion", "--nets", "1", "--epochs", str(EPOCHS), "--workers", "1", *data]
            before = [product() for _ in range(10)]
            spent = nws_sample(Path(folder) / label, *given, *(word for c in chosen for word in ("--with", c)))
            yield {
                "benchmark": "fashion",
                "what": f"nws sample, fixed net, full size, {EPOCHS} epochs, {'with' if augmentation else 'without'} augmentation",
                "value": spent.wall,
                "unit": "s",
                "limit": limit,
                "cpu_seconds": spent.cpu,
                "seconds_2020": program,
                "matrix_product": float(np.mean([*before, *(product() for _ in range(10))])),
                "images": "Fashion-MNIST" if real else "noise of the same size: $NWS_DATA names a folder with the real files",
            }


def noise(folder: Path) -> Path:
    """FOLDER/fashion with files of the real names and sizes; returns `folder`."""
    rng = np.random.default_rng(0)
    (folder / "fashion").mkdir()
    for split, n in (("train", 60_000), ("t10k", 10_000)):
        _idx(folder / "fashion" / f"{split}-images-idx3-ubyte", rng.integers(0, 256, (n, 28, 28), np.uint8))
        _idx(folder / "fashion" / f"{split}-labels-idx1-ubyte", (np.arange(n) % 10).astype(np.uint8))
    return folder


def _idx(path: Path, values: np.ndarray) -> None:
    path.write_bytes(struct.pack(f">{1 + values.ndim}i", 0x0800 + values.ndim, *values.shape) + values.tobytes())
