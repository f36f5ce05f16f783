"""The 2020 program's files: what it wrote is read exactly, what we write reads the same, and hostile files are one line."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import nws
from nws import FIXED, HyperParameters, Net, NwsError
from nws.families import cnn2020 as cnn
from nws.legacy import import_weights, read_table, write_run, write_table
from nws.legacy.split_tables import COLUMNS

TINY = FIXED.net(0, 0).with_(dataset="mnist", filter_size=3, width_conv=1, depth_fc=1, width_fc=2, optimizer="adam")


def net(number: int = 0, records: int = 8, snapshots: int = 5, **changes: object) -> Net:
    """A net of random weights, not trained."""
    hp = TINY.with_(**changes)
    rng = np.random.default_rng(number)
    layout = cnn.layout(hp)
    theta = rng.normal(size=(snapshots, layout.size)).astype(np.float32)
    history = np.column_stack([np.arange(records) * 7.0, rng.random((records, 4))])
    epoch = nws.net.snapshot_records(records, snapshots)
    return Net(number, hp, layout, theta, epoch, history, seconds=1.5)


def table(folder: Path, *nets: Net, name: str = "table.csv") -> Path:
    """The nets as runs below the folder, and their table."""
    for one in nets:
        write_run(one, folder / "runs" / f"{one.number:04d}")
    write_table(folder / name, [folder / "runs" / f"{one.number:04d}" for one in nets])
    return folder / name


def edit(path: Path, /, **cells: str) -> None:
    """Change cells of the table's first row."""
    with path.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    rows[0] |= cells
    with path.open("w", newline="") as out:
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


# What the 2020 program wrote


@pytest.mark.parametrize("name", ["fixed_train", "fixed_test", "main_train", "main_test"])
def test_every_value_of_the_2020_program_is_read_exactly(shared: Path, name: str) -> None:
    path = shared / "fixtures" / "nws2020" / f"nws_{name}.csv"
    steps = range(1, 21)
    found = import_weights(path, 0, steps)
    rows = read_table(path).rows
    assert len(found.X) == found.N == 20 * len(rows)
    assert found.C == 5
    for i, row in enumerate(rows):
        assert row.conv + row.fc == cnn.layout(row.hp).size
        errors = np.fromfile(row.run.folder / "error.bin").reshape(-1, 5)
        kept = np.round(np.linspace(0, 20, 20)).astype(int)
        for step in steps:
            k = 20 * i + step - 1
            assert found.X[k].dtype == np.float32
            assert found.X[k].ndim == 1
            assert_array_equal(found.X[k].astype(np.float64), np.fromfile(row.run.folder / "weights" / f"{step:03d}.bin"))
            assert_array_equal(found.err[k], errors[kept[step - 1], [1, 3]].astype(np.float32))
    assert found.properties[:13] == list(COLUMNS)
    assert found.meta.shape == (found.N, len(found.properties))
    assert found.meta[0, 13] + found.meta[0, 14] == len(found.X[0])


def test_labels_are_positions_in_the_2020_lists(shared: Path) -> None:
    path = shared / "fixtures" / "nws2020" / "nws_main_train.csv"  # fashion, relu, glorot_normal; mnist, elu, glorot_uniform
    labels = {prop: import_weights(path, prop, 20).Y.tolist() for prop in (0, 2, 6, 7, 9)}
    assert labels == {0: [4, 0], 2: [1, 1], 6: [0, 1], 7: [3, 2], 9: [2, 0]}
    rates = import_weights(path, 1, [19, 20])
    assert rates.C == 1
    assert rates.Y.dtype == np.float32
    assert_array_equal(rates.Y, np.float32([0.002941, 0.002941, 0.003299, 0.003299]))


def test_the_public_name_is_the_same_function() -> None:
    assert nws.import_weights is import_weights


# What we write


def test_what_is_written_reads_the_same(tmp_path: Path) -> None:
    nets = [net(3, optimizer="momentum"), net(1, width_fc=4), net(2, optimizer="momentum")]
    found = import_weights(table(tmp_path, *nets), 5, range(1, 6), uniform=False)
    assert_array_equal(np.concatenate(found.X), np.concatenate([one.theta.ravel() for one in nets]))
    assert found.Y.tolist() == [2] * 5 + [0] * 5 + [2] * 5
    kept = np.round(np.linspace(0, 7, 5)).astype(int)
    expected = np.concatenate([100 * (1 - one.history[kept][:, [1, 3]]) for one in nets])
    np.testing.assert_allclose(found.err, expected, rtol=1e-6)


