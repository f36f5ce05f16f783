"""Hostile files for every reader but those of weights alone (test_hostile_weights.py): found by hand, or by benchmarks/fuzz.py."""

import gzip
import io
import json
import os
import pickle
import shutil
import struct
import zipfile
from pathlib import Path

import foreign_files
import numpy as np
import pytest
from fabricated import fabricated_zoo
from image_files import write_idx
from test_hostile_weights import Evil, safetensors, tensor
from test_weights import WRITERS, small_net

from nws import FIXED, NwsError, importers, tables
from nws.images import formats
from nws.report.data import Tables
from nws.tasks import results
from nws.weights import ordered, read
from nws.weights.safetensors_file import read as read_safetensors
from nws.zoo import Zoo

MILLION = 1_000_000
ENTRIES = 200_000  # of an archive: 11 MB of names, enough to be refused


def refused(attempt, *given, **more):
    """The one line."""
    with pytest.raises(NwsError) as said:
        attempt(*given, **more)
    assert "\n" not in str(said.value)
    return str(said.value)


# -- nothing is run ------------------------------------------------------------------------------------------------------------


class Chain:
    """A __reduce__ chain: what one call makes is called by the next."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return getattr, (Evil(self.path), "real")


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("evil", [Evil, Chain])
def test_pickles_run_nothing_in_any_protocol(tmp_path, evil, protocol):
    proof = tmp_path / "ran"
    data = pickle.dumps({"w": evil(proof)}, protocol)
    (tmp_path / "a.pt").write_bytes(data)
    with zipfile.ZipFile(tmp_path / "b.pt", "w") as made:
        made.writestr("archive/data.pkl", data)
        made.writestr("archive/version", "3\n")
    for name in ("a.pt", "b.pt"):
        refused(read, tmp_path / name)
    (tmp_path / "b.pt").rename(tmp_path / "dataset.pt")
    refused(importers.open_source, "model-zoos", tmp_path / "dataset.pt")
    assert not proof.exists()


# -- more than there is --------------------------------------------------------------------------------------------------------


def test_a_million_tiny_tensors_are_refused_at_once(tmp_path):
    entry = b'"%07d":{"dtype":"U8","shape":[],"data_offsets":[0,0]}'
    (tmp_path / "a.safetensors").write_bytes(safetensors(b"{" + b",".join(entry % k for k in range(100_000)) + b"}"))
    assert "more than 20,000 tensors" in refused(read, tmp_path / "a.safetensors")
    (tmp_path / "b.safetensors").write_bytes(safetensors(b"{" + b",".join(entry % k for k in range(MILLION)) + b"}"))
    refused(read, tmp_path / "b.safetensors")
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 53 * ENTRIES, 0, 0)
    record = b"PK\1\2" + bytes(24) + struct.pack("<H", 7) + bytes(16)
    for name in ("a.npz", "a.keras", "a.pt"):
        with open(tmp_path / name, "wb") as file:
            file.writelines(record + b"%07d" % k for k in range(ENTRIES))
            file.write(end)
        assert "more than 20,000 entries" in refused(read, tmp_path / name)


def test_a_net_of_brackets_is_refused_before_it_is_parsed(tmp_path):
    zoo = fabricated_zoo(tmp_path / "zoo")
    (zoo.path / "nets/000/000000.safetensors").write_bytes(safetensors(b'{"a":[' + b"{}," * 5_000_000 + b"0]}"))
    assert "nests more" in refused(zoo.net, 0)


def test_archives_in_archives_are_not_unpacked(tmp_path):
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as inner:
        inner.writestr("w.npy", bytes(64 << 20))
    for name, entry in (("a.npz", "w.npy"), ("a.keras", "model.weights.h5"), ("a.pt", "archive/data.pkl")):
        with zipfile.ZipFile(tmp_path / name, "w") as outer:
            outer.writestr(entry, bomb.getvalue())
        refused(read, tmp_path / name)


def test_entries_that_share_their_bytes(tmp_path):
    """A bomb without nesting: a thousand names for one entry."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w0.npy", bytes(10_000))
        one = archive.infolist()[0]
        for k in range(1, 1000):
            copy = zipfile.ZipInfo(f"w{k}.npy")
            for name in ("compress_type", "CRC", "compress_size", "file_size", "header_offset"):
                setattr(copy, name, getattr(one, name))
            archive.filelist.append(copy)
            archive.NameToInfo[copy.filename] = copy
        archive._didModify = True
    (tmp_path / "a.npz").write_bytes(made.getvalue())
    refused(read, tmp_path / "a.npz")


