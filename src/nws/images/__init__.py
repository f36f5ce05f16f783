from dataclasses import dataclass, field
import numpy as np


@dataclass(frozen=True, eq=False)
class ImageSet:
    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    classes: tuple
    about: dict = field(default_factory=dict)
