"""Image sets: what they refuse, subsets, sets of one's own, where files are looked for."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from image_files import MNIST, corner_pictures, tiny_mnist, write_cifar, write_stl10
from numpy.testing import assert_array_equal
from scipy.io import savemat

from nws import images
from nws.errors import NwsError
from nws.families import cnn2020 as cnn
from nws.images import embedded, loading
from nws.images.resize import to_pictures


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of the user's."""
    monkeypatch.setattr(loading, "_cache", lambda: tmp_path / "cache")
    return tmp_path / "cache"


def test_pictures_are_what_the_nets_take():
    assert images.SIDE == cnn.SIDE


# -- resizing


@pytest.mark.parametrize("shape", [(28, 28), (8, 8), (40, 23), (1, 1), (96, 5)])
def test_resizing_keeps_what_is_constant_and_commutes_with_flips(shape, rng):
    for value in (0, 1, 128, 255):
        assert (to_pictures(np.full((1, *shape), value, np.uint8)) == value).all()
    x = rng.integers(0, 256, (3, *shape, 3), np.uint8)
    assert_array_equal(to_pictures(x[:, ::-1]), to_pictures(x)[:, ::-1])
    assert_array_equal(to_pictures(x[:, :, ::-1]), to_pictures(x)[:, :, ::-1])
    assert_array_equal(to_pictures(x)[..., 1], to_pictures(x[..., 1])[..., 1])


def test_a_ramp_stays_a_ramp_with_half_pixel_centres():
    ramp = np.broadcast_to(np.arange(28, dtype=np.uint8) * 8, (1, 28, 28))
    at = np.clip((np.arange(32) + 0.5) * 28 / 32 - 0.5, 0, 27)  # clamped at both ends
    expected = np.floor(8 * at + 0.5)  # 7 per pixel, halves rounded upwards
    assert_array_equal(to_pictures(ramp)[0, 5, :, 0], expected)
    assert_array_equal(to_pictures(ramp.transpose(0, 2, 1))[0, :, 5, 0], expected)


def test_resizing_agrees_with_torch(rng):
    import torch

    x = rng.integers(0, 256, (4, 28, 28), np.uint8)
    theirs = torch.nn.functional.interpolate(torch.tensor(x)[:, None].double(), size=(32, 32), mode="bilinear", align_corners=False)
    assert_array_equal(to_pictures(x)[..., 2], np.floor(theirs[:, 0].numpy() + 0.5))


def test_pictures_of_the_right_size_pass_unchanged(rng):
    x = rng.integers(0, 256, (2, 32, 32, 3), np.uint8)
    assert_array_equal(to_pictures(x), x)


# -- embedded sets


@pytest.mark.parametrize("name", embedded.EMBEDDED)
def test_embedded_sets_are_official_balanced_and_the_same_every_time(name):
    a, b = images.load(name), images.load(name)
    assert a.about["official"] is True
    assert a.about["sha256"] == b.about["sha256"]
    for y in (a.y_train, a.y_test):
        counts = np.bincount(y, minlength=len(a.classes))
        assert counts.min() >= 0.9 * counts.max()
    assert len(a.classes) == 10


def test_digits_keep_their_pixels():
    from sklearn.datasets import load_digits

    data = images.load("digits")
    assert len(data.y_train) + len(data.y_test) == len(load_digits().target)
    assert data.x_train.min() == 0
    assert data.x_train.max() > 220
    assert_array_equal(data.x_train[..., 0], data.x_train[..., 2])


def test_scenes_share_no_pixel_between_training_and_test():
    # A picture whose colours are its coordinates shows where each patch was cut.
    H, W = 200, 300
    rows, columns = np.mgrid[:H, :W]
    picture = np.stack([rows, columns & 255, columns >> 8], axis=2).astype(np.uint8)
    seen = []
    for test in (False, True):
        patches = embedded._patches(picture, test, 250, np.random.default_rng(3)).astype(np.int64)
        assert len(np.unique(patches.reshape(250, -1), axis=0)) == 250
        seen.append(set(np.unique(patches[..., 0] * W + patches[..., 1] + 256 * patches[..., 2]).tolist()))
    assert not seen[0] & seen[1]


def test_an_altered_picture_is_not_cut_up():
    with pytest.raises(NwsError, match=r"coffee\.png is missing or altered: install"):
        embedded._picture("coffee.png", "0" * 64)


