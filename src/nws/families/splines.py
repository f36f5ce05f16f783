"""Kolmogorov-Arnold layers in numpy: B-splines on a uniform grid, what each edge computes, and the changes that no output notices.

A layer has an edge from each input q to each output p: phi_pq(x) = w_b silu(x) + w_s sum_i c_i B_i(x), and y_p = sum_q phi_pq(x_q).
(Liu et al. 2024, KAN: Kolmogorov-Arnold Networks; in the parameters of efficient-kan.) The knots are
t_m = LOW + (m - order) (HIGH - LOW) / grid for m = 0 to grid + 2 order, so there are grid + order bases. Inside the grid they
sum to 1; beyond it they fade to 0 within `order` intervals, and only silu is left.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from nws.errors import NwsError
from nws.layout import Layout

LOW, HIGH = -1.0, 1.0
_POINTS = 1 << 22  # values of edges at a time


@dataclass(frozen=True)
class Edges:
    """One layer: base w_b (..., P, Q), scale w_s (..., P, Q) and coefficients c (..., P, Q, K) of Q inputs and P outputs."""

    base: np.ndarray
    scale: np.ndarray
    coefficients: np.ndarray

    @property
    def spline(self) -> np.ndarray:
        """w_s c, (..., P, Q, K): all that the outputs know of the two."""
        return self.scale[..., None] * self.coefficients


def knots(grid: int, order: int) -> np.ndarray:
    """(grid + 2 order + 1,)"""
    return LOW + (np.arange(grid + 2 * order + 1) - order) * (HIGH - LOW) / grid


def bases(x: np.ndarray, grid: int, order: int) -> np.ndarray:
    """x (...) -> B_i(x) (..., grid + order), by the recursion of Cox and de Boor in float64."""
    t, x = knots(grid, order), np.asarray(x, float)[..., None]
    found = ((x >= t[:-1]) & (x < t[1:])).astype(float)
    for k in range(1, order + 1):
        left, right = (x - t[: -(k + 1)]) / (t[k:-1] - t[: -(k + 1)]), (t[k + 1 :] - x) / (t[k + 1 :] - t[1:-k])
        found = left * found[..., :-1] + right * found[..., 1:]
    return found


def silu(x: np.ndarray) -> np.ndarray:
    """x / (1 + e^-x)"""
    from scipy.special import expit

    return np.asarray(x * expit(x))


def layers(theta: np.ndarray, layout: Layout) -> list[Edges]:
    """The layers of theta (..., P); NwsError when its layout is not that of a net of spline layers."""
    found = layout.unflatten(theta)
    names = [name.removesuffix(".base") for name in layout.layers if name.endswith(".base")]
    try:
        edges = [Edges(*(found[f"{name}.{what}.weight"] for what in ("base", "scale", "spline"))) for name in names]
    except KeyError as missing:
        raise NwsError(f"this layout lacks {missing}: it is not one of a KAN") from None
    if not edges or 3 * len(edges) != len(layout.tensors):
        raise NwsError("this layout is not one of a KAN: each of its layers has base, scale and spline")
    return edges


def flatten(edges: Sequence[Edges]) -> np.ndarray:
    """The inverse of `layers`: theta (..., P) in the layout's order."""
    parts = [part for e in edges for part in (e.base, e.scale, e.coefficients)]
    lead = edges[0].base.shape[:-2]
    return np.concatenate([np.reshape(part, (*lead, -1)) for part in parts], axis=-1)


def order_of(edges: Edges, grid: int) -> int:
    return int(edges.coefficients.shape[-1]) - grid


def phi(edges: Edges, x: np.ndarray, grid: int) -> np.ndarray:
    """What each edge computes of its own input: x (N, Q) -> (N, P, Q) float64."""
    b = bases(x, grid, order_of(edges, grid))  # (N, Q, K)
    return edges.base * silu(np.asarray(x, float))[:, None] + np.einsum("nqk,pqk->npq", b, edges.spline, optimize=True)


def forward(edges: Sequence[Edges], x: np.ndarray, grid: int) -> list[np.ndarray]:
    """The inputs x (N, Q) of the first layer, of each other one, and the outputs of the last: float64."""
    values = [np.asarray(x, float)]
    for e in edges:
        x = values[-1]
        b = bases(x, grid, order_of(e, grid))
        values.append(silu(x) @ e.base.T + np.einsum("nqk,pqk->np", b, e.spline, optimize=True))
    return values


def on_points(edges: Edges, points: np.ndarray, grid: int) -> np.ndarray:
    """phi (P, Q, n) float64 of each edge on the same points (n,)."""
    x = np.asarray(points, float)
    return edges.base[..., None] * silu(x) + edges.spline @ bases(x, grid, order_of(edges, grid)).T


def of_pixels(pixels: np.ndarray) -> np.ndarray:
    """Bytes 0 to 255 -> LOW to HIGH, as the nets read pictures."""
    return pixels * ((HIGH - LOW) / 255) + LOW


