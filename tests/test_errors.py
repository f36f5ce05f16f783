"""Errors are one line with the address and the cure."""

import pytest

from nws import NwsError
from nws.errors import unknown


def test_the_nearest_name_comes_first() -> None:
    assert str(unknown("optimizer", "adm", ["momentum", "rmsprop", "adam"])).startswith(
        "optimizer 'adm' is unknown: use one of adam, "
    )


def test_all_valid_names_are_listed() -> None:
    message = str(unknown("part", "convs", ("all", "conv", "fc")))
    assert set(message.partition("one of ")[2].split(", ")) == {"all", "conv", "fc"}


@pytest.mark.parametrize("name", ["two\nlines", 7, None, 2.5, ""])
def test_any_name_gives_one_line(name: object) -> None:
    assert "\n" not in str(unknown("thing", name, [1, True, "three"]))


def test_callers_may_catch_a_value_error() -> None:
    assert issubclass(NwsError, ValueError)


def test_the_others_keep_their_order_whatever_was_written() -> None:
    names = ["dataset", "batch_size", "optimizer", "activation"]
    assert str(unknown("property", "optimiser", names)).endswith("use one of optimizer, dataset, batch_size, activation")
    assert str(unknown("property", "xyz", names)).endswith("use one of dataset, batch_size, optimizer, activation")


def test_a_set_is_listed_in_the_same_order_in_every_process() -> None:
    assert str(unknown("part", "x", {"conv", "fc", "all"})).endswith("use one of all, conv, fc")
