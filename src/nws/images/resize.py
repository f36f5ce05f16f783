"""Pictures to another size: bilinear with half-pixel centres, edges clamped; to a smaller one by the mean of what is covered."""

from __future__ import annotations

import numpy as np

SIDE = 32  # of a picture in pixels, where nothing else is asked for: the paper's nets
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
        planes = np.moveaxis(_lines(small, SIDE).reshape(N, C, SIDE, SIDE), 1, 3)
    return np.repeat(planes, 3, axis=3) if C == 1 else np.ascontiguousarray(planes)


def resized(x: np.ndarray, side: int, channels: int) -> np.ndarray:
    """(N, H, W, C) uint8 -> (N, side, side, channels) uint8; grey is the mean of the colours, or replicated."""
    N, H, W, C = x.shape
    if channels == 1 and C == 3:
        x = np.round(x.mean(3, keepdims=True, dtype=np.float32)).astype(np.uint8)
    C = x.shape[3]
    if (side, side) != (H, W):
        planes = np.moveaxis(x, 3, 1).reshape(N * C, H, W)
        x = np.moveaxis(_lines(planes, side).reshape(N, C, side, side), 1, 3)
    return np.repeat(x, channels, axis=3) if channels > C else np.ascontiguousarray(x)


def _lines(x: np.ndarray, side: int) -> np.ndarray:
    """(N, H, W) uint8 -> (N, side, side) uint8.

    For 32 pixels the weights are multiples of 1/64 whatever the size, so float32 holds every sum exactly (20 bits) and the result
    is the same on any machine.
    """
    N, H, W = x.shape
    rows, columns = _weights(H, side), _weights(W, side)
    result = np.empty((N, side, side), np.uint8)
    step = max(1, _CHUNK // (H * W))
    for start in range(0, N, step):
        chunk = x[start : start + step].astype(np.float32)
        wide = (chunk.reshape(-1, W) @ columns.T).reshape(-1, H, side)  # (n, H, side)
        result[start : start + step] = rows @ wide + np.float32(0.5)  # cut off when stored: round to nearest
    return result


def _weights(n: int, side: int) -> np.ndarray:
    """(side, n) float32: row i holds what pixel i takes of n pixels in a line; rows sum to 1."""
    if n > side and side != SIDE:  # the paper's size stays bilinear whatever comes in
        edges = np.arange(side + 1) * n / side
        overlap = np.minimum(edges[1:, None], np.arange(1, n + 1)) - np.maximum(edges[:-1, None], np.arange(n))
        return (np.clip(overlap, 0, None) * side / n).astype(np.float32)
    at = np.clip((np.arange(side) + 0.5) * n / side - 0.5, 0, n - 1)
    low = np.floor(at).astype(np.int64)
    weights = np.zeros((side, n), np.float32)
    np.add.at(weights, (np.arange(side), low), 1 - (at - low))
    np.add.at(weights, (np.arange(side), np.minimum(low + 1, n - 1)), at - low)
    return weights