def test_a_gzip_bomb_of_a_table_or_an_image_set(tmp_path):
    pictures, labels = write_idx(tmp_path / "set", np.zeros((10, 28, 28), np.uint8), np.arange(10, dtype=np.uint8))
    header = struct.pack(">4I", 0x803, 1 << 20, 28, 28)
    pictures.write_bytes(gzip.compress(header + bytes(1 << 20), mtime=0))
    assert "which it cannot" in refused(formats.read_idx, (pictures, labels))
    foreign_files.small_cnn_zoo(tmp_path / "small", nets=1)
    (tmp_path / "small/metrics.csv.gz").write_bytes(gzip.compress(b"a" * (4 << 20), 1))
    refused(importers.open_source, "small-cnn-zoo", tmp_path / "small")


def test_an_old_pickle_that_asks_for_more_text_than_its_file_holds(tmp_path):
    """Found by the fuzzer: Python made room for four gigabytes."""
    import resource

    import torch

    torch.save({"w": torch.ones(2)}, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    (tmp_path / "a.pth").write_bytes(b"\x80\x02X\xff\xff\xff\xffabc")
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30), before[1]))
    try:
        said = refused(read, tmp_path / "a.pth")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert "MemoryError" not in said


# -- places and names ----------------------------------------------------------------------------------------------------------


def test_names_that_are_no_text(tmp_path):
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe\n.npz")
    WRITERS["a.npz"](tmp_path / "a.npz", small_net())
    shutil.move(tmp_path / "a.npz", odd)
    ordered(read(odd))
    with open(odd, "wb") as file:
        file.write(b"no archive")
    assert refused(read, odd).isprintable()


def test_links_in_the_place_of_a_net(tmp_path):
    """A zoo from a stranger: a link instead of a net is read as that file, and refused unless it is that net."""
    zoo = fabricated_zoo(tmp_path / "zoo")
    secret = tmp_path / "secret"
    secret.write_bytes(b"root:x:0:0" * 100)
    path = zoo.path / "nets/000/000003.safetensors"
    path.unlink()
    path.symlink_to(secret)
    said = refused(zoo.net, 3)
    assert "x:0:0" not in said
    zoo.verify(repair=True)
    assert secret.read_bytes() == b"root:x:0:0" * 100
    path.symlink_to(path)  # in circles
    refused(zoo.net, 3)


def test_a_folder_or_a_pipe_in_the_place_of_a_file(tmp_path):
    zoo = fabricated_zoo(tmp_path / "zoo")
    path = zoo.path / "nets/000/000003.safetensors"
    path.unlink()
    os.mkfifo(path)
    assert 3 not in Zoo(zoo.path).numbers()
    (zoo.path / "failed").write_bytes(b"")
    (zoo.path / "zoo.json").unlink()
    (zoo.path / "zoo.json").mkdir()
    refused(Zoo, zoo.path)


