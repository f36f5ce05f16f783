"""From hyper-parameters to a zoo, through Python; and the demo's whole story in small."""

import json

import numpy as np
import pytest
import torch

import nws
from nws import demo, sampling
from nws.errors import NwsError
from nws.train import Schedule

SPACE = nws.FIXED.with_(filter_size=3, width_conv=1, width_fc=8, batch_size=32)
QUICK = {"limit": 60, "limit_test": 20, "epochs": 2, "snapshots": 3, "workers": 1}


def test_one_image_set_trains_every_net(tmp_path):
    zoo = nws.sample(tmp_path / "zoo", SPACE.sample(3), images="digits", **QUICK)
    assert zoo.index["dataset"].tolist() == ["digits"] * 3
    assert zoo.images["digits"]["limit"] == 60
    assert zoo.images["digits"]["sha256"]
    assert zoo.settings["epochs"] == 2
    assert zoo.planned == 3


def test_each_net_takes_its_own_image_set(tmp_path):
    hps = SPACE.with_(dataset=["digits", "scenes"]).sample(6, seed=1)
    zoo = nws.sample(tmp_path / "zoo", hps, **QUICK)
    assert zoo.index["dataset"].tolist() == [hp.dataset for hp in hps]
    assert set(zoo.index["dataset"]) == {"digits", "scenes"}


def test_images_of_ones_own(tmp_path):
    rng = np.random.default_rng(0)
    own = nws.images.register(
        "stripes",
        rng.integers(0, 255, (40, 32, 32), np.uint8),
        np.arange(40) % 4,
        rng.integers(0, 255, (8, 32, 32), np.uint8),
        np.arange(8) % 4,
    )
    settings = {**QUICK, "limit": None, "limit_test": None}
    a = nws.sample(tmp_path / "a", SPACE.sample(2), images=own, **settings)
    b = nws.sample(tmp_path / "b", SPACE.sample(2), images="stripes", **settings)
    np.testing.assert_array_equal(a.theta(1), b.theta(1))


def test_a_space_on_one_side_only_the_nets_decide(tmp_path):
    space = SPACE.with_(dataset="digits", optimizer=["adam", "momentum"])
    sets = sampling.load_images(["digits"], limit=60, limit_test=20)
    schedule = Schedule(0, 3, 2)
    planned = sampling.prepare(tmp_path / "zoo", space.sample(2), sets, schedule, space)  # as `nws sample` does
    zoo = nws.sample(tmp_path / "zoo", space.sample(3), images="digits", **QUICK)
    assert zoo.space == planned.space == space
    assert (zoo.planned, len(zoo)) == (3, 3)
    assert sampling.prepare(tmp_path / "zoo", space.sample(3), sets, schedule, space).planned == 3
    for nets, said in [
        ([space.net(1, 0)], r"its net 0 has \w+="),
        ([*space.sample(3), space.net(0, 3).with_(optimizer="rmsprop")], "its space has optimizer=adam, momentum, net 3 rmsprop"),
        ([*space.sample(3), space.net(0, 3).with_(learning_rate=0.5)], "its space has learning_rate="),
    ]:
        with pytest.raises(NwsError, match=said):
            nws.sample(tmp_path / "zoo", nets, images="digits", **QUICK)
    assert nws.Zoo(tmp_path / "zoo").planned == 3, "a refused call changes nothing"
    with pytest.raises(NwsError, match="seed=0, not 1"):
        nws.sample(tmp_path / "zoo", space.sample(3, seed=1), images="digits", seed=1, **QUICK)


def test_a_zoo_without_a_space_goes_on_by_the_command_line_with_the_same_nets(tmp_path):
    sets = sampling.load_images(["digits"], limit=60, limit_test=20)
    space, schedule = SPACE.with_(dataset="digits"), Schedule(0, 3, 2)
    nws.sample(tmp_path / "zoo", space.sample(2), images="digits", **QUICK)
    assert sampling.prepare(tmp_path / "zoo", space.sample(4), sets, schedule, space).planned == 4
    with pytest.raises(NwsError, match="its net 0 has"):
        sampling.prepare(tmp_path / "zoo", space.sample(4, seed=7), sets, schedule, space)


def test_other_images_under_the_same_name_are_refused(tmp_path):
    nws.sample(tmp_path / "zoo", SPACE.sample(1), images="digits", **QUICK)
    with pytest.raises(NwsError, match="was made with"):
        nws.sample(tmp_path / "zoo", SPACE.sample(1), images="digits", **{**QUICK, "limit": 70})


def test_nets_are_told_when_they_are_on_disk(tmp_path):
    on_disk = []

    def on_progress(said):
        if isinstance(said, nws.Net):
            on_disk.append((tmp_path / f"zoo/nets/000/{said.number:06d}.safetensors").is_file())

    nws.sample(tmp_path / "zoo", SPACE.sample(2), images="digits", on_progress=on_progress, **QUICK)
    assert on_disk == [True, True]


@pytest.mark.parametrize(("values", "word"), [((-1, 20, 5), "seed=-1"), ((0, 0, 5), "snapshots=0"), ((0, 20, -1), "epochs=-1")])
def test_schedules_refuse_nonsense(values, word):
    with pytest.raises(NwsError, match=word):
        Schedule(*values)


def test_sampling_needs_its_images(tmp_path):
    with pytest.raises(NwsError, match="svhn"):
        sampling.load_images(["svhn"], tmp_path)


def test_the_demo_tells_the_whole_story_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "SPACE", SPACE.with_(dataset="digits", batch_size=[16, 32]))
    monkeypatch.setattr(demo, "SCHEDULE", Schedule(0, 20, 3))
    monkeypatch.setattr(demo, "LIMIT", 60)
    monkeypatch.setattr(demo, "ROUNDS", 1)
    monkeypatch.setattr(demo, "DMC_ROUNDS", 1)
    monkeypatch.setattr(demo, "DMC_SLICE", 100)
    monkeypatch.setattr(demo, "DMC_STEPS", 2)
    rows = demo.run(tmp_path / "out", nets=24, workers=1)
    slices = {p: ("dmc",) if p in demo.LOCAL else () for p in demo.PROPERTIES}
    expected = [(p, m) for p in demo.PROPERTIES for m in (*demo.METAS, *slices[p])]
    assert [(r.property, r.meta) for r in rows] == [*expected, (demo.NUMBER, demo.NUMBER_META)]
    assert (tmp_path / "out/demo.png").stat().st_size > 10_000
    assert len(json.loads((tmp_path / "out/results.json").read_text())) == len(rows)
    assert len(nws.Zoo(tmp_path / "out/zoo")) == 24
    monkeypatch.setattr(demo.sampling, "fill", lambda *a, **k: pytest.fail("trained twice"))
    assert demo.run(tmp_path / "out", nets=24, workers=1) == rows


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_an_engine_this_machine_lacks_leaves_nothing_behind(tmp_path):
    with pytest.raises(NwsError, match="engine gpu"):
        nws.sample(tmp_path / "zoo", SPACE.sample(1), images="digits", engine="gpu", **QUICK)
    with pytest.raises(NwsError, match="engine gpu"):
        sampling.cautions([], {}, Schedule(), "gpu")
    assert not list(tmp_path.iterdir())
