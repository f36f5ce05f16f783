"""Image sets in: every set is uint8 pictures (N, 32, 32, 3) with labels from 0, whatever its files look like.

>>> from nws import images
>>> digits = images.load("digits", limit=100)
>>> digits.x_train.shape, digits.classes[:3]
((100, 32, 32, 3), ('0', '1', '2'))
"""

from nws.images.imageset import MAX_CLASSES, ImageSet
from nws.images.loading import NAMES, load, names, register, where
from nws.images.resize import SIDE

__all__ = ["MAX_CLASSES", "NAMES", "SIDE", "ImageSet", "load", "names", "register", "where"]
