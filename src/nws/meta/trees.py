"""Trees as arrays: grown by scikit-learn's histogram boosting, read here, so that a saved model needs no pickle and no version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nws.errors import NwsError

ARRAYS = ("feature", "threshold", "left", "right", "value")
DEEPEST = 64  # steps from a root to a leaf
_AT_ONCE = 1 << 20  # rows x trees that are walked together: 8 MB a step


@dataclass(frozen=True, eq=False)
class Forest:
    """Nodes of many trees in five arrays (nodes,), and where each tree begins and what it adds to (trees,).

    A row goes left where its feature is at most the threshold. A leaf is its own left and right child.
    """

    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    value: np.ndarray
    root: np.ndarray
    output: np.ndarray

    @classmethod
    def of(cls, grown: Sequence[tuple[Any, int, np.ndarray]]) -> Forest:
        """(nodes of scikit-learn's tree, output it adds to, columns it was grown on), tree after tree."""
        sizes = [len(nodes) for nodes, _, _ in grown]
        starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        parts: dict[str, list[np.ndarray]] = {name: [np.empty(0)] for name in ARRAYS}
        for start, (nodes, _, columns) in zip(starts, grown):
            own, leaf = start + np.arange(len(nodes)), nodes["is_leaf"].astype(bool)
            parts["feature"].append(np.where(leaf, 0, columns[np.where(leaf, 0, nodes["feature_idx"])]))
            parts["threshold"].append(np.where(leaf, 0.0, nodes["num_threshold"]))
            parts["left"].append(np.where(leaf, own, start + nodes["left"]))
            parts["right"].append(np.where(leaf, own, start + nodes["right"]))
            parts["value"].append(nodes["value"])
        kinds = dict.fromkeys(ARRAYS, np.int64) | {"threshold": np.float64, "value": np.float64}
        whole = {name: np.concatenate(found).astype(kinds[name]) for name, found in parts.items()}
        return cls(**whole, root=starts[:-1], output=np.array([output for _, output, _ in grown], np.int64))

    def sums(self, X: np.ndarray, outputs: int) -> np.ndarray:
        """What the trees add up to for each row of X (n, F): (n, outputs)."""
        found = np.zeros((len(X), outputs))
        if not len(self.root):
            return found
        step = max(1, _AT_ONCE // len(self.root))
        for start in range(0, len(X), step):
            rows = X[start : start + step]
            at = np.broadcast_to(self.root, (len(rows), len(self.root)))
            row = np.arange(len(rows))[:, None]
            for _ in range(DEEPEST):
                below = np.where(rows[row, self.feature[at]] <= self.threshold[at], self.left[at], self.right[at])
                if np.array_equal(below, at):
                    break
                at = below
            added = self.value[at]
            for output in range(outputs):
                found[start : start + step, output] = added[:, self.output == output].sum(1)
        return found

    def arrays(self) -> dict[str, np.ndarray]:
        return {name: getattr(self, name) for name in (*ARRAYS, "root", "output")}

    @classmethod
    def checked(cls, arrays: Mapping[str, np.ndarray], features: int, outputs: int) -> Forest:
        """From a file, a stranger's perhaps: NwsError when a tree leads nowhere, or asks for what is not there."""
        nodes = len(arrays["feature"])
        whole = ("feature", "left", "right", "root", "output")
        limits = {"feature": features, "left": nodes, "right": nodes, "root": nodes, "output": outputs}
        for name in whole:
            found = arrays[name]
            if found.dtype != np.int64 or (len(found) and not 0 <= found.min() <= found.max() < limits[name]):
                raise NwsError(f"{name} must be whole numbers from 0 to below {limits[name]:,}")
        own = np.arange(nodes)
        left, right = arrays["left"], arrays["right"]
        leaf = (left == own) & (right == own)
        # Children come after their parents, so that no walk goes in circles.
        if not (leaf | ((left > own) & (right > own))).all():
            raise NwsError("left and right must be later nodes, or those of a leaf itself")
        height = np.zeros(nodes, np.int64)
        for _ in range(DEEPEST):
            height = np.where(leaf, 0, 1 + np.maximum(height[left], height[right]))
        if nodes and height.max() >= DEEPEST:
            raise NwsError(f"left and right: a tree is deeper than {DEEPEST - 1} steps")
        return cls(**{name: arrays[name] for name in (*ARRAYS, "root", "output")})
