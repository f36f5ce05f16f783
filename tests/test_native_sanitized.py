"""The native engine under sanitizers: addresses, undefined behaviour."""

import pytest
from native_program import COMPILER, trained


@pytest.mark.slow
@pytest.mark.skipif(not COMPILER, reason="no C++ compiler")
def test_no_byte_outside_and_no_undefined_behaviour(tmp_path):
    flags = "-O1", "-march=native", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"
    assert len(trained(tmp_path, COMPILER, *flags)) == 11
