"""HDF5 files that make its library crash, go round for ever, or take memory: found by benchmarks/fuzz.py."""

import re
import struct

import numpy as np
import pytest
from test_hostile_files import refused

from nws.weights import read
from nws.weights.hdf5 import bounded_memory


@pytest.fixture
def hdf5(tmp_path):
    """A file whose order of layers is a list of texts, and its bytes."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name in ("b", "a"):
            file[f"{name}/kernel"] = np.ones((2, 2), np.float32)
        file.attrs["layer_names"] = ["b", "a"]
    assert read(tmp_path / "a.h5").names == ("b/kernel", "a/kernel")
    return tmp_path / "a.h5", (tmp_path / "a.h5").read_bytes()


def changed_at(place, bytes_, file):
    path, whole = file
    path.write_bytes(whole[:place] + bytes_ + whole[place + len(bytes_) :])
    return refused(read, path)


def test_a_heap_of_hdf5_whose_pieces_have_no_length(hdf5):
    """The HDF5 library goes round in it for ever."""
    heap = hdf5[1].index(b"GCOL")
    for piece in (bytes(16), b"\x01" + bytes(7) + b"\xff" * 8, bytes(8) + b"\x08" + bytes(7)):
        assert "heap" in changed_at(heap + 16, piece, hdf5)


def test_a_heap_of_hdf5_that_hides_behind_its_version(hdf5):
    """The library looks at the name of a heap and its version only, so we look for no more."""
    assert "heap" in changed_at(hdf5[1].index(b"GCOL") + 5, b"\xff\xff\xff\x7f", hdf5)


def test_a_list_of_an_unknown_kind_in_hdf5(hdf5):
    """The HDF5 library crashes when it is read."""
    kind = hdf5[1].index(b"layer_names") + 16  # behind the name, filled up to a multiple of 8
    assert (hdf5[1][kind], hdf5[1][kind + 1] & 15) == (0x19, 1)  # a list, of texts
    assert "layer_names" in changed_at(kind + 1, b"\x7f", hdf5)


@pytest.mark.parametrize("version", ["earliest", "latest"])
def test_a_name_that_claims_more_than_there_is(tmp_path, version):
    """Room is made for all of it: 960 MB for a file of 17 KB."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w", libver=version) as file:
        for name in ("dense_2", "dense_1"):
            file[f"{name}/kernel"] = np.ones((2, 2), np.float32)
        file.attrs["layer_names"] = ["dense_2", "dense_1"]
    path, whole = tmp_path / "a.h5", (tmp_path / "a.h5").read_bytes()
    assert read(path).names == ("dense_2/kernel", "dense_1/kernel")
    entry = struct.pack("<IQ", 7, whole.index(b"GCOL"))
    assert whole.count(entry) == 2
    assert "claims more text" in changed_at(whole.rindex(entry), struct.pack("<I", 1 << 29), (path, whole))


def test_many_names_that_are_the_same_long_text(hdf5):
    """Each of them is made room for: 20 MB of a file of 1 MB."""
    h5py = pytest.importorskip("h5py")
    path = hdf5[0]
    with h5py.File(path, "a") as file:
        file.attrs["layer_names"] = ["x" * (1 << 20), *["y" * 9] * 19]
    whole = path.read_bytes()
    heaps = [match.start() for match in re.finditer(b"GCOL", whole)]
    first = max(whole.find(struct.pack("<IQ", 1 << 20, heap)) for heap in heaps)
    path.write_bytes(whole[:first] + whole[first : first + 16] * 20 + whole[first + 320 :])
    assert "claims more text" in refused(read, path)


def test_a_chunk_of_hdf5_that_is_larger_than_its_data_set(tmp_path):
    """A valid file: it is the chunk that is unpacked."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("a/kernel", (2, 2), "f4", maxshape=(None, None), chunks=(1 << 12, 1 << 12), compression="gzip")[:] = 1
    assert "this is no file of weights" in refused(read, tmp_path / "a.h5")


def test_an_empty_data_set_of_very_many_chunks(tmp_path):
    """A valid file of 9 KB: the HDF5 library took 1.7 GB for the list of its chunks, of which none is stored."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        made = file.create_dataset("a/kernel", (2, 2, 2, 2), "f4", maxshape=(None,) * 4, chunks=(1, 64, 1, 1))
        made.resize((7, 1, 200, 200))
    assert "280,000 pieces" in refused(read, tmp_path / "a.h5")


def test_memory_is_bounded_while_groups_are_walked_and_free_again_afterwards():
    """What one altered file of 33 KB asked for was all there is."""
    with bounded_memory(32 << 20):
        np.zeros(1 << 20)
        with pytest.raises(MemoryError):
            np.zeros(1 << 26)
    assert np.zeros(1 << 26).nbytes == 512 << 20
