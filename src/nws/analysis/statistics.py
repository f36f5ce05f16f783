"""Statistics of a zoo: sizes, times, accuracies and training curves of its nets (supplement A of the paper)."""

from __future__ import annotations

import pandas as pd

from nws.zoo import Zoo
from nws.zoo.select import converged_mask

UNTOLD = ["path", "bytes", "sha256"]  # of files, not of nets


def nets(zoo: Zoo) -> pd.DataFrame:
    """One row per net: the zoo's index without what concerns files, and whether it converged (section C)."""
    frame = zoo.index
    converged = converged_mask(frame)
    return frame.drop(columns=UNTOLD).assign(converged=converged).reset_index()


def size_time(zoo: Zoo) -> pd.DataFrame:
    """Weights, epochs and seconds of training of each net (Fig. 6)."""
    return nets(zoo)[["net", "dataset", "weights", "weights_conv", "epochs", "seconds"]]
