"""The 2020 program's two commands: as the paper's README prints them, on its files and on our own; bad input is one line."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from test_legacy import net, table

from nws import images
from nws import meta as meta_classifiers
from nws.families import cnn2020 as cnn
from nws.families.cnn2020 import PROPERTIES
from nws.legacy import classifier, import_weights, meta_classifier, read_table, write_run, write_table
from nws.legacy.flags import Flag, parse
from nws.legacy.nets import Question, load, probabilities, scores, split_validation

ROOT = Path(__file__).resolve().parents[1]
# The smallest net with every kind of layer, on a handful of pictures.
QUICK = ["--params=toy,0.002,16,1,0,0,0,3,3,3,1,1,8", "--epochs=3"]

Command = Callable[[list[str]], int]
Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _toy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (60, 8, 8), np.uint8), np.arange(60) % 4
    images.register("toy", x, y, x[:20], y[:20])
    monkeypatch.chdir(tmp_path)


def script(name: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(
        [sys.executable, str(ROOT / name), *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def written(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def refused(command: Command, arguments: list[str], capsys: Captured) -> str:
    """The one line with which a command refuses its arguments."""
    assert command(arguments) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    return message


# Flags


@pytest.mark.parametrize(
    ("given", "value"),
    [
        (["--fixed"], True),
        (["--nofixed"], False),
        (["--fixed=0"], False),
        (["--fixed=true"], True),
        (["--fixed=False"], False),
        (["--fixed", "1"], True),
        (["--fixed=1", "--fixed=0"], False),
        ([], False),
    ],
)
def test_switches_are_written_in_every_way_of_2020(given: list[str], value: bool) -> None:
    assert parse("x", "", [Flag("fixed", False, "")], given).fixed is value


def test_values_follow_an_equals_sign_or_a_blank() -> None:
    flags = [Flag("id", 1, ""), Flag("K", "20,20", ""), Flag("rate", 0.5, "")]
    found = parse("x", "", flags, ["--id", "-1", "--K=11,20", "--rate", "1e-3"])
    assert (found.id, found.K, found.rate) == (-1, "11,20", 0.001)


@pytest.mark.parametrize(("command", "flags"), [(classifier, classifier.FLAGS), (meta_classifier, meta_classifier.FLAGS)])
def test_help_names_every_flag(command: object, flags: list[Flag], capsys: Captured) -> None:
    with pytest.raises(SystemExit) as done:
        command.main(["--help"])  # type: ignore[attr-defined]
    assert done.value.code == 0
    shown = capsys.readouterr().out
    assert all(f"--{flag.name}" in shown for flag in flags)


# classifier.py


@pytest.mark.parametrize("prints", [1, 3, 20, 25])
def test_a_run_of_any_number_of_prints_reads_as_it_was_trained(tmp_path: Path, capsys: Captured, prints: int) -> None:
    assert classifier.main([*QUICK, "--log_dir=out", f"--prints={prints}"]) == 0
    shown = capsys.readouterr().out
    assert [line[:38] for line in shown.splitlines() if line.startswith("step")][-1].startswith("step 000009 (epoch 3 of 3): train")
    write_table(tmp_path / "table.csv", [Path("out") / "0001"])
    found = import_weights("table.csv", 0, range(1, prints + 1))
    assert prints == found.N
    (row,) = read_table("table.csv").rows
    assert {len(theta) for theta in found.X} == {cnn.layout(row.hp).size}
    assert found.X[0].std() > 0
    assert prints == 1 or np.any(found.X[0] != found.X[-1])


def test_a_net_is_a_function_of_seed_and_id(tmp_path: Path) -> None:
    for log_dir, more in {"a": [], "b": [], "seed": ["--seed=1"], "id": ["--id=-3"]}.items():
        assert classifier.main([*QUICK, f"--log_dir={log_dir}", "--prints=2", *more]) == 0
    last = {d: (next((tmp_path / d).rglob("002.bin"))).read_bytes() for d in ("a", "b", "seed", "id")}
    assert last["a"] == last["b"]
    assert len(set(last.values())) == 3
    assert (tmp_path / "id" / "meta.csv").is_file()  # a negative id: log_dir itself


def test_random_nets_have_the_architecture_that_was_asked_for() -> None:
    fixed = parse("classifier", "", classifier.FLAGS, ["--fixed=1", "--data_nmn=toy"])
    assert cnn.layout(classifier.hyper_parameters(fixed)).size == 92_868
    assert classifier.hyper_parameters(fixed).dataset == "toy"
    drawn = [classifier.hyper_parameters(parse("classifier", "", classifier.FLAGS, [f"--id={k}"])) for k in range(30)]
    assert {hp.dataset for hp in drawn} == set(PROPERTIES["dataset"].options)
    assert len({cnn.layout(hp).size for hp in drawn}) > 10


BAD_TRAINING = {
    "unknown image set": (["--data_nmn=tyo"], "'tyo' is unknown: use one of toy"),
    "unknown flag": (["--netz=3"], "--netz=3"),
    "no flag": (["mnist"], "mnist"),
    "no number": (["--epochs=many"], "whole number"),
    "no snapshots": (["--prints=0"], "at least 1"),
    "no switch": (["--fixed=maybe"], "0 or 1"),
    "half the parameters": (["--params=mnist,0.001"], "give 13"),
    "unknown code": (["--params=toy,0.002,16,1,0,7,0,3,3,3,1,1,8"], "optimizer"),
    "no rate": (["--params=toy,fast,16,1,0,0,0,3,3,3,1,1,8"], "lrate"),
    "two image sets": (["--params=toy,0.002,16,1,0,0,0,3,3,3,1,1,8", "--data_nmn=mnist"], "leave --data_nmn out"),
    "another dropout": (["--dropout=0.9"], "only 0.5"),
    "huge seed": (["--seed=99999999999"], "seed"),
    "limit without every class": (["--data_nmn=toy", "--limit=2"], "at least 4"),
    "no data": (["--data_nmn=mnist", "--data_dir=nowhere"], "nowhere"),
}


@pytest.mark.parametrize("case", BAD_TRAINING)
def test_bad_input_to_classifier_is_one_line_and_nothing_is_written(tmp_path: Path, capsys: Captured, case: str) -> None:
    arguments, expected = BAD_TRAINING[case]
    assert expected in refused(classifier.main, arguments, capsys)
    assert written(tmp_path) == []


def test_a_run_is_not_overwritten(tmp_path: Path, capsys: Captured) -> None:
    write_run(net(), tmp_path / "out" / "0001")
    assert "choose another --id" in refused(classifier.main, [*QUICK, "--log_dir=out"], capsys)
    (tmp_path / "file").write_text("")
    refused(classifier.main, [*QUICK, "--log_dir=file/sub"], capsys)


def test_the_command_of_the_paper_s_readme(tmp_path: Path) -> None:
    quick = ["--params=digits,0.002,16,1,0,0,0,3,3,3,1,1,8", "--epochs=1", "--limit=40", "--limit_test=20"]
    done = script("classifier.py", "--data_nmn=digits", "--log_dir=OUTPUT_PATH", "--prints=20", "--fixed=0", *quick, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "OUTPUT_PATH" / "0001" / "weights").iterdir())) == 20
    bad = script("classifier.py", "--data_nmn=digit", cwd=tmp_path)
    assert bad.returncode == 2
    assert bad.stderr.count("\n") == 1


# meta_classifier.py


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Twelve nets to train on and four to test on, whose optimizer shows in their weights; as flags."""
    folder = tmp_path_factory.mktemp("tables")
    rules, more = ("adam", "momentum"), {"snapshots": 2, "width_conv": 2, "width_fc": 8}
    nets = [net(k, optimizer=rules[k % 2], learning_rate=0.001 * (1 + k), **more) for k in range(16)]
    for one in nets:
        one.theta[:] = one.theta * 0.1 + (1 if one.hp.optimizer == "adam" else -1)
    train, test = (table(folder / side, *some) for side, some in {"train": nets[:12], "test": nets[12:]}.items())
    return [f"--data_train={train}", f"--data_test={test}", "--prop=5", "--K=1,2", "--slice_length=200", "--log_dir=out"]


