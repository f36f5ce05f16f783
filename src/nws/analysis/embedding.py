"""All snapshots of a fixed-architecture zoo in the plane: PCA of the conv part, then UMAP (supplement B of the paper).

Of nets without a conv part all weights are taken.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from nws.analysis.principal import Components, components
from nws.analysis.statistics import usable
from nws.progress import Doing, within
from nws.tables import NotForThisZooError
from nws.zoo import Zoo

OnProgress = Callable[[str], None]
COMPONENTS = 10
CHUNK_BYTES = 64e6  # of float64; a chunk is centred in a copy, so that three or four of them are held


def embedding(zoo: Zoo, seed: int = 0, on_progress: OnProgress = lambda doing: None) -> pd.DataFrame:
    """Where each snapshot of each net lies (Fig. 13): net, snapshot, x, y, pc1 ... pc10.

    Over the weights of the conv part (of nets without one, all weights) of all nets that trained, as they are. x, y come from
    UMAP, where it is installed (`pip install nws[embed]`), else from openTSNE, else they are the first two components; the notes
    say from which. NotForThisZooError when the nets differ in layout, or too few are there.
    """
    frame, left_out = usable(zoo)
    numbers = _of_one_architecture(zoo, frame.index.tolist())
    snapshots = int(frame["snapshots"].min())
    count = len(numbers) * snapshots
    if count <= COMPONENTS:
        raise NotForThisZooError(f"{count} snapshots are too few to embed: at least {COMPONENTS + 1} are needed")
    which = np.arange(1, snapshots + 1)
    chunks = lambda: _chunks(zoo, numbers, which)  # noqa: E731 (each pass reads anew)
    found = components(chunks, COMPONENTS, seed, within(on_progress, "embedding", 0, 0.5))
    scores = np.concatenate([(chunk - found.mean) @ found.vectors for chunk in chunks()])  # (N * S, 10)
    on_progress(Doing(f"embedding {count:,} points", 0.5))
    points, method = _plane(scores, seed)
    table = pd.DataFrame({"net": np.repeat(numbers, snapshots), "snapshot": np.tile(which, len(numbers))})
    table[["x", "y"]] = points
    table[[f"pc{k + 1}" for k in range(scores.shape[1])]] = scores
    table.attrs["notes"] = [method, _explained(found, "the conv part" if _part(zoo) == "conv" else "all weights"), *left_out]
    return table


def _of_one_architecture(zoo: Zoo, numbers: list[int]) -> list[int]:
    layouts = zoo.layouts(numbers)
    if len(layouts) > 1:
        raise NotForThisZooError(f"nets of {len(layouts)} architectures have no common weight space: use a zoo of one architecture")
    return numbers


def _chunks(zoo: Zoo, numbers: list[int], snapshots: np.ndarray) -> Iterator[np.ndarray]:
    """(nets * S, P_conv) float32, net by net, read from disk each time. Never through memory maps: their pages would stay."""
    where = zoo.layout(numbers[0]).part(_part(zoo))
    size = where.stop - where.start
    step = max(1, int(CHUNK_BYTES / (8 * size * len(snapshots))))
    for first in range(0, len(numbers), step):
        some = numbers[first : first + step]
        yield zoo.slices(np.repeat(some, len(snapshots)), np.tile(snapshots, len(some)), where.start, size, via="pread")


def _part(zoo: Zoo) -> str:
    return "conv" if zoo.index["weights_conv"].max() > 0 else "all"


def _explained(found: Components, part: str) -> str:
    share = found.variance.sum() / found.total if found.total else 1.0
    sentence = f"the first {len(found.variance)} components of {part} hold {share:.0%} of its variance"
    return sentence + (f" (converged to {found.residual:.0e} only)" if found.residual > 1e-3 else "")


def _plane(scores: np.ndarray, seed: int) -> tuple[np.ndarray, str]:
    """(n, 2) and how it was made. Each method is given its own defaults."""
    few = len(scores) < 50  # nearest neighbours of a handful of points are no manifold
    if importlib.util.find_spec("umap") and not few:
        return _umap(scores, seed), "UMAP of 10 principal components"
    if importlib.util.find_spec("openTSNE") and not few:
        from openTSNE import TSNE

        return np.asarray(
            TSNE(random_state=seed, n_jobs=1).fit(scores)
        ), "t-SNE of 10 principal components (umap-learn is not installed)"
    why = "too few points for UMAP" if few else "neither umap-learn nor openTSNE is installed: pip install nws[embed]"
    return scores[:, :2].copy(), f"the first two principal components ({why})"


def _umap(scores: np.ndarray, seed: int) -> np.ndarray:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numba's, and that a fixed seed means one thread, which is what we ask for
        from umap import UMAP

        return np.asarray(UMAP(random_state=seed, n_jobs=1).fit_transform(scores), float)
