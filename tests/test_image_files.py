"""The parsers: every format upright and in colour, the real files as published, nothing wrong let in."""

import gzip
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from image_files import MNIST, corner_pictures, idx_bytes, tiny_mnist, write_cifar, write_idx, write_stl10
from numpy.testing import assert_array_equal
from scipy.io import savemat

from nws import images
from nws.errors import NwsError
from nws.images import formats
from nws.images.sources import SOURCES

SHARED = Path(os.environ.get("NWS_SHARED", Path(__file__).resolve().parents[2] / "shared"))
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="../shared is absent")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_idx_round_trip_gzipped_or_not(tmp_path, rng):
    pictures, labels = rng.integers(0, 256, (7, 28, 28), np.uint8), np.array([3, 1, 4, 1, 5, 9, 2], np.uint8)
    for path, array in zip(write_idx(tmp_path, pictures, labels), (pictures, labels)):
        assert_array_equal(formats.idx(path, array.ndim), array)
        plain = path.with_suffix("")
        plain.write_bytes(gzip.decompress(path.read_bytes()))
        assert_array_equal(formats.idx(plain, array.ndim), array)


def test_cifar_is_upright_and_red_comes_first(tmp_path):
    pictures, labels = corner_pictures(32), np.array([7, 0, 9])
    x, y = formats.read_cifar([write_cifar(tmp_path / f"{i}.bin", pictures, labels) for i in range(2)])
    assert_array_equal(x, np.concatenate([pictures, pictures]))
    assert_array_equal(y, [7, 0, 9, 7, 0, 9])


def test_stl10_is_upright_and_counts_from_zero(tmp_path):
    x, y = formats.read_stl10(write_stl10(tmp_path, corner_pictures(96), np.array([1, 10, 5])))
    assert_array_equal(x, corner_pictures(32))
    assert_array_equal(y, [0, 9, 4])


def test_stl10_takes_the_rounded_mean_of_nine_pixels(rng):
    x = rng.integers(0, 256, (2, 96, 96, 3), np.uint8)
    means = x.reshape(2, 32, 3, 32, 3, 3).mean((2, 4))
    assert_array_equal(formats.thirds(x), np.round(means))  # ninths are never halves
    assert formats.thirds(np.full_like(x, 255)).min() == 255


def test_svhn_is_upright_and_ten_is_zero(tmp_path):
    for kind, compressed in ((np.uint8, True), (np.float64, True), (np.uint8, False), (np.int16, False)):
        y = np.array([[10], [1], [9]], kind)
        content = {"other": ["text"], "X": corner_pictures(32).transpose(1, 2, 3, 0), "y": y}
        savemat(tmp_path / "a.mat", content, do_compression=compressed)
        pictures, labels = formats.read_svhn([tmp_path / "a.mat"])
        assert_array_equal(pictures, corner_pictures(32))
        assert_array_equal(labels, [0, 1, 9])
        assert labels.dtype == np.uint8


# -- the real files