def test_a_run_has_the_2020_layout(tmp_path: Path) -> None:
    one = net(records=9, snapshots=3)
    write_run(one, tmp_path / "0001")
    files = sorted(str(p.relative_to(tmp_path / "0001")) for p in (tmp_path / "0001").rglob("*") if p.is_file())
    assert files == ["error.bin", "meta.csv", "stat.bin", "weights/001.bin", "weights/002.bin", "weights/003.bin"]
    assert_array_equal(np.fromfile(tmp_path / "0001" / "stat.bin", "<f8"), [9, 56, 8, 1.5])
    error = np.fromfile(tmp_path / "0001" / "error.bin", "<f8").reshape(9, 5)
    np.testing.assert_allclose(error, np.column_stack([one.history[:, 0], 100 * (1 - one.history[:, 1:])]))
    with (tmp_path / "0001" / "meta.csv").open(newline="") as lines:
        (row,) = csv.DictReader(lines)
    assert tuple(row) == COLUMNS
    assert HyperParameters.from_2020(row) == one.hp


def test_a_run_is_never_overwritten_nor_left_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(net(1), tmp_path / "0001")
    before = (tmp_path / "0001" / "weights" / "001.bin").read_bytes()
    with pytest.raises(NwsError, match="choose another --id or --log_dir"):
        write_run(net(2), tmp_path / "0001")
    assert (tmp_path / "0001" / "weights" / "001.bin").read_bytes() == before

    def full(path: Path, content: bytes) -> None:
        if path.name == "stat.bin":
            raise OSError(28, "No space left on device")
        path.write_bytes(content)

    monkeypatch.setattr("nws.legacy.files.write_whole", full)
    with pytest.raises(NwsError, match="No space left"):
        write_run(net(2), tmp_path / "0002")
    assert [p.name for p in tmp_path.iterdir()] == ["0001"]


def test_a_diverged_net_is_written_and_read(tmp_path: Path) -> None:
    one = net(1)
    theta = one.theta.copy()
    theta[-1, :2] = np.nan, np.inf
    path = table(tmp_path, Net(1, one.hp, one.layout, theta, one.epoch, one.history, status="diverged"))
    assert_array_equal(import_weights(path, 0, [5]).X[0], theta[-1])


# Order, classes, steps


def test_each_class_gives_as_many_runs_as_the_rarest_present(tmp_path: Path) -> None:
    rules = ["adam", "rmsprop", "adam", "adam", "rmsprop"]  # momentum has no run: the 2020 program then loaded nothing
    path = table(tmp_path, *(net(k, optimizer=rule) for k, rule in enumerate(rules)))
    heard: list[str] = []
    found = import_weights(path, 5, [5, 2], warn=heard.append)
    assert found.Y.tolist() == [0, 0, 1, 1, 0, 0, 1, 1]
    assert found.C == 3
    assert [Path(p).name for p in found.meta[::2, -1]] == ["0000", "0001", "0002", "0004"]
    assert_array_equal(found.X[1], net(0).theta[1])
    assert len(heard) == 1
    assert "momentum" in heard[0]


def test_options_outside_the_list_follow_it(tmp_path: Path) -> None:
    path = table(tmp_path, *(net(k, dataset=name) for k, name in enumerate(["kmnist", "fashion", "digits"])))
    found = import_weights(path, 0, 5)
    assert found.Y.tolist() == [5, 4, 6]
    assert found.C == 7


@pytest.mark.parametrize("prop", [-1, 13, "optimizer", True])
def test_an_unknown_prop_is_refused(tmp_path: Path, prop: object) -> None:
    with pytest.raises(NwsError, match="0 dataset, 1 learning_rate"):
        import_weights(table(tmp_path, net()), prop, [1])  # type: ignore[arg-type]


@pytest.mark.parametrize("steps", [[0], [6], [5, 21], [], -1, 2.5, ["5"], None])
def test_a_snapshot_that_is_not_there_is_refused(tmp_path: Path, steps: object) -> None:
    with pytest.raises(NwsError, match="snapshot"):
        import_weights(table(tmp_path, net()), 0, steps)  # type: ignore[arg-type]


# Paths


def test_a_path_is_relative_to_the_table_else_to_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = table(tmp_path / "data", net(1))
    (tmp_path / "tables").mkdir()
    moved = path.rename(tmp_path / "tables" / "table.csv")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NwsError, match="is no folder"):
        import_weights(moved, 0, [5])
    assert import_weights(moved, 0, [5], root=tmp_path / "data").N == 1
    monkeypatch.chdir(tmp_path / "data")
    assert import_weights(Path("..") / "tables" / "table.csv", 0, [5]).N == 1