def test_training_saves_a_model_that_evaluates_the_same(tmp_path: Path, tables: list[str], capsys: Captured) -> None:
    assert meta_classifier.main([*tables, "--epochs=2", "--batch_size=11"]) == 0
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert (result["training"]["nets"], result["validation"]["nets"], result["test"]["nets"]) == (11, 1, 4)
    assert result["chance"] == 0.5
    assert sum("loss" in line for line in capsys.readouterr().out.splitlines()) == 4
    evaluate = [*tables, "--training=0", "--model_pth=out/model", "--log_dir=again", "--P=10", "--valid_pos=1", "--valid_avg=1"]
    assert meta_classifier.main([*evaluate, "--batch_size=3"]) == 0
    again = json.loads((tmp_path / "again" / "result.json").read_text())
    assert again["test"] == result["test"]
    names = {f"valid_avg_05_000200_{k:02d}_00.txt" for k in (1, 2)}
    assert {p.name for p in (tmp_path / "again").iterdir()} == {"result.json", "step_01.bin", "step_01.json", *names}
    fields = (tmp_path / "again" / "valid_avg_05_000200_02_00.txt").read_text().splitlines()[0].split()
    assert fields[0] == "mnist"
    assert len(fields) == 17
    assert 0 <= float(fields[4]) <= 1
    axes = json.loads((tmp_path / "again" / "step_01.json").read_text())
    grid = np.fromfile(tmp_path / "again" / "step_01.bin", "<f4").reshape(axes["shape"])
    assert grid.shape == (4 * 2, 1, 10, 2)
    assert axes["classes"] == ["adam", "momentum"]
    np.testing.assert_allclose(grid.sum(-1), 1, rtol=1e-5)
    right = [axes["classes"].index(label) for label in axes["labels"]]
    hits = grid.reshape(4, 2 * 10, 2).argmax(-1) == np.array(right)[:, None]
    assert hits.mean() == pytest.approx(result["test"]["single_slice"])  # ten positions are what accuracies are measured on
    assert "--prop says" in refused(meta_classifier.main, [*evaluate, "--prop=6"], capsys)
    assert "--slice_length" in refused(meta_classifier.main, [*evaluate, "--slice_length=100"], capsys)


