"""Image sets that need no download: they are cut from what scikit-learn and scikit-image bring along."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from nws.errors import NwsError
from nws.images.imageset import ImageSet
from nws.images.resize import SIDE, to_pictures

_DIGITS_SHA256 = (
    "8f26b2bd9d135c256808f68f14fdabddde6d9c7f869ae419704b051f0f14b3b3"  # of scikit-learn's 1797 x 8 x 8 values as bytes
)

# The pictures inside scikit-image's wheel that are photographs of something: class name -> file, sha256. Read as files:
# the functions of skimage.data would download what they miss.
_PICTURES = {
    "astronaut": ("astronaut.png", "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5"),
    "brick": ("brick.png", "7966caf324f6ba843118d98f7a07746d22f6a343430add0233eca5f6eaaa8fcf"),
    "cat": ("chelsea.png", "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb"),
    "coffee": ("coffee.png", "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7"),
    "grass": ("grass.png", "b6b6022426b38936c43a4ac09635cd78af074e90f42ffa8227ac8b7452d39f89"),
    "gravel": ("gravel.png", "c48615b451bf1e606fbd72c0aa9f8cc0f068ab7111ef7d93bb9b0f2586440c12"),
    "galaxies": ("hubble_deep_field.jpg", "3a19c5dd8a927a9334bb1229a6d63711b1c0c767fb27e2286e7c84a3e2c2f5f4"),
    "tissue": ("ihc.png", "f8dd1aa387ddd1f49d8ad13b50921b237df8e9b262606d258770687b0ef93cef"),
    "motorcycle": ("motorcycle_left.png", "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179"),
    "rocket": ("rocket.jpg", "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c"),
}
_TRAIN_PATCHES, _TEST_PATCHES = 300, 60  # per class
_STRIPS, _TEST_STRIPS = 8, (2, 6)  # each picture is cut into upright strips; these, and only these, give test patches
_SEED = 2020


def digits(original: bool = False) -> ImageSet:
    """scikit-learn's `load_digits`: 8 x 8 grey, values 0..16 stretched to 0..255; every fifth image of a class is a test image.

    original: pictures of 8 x 8 x 1 instead of 32 x 32 x 3.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    values, labels = bunch.images.astype(np.uint8), bunch.target.astype(np.int64)
    stretched = ((values.astype(np.uint16) * 255 + 8) // 16).astype(np.uint8)
    pictures = stretched[..., None] if original else to_pictures(stretched)
    test = np.zeros(len(labels), bool)
    for c in range(10):
        test[np.flatnonzero(labels == c)[4::5]] = True
    official = hashlib.sha256(values.tobytes()).hexdigest() == _DIGITS_SHA256
    about = {"source": "embedded", "official": official}
    return ImageSet(
        "digits", pictures[~test], labels[~test], pictures[test], labels[test], tuple(str(n) for n in bunch.target_names), about
    )


def scenes(original: bool = False) -> ImageSet:
    """Patches of ten photographs inside scikit-image's wheel; the class is the photograph.

    300 training and 60 test patches of 32 x 32 pixels per class at fixed random places. Training and test patches come from
    different strips, so they share no pixel. original: they are cut to that size.
    """
    splits: dict[bool, list[np.ndarray]] = {False: [], True: []}
    files = {}
    for c, (file, sha256) in enumerate(_PICTURES.values()):
        picture = _picture(file, sha256)
        files[file] = sha256
        splits[False].append(_patches(picture, False, _TRAIN_PATCHES, np.random.default_rng([_SEED, c, 0])))
        splits[True].append(_patches(picture, True, _TEST_PATCHES, np.random.default_rng([_SEED, c, 1])))
    labels = np.arange(len(_PICTURES))
    about: dict[str, Any] = {"source": "embedded", "official": True, "files": files}
    return ImageSet(
        "scenes",
        np.concatenate(splits[False]),
        labels.repeat(_TRAIN_PATCHES),
        np.concatenate(splits[True]),
        labels.repeat(_TEST_PATCHES),
        tuple(_PICTURES),
        about,
    )


def _picture(file: str, sha256: str) -> np.ndarray:
    """(H, W, 3) uint8 from scikit-image's wheel."""
    import skimage
    from skimage.io import imread

    path = Path(skimage.__file__).parent / "data" / file
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise NwsError(f"image set scenes: {path} is missing or altered: install scikit-image again")
    pixels = np.asarray(imread(path))
    return np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels


def _patches(picture: np.ndarray, test: bool, n: int, rng: np.random.Generator) -> np.ndarray:
    """(n, 32, 32, 3): n different places inside the test strips of the picture, or inside the others."""
    H, W, _ = picture.shape
    edges = [W * strip // _STRIPS for strip in range(_STRIPS + 1)]
    strips = [strip for strip in range(_STRIPS) if (strip in _TEST_STRIPS) == test]
    columns = np.concatenate([np.arange(edges[s], edges[s + 1] - SIDE + 1) for s in strips])
    places = rng.random((H - SIDE + 1) * len(columns)).argsort(kind="stable")[:n]
    rows, columns = places // len(columns), columns[places % len(columns)]
    return np.stack([picture[i : i + SIDE, j : j + SIDE] for i, j in zip(rows, columns)])


EMBEDDED = {"digits": digits, "scenes": scenes}