COUNTS = {
    "mnist": (
        [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
        [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
        True,
    ),
    "fashion": ([6000] * 10, [1000] * 10, True),
    "kmnist": ([690, 689, 695, 698, 755, 707, 688, 707, 672, 699], [1000] * 10, False),
    "cifar10": ([1005, 974, 1032, 1016, 999, 937, 1030, 1001, 1025, 981], [1000] * 10, False),
    "stl10": ([104, 112, 105, 92, 83, 110, 98, 104, 101, 91], [45, 53, 42, 54, 46, 50, 54, 50, 55, 51], False),
}


@needs_shared
@pytest.mark.parametrize("name", COUNTS)
def test_real_files_have_the_known_classes(name):
    train, test, official = COUNTS[name]
    data = images.load(name, SHARED / "data")
    assert_array_equal(np.bincount(data.y_train), train)
    assert_array_equal(np.bincount(data.y_test), test)
    assert len(data.classes) == 10
    assert data.about["official"] is official
    assert data.about["n_train"] == sum(train)


@needs_shared
def test_mnist_has_its_published_mean_and_spread():
    x = formats.idx(SHARED / "data" / "mnist" / MNIST[0], 3)
    assert abs(x.mean() / 255 - 0.1307) < 5e-5
    assert abs(x.std() / 255 - 0.3081) < 5e-5


@needs_shared
def test_cifar10_has_its_published_colours():
    x, _ = formats.cifar(SHARED / "data" / "cifar10" / "test_batch.bin")
    assert_array_equal(np.round(x.mean((0, 1, 2)) / 255, 4), [0.4942, 0.4851, 0.4504])


# -- bad files


def pack(content):
    return gzip.compress(content, mtime=0)


GOOD = np.zeros((30, 28, 28), np.uint8)
BAD_IDX = {
    "truncated gz": (0, pack(idx_bytes(GOOD))[:-30], "cut short"),
    "gz without its end": (0, pack(idx_bytes(GOOD))[:-4], "cut short"),
    "wrong checksum in gz": (0, pack(idx_bytes(GOOD))[:-8] + bytes(8), "damaged"),
    "not gz": (0, idx_bytes(GOOD), "damaged"),
    "empty": (0, b"", "cut short"),
    "magic of labels": (0, pack(struct.pack(">4I", 0x801, 30, 28, 28) + bytes(30 * 784)), "no IDX file"),
    "magic of floats": (0, pack(struct.pack(">4I", 0xD03, 30, 28, 28) + bytes(30 * 784)), "no IDX file"),
    "declares more than it holds": (0, pack(struct.pack(">4I", 0x803, 31, 28, 28) + bytes(30 * 784)), "cut short: 23,520"),
    "absurd size": (0, pack(struct.pack(">4I", 0x803, 2**32 - 1, 2**32 - 1, 2**32 - 1)), "which it cannot"),
    "3 GB from 30 bytes": (0, pack(struct.pack(">4I", 0x803, 3 << 20, 32, 32)), "which it cannot"),
    "1 GB from 30 bytes": (0, pack(struct.pack(">4I", 0x803, 1 << 20, 32, 32)), "which it cannot"),
    "rubbish inside": (0, pack(idx_bytes(GOOD) + b"x"), "trailing bytes"),
    "rubbish behind": (0, pack(idx_bytes(GOOD)) + b"rubbish", "damaged"),
    "no images": (0, pack(idx_bytes(GOOD[:0])), "holds nothing"),
    "labels for other images": (1, pack(idx_bytes(np.zeros(29, np.uint8))), "29 labels for 30 images"),
    "label out of range": (1, pack(idx_bytes(np.full(30, 10, np.uint8))), "label 0 is 10, must be 0 to 9"),
}


@pytest.mark.parametrize("case", BAD_IDX)
def test_bad_idx_files_are_refused(case, tmp_path, rng):
    which, content, says = BAD_IDX[case]
    tiny_mnist(tmp_path / "mnist", rng)
    path = tmp_path / "mnist" / MNIST[which]
    path.write_bytes(content)
    refused("mnist", tmp_path, path, says)


def refused(name, folder, path, says):
    """Loading ends in one line with the file, what is wrong with it, and where to get it again."""
    with pytest.raises(NwsError, match=says) as error:
        images.load(name, folder)
    text = str(error.value)
    assert str(path) in text
    assert f"download it again from {SOURCES[name].urls[0]}" in text
    assert "\n" not in text


def test_an_unpacked_file_with_trailing_rubbish_is_refused(tmp_path, rng):
    tiny_mnist(tmp_path / "mnist", rng)
    path = tmp_path / "mnist" / MNIST[2]
    plain = path.with_suffix("")
    plain.write_bytes(gzip.decompress(path.read_bytes()) + b"xyz")
    path.unlink()
    refused("mnist", tmp_path, plain, "trailing")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda content: content[:-1], "not whole records of 3,073"),
        (lambda content: content + b"xx", "not whole records"),
        (lambda content: b"", "not whole records"),
        (lambda content: bytes([10]) + content[1:], "label 0 is 10"),
    ],
)
def test_bad_cifar_batches_are_refused(damage, says, tmp_path):
    for name in ("data_batch_1.bin", "test_batch.bin"):
        path = write_cifar(tmp_path / "cifar10" / name, corner_pictures(32), np.array([1, 2, 3]))
    path.write_bytes(damage(path.read_bytes()))
    refused("cifar10", tmp_path, path, says)