def scores(edges: Sequence[Edges], x: np.ndarray, grid: int) -> dict[str, np.ndarray]:
    """What each edge puts out over inputs x (N, Q) of the first layer: {"mean": mean |phi|, "std": deviation of phi}.

    x: pictures as bytes, or floats. Each score is (E,) float32, layer after layer, in a layer output by output. The inputs of later
    layers are the net's own. The deviation is blind to what is constant on an edge, the mean is not (see `shifted`). Liu et al.
    2024, section 2.5.1: |phi|_1 is the mean.
    """
    found: dict[str, list[np.ndarray]] = {"mean": [], "std": []}
    inputs = x
    for at, e in enumerate(edges):
        size, first, second = (np.zeros(e.base.shape) for _ in range(3))
        for some, weight in _levels(inputs) if inputs.dtype == np.uint8 else _rows(inputs, e):
            out = phi(e, some, grid)
            size += np.einsum("npq,nq->pq", np.abs(out), weight)
            first += np.einsum("npq,nq->pq", out, weight)
            second += np.einsum("npq,nq->pq", out**2, weight)
        found["mean"].append(size.ravel())
        found["std"].append(np.sqrt(np.maximum(second - first**2, 0)).ravel())
        if at + 1 < len(edges):
            inputs = np.concatenate([forward([e], _floats(rows), grid)[1] for rows in _chunks(inputs, e)])
    return {name: np.concatenate(parts).astype(np.float32) for name, parts in found.items()}


def _floats(x: np.ndarray) -> np.ndarray:
    return of_pixels(x) if x.dtype == np.uint8 else x


def _chunks(inputs: np.ndarray, e: Edges) -> Iterator[np.ndarray]:
    step = max(1, _POINTS // (inputs.shape[1] * e.coefficients.shape[-1]))
    return (inputs[k : k + step] for k in range(0, len(inputs), step))


def _rows(inputs: np.ndarray, e: Edges) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    step = max(1, _POINTS // e.base.size)
    return ((some, np.full(some.shape, 1 / len(inputs))) for some in (inputs[k : k + step] for k in range(0, len(inputs), step)))


def _levels(pixels: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pixels have 256 levels: each level once, and how often a pixel has it, stand for ten thousand pictures."""
    times = np.stack([np.bincount(column, minlength=256) for column in pixels.T], 1) / len(pixels)
    levels = of_pixels(np.repeat(np.arange(256)[:, None], pixels.shape[1], 1))
    for k in range(0, 256, 32):
        yield levels[k : k + 32], times[k : k + 32]


# What no output notices.


def rescaled(edges: Edges, factor: np.ndarray) -> Edges:
    """(w_s / a, a c) for a (P, Q), not 0: the same function for every input."""
    return Edges(edges.base, edges.scale / factor, edges.coefficients * factor[..., None])


def shifted(edges: Edges, constant: np.ndarray) -> Edges:
    """phi_pq + a_pq inside the grid, for a (P, Q) whose sums over q are 0: the same function for inputs inside [LOW, HIGH].

    That is so of every first layer that reads pictures or places; of later ones only where no hidden value leaves the grid.
    NwsError when the sums are not 0, or where w_s is 0, which can carry no constant.
    """
    if np.abs(constant.sum(-1)).max() > 1e-6 * max(1, np.abs(constant).max()):
        raise NwsError("constants of the edges to one output must sum to 0")
    if (edges.scale == 0).any():
        raise NwsError("an edge whose w_s is 0 can carry no constant")
    return Edges(edges.base, edges.scale, edges.coefficients + (constant / edges.scale)[..., None])


def canonical(edges: Sequence[Edges]) -> list[Edges]:
    """The same function with every choice that outputs do not notice made in one way, but for the order of hidden units.

    w_s is 1 everywhere. In the first layer, whose inputs lie inside the grid, the edges to one output share their constant equally,
    the constant of an edge being the mean of its coefficients.
    """
    found = []
    for k, e in enumerate(edges):
        spline = e.spline
        if k == 0:
            constant = spline.mean(-1)
            spline = spline + (constant.mean(-1, keepdims=True) - constant)[..., None]
        found.append(Edges(e.base, np.ones_like(e.scale), spline))
    return found


def features(edges: Sequence[Edges]) -> np.ndarray:
    """[w_b, w_s c] of every edge in canonical form: (..., E, 1 + K), edges as in `scores`. NwsError when layers differ in K."""
    if len({e.coefficients.shape[-1] for e in edges}) > 1:
        raise NwsError("layers with different grids have no common edge features")
    parts = []
    for e in canonical(edges):
        both = np.concatenate([e.base[..., None], e.coefficients], -1)
        parts.append(both.reshape(*both.shape[:-3], -1, both.shape[-1]))
    return np.concatenate(parts, axis=-2)
