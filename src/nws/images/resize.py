"""Pictures of any size -> 32 x 32 x 3: bilinear with half-pixel centres, edges clamped."""

from __future__ import annotations

import numpy as np

from nws.images.imageset import SIDE

_CHUNK = 1 << 22  # pixels at a time, 16 MB as float32


def to_pictures(x: np.ndarray) -> np.ndarray:
    """(N, H, W), (N, H, W, 1) or (N, H, W, 3) uint8 -> (N, 32, 32, 3) uint8; grey is replicated.

    Pixel i of the result is read at (i + 0.5) * H / 32 - 0.5 (the 2020 program left out the half pixels, which shifts the
    picture). Values are rounded to the nearest, halves upwards.
    """
    planes = x[..., None] if x.ndim == 3 else x  # (N, H, W, C)
    N, H, W, C = planes.shape
    if (H, W) != (SIDE, SIDE):
        # Channels become pictures of their own, so that one pair of matrix products serves grey and colour.
        small = np.moveaxis(planes, 3, 1).reshape(N * C, H, W)
        planes = np.moveaxis(_bilinear(small).reshape(N, C, SIDE, SIDE), 1, 3)
    return np.repeat(planes, 3, axis=3) if C == 1 else np.ascontiguousarray(planes)


def _bilinear(x: np.ndarray) -> np.ndarray:
    """(N, H, W) uint8 -> (N, 32, 32) uint8.

    The weights are multiples of 1/64 whatever the size, so float32 holds every sum exactly (20 bits) and the result is the
    same on any machine.
    """
    N, H, W = x.shape
    rows, columns = _weights(H), _weights(W)
    result = np.empty((N, SIDE, SIDE), np.uint8)
    step = max(1, _CHUNK // (H * W))
    for start in range(0, N, step):
        chunk = x[start : start + step].astype(np.float32)
        wide = (chunk.reshape(-1, W) @ columns.T).reshape(-1, H, SIDE)  # (n, H, 32)
        result[start : start + step] = rows @ wide + np.float32(0.5)  # cut off when stored: round to nearest
    return result


def _weights(n: int) -> np.ndarray:
    """(32, n) float32: row i holds what pixel i takes of n pixels in a line; rows sum to 1."""
    at = np.clip((np.arange(SIDE) + 0.5) * n / SIDE - 0.5, 0, n - 1)
    low = np.floor(at).astype(np.int64)
    weights = np.zeros((SIDE, n), np.float32)
    np.add.at(weights, (np.arange(SIDE), low), 1 - (at - low))
    np.add.at(weights, (np.arange(SIDE), np.minimum(low + 1, n - 1)), at - low)
    return weights