# -- weights that are no numbers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_weights_that_are_not_finite_do_not_get_past_a_command(tmp_path, value):
    """Imported as a diverged net, which every task leaves out; what overflows in a statistic is no error."""
    for k in range(2):
        state = small_net()
        state["w"][0, 0] = value if k else 0
        WRITERS["a.npz"](tmp_path / f"net{k}.npz", state)
    summary = importers.fill(importers.open_source("checkpoints", tmp_path), tmp_path / "zoo")
    assert summary.imported == 2
    zoo = Zoo(tmp_path / "zoo")
    expected = ["ok", "ok" if np.isfinite(value) else "diverged"]
    assert zoo.index["status"].tolist() == expected
    assert len(zoo.select()[0]) == expected.count("ok")
    assert zoo.verify().ok


# -- found by the fuzzer -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["(((", "(0, 0)", "(9**9, 2)"])
def test_a_header_of_npy_that_python_cannot_parse(tmp_path, shape):
    foreign_files.small_cnn_zoo(tmp_path / "a", nets=1)
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode() + b"\n"
    (tmp_path / "a/weights.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text)
    refused(importers.open_source, "small-cnn-zoo", tmp_path / "a")


def test_a_step_beyond_all_numbers(tmp_path):
    foreign_files.small_cnn_zoo(tmp_path / "a", nets=1, packed=False)
    table = tmp_path / "a/metrics.csv"
    table.write_text(table.read_text().replace(",86,", f",{1 << 64},"))
    source = importers.open_source("small-cnn-zoo", tmp_path / "a")
    if f"{1 << 64}" in table.read_text():
        refused(next(iter(source.items())).load)


def test_an_archive_in_many_volumes(tmp_path):
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, 0, 7)
    (tmp_path / "a.pt").write_bytes(bytes(100) + locator + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, 50, 0, 0))
    assert "damaged archive" in refused(read, tmp_path / "a.pt")


@pytest.mark.parametrize("seconds", ["9" * 400, "-1", "1e999", "nan", "abc"])
def test_numbers_beyond_all_numbers_in_a_table(tmp_path, seconds):
    WRITERS["a.npz"](tmp_path / "a.npz", small_net())
    (tmp_path / "nets.csv").write_text(f"path,seconds,epoch,wd,net\na.npz,{seconds},{seconds},{seconds},{seconds}\n")
    (item,) = importers.open_source("checkpoints", tmp_path).items()
    assert item.load().net.seconds == 0


def test_an_index_whose_texts_are_none(tmp_path):
    """It is derived from the nets, and made anew."""
    zoo = fabricated_zoo(tmp_path / "zoo")
    expected = zoo.index
    whole = (tmp_path / "zoo/index.parquet").read_bytes()
    sha256 = expected["sha256"].iloc[1].encode()
    assert sha256 in whole
    (tmp_path / "zoo/index.parquet").write_bytes(whole.replace(sha256, sha256[:7] + b"\xff" + sha256[8:]))
    assert Zoo(tmp_path / "zoo").index.equals(expected)


def test_settings_of_a_zoo_whose_names_are_no_words(tmp_path):
    Zoo.create(tmp_path / "zoo", FIXED, nets=3)
    said = json.loads((tmp_path / "zoo/zoo.json").read_text())
    said["space"] |= {"a\nb": ["adam"] * 1000}
    (tmp_path / "zoo/zoo.json").write_text(json.dumps(said))
    line = refused(Zoo.create, tmp_path / "zoo", FIXED, nets=3)
    assert "was made with a\\nb=['adam'" in line
    assert len(line) < 1000


def test_an_entry_that_cannot_be_unpacked(tmp_path):
    """Read only when its net is imported, long after the archive was opened."""
    torch = pytest.importorskip("torch")
    run = ("zoo/run", 0, {"a.weight": torch.ones(2, 3), "a.bias": torch.ones(2)}, {"optim::optimizer": "adam", ("a",): 3})
    foreign_files.pickled_data_set(tmp_path / "dataset.pt", {"trainset": [run]})
    assert [item.load().net.number for item in importers.open_source("model-zoos", tmp_path / "dataset.pt").items()] == [0]
    whole = (tmp_path / "dataset.pt").read_bytes()
    at = whole.rindex(b"PK\1\2", 0, whole.rindex(b"data/0")) + 8  # its flags, in the directory
    (tmp_path / "dataset.pt").write_bytes(whole[:at] + b"\x20" + whole[at + 1 :])
    for item in importers.open_source("model-zoos", tmp_path / "dataset.pt").items():
        assert "damaged archive" in refused(item.load)


