"""Downloads, from a server on this machine: checked, bounded, and nothing left behind when they fail."""

import hashlib
import http.server
import io
import tarfile
import threading
from dataclasses import replace

import numpy as np
import pytest
from image_files import MNIST, corner_pictures, tiny_mnist

from nws import images
from nws.errors import NwsError
from nws.images import loading
from nws.images.sources import SOURCES, File


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of the user's."""
    monkeypatch.setattr(loading, "_cache", lambda: tmp_path / "cache")
    return tmp_path / "cache"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A folder and the address under which a server on this machine shows it."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    folder = tmp_path / "server"
    folder.mkdir()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), lambda *a: Quiet(*a, directory=folder)) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield folder, f"http://127.0.0.1:{running.server_address[1]}/"
        running.shutdown()
        thread.join()


def offered(path):
    """The file as a line of the table of sources."""
    return File(path.name, path.stat().st_size, "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest())


def serve_mnist(server, monkeypatch, rng):
    folder, url = server
    tiny_mnist(folder, rng)
    train, test = tuple(offered(folder / f) for f in MNIST[:2]), tuple(offered(folder / f) for f in MNIST[2:])
    source = replace(SOURCES["mnist"], train=train, test=test, urls=(url + "wrong/", url))
    monkeypatch.setitem(SOURCES, "mnist", source)
    return source


def everything_in(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_missing_files_are_downloaded_once_and_checked(server, cache, monkeypatch, rng):
    serve_mnist(server, monkeypatch, rng)
    data = images.load("mnist")
    assert (data.about["source"], data.about["official"], len(data.y_train)) == ("cache", True, 30)
    assert everything_in(cache) == sorted(MNIST)
    for path in server[0].iterdir():
        path.unlink()
    assert images.load("mnist", download=False).about["sha256"] == data.about["sha256"]


def test_a_damaged_file_of_the_cache_is_fetched_again(server, cache, monkeypatch, rng):
    serve_mnist(server, monkeypatch, rng)
    good = images.load("mnist").about["sha256"]
    (cache / "mnist" / MNIST[0]).write_bytes(b"damaged")
    with pytest.raises(NwsError, match="allow download"):
        images.load("mnist", download=False)
    assert images.load("mnist").about["sha256"] == good


def test_a_download_with_another_checksum_leaves_nothing_behind(server, cache, monkeypatch, rng):
    source = serve_mnist(server, monkeypatch, rng)
    wrong = replace(source.train[0], checksum="md5:" + "0" * 32)
    monkeypatch.setitem(SOURCES, "mnist", replace(source, train=(wrong, source.train[1])))
    with pytest.raises(NwsError, match=r"train-images.*HTTP 404; .*not the official checksum.*put it into") as error:
        images.load("mnist")
    assert str(cache / "mnist") in str(error.value)
    assert everything_in(cache) == []


def test_a_server_that_sends_too_much_is_cut_off(server, cache, monkeypatch, rng):
    source = serve_mnist(server, monkeypatch, rng)
    small = replace(source.train[0], size=100)
    monkeypatch.setitem(SOURCES, "mnist", replace(source, train=(small, source.train[1])))
    with pytest.raises(NwsError, match="more than the 100 bytes"):
        images.load("mnist")
    assert everything_in(cache) == []


def test_without_a_network_the_error_says_what_to_fetch_and_where_to_put_it(cache, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setitem(SOURCES, "svhn", replace(SOURCES["svhn"], urls=("http://127.0.0.1:9/",)))
    with pytest.raises(NwsError, match=r"train_32x32\.mat .*127\.0\.0\.1:9/train_32x32\.mat: ConnectionError.*by hand") as error:
        images.load("svhn")
    assert str(cache / "svhn") in str(error.value)
    assert "\n" not in str(error.value)


def test_a_cache_that_cannot_be_written_is_one_line(server, cache, monkeypatch, rng):
    serve_mnist(server, monkeypatch, rng)
    cache.write_text("a file where the folder should be")
    with pytest.raises(NwsError, match="mnist") as error:
        images.load("mnist")
    assert "\n" not in str(error.value)


def serve_cifar(server, monkeypatch, members):
    """An archive with these (TarInfo, content) members, served as CIFAR-10's."""
    folder, url = server
    path = folder / "cifar-10-binary.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    content = members_of_cifar()[0][1]
    files = [replace(f, size=len(content), checksum="md5:" + hashlib.md5(content).hexdigest()) for f in SOURCES["cifar10"].train]
    test = replace(files[0], name="test_batch.bin")
    source = replace(SOURCES["cifar10"], train=tuple(files), test=(test,), archive=offered(path), urls=(url + path.name,))
    monkeypatch.setitem(SOURCES, "cifar10", source)


def members_of_cifar():
    planes = corner_pictures(32).transpose(0, 3, 1, 2).reshape(3, -1)
    content = np.column_stack([np.array([1, 2, 3], np.uint8), planes]).tobytes()
    members = []
    for name in [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]:
        info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
        info.size = len(content)
        members.append((info, content))
    return members


def test_an_archive_gives_its_expected_members_and_nothing_else(server, cache, monkeypatch):
    extra = [(tarfile.TarInfo(name), b"") for name in ("../outside.bin", "cifar-10-batches-bin/readme.html")]
    serve_cifar(server, monkeypatch, [*extra, *members_of_cifar()])
    data = images.load("cifar10")
    assert (len(data.y_train), data.about["official"]) == (15, True)
    assert everything_in(cache) == sorted([*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"])
    assert not (cache / "outside.bin").exists()


def test_an_archive_with_links_or_wrong_sizes_is_refused(server, cache, monkeypatch, tmp_path):
    members = members_of_cifar()
    link = tarfile.TarInfo(members[0][0].name)
    link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "secret")
    for first in ((link, b""), (tarfile.TarInfo(link.name), b"")):
        serve_cifar(server, monkeypatch, [first, *members[1:]])
        with pytest.raises(NwsError, match=r"data_batch_1\.bin is not a plain file"):
            images.load("cifar10")
    assert not any((cache / "cifar10").glob("data_batch*"))


def test_an_archive_that_lacks_a_member_is_refused(server, cache, monkeypatch):
    serve_cifar(server, monkeypatch, members_of_cifar()[:-1])
    with pytest.raises(NwsError, match=r"lacks cifar-10-batches-bin/test_batch\.bin"):
        images.load("cifar10")


def test_every_official_file_has_a_published_checksum():
    for source in SOURCES.values():
        for file in (*source.train, *source.test, *([source.archive] if source.archive else [])):
            algorithm, digest = file.checksum.split(":")
            assert len(digest) == {"sha256": 64, "md5": 32}[algorithm]
            assert file.size > 0
        assert all(url.startswith("http") for url in source.urls)


def test_the_progress_bar_shows_the_file(server, cache, monkeypatch, rng, capsys):
    serve_mnist(server, monkeypatch, rng)
    images.load("mnist", progress=True)
    shown = capsys.readouterr()
    assert MNIST[0] in shown.err
    assert shown.out == ""  # which may be JSON for another program