@pytest.mark.parametrize(
    ("file", "damage", "says"),
    [
        ("train_X.bin", lambda content: content[:-1], "not whole records of 27,648"),
        ("test_y.bin", lambda content: content + b"\1", "4 labels for 3 images"),
        ("train_y.bin", lambda content: b"\0" + content[1:], "label 0 is 0, must be 1 to 10"),
        ("test_y.bin", lambda content: content[:-1] + b"\13", "label 2 is 11, must be 1 to 10"),
    ],
)
def test_bad_stl10_files_are_refused(file, damage, says, tmp_path):
    for split in ("train", "test"):
        write_stl10(tmp_path / "stl10", corner_pictures(96), np.array([1, 2, 3]), split)
    path = tmp_path / "stl10" / file
    path.write_bytes(damage(path.read_bytes()))
    refused("stl10", tmp_path, path, says)


STREET = {"X": np.zeros((32, 32, 3, 4), np.uint8), "y": np.ones((4, 1), np.uint8)}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"y": STREET["y"]}, "lacks the variable X"),
        ({"Z": STREET["y"]}, "lacks the variable X and y"),
        ({**STREET, "X": np.zeros((32, 32, 3, 4))}, "uint8"),
        ({**STREET, "X": np.zeros((28, 28, 3, 4), np.uint8)}, r"must be \(32, 32, 3, N\)"),
        ({**STREET, "y": np.ones((5, 1), np.uint8)}, "5 labels for 4 images"),
        ({**STREET, "y": np.zeros((4, 1), np.uint8)}, "whole numbers from 1 to 10"),
        ({**STREET, "y": np.full((4, 1), 1j)}, "damaged"),
        ({**STREET, "y": np.full((4, 1), np.nan)}, "damaged"),
        ({**STREET, "y": np.full((4, 1), 1.5)}, "damaged"),
        ({**STREET, "y": np.array([["a"], ["b"], ["c"], ["d"]])}, "damaged"),
        (b"MATLAB 5.0 MAT-file and then nothing", "damaged"),
        (b"", "damaged"),
    ],
)
def test_bad_mat_files_are_refused(content, says, tmp_path):
    (tmp_path / "svhn").mkdir()
    train, test = (tmp_path / "svhn" / f"{split}_32x32.mat" for split in ("train", "test"))
    savemat(train, STREET)
    if isinstance(content, bytes):
        test.write_bytes(content)
    else:
        savemat(test, content)
    refused("svhn", tmp_path, test, says)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_mat_file_cut_anywhere_is_refused(compressed, tmp_path, rng):
    whole, cut = tmp_path / "whole.mat", tmp_path / "cut.mat"
    x = rng.integers(0, 256, (32, 32, 3, 4), np.uint8)
    savemat(whole, {**STREET, "X": x}, do_compression=compressed)
    content = whole.read_bytes()
    for size in range(0, len(content) - 1, 997):
        cut.write_bytes(content[:size])
        with pytest.raises(NwsError, match=r"cut\.mat"):
            formats.read_svhn([cut])


@pytest.mark.parametrize("compressed", [False, True])
def test_altered_bytes_in_a_mat_file_end_in_one_line(compressed, tmp_path, rng):
    whole, altered = tmp_path / "whole.mat", tmp_path / "altered.mat"
    savemat(whole, {**STREET, "X": rng.integers(0, 256, (32, 32, 3, 4), np.uint8)}, do_compression=compressed)
    refusals = []
    for _ in range(300):
        content = bytearray(whole.read_bytes())
        content[rng.integers(100, 280)] = rng.integers(0, 256)  # where headers are
        altered.write_bytes(content)
        try:
            formats.read_svhn([altered])
        except NwsError as error:
            refusals.append(str(error))
    assert len(refusals) > 50
    assert not any("\n" in refusal for refusal in refusals)


def test_a_mat_file_that_unpacks_to_far_more_than_it_should_is_not_unpacked(tmp_path):
    savemat(tmp_path / "bomb.mat", {"X": np.zeros((32, 32, 3, 2000), np.uint8)}, do_compression=True)
    content = (tmp_path / "bomb.mat").read_bytes()
    inside = bytearray(zlib.decompress(content[136:]))
    at = inside.index(struct.pack("<4i", 32, 32, 3, 2000))
    inside[at : at + 16] = struct.pack("<4i", 32, 32, 3, 1)  # the shape no longer allows for the bytes that follow
    packed = zlib.compress(bytes(inside))
    (tmp_path / "bomb.mat").write_bytes(content[:128] + struct.pack("<2I", 15, len(packed)) + packed)
    with pytest.raises(NwsError, match="an element claims 6,144,000 bytes"):
        formats.read_svhn([tmp_path / "bomb.mat"])