class Sign:
    """A meta-classifier that cannot be wrong about `tables`: positive weights are adam's. Notes what it is fitted on."""

    regression, classes_, n_features_in_, epochs = False, np.array(["adam", "momentum"]), 200, 1

    def fit(self, X: list[np.ndarray], y: np.ndarray, progress: object) -> None:
        self.fitted = [(float(np.sign(x.mean())), str(label)) for x, label in zip(X, y, strict=True)]

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        positive = (X.mean(1) > 0).astype(float)
        return np.column_stack([positive, 1 - positive])


def test_vectors_and_labels_belong_together(tables: list[str]) -> None:
    question, sign = Question(PROPERTIES["optimizer"], "all", 200, (1, 2)), Sign()
    nets = load(read_table(tables[0].split("=")[1]), question, True, lambda note: None)
    meta_classifier.trained(sign, question, nets)
    assert set(sign.fitted) == {(1.0, "adam"), (-1.0, "momentum")}
    assert len(sign.fitted) == 2 * len(nets) == 24
    assert scores(sign, nets) == {"single_slice": 1.0, "per_weight_average": 1.0}


def test_learning_rate_is_a_regression(tmp_path: Path, tables: list[str]) -> None:
    assert meta_classifier.main([*tables, "--prop=1", "--epochs=1", "--K=2,2", "--valid_avg=1"]) == 0
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["metric"] == "mean absolute error"
    median = result["about"]["median"]
    assert result["chance"] == pytest.approx(np.mean([abs(0.001 * k - median) for k in range(13, 17)]))
    assert meta_classifier.main([*tables, "--prop=1", "--K=2,2", "--training=0", "--model_pth=out"]) == 0


def test_the_command_of_the_paper_s_readme_on_files_of_the_2020_program(shared: Path, tmp_path: Path) -> None:
    arguments = ["--data_train=nws_main_train.csv", "--data_test=nws_main_test.csv", "--prop=0", "--K=11,20"]
    quick = ["--slice_length=300", "--epochs=1", f"--log_dir={tmp_path}"]
    done = script("meta_classifier.py", *arguments, *quick, cwd=shared / "fixtures" / "nws2020")
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["classes"] == ["mnist", "fashion"]
    assert (result["training"]["nets"], result["test"]["nets"]) == (2, 1)
    assert meta_classifiers.load(tmp_path / "model").n_features_in_ == 300


def test_slices_of_a_part_stay_inside_it(tmp_path: Path) -> None:
    one = net(1)
    row = read_table(table(tmp_path, one)).rows[0]
    boundary = one.layout.size_of("conv")
    for part, expected in {"conv": one.theta[:, :boundary], "fc": one.theta[:, boundary:], "all": one.theta}.items():
        question = Question(PROPERTIES["dataset"], part, 50, (1, 2, 3, 4, 5))
        assert_array_equal(question.theta(row), expected)


