"""The space: what is drawn, what is refused, and the 2020 program's codes."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare, kstest

from nws import FIXED, MAIN, HyperParameters, NwsError, Space
from nws.families.cnn2020 import ARCHITECTURE, CNN2020, PROPERTIES

GOOD = {
    "dataset": "mnist",
    "learning_rate": 0.001,
    "batch_size": 64,
    "batch_norm": True,
    "augmentation": False,
    "optimizer": "adam",
    "activation": "relu",
    "initialization": "normal",
    "filter_size": 5,
    "depth_conv": 3,
    "depth_fc": 2,
    "width_conv": 8,
    "width_fc": 128,
}
COLUMNS_2020 = [{"learning_rate": "lrate"}.get(name, name) for name in GOOD]  # in the order of Table 1
seeds = st.integers(0, 2**32 - 1)
numbers = st.integers(0, 10**6)


def test_the_table_of_the_paper() -> None:
    """Table 1, written down a second time."""
    assert {name: p.options for name, p in PROPERTIES.items()} == {
        "dataset": ("mnist", "cifar10", "svhn", "stl10", "fashion"),
        "learning_rate": (0.0002, 0.005),
        "batch_size": (32, 64, 128, 256),
        "batch_norm": (False, True),
        "augmentation": (False, True),
        "optimizer": ("adam", "rmsprop", "momentum"),
        "activation": ("relu", "elu", "sigmoid", "tanh"),
        "initialization": ("constant", "normal", "glorot_uniform", "glorot_normal"),
        "filter_size": (3, 5, 7),
        "depth_conv": (3, 4, 5),
        "depth_fc": (2, 3, 4),
        "width_conv": (4, 8, 12),
        "width_fc": (64, 128, 192),
    }
    assert [p.column_2020 for p in PROPERTIES.values()] == COLUMNS_2020  # the order is the meaning of --prop 0..12


# Sampling


@given(seeds, st.integers(1, 12), st.integers(0, 12))
def test_a_net_depends_on_seed_and_number_only(seed: int, n: int, more: int) -> None:
    few, many = MAIN.sample(n, seed), MAIN.sample(n + more, seed)
    assert many[:n] == few
    assert [MAIN.net(seed, i) for i in reversed(range(n))] == few[::-1]


def test_seeds_share_no_net() -> None:
    assert not set(MAIN.sample(200, seed=0)) & set(MAIN.sample(200, seed=1))  # 1 + 0 is not 0 + 1


def test_a_net_is_the_same_in_another_process() -> None:
    code = "from nws import MAIN; print(MAIN.net(3, 14))"
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert there.strip() == str(MAIN.net(3, 14))


@given(seeds, numbers, st.sampled_from(sorted(set(PROPERTIES) - {"learning_rate"})), st.data())
def test_narrowing_one_property_leaves_the_others(seed: int, number: int, name: str, data: st.DataObject) -> None:
    option = data.draw(st.sampled_from(PROPERTIES[name].options))
    narrowed, whole = MAIN.with_(**{name: option}).net(seed, number), MAIN.net(seed, number)
    assert narrowed == whole.with_(**{name: option})


def test_main_reaches_every_option_equally_often() -> None:
    nets = MAIN.sample(3000, seed=1)
    for name, options in MAIN.options.items():
        if not PROPERTIES[name].continuous:
            counts = [sum(getattr(hp, name) == option for hp in nets) for option in options]
            assert sum(counts) == len(nets)
            assert chisquare(counts).pvalue > 0.001 or len(options) == 1, (name, counts)


def test_the_learning_rate_is_uniform() -> None:
    rates = [hp.learning_rate for hp in MAIN.sample(3000, seed=2)]
    assert kstest(rates, "uniform", args=(0.0002, 0.0048)).pvalue > 0.01


def test_properties_are_drawn_independently() -> None:
    """No pair of properties is correlated beyond chance: 78 pairs, so the bound is 4.5 standard errors."""
    codes = [[MAIN.options[k].index(v) if k != "learning_rate" else v for k, v in hp.to_dict().items()] for hp in MAIN.sample(3000)]
    values = np.delete(np.array(codes, float), list(PROPERTIES).index("batch_norm"), axis=1)  # always on: no variance
    correlation = np.corrcoef(values.T) - np.eye(values.shape[1])
    assert np.abs(correlation).max() < 4.5 / np.sqrt(3000)


def test_fixed_is_the_paper_s_architecture() -> None:
    assert {tuple(getattr(hp, name) for name in ARCHITECTURE) for hp in FIXED.sample(50)} == {(5, 3, 2, 8, 128)}
    assert {hp.batch_norm for hp in [*FIXED.sample(50), *MAIN.sample(50)]} == {True}


def test_users_narrow_fix_and_extend() -> None:
    space = FIXED.with_(optimizer=["adam"], dataset=["fashion", "my_scans"], learning_rate=0.002, width_fc=[32, 1000])
    nets = space.sample(40)
    assert {hp.optimizer for hp in nets} == {"adam"}
    assert {hp.dataset for hp in nets} == {"fashion", "my_scans"}
    assert {hp.learning_rate for hp in nets} == {0.002}
    assert {hp.width_fc for hp in nets} == {32, 1000}


# Refusals


@pytest.mark.parametrize(
    ("name", "value", "cure"),
    [
        ("optimizer", "adma", "use one of adam, "),
        ("activation", 1, "use one of "),
        ("batch_norm", "yes", "use one of "),
        ("learning_rate", 0, "positive"),
        ("learning_rate", float("nan"), "positive"),
        ("learning_rate", float("inf"), "positive"),
        pytest.param("learning_rate", 10**400, "positive", id="learning_rate-too-large-for-a-float"),
        ("learning_rate", True, "positive"),
        ("learning_rate", "0.001", "positive"),
        ("batch_size", 0, "of 1 to"),
        ("batch_size", 32.0, "whole number"),
        ("batch_size", True, "whole number"),
        ("depth_conv", 2, "of 3 to"),
        ("depth_conv", 10**9, "of 3 to 1,000"),
        ("filter_size", 4, "odd"),
        ("dataset", "", "image set"),
        ("dataset", 3, "image set"),
        ("dataset", "a\nb", "image set"),
    ],
)
def test_nonsense_is_refused_in_one_line(name: str, value: object, cure: str) -> None:
    with pytest.raises(NwsError, match=cure) as caught:
        HyperParameters(**{**GOOD, name: value})
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_layer_of_no_units_is_refused() -> None:
    with pytest.raises(NwsError, match="nothing is left"):
        HyperParameters(**{**GOOD, "width_fc": 4, "depth_fc": 4})
    assert HyperParameters(**{**GOOD, "width_fc": 8, "depth_fc": 4}).width_fc == 8


def test_numpy_scalars_become_plain_values() -> None:
    hp = HyperParameters(**{**GOOD, "batch_size": np.int64(64), "augmentation": np.bool_(True), "learning_rate": np.float32(0.5)})
    assert [type(v) for v in (hp.batch_size, hp.augmentation, hp.learning_rate)] == [int, bool, float]


@pytest.mark.parametrize(
    ("options", "cure"),
    [
        ({"optimiser": "adam"}, "optimizer"),
        ({"optimizer": []}, "at least one option"),
        ({"optimizer": {"adam", "momentum"}}, "list"),
        ({"learning_rate": [0.1, 0.2, 0.3]}, "range"),
        ({"learning_rate": [0.2, 0.1]}, "range"),
        ({"activation": ["relu", "gelu"]}, "use one of"),
    ],
)
def test_spaces_refuse_nonsense(options: dict[str, object], cure: str) -> None:
    with pytest.raises(NwsError, match=cure):
        MAIN.with_(**options)


def test_a_space_needs_every_property() -> None:
    with pytest.raises(NwsError, match="learning_rate"):
        Space({"dataset": ("mnist",)}, CNN2020)


@pytest.mark.parametrize(("seed", "number"), [(-1, 0), (2**32, 0), (0, -1), (0, 2**32)])
def test_seeds_and_numbers_outside_32_bits_are_refused(seed: int, number: int) -> None:
    """NumPy would fold them onto the stream of another net."""
    with pytest.raises(NwsError, match="0 to 4,294,967,295"):
        MAIN.net(seed, number)


def test_from_mapping_names_what_is_missing() -> None:
    with pytest.raises(NwsError, match="depth_fc"):
        HyperParameters.from_mapping({k: v for k, v in GOOD.items() if k != "depth_fc"})
    assert HyperParameters.from_mapping({**GOOD, "more": 1}).to_dict() == GOOD


# The 2020 codes


@given(seeds, numbers)
def test_2020_codes_round_trip(seed: int, number: int) -> None:
    hp = MAIN.net(seed, number)
    assert HyperParameters.from_2020(hp.to_2020()) == hp
    as_text = {column: str(value) for column, value in hp.to_2020().items()}
    assert list(as_text) == COLUMNS_2020
    assert HyperParameters.from_2020(as_text) == hp


@pytest.mark.parametrize(("off", "on"), [("0", "1"), ("False", "True"), ("0.0", "1.0"), (0, 1), (False, True), (0.0, 1.0)])
def test_2020_switches_and_codes_in_any_spelling(off: object, on: object) -> None:
    row = HyperParameters(**GOOD).to_2020()
    hp = HyperParameters.from_2020({**row, "augmentation": on, "batch_norm": off, "optimizer": "2.0", "filter_size": "7.0"})
    assert (hp.augmentation, hp.batch_norm, hp.optimizer, hp.filter_size) == (True, False, "momentum", 7)


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        ("optimizer", "3"),
        ("optimizer", "-1"),
        ("optimizer", "0.7"),
        ("optimizer", "adam"),
        ("initialization", "nan"),
        ("initialization", "inf"),
        ("augmentation", "2"),
        ("lrate", "fast"),
        ("lrate", "nan"),
        ("batch_size", "32.5"),
        ("batch_size", ""),
    ],
)
def test_2020_cells_that_mean_nothing_are_refused(column: str, cell: str) -> None:
    with pytest.raises(NwsError):
        HyperParameters.from_2020({**HyperParameters(**GOOD).to_2020(), column: cell})


def test_2020_tables_without_a_column_are_refused() -> None:
    row = HyperParameters(**GOOD).to_2020()
    del row["lrate"]
    with pytest.raises(NwsError, match="lrate"):
        HyperParameters.from_2020(row)


def test_rows_that_the_2020_program_wrote(shared: Path) -> None:
    rows = []
    for table in sorted((shared / "fixtures" / "nws2020").glob("*.csv")):
        with table.open(newline="") as lines:
            rows += list(csv.DictReader(lines))
    nets = {row["path"]: HyperParameters.from_2020(row) for row in rows}
    assert nets["main/1012"] == HyperParameters(
        "mnist", 0.000474, 256, True, False, "momentum", "sigmoid", "glorot_normal", 3, 4, 3, 4, 192
    )
    for row in rows:
        written = nets[row["path"]].to_2020()
        assert {column: str(written[column]) for column in COLUMNS_2020} == {column: row[column] for column in COLUMNS_2020}
