"""A row per neuron of every layer: what comes in, what goes out, its own numbers, and where it stands.

Each row is indifferent to the order of all other hidden units, so that whoever reads the rows as a set is indifferent to
`Layout.permute` altogether.
"""

from __future__ import annotations

import numpy as np

from nws.errors import NwsError
from nws.layout import Layout
from nws.representations import wiring as wires
from nws.representations.base import Representation
from nws.representations.wiring import NODE_ROLES, PLACE, SLOTS, Step, wiring

_QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
_VALUES = ("mean", "deviation", "mean size", *(f"q{round(100 * q)}" for q in _QUANTILES))
INCOMING = tuple(f"in/{name}" for name in _VALUES)
OUTGOING = tuple(f"out/{name}" for name in _VALUES)
SHARP = 50.0  # a weight of 1/50 is where logarithms take over: most trained weights are around it
NAMES = (
    *INCOMING,
    *OUTGOING,
    *("in/over windows", "out/over windows"),
    *NODE_ROLES,
    *(f"{role}/present" for role in NODE_ROLES),
    *(f"place/{k}" for k in range(PLACE)),
    *(f"slot/{slot}" for slot in SLOTS),
)


class Tokens(Representation):
    """`neurons` of whole nets: X is a list of (T, F), T differing between nets."""

    name = "tokens"
    ragged = True
    sliced = False
    seconds = 30.0

    def of_slices(self, x: np.ndarray) -> np.ndarray:
        raise NwsError("tokens are those of whole nets, not of slices")

    def of_net(self, theta: np.ndarray, layout: Layout, part: str) -> np.ndarray:
        if part != "all":
            theta, layout = theta[:, layout.part(part)], Layout([t for t in layout.tensors if t.part == part])
        return neurons(theta, layout)

    def why_not(self, layout: Layout, config: object, target: str) -> str | None:
        return wires.why_not(layout)


def neurons(theta: np.ndarray, layout: Layout) -> np.ndarray:
    """theta (S, P) -> (S, T, F) float32, F = len(NAMES): a row per unit of each step of `wiring`, in theta's order.

    Weights are shown as asinh(50 w): signed, linear around 0, logarithms beyond. What a unit lacks is 0. NwsError where axes are
    not known.
    """
    steps = wiring(layout)
    theta = np.asarray(theta)
    spread = np.arcsinh(SHARP * theta.astype(np.float32))
    out = {}
    for step in steps:  # of two steps that read a group the later one
        if step.source:
            out[step.source] = _edges(spread, step)
    rows = [_rows(spread, step, k, len(steps), out.get(step.group)) for k, step in enumerate(steps)]
    return np.concatenate(rows, 1)


def _edges(spread: np.ndarray, step: Step) -> np.ndarray:
    """(S, units, inputs, W)"""
    found = [piece.of(spread) for piece in step.pieces]
    return found[0] if len(found) == 1 else np.concatenate(found, -1)


def _rows(spread: np.ndarray, step: Step, number: int, steps: int, out: np.ndarray | None) -> np.ndarray:
    S, units = len(spread), step.units
    found = np.zeros((S, units, len(NAMES)), np.float32)
    n = len(_VALUES)
    if step.pieces:
        edges = _edges(spread, step)
        found[..., :n] = _values(edges.reshape(S, units, -1))
        found[..., 2 * n] = edges.std(-1).mean(-1)
    if out is not None:
        found[..., n : 2 * n] = _values(out.swapaxes(1, 2).reshape(S, units, -1))
        found[..., 2 * n + 1] = out.std(-1).mean(-2)
    at = 2 * n + 2
    for k, role in enumerate(NODE_ROLES):
        if role in step.nodes:
            found[..., at + k] = spread[:, step.nodes[role]]
            found[..., at + len(NODE_ROLES) + k] = 1
    at += 2 * len(NODE_ROLES)
    found[..., at : at + PLACE] = wires.place(step, number, steps)
    found[..., at + PLACE + SLOTS.index(step.slot)] = 1
    return found


def _values(x: np.ndarray) -> np.ndarray:
    """(S, units, n) -> (S, units, len(_VALUES))"""
    x = np.sort(x, -1)  # so that means do not depend on the order either
    at = np.array(_QUANTILES) * (x.shape[-1] - 1)
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, x.shape[-1] - 1)
    share = (at - low).astype(np.float32)
    quantiles = x[..., low] * (1 - share) + x[..., high] * share
    return np.concatenate([x.mean(-1)[..., None], x.std(-1)[..., None], np.abs(x).mean(-1)[..., None], quantiles], -1)


def padded(rows: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Rows (T, F) of different T -> x (B, T, F) with zeros behind the last, and mask (B, T), True for tokens."""
    longest = max(len(row) for row in rows)
    x = np.zeros((len(rows), longest, rows[0].shape[1]), np.float32)
    mask = np.zeros((len(rows), longest), bool)
    for k, row in enumerate(rows):
        x[k, : len(row)], mask[k, : len(row)] = row, True
    return x, mask