# -- ImageSet and register


def small_set(rng, n=40, **changes):
    x = rng.integers(0, 256, (n, 32, 32, 3), np.uint8)
    y = np.arange(n) % 4
    fields = {"name": "small", "x_train": x, "y_train": y, "x_test": x[:8], "y_test": y[:8], "classes": tuple("abcd"), **changes}
    return images.ImageSet(**fields)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"x_train": np.zeros((40, 28, 28, 3), np.uint8)}, "28, 28, 3"),
        ({"x_train": np.zeros((40, 32, 32, 2), np.uint8)}, "32, 32, 2"),
        ({"x_train": np.zeros((40, 32, 32, 3), np.float32)}, "uint8"),
        ({"y_train": np.zeros(39, np.int64)}, "as many labels"),
        ({"y_train": np.zeros(40, np.float64)}, "uint8 or int64"),
        ({"y_train": np.full(40, 4)}, "0 to 3"),
        ({"y_test": np.full(8, -1)}, "0 to 3"),
        ({"x_test": np.zeros((0, 32, 32, 3), np.uint8), "y_test": np.zeros(0, np.int64)}, "at least one"),
        ({"classes": tuple(map(str, range(10_001)))}, "10001 classes"),
        ({"classes": ()}, "0 classes"),
        ({"x_test": [[1]]}, "got list"),
    ],
)
def test_nonsense_is_refused_at_birth(changes, says, rng):
    with pytest.raises(NwsError, match=says):
        small_set(rng, **changes)


def test_the_checksum_sees_every_array(rng):
    data = small_set(rng)
    other = data.y_test.copy()
    other[0] = 3
    assert replace(data, y_test=other).about["sha256"] != data.about["sha256"]
    assert replace(data, y_train=data.y_train.astype(np.uint8)).about["sha256"] == data.about["sha256"]


