"""Tiny image files in the official formats, for the tests to read."""

import gzip
import struct

import numpy as np

MNIST = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")


def idx_bytes(array):
    return struct.pack(f">{1 + array.ndim}I", 0x800 | array.ndim, *array.shape) + array.tobytes()


def write_idx(folder, pictures, labels, prefix="train"):
    """Two gzipped files; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / f"{prefix}-images-idx3-ubyte.gz", folder / f"{prefix}-labels-idx1-ubyte.gz"
    for path, array in zip(paths, (pictures, labels)):
        path.write_bytes(gzip.compress(idx_bytes(array), mtime=0))
    return paths


def tiny_mnist(folder, rng, n=30):
    labels = np.arange(n, dtype=np.uint8) % 10
    for prefix in ("train", "t10k"):
        write_idx(folder, rng.integers(0, 256, (n, 28, 28), np.uint8), labels, prefix)


def corner_pictures(side):
    """Pictures (3, side, side, 3) that show flips and mixed-up channels: red in the top left, green top right, blue bottom left."""
    half = side // 2
    pictures = np.zeros((3, side, side, 3), np.uint8)
    pictures[0, :half, :half, 0] = 200
    pictures[1, :half, half:, 1] = 150
    pictures[2, half:, :half, 2] = 100
    return pictures


def write_cifar(path, pictures, labels):
    path.parent.mkdir(parents=True, exist_ok=True)
    planes = pictures.transpose(0, 3, 1, 2).reshape(len(pictures), -1)  # red, green, blue, each row by row
    path.write_bytes(np.column_stack([labels.astype(np.uint8), planes]).tobytes())
    return path


def write_stl10(folder, pictures, labels, split="train"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{split}_X.bin").write_bytes(pictures.transpose(0, 3, 2, 1).tobytes())  # planes, each column by column
    (folder / f"{split}_y.bin").write_bytes(labels.astype(np.uint8).tobytes())
    return folder / f"{split}_X.bin", folder / f"{split}_y.bin"