def test_a_pickle_that_claims_a_bytearray(tmp_path):
    """Python makes room for it before it looks whether it is there."""
    body = b"\x80\x05" + pickle.BYTEARRAY8 + struct.pack("<Q", 1 << 40) + b"."
    with zipfile.ZipFile(tmp_path / "dataset.pt", "w") as archive:
        archive.writestr("archive/data.pkl", body)
    assert "bytearray" in refused(importers.open_source, "model-zoos", tmp_path / "dataset.pt")


ROW = {
    "property": "optimizer", "meta": "svm", "part": "all", "slice_length": None, "snapshots": [1], "accuracy": 0.5, "error": None,
    "low": 0.4, "high": 0.6, "spread": 0.1, "vote": 0.5, "vote_low": 0.4, "vote_high": 0.6, "chance": 0.3, "classes": ["a"],
    "n_train": 3, "n_test": 1, "n_tested": 1, "rounds": 1, "per_round": [0.5], "confusion": [[1]], "seconds": 1.0, "seed": 0,
    "split": "rounds", "converged": False, "zoo": "z",
}  # fmt: skip


def test_results_are_what_they_must_be(tmp_path):
    file = tmp_path / "results.json"
    file.write_text(json.dumps([ROW]))
    assert results.table(results.load(file))["accuracy"].tolist() == [0.5]
    file.write_text("[]")
    assert results.table(results.load(file)).empty
    changes = [
        {"zoo": 3},
        {"n_train": "3"},
        {"only": 3},
        {"only": {"x": [1]}},
        {"about": "a"},
        {"snapshots": "a"},
        {"snapshots": [[]]},
    ]
    changes += [
        {"meta": "\ud800"},
        {"without": [1]},
        {"chance": None},
        {"accuracy": True},
        {"confusion": [["a"]]},
        {"seconds": {}},
        {"classes": [3]},
    ]
    for change in changes:
        file.write_text(json.dumps([ROW | change]))
        assert "cannot be read as results" in refused(results.load, file)
    file.write_text("[" * 100_000)
    refused(results.load, file)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"columns":["a"],"rows":[[[1]]],"about":3,"notes":[]}',
        '{"columns":[["a"],"b"],"rows":[[1,2]],"about":{},"notes":[]}',
    ],
)
def test_tables_that_are_none(tmp_path, text):
    (tmp_path / "t.json").write_text(text)
    refused(tables.load, tmp_path, "t")
    assert not tables.is_current(tmp_path, "t", "k")


def test_a_broken_table_of_a_report_is_one_line(tmp_path):
    (tmp_path / "t.json").write_text('{"columns": ["a", "b"], "rows": [[1, 2], [1, 2, 3, 4]], "about": {}, "notes": []}')
    assert "cannot be read as a table" in refused(Tables(tmp_path).read, "t", ["a"])


def test_whole_files_are_still_read(tmp_path):
    """The limits above do not keep out what they should let in."""
    arrays = {f"layer{k}.weight": np.ones((2, 2), np.float32) for k in range(3000)}
    for name in ("a.safetensors", "a.npz"):
        WRITERS[name](tmp_path / name, arrays)
        assert len(read(tmp_path / name).names) == 3000
    header = {"w": tensor([1], 0, 4), "__metadata__": {"about": json.dumps([[k] for k in range(5000)])}}
    (tmp_path / "b.safetensors").write_bytes(safetensors(header, b"1234"))
    from nws.weights import Limits

    assert read_safetensors(tmp_path / "b.safetensors", Limits()).names == ("w",)