def test_slices_are_spread_from_end_to_end() -> None:
    class First:
        """Says of a slice its first weight."""

        regression, n_features_in_ = True, 10

        def predict(self, X: np.ndarray) -> np.ndarray:
            return X[:, 0]

    vectors = np.arange(100.0).reshape(2, 50)
    assert_array_equal(probabilities(First(), vectors, 5)[..., 0], [[0, 10, 20, 30, 40], [50, 60, 70, 80, 90]])


def test_nets_too_short_diverged_or_strange_are_left_out_and_counted(tmp_path: Path) -> None:
    diverged = net(3, optimizer="adam")
    diverged.theta[4, 0] = np.nan
    object.__setattr__(diverged, "status", "diverged")
    nets = [net(0), net(1, width_conv=3, optimizer="rmsprop"), net(2, width_conv=3), diverged, net(4, optimizer="momentum")]
    heard: list[str] = []
    found = read_table(table(tmp_path, *nets))
    conv = Question(PROPERTIES["optimizer"], "conv", nets[0].layout.size_of("conv") + 1, (5,))
    assert [row.path for row in load(found, conv, True, heard.append).rows] == ["runs/0001", "runs/0002"]
    assert "3 of 5 nets left out" in heard[0]
    heard.clear()
    whole = Question(PROPERTIES["optimizer"], "all", 50, (5,))
    kept = load(found, whole, False, heard.append, known=("adam", "rmsprop"))
    assert [row.path[-1] for row in kept.rows] == ["0", "1", "2"]
    assert "1 nets left out, optimizer momentum" in heard[0]
    assert "diverged" in heard[-1]


def test_validation_nets_are_whole_nets_and_never_a_class_s_last(tmp_path: Path) -> None:
    nets = [net(k, snapshots=1, optimizer="momentum" if k == 0 else "adam") for k in range(30)]
    question = Question(PROPERTIES["optimizer"], "all", 50, (1,))
    found = load(read_table(table(tmp_path, *nets)), question, False, lambda note: None)
    for seed in range(20):
        train, validation = split_validation(found, np.random.default_rng(seed))
        assert len(validation) == 3
        assert not {row.path for row in train.rows} & {row.path for row in validation.rows}
        assert len(train) + len(validation) == 30
        assert set(train.labels) == {"adam", "momentum"}


BAD_META = {
    "unknown property": (["--prop=13"], "0 dataset"),
    "unknown part": (["--dnn_part=3"], "0 all"),
    "no range": (["--K=20"], "--K=11,20"),
    "range backwards": (["--K=5,4"], "--K=11,20"),
    "snapshot too late": (["--K=1,6"], "snapshots 1 to 2"),
    "slice too long": (["--slice_length=90000"], "shorter --slice_length"),
    "one option only": (["--prop=0"], "cannot be told apart"),
    "one option of batch norm": (["--prop=3"], "cannot be told apart"),
    "no such table": (["--data_test=nowhere.csv"], "nowhere.csv"),
    "no model": (["--training=0"], "--model_pth"),
    "no such model": (["--training=0", "--model_pth=nowhere"], "nowhere"),
    "model and training": (["--model_pth=nowhere"], "--training=0"),
    "positions of a regression": (["--prop=1", "--valid_pos=1"], "--valid_avg"),
    "constant of the DMC": (["--batchn=0"], "only True"),
    "dropout of nothing": (["--dropout=1.5"], "dropout"),
    "batch of one": (["--batch_size=1"], "at least 2"),
}


@pytest.mark.parametrize("case", BAD_META)
def test_bad_input_to_meta_classifier_is_one_line_and_nothing_is_written(
    tmp_path: Path, tables: list[str], capsys: Captured, case: str
) -> None:
    arguments, expected = BAD_META[case]
    assert expected in refused(meta_classifier.main, [*tables, *arguments], capsys)
    assert written(tmp_path) == []


def test_a_hostile_table_is_one_line_and_nothing_is_written(tmp_path: Path, tables: list[str], capsys: Captured) -> None:
    hostile = table(tmp_path / "data", net())
    hostile.write_text(hostile.read_text().replace("runs/", "../../../"))
    before = written(tmp_path)
    assert "leaves the table's folder" in refused(meta_classifier.main, [*tables, f"--data_test={hostile}"], capsys)
    assert written(tmp_path) == before