def test_limits_are_balanced_nested_and_in_order():
    full = images.load("digits")
    position = {x.tobytes(): i for i, x in enumerate(full.x_train)}
    before = set()
    for limit in (10, 57, 100, 1000):
        data = images.load("digits", limit=limit, limit_test=limit // 5 + 10)
        counts = np.bincount(data.y_train, minlength=10)
        assert_array_equal(counts, limit // 10 + (np.arange(10) < limit % 10))
        kept = [position[x.tobytes()] for x in data.x_train]
        assert kept == sorted(kept)
        assert before <= set(kept)
        before = set(kept)
        assert (data.about["limit"], data.about["n_train"], data.about["n_test"]) == (limit, limit, limit // 5 + 10)


@pytest.mark.parametrize(
    ("limit", "says"), [(2000, "2000 training images, balanced, need 200 of class"), (9, "at least 10"), (0, "at least 10")]
)
def test_a_limit_that_cannot_be_balanced_is_refused(limit, says):
    with pytest.raises(NwsError, match=says):
        images.load("digits", limit=limit)


def test_the_limit_an_error_proposes_works():
    with pytest.raises(NwsError) as error:
        images.load("digits", limit=1430)
    images.load("digits", limit=int(str(error.value).split("at most ")[1]))


@pytest.fixture
def registry(monkeypatch):
    monkeypatch.setattr(loading, "_registered", {})


@pytest.mark.usefixtures("registry")
def test_registered_arrays_come_back(rng):
    x, y = rng.integers(0, 256, (12, 32, 32, 3), np.uint8), np.arange(12, dtype=np.int32) % 3
    images.register("mine", x, y, x[:6], y[:6], classes=["a", "b", "c"])
    data = images.load("mine", limit_test=3)
    assert_array_equal(data.x_train, x)
    assert_array_equal(data.y_train, y)
    assert (data.classes, len(data.y_test), data.about["source"]) == (("a", "b", "c"), 3, "registered")
    assert "mine" in images.names()


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize("shape", [(5, 28, 28), (5, 28, 28, 1), (5, 40, 24, 3)])
def test_registered_arrays_are_resized(shape, rng):
    x, y = rng.integers(0, 256, shape, np.uint8), np.arange(5)
    images.register("mine", x, y, x, y)
    assert_array_equal(images.load("mine").x_test, to_pictures(x))
    assert images.load("mine").classes == tuple("01234")


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize("name", ["mnist", "scenes", "", "  ", "a/b", "..", "a\\b", "a\nb", "a,b", 3])
def test_bad_names_cannot_be_registered(name, rng):
    x, y = np.zeros((2, 32, 32, 3), np.uint8), np.arange(2)
    with pytest.raises(NwsError, match="name"):
        images.register(name, x, y, x, y)


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize(
    ("x", "y"),
    [
        (np.zeros((2, 28, 28)), np.arange(2)),
        (np.zeros((2, 28, 28, 4), np.uint8), np.arange(2)),
        (np.zeros((2, 0, 28), np.uint8), np.arange(2)),
        (np.zeros((0, 28, 28), np.uint8), np.arange(0)),
        (np.zeros((2, 28, 28), np.uint8), np.array([0.0, 1.0])),
        (np.zeros((2, 28, 28), np.uint8), np.array([0, 10_000])),
        (np.zeros((2, 28, 28), np.uint8), np.array([0, -1])),
    ],
)
def test_bad_arrays_cannot_be_registered(x, y):
    with pytest.raises(NwsError, match="mine"):
        images.register("mine", x, y, x, y)
    assert "mine" not in images.names()


# -- folders


def test_an_unknown_set_is_answered_with_the_known_ones():
    with pytest.raises(NwsError, match="'minst' is unknown: use one of mnist, "):
        images.load("minst")


def test_folder_beats_environment_beats_cache(tmp_path, monkeypatch, rng, cache):
    for name in ("a", "b"):
        tiny_mnist(tmp_path / name / "mnist", rng)
    monkeypatch.setenv("NWS_DATA", str(tmp_path / "b"))
    a, b = images.load("mnist", tmp_path / "a"), images.load("mnist")
    assert a.about["files"][MNIST[0]] == hashlib.sha256((tmp_path / "a" / "mnist" / MNIST[0]).read_bytes()).hexdigest()
    assert b.about["files"][MNIST[0]] == hashlib.sha256((tmp_path / "b" / "mnist" / MNIST[0]).read_bytes()).hexdigest()
    assert a.about["official"] is b.about["official"] is False
    monkeypatch.delenv("NWS_DATA")
    with pytest.raises(NwsError, match="allow download"):
        images.load("mnist", download=False)
    assert not cache.exists()


def test_a_folder_without_the_files_is_named_with_the_cure(tmp_path, rng):
    tiny_mnist(tmp_path / "mnist", rng)
    (tmp_path / "mnist" / MNIST[3]).unlink()
    with pytest.raises(NwsError, match=rf"mnist lacks {MNIST[3]}: get them from https://ossci") as error:
        images.load("mnist", tmp_path)
    assert str(tmp_path / "mnist") in str(error.value)
    with pytest.raises(NwsError, match=r"lacks train_32x32\.mat, test_32x32\.mat: get them from http"):
        images.load("svhn", tmp_path)


def test_any_of_cifars_batches_will_do_but_the_test_batch_must_be_there(tmp_path):
    inside = tmp_path / "cifar10" / "cifar-10-batches-bin"
    write_cifar(inside / "data_batch_2.bin", corner_pictures(32), np.array([1, 2, 3]))
    with pytest.raises(NwsError, match=r"lacks test_batch\.bin: get"):
        images.load("cifar10", tmp_path)
    write_cifar(inside / "test_batch.bin", corner_pictures(32), np.array([4, 5, 6]))
    write_cifar(inside / "data_batch_5.bin", corner_pictures(32), np.array([7, 8, 9]))
    data = images.load("cifar10", tmp_path)
    assert_array_equal(data.y_train, [1, 2, 3, 7, 8, 9])
    assert_array_equal(data.y_test, [4, 5, 6])
    assert data.about["official"] is False


def test_stl10_and_svhn_load_from_a_folder(tmp_path):
    for split in ("train", "test"):
        write_stl10(tmp_path / "stl10" / "stl10_binary", corner_pictures(96), np.array([2, 3, 10]), split)
        (tmp_path / "svhn").mkdir(exist_ok=True)
        content = {"X": corner_pictures(32).transpose(1, 2, 3, 0), "y": np.array([[10], [5], [6]], np.uint8)}
        savemat(tmp_path / "svhn" / f"{split}_32x32.mat", content)
    stl, street = images.load("stl10", tmp_path), images.load("svhn", tmp_path)
    assert_array_equal(stl.x_train, street.x_test)
    assert_array_equal(stl.y_test, [1, 2, 9])
    assert_array_equal(street.y_train, [0, 5, 6])
