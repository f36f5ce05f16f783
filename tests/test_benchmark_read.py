"""The benchmark of readers: fresh tests, the same table twice, changes of weights that are what they say."""

import json
from dataclasses import replace

import numpy as np
import pytest

import nws
from nws import NwsError, cli
from nws.benchmark import benchmark_read, read, zoos
from nws.benchmark.tracks import CHANGES, trials
from nws.benchmark.zoos import SCALES, Scale

SMALL = Scale(
    ("digits", "scenes"), {"fixed": (16, 8), "main": (20, 10), "mlp": (0, 8)}, 60, 30, 2, 3, 2, ("optimizer", "test_accuracy")
)
MODELS = ("prior", "accuracy", "svm-linear-16", "svm-linear-480")


@pytest.fixture(scope="module", autouse=True)
def scales():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zoos, "SCALES", {**SCALES, "tiny": SMALL})
        patch.setattr(
            zoos, "SPACES", {"fixed": nws.FIXED, "main": nws.MAIN.with_(filter_size=(3, 7), width_fc=64), "mlp": zoos.SPACES["mlp"]}
        )
        yield


def asked(folder, **how):
    return benchmark_read(folder, scale="tiny", models=MODELS, workers=1, **how)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("read")
    return folder, asked(folder, seed=7)


def without_times(rows):
    return [replace(row, train_seconds=None, read_ms=None) for row in rows]


def test_every_track_has_an_answer(made):
    _, rows = made
    tracks = {trial.track for trial in trials(SMALL)}
    assert {row.track for row in rows if not row.skipped} == tracks
    for row in rows:
        assert row.skipped or row.n_tested > 0
        assert row.accuracy is None or row.low <= row.accuracy <= row.high


def test_the_prior_has_no_skill_and_is_the_measure_of_it(made):
    _, rows = made
    priors = [row for row in rows if row.model == "prior" and row.skill is not None]
    assert priors
    assert all(abs(row.skill) < 1e-12 for row in priors)


def test_the_same_seed_gives_the_same_table_and_another_seed_other_nets(made, tmp_path):
    _, rows = made
    again = asked(tmp_path, seed=7, tracks=("main", "fixed"))
    assert without_times(again) == without_times([row for row in rows if row.track in ("main", "fixed")])
    other = asked(tmp_path, seed=8, tracks=("main",))
    assert [row.r2 for row in other] != [row.r2 for row in again if row.track == "main"]


def test_what_is_known_is_not_computed_again(made, monkeypatch):
    folder, rows = made
    monkeypatch.setattr(read.Scorer, "row", lambda *_: pytest.fail("computed twice"))
    assert asked(folder, seed=7) == rows


def test_nets_that_were_learned_from_are_no_test(tmp_path):
    with pytest.raises(NwsError, match="name another one"):
        asked(tmp_path, seed=zoos.PUBLIC_SEED)
    with pytest.raises(NwsError, match="track 'nothing' is unknown"):
        asked(tmp_path, seed=1, tracks=("nothing",))


def test_who_never_saw_an_option_learned_from_no_net_that_has_it(made):
    _, rows = made
    by_track = {row.track: row for row in rows if row.model == "svm-linear-16" and row.target == "optimizer"}
    assert by_track["unseen filter_size"].n_train < by_track["main"].n_train
    assert by_track["unseen filter_size"].n_tested < by_track["main"].n_tested
    (unknown,) = (row for row in rows if row.track == "none of these" and row.model == "svm-linear-16")
    assert unknown.accuracy is None
    assert 0 <= unknown.auc <= 1


@pytest.mark.parametrize("name", CHANGES)
def test_changes_of_weights_are_small_where_they_should_be(made, name):
    folder, _ = made
    zoo = nws.Zoo(folder / "tiny" / "main")
    theta, layout = zoo.theta(0, 3)[None], zoo.layout(0)
    before, found = theta.copy(), CHANGES[name](theta, layout, 0)
    np.testing.assert_array_equal(theta, before)
    assert found.shape == theta.shape
    assert not np.array_equal(found, theta)
    if name == "permuted units":
        np.testing.assert_array_equal(np.sort(found), np.sort(theta))
    elif name == "half pruned":
        weights = np.concatenate([found[0, t.start : t.stop] for t in layout.tensors if len(t.shape) > 1])
        assert 0.45 < (weights == 0).mean() < 0.55
    else:
        assert np.abs(found - theta).max() < 0.01 * np.abs(theta).max()


def test_the_command_prints_rows(made, capsys, monkeypatch):
    folder, _ = made
    line = [
        "nws",
        "benchmark",
        "read",
        "--scale",
        "tiny",
        "--seed",
        "7",
        "--out",
        str(folder),
        "--tracks",
        "main",
        "--models",
        "prior,svm-linear-16",
    ]
    monkeypatch.setattr("sys.argv", [*line, "--json"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    found = json.loads(capsys.readouterr().out)
    assert {
        "track",
        "target",
        "model",
        "accuracy",
        "low",
        "high",
        "chance",
        "skill",
        "ece",
        "r2",
        "tau",
        "train_seconds",
        "read_ms",
    } <= set(found[0])
    assert [(row["track"], row["model"]) for row in found] == [("main", "prior"), ("main", "svm-linear-16")] * 2
    monkeypatch.setattr("sys.argv", line)
    with pytest.raises(SystemExit):
        cli.main()
    assert "main: optimizer" in capsys.readouterr().out