@pytest.mark.parametrize("how", ["dots", "absolute", "link", "file link"])
def test_a_path_that_leaves_is_refused_unless_root_names_the_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    path = table(tmp_path / "data", net(1))
    run, elsewhere = tmp_path / "data" / "runs" / "0001", tmp_path / "secret" / "0001"
    elsewhere.parent.mkdir()
    run.rename(elsewhere)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    if how == "dots":
        edit(path, path="../secret/0001")
    elif how == "absolute":
        edit(path, path=str(elsewhere))
    elif how == "link":
        run.symlink_to(elsewhere)
    else:
        (run / "weights").mkdir(parents=True)
        for file in (p for p in elsewhere.rglob("*") if p.is_file()):
            (run / file.relative_to(elsewhere)).symlink_to(file)
    with pytest.raises(NwsError, match="root") as caught:
        import_weights(path, 0, [5])
    assert "\n" not in str(caught.value)
    assert_array_equal(import_weights(path, 0, [5], root=tmp_path / "secret").X[0], net(1).theta[4])


def test_a_path_that_leaves_is_refused_whether_it_exists_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = table(tmp_path / "data", net(1))
    monkeypatch.chdir(tmp_path / "data")
    edit(path, path="../no/such/place")
    with pytest.raises(NwsError, match="leaves"):
        import_weights(path, 0, [5])


# Damage: each is one line that names the place


TABLES = {
    "empty file": lambda text: "",
    "header only": lambda text: text.splitlines()[0] + "\n",
    "missing column": lambda text: text.replace("lrate", "rate"),
    "two missing": lambda text: text.replace("path", "place").replace("weightn_fc", "fc"),
    "column twice": lambda text: text.replace("path", "path,path"),
    "no number": lambda text: text.replace(",3,3,", ",3,three,"),
    "unknown code": lambda text: text.replace(",1,1,0,", ",1,1,7,").replace(",1,0,0,", ",1,0,7,"),
    "sizes of another net": lambda text: text.replace("weightn_conv,weightn_fc", "weightn_fc,weightn_conv"),
    "infinite size": lambda text: text.replace(",runs", "e999,runs"),
    "row cut short": lambda text: text[: text.rindex(",")],
    "open quote": lambda text: text + '"',
    "binary": lambda text: "\x00\xff\xfe" + text,
    "endless depth": lambda text: text.replace(",3,3,1,1,2,", ",3,300000000,1,1,2,"),
}


@pytest.mark.parametrize("damage", TABLES)
def test_a_damaged_table_is_one_line(tmp_path: Path, damage: str) -> None:
    path = table(tmp_path, net())
    text = path.read_text()
    changed = TABLES[damage](text)
    assert changed != text
    path.write_bytes(changed.encode("latin-1"))
    with pytest.raises(NwsError) as caught:
        import_weights(path, 0, [1])
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("cell", ["", "\0", "x" * 5000, "loop", "runs\n0000", "."])
def test_a_path_that_is_none_is_one_line(tmp_path: Path, cell: str) -> None:
    path = table(tmp_path, net())
    os.symlink("loop", tmp_path / "loop")
    edit(path, path=cell)
    with pytest.raises(NwsError) as caught:
        import_weights(path, 0, [1])
    assert "\n" not in str(caught.value)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-4])


def double(path: Path) -> None:
    path.write_bytes(path.read_bytes() * 2)


def huge(path: Path) -> None:
    os.truncate(path, 1 << 40)  # sparse: read before it is checked, it would fill the memory


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)  # read before it is checked, it would never end


@pytest.mark.parametrize("file", ["weights/005.bin", "error.bin", "stat.bin"])
@pytest.mark.parametrize("harm", [cut, double, huge, pipe, Path.unlink])
def test_a_damaged_run_is_one_line_with_its_path(tmp_path: Path, file: str, harm: object) -> None:
    path = table(tmp_path, net())
    harm(tmp_path / "runs" / "0000" / file)  # type: ignore[operator]
    with pytest.raises(NwsError, match=r"005\.bin|error\.bin|stat\.bin|snapshots 1 to 4") as caught:
        import_weights(path, 0, [5])
    assert "runs/0000" in str(caught.value)
    assert "\n" not in str(caught.value)
