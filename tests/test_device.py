"""The seam to a GPU: what can be said of it where there is none."""

from __future__ import annotations

import contextlib
import gc
import inspect
import os

import pytest
import torch

from nws import device
from nws.device import CudaLane, Lane
from nws.errors import NwsError

here = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


@here
def test_without_a_gpu_a_lane_of_it_is_refused():
    with pytest.raises(NwsError, match="CUDA"):
        CudaLane()
    assert device.best() == torch.device("cpu")
    assert device.name(device.best()) == "CPU"


@here
def test_a_capture_registers_the_generator_first_and_collects_no_garbage(monkeypatch):
    """The order of calls, on stand-ins for PyTorch's classes; their arguments are held against PyTorch's own signatures."""
    said: list[str] = []

    class Graph:
        def register_generator_state(self, generator):
            said.append(f"register {generator.initial_seed()}")

        def replay(self):
            said.append("replay")

    @contextlib.contextmanager
    def graph(*args, **kwargs):
        inspect.signature(real.__init__).bind(None, *args, **kwargs)
        said.append(f"begin {kwargs['stream']}")
        yield
        said.append("end")

    real = torch.cuda.graph
    for name, value in (
        ("is_available", lambda: True),
        ("current_device", lambda: 0),
        ("Stream", lambda: "stream"),
        ("CUDAGraph", Graph),
        ("graph", graph),
    ):
        monkeypatch.setattr(torch.cuda, name, value)
    lane = CudaLane()
    assert lane.device == torch.device("cuda:0")
    replay = lane.capture(lambda: said.append(f"work, gc {gc.isenabled()}"), torch.Generator().manual_seed(5))
    replay()
    assert said == ["register 5", "begin stream", "work, gc False", "end", "replay"]
    assert gc.isenabled()


def test_the_driver_is_told_of_all_lanes():
    assert os.environ["CUDA_DEVICE_MAX_CONNECTIONS"].isdigit()


def test_the_cpu_is_a_lane():
    lane = Lane()
    assert lane.generator(3).initial_seed() == 3
    assert lane.mark().query()
    done = []
    with lane.working():
        lane.capture(lambda: done.append(1), lane.generator(0))()
    assert done == [1]


def test_exact_arithmetic_ends_where_it_began():
    def state():
        return torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic, torch.get_float32_matmul_precision()

    before = state()
    try:
        with device.exact():
            assert state() == (False, True, "highest")
            raise RuntimeError("inside")
    except RuntimeError:
        assert state() == before
