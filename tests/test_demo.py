"""The demo leaves out what its nets cannot tell; the whole of it is run by `make run`, and from a wheel in test_wheels.py."""

import pandas as pd
import pytest

from nws.demo import on_both_sides


@pytest.mark.parametrize(
    ("classes", "sides", "told"),
    [
        ("aabb", "train test train test", True),
        ("aabb", "train test train train", False),  # no b to be tested
        ("aabb", "test test train train", False),
        ("aabb", "train train train train", False),
        ("aaaa", "train test train test", False),  # one class is no question
    ],
)
def test_a_property_is_read_when_every_class_is_on_both_sides(classes, sides, told):
    assert on_both_sides(pd.DataFrame({"property": list(classes), "split": sides.split()}), "property") is told
