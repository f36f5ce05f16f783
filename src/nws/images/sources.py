"""Where the official files come from and what they must be: one table.

Checksums are published ones. SHA-256: the checksum tables of the TensorFlow Datasets project (mnist, fashion, kmnist, svhn and
both archives). MD5, where only that is published, for the files inside the archives: torchvision's table for STL-10, and two
independent projects' build files for CIFAR-10.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nws.images import formats


@dataclass(frozen=True)
class File:
    """An official file: name, bytes, and "sha256:..." or "md5:..."."""

    name: str
    size: int
    checksum: str

    def matches(self, path: Path) -> bool:
        import pooch

        algorithm, _, digest = self.checksum.partition(":")
        return pooch.file_hash(path, alg=algorithm) == digest


@dataclass(frozen=True)
class Source:
    """An image set's official files.

    read     turns the paths of one split's files into pictures (N, 32, 32, 3) and labels (N,)
    train    the training split's files, in the order `read` takes them (`test` likewise)
    urls     folders that hold the files, or the archive; alternatives, tried in turn
    archive  the file to download, where the others are packed inside it in a folder `folder`
    partial  may training files be missing? (each is a sample of its own)
    original as `read`, pictures as the files have them; None: `read` leaves them so, or gives no others
    """

    classes: tuple[str, ...]
    read: Callable[[Sequence[Path]], tuple[np.ndarray, np.ndarray]]
    train: tuple[File, ...]
    test: tuple[File, ...]
    urls: tuple[str, ...]
    archive: File | None = None
    folder: str = ""
    partial: bool = False
    original: Callable[[Sequence[Path]], tuple[np.ndarray, np.ndarray]] | None = None


_DIGITS = tuple("0123456789")


def _idx_files(prefix: str, *rows: tuple[int, str]) -> tuple[File, ...]:
    names = (f"{prefix}-images-idx3-ubyte.gz", f"{prefix}-labels-idx1-ubyte.gz")
    return tuple(File(name, size, f"sha256:{sha256}") for name, (size, sha256) in zip(names, rows, strict=True))


SOURCES = {
    "mnist": Source(
        _DIGITS,
        formats.read_idx,
        _idx_files(
            "train",
            (9912422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
            (28881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
        ),
        _idx_files(
            "t10k",
            (1648877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
            (4542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
        ),
        # Mirrors: the authors' own page no longer serves the files to programs.
        ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
        original=formats.read_idx_original,
    ),
    "fashion": Source(
        ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        formats.read_idx,
        _idx_files(
            "train",
            (26421880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
            (29515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
        ),
        _idx_files(
            "t10k",
            (4422102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
            (5148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
        ),
        ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
        original=formats.read_idx_original,
    ),
    "kmnist": Source(
        ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
        formats.read_idx,
        _idx_files(
            "train",
            (18165135, "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4"),
            (29497, "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17"),
        ),
        _idx_files(
            "t10k",
            (3041136, "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5"),
            (5120, "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c"),
        ),
        ("https://codh.rois.ac.jp/kmnist/dataset/kmnist/", "http://codh.rois.ac.jp/kmnist/dataset/kmnist/"),
        original=formats.read_idx_original,
    ),
    "cifar10": Source(
        ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        formats.read_cifar,
        (
            File("data_batch_1.bin", 30730000, "md5:5dd7e06a14cb22eb9f671a540d1b7c25"),
            File("data_batch_2.bin", 30730000, "md5:5ea93a67294ea407fff1d09f752e9692"),
            File("data_batch_3.bin", 30730000, "md5:942cd6a4bcdd0dd3c604fbe906cb4421"),
            File("data_batch_4.bin", 30730000, "md5:ae636b3ba5c66a11e91e8cb52e771fcb"),
            File("data_batch_5.bin", 30730000, "md5:53f37980c15c3d472c316c40844f3f0d"),
        ),
        (File("test_batch.bin", 30730000, "md5:803d5f7f4d78ea53de84dbe85f74fb6d"),),
        ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
        File("cifar-10-binary.tar.gz", 170052171, "sha256:c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"),
        "cifar-10-batches-bin",
        partial=True,
    ),
    "svhn": Source(
        _DIGITS,
        formats.read_svhn,
        (File("train_32x32.mat", 182040794, "sha256:435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8"),),
        (File("test_32x32.mat", 64275384, "sha256:cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b"),),
        ("http://ufldl.stanford.edu/housenumbers/",),
    ),
    "stl10": Source(
        ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"),
        formats.read_stl10,
        (
            File("train_X.bin", 138240000, "md5:918c2871b30a85fa023e0c44e0bee87f"),
            File("train_y.bin", 5000, "md5:5a34089d4802c674881badbb80307741"),
        ),
        (
            File("test_X.bin", 221184000, "md5:7f263ba9f9e0b06b93213547f721ac82"),
            File("test_y.bin", 8000, "md5:36f9794fa4beb8a2c72628de14fa638e"),
        ),
        ("http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",),
        File("stl10_binary.tar.gz", 2640397119, "sha256:f31fd99273a1acb8609c8db427cebb1de3f71de77758cdc0e22956e1289b9866"),
        "stl10_binary",
    ),
}
