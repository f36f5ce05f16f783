"""Principal components of more numbers than fit into memory: the rows are read in chunks, several times over."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from nws.progress import Doing

Chunks = Callable[[], Iterable[np.ndarray]]

BLOCK = 16  # vectors multiplied at a time: the first ten converge faster in a block that is larger than ten
PASSES = 12  # over the data at most; a zoo's spectrum falls off so steeply that about half are needed
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Components:
    """mean (P,), vectors (P, K) with orthonormal columns, variance (K,) along each, total variance, passes over the data.

    residual: the largest |C v - variance v| relative to the first variance; what is left to converge.
    """

    mean: np.ndarray
    vectors: np.ndarray
    variance: np.ndarray
    total: float
    passes: int
    residual: float


def components(chunks: Chunks, count: int, seed: int = 0, on_progress: Callable[[str], None] = lambda doing: None) -> Components:
    """The first `count` principal components of the rows that chunks() yields as arrays (rows, P), the same at each call.

    Block Lanczos on the covariance C with full reorthogonalization: each pass over the rows multiplies a block of vectors by C,
    and the best components lie in the span of all blocks so far. float64 throughout. Memory: a chunk, and P x 16 numbers for
    each pass; never C itself, which has P x P.
    """
    n, mean, total = _moments(chunks)
    size = len(mean)
    count = min(count, size, max(n - 1, 1))
    block = min(max(BLOCK, count + 6), size)
    start = np.random.default_rng(seed).standard_normal((size, block))
    basis, images = np.empty((size, 0)), np.empty((size, 0))
    found = None
    for done in range(1, PASSES + 1):
        on_progress(Doing(f"principal components, pass {done} of at most {PASSES}", (done - 1) / PASSES))
        fresh = _orthonormal(start, basis)
        basis = np.hstack([basis, fresh])
        images = np.hstack([images, _times_covariance(chunks, mean, n, fresh)])
        inner = basis.T @ images
        values, inside = np.linalg.eigh((inner + inner.T) / 2)
        order = np.argsort(values)[::-1][:count]
        values, inside = values[order], inside[:, order]
        vectors = basis @ inside
        left = np.linalg.norm(images @ inside - vectors * values, axis=0).max() / max(values[0], np.finfo(float).tiny)
        found = Components(mean, _signed(vectors), np.maximum(values, 0), total, done + 1, float(left))
        start = images[:, -fresh.shape[1] :][:, : size - basis.shape[1]]
        if left < TOLERANCE or not start.shape[1]:
            break
    assert found
    return found


def _moments(chunks: Chunks) -> tuple[int, np.ndarray, float]:
    """Rows, their mean (P,) and total variance. Shifted by the first row: large common values cancel before they are squared."""
    n, shift, sums, squares = 0, np.zeros(0), np.zeros(0), 0.0
    for chunk in chunks():
        if not n:
            shift, sums = chunk[0].astype(float), np.zeros(chunk.shape[1])
        moved = chunk - shift
        n, sums, squares = n + len(chunk), sums + moved.sum(0), squares + float(np.vdot(moved, moved))
    return n, shift + sums / n, max(squares / n - float(np.vdot(sums, sums)) / n**2, 0.0)


def _times_covariance(chunks: Chunks, mean: np.ndarray, n: int, vectors: np.ndarray) -> np.ndarray:
    """C @ vectors (P, B) for the covariance C of the rows, in one pass."""
    total = np.zeros_like(vectors)
    for chunk in chunks():
        centred = chunk - mean  # (rows, P) float64
        total += centred.T @ (centred @ vectors)
    return total / n


def _orthonormal(block: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """An orthonormal basis of what the block adds to the basis. Thrice: once leaves rounding errors, and where the block adds
    nothing, QR puts some vector that then has to be made orthogonal itself."""
    for _ in range(3):
        block = np.linalg.qr(block - basis @ (basis.T @ block))[0]
    return block


def _signed(vectors: np.ndarray) -> np.ndarray:
    """The sign of a component is arbitrary: its largest entry is made positive, so that two runs agree."""
    largest = np.abs(vectors).argmax(0)
    return vectors * np.sign(vectors[largest, np.arange(vectors.shape[1])])
