"""The demo leaves out what its nets cannot tell; the whole of it is run by `make run`, and from a wheel in test_wheels.py."""

import pandas as pd
import pytest

from nws.demo import can_be_split


@pytest.mark.parametrize(
    ("classes", "statuses", "told"),
    [
        ("aabb", "ok ok ok ok", True),
        ("aaab", "ok ok ok ok", False),  # one b cannot be learned from and be tested
        ("aabb", "ok ok ok diverged", False),
        ("aaaa", "ok ok ok ok", False),  # one class is no question
    ],
)
def test_a_property_is_read_when_every_class_can_stand_on_both_sides(classes, statuses, told):
    assert can_be_split(pd.DataFrame({"property": list(classes), "status": statuses.split()}), "property") is told
