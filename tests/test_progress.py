"""What is said while something takes long, and one step of it says nothing."""

import io
import time

import pytest
import torch
from rich.console import Console

from nws import bars
from nws.progress import Doing
from nws.train.runners import base


def said(monkeypatch, terminal, seconds):
    heard = io.StringIO()
    monkeypatch.setattr(bars, "console", Console(file=heard, force_terminal=terminal, width=120))
    with bars.progress() as on_progress:
        on_progress(Doing("one long step", 0.0))
        time.sleep(seconds)
    return heard.getvalue()


def test_the_time_goes_on_while_a_step_is_silent(monkeypatch):
    shown = said(monkeypatch, True, 2.3)
    assert all(f"{n} s elapsed" in shown for n in range(3))


def test_where_nobody_watches_lines_go_on_too(monkeypatch):
    monkeypatch.setattr(bars, "PLAIN_SECONDS", 0.1)
    lines = said(monkeypatch, False, 1.0).splitlines()
    assert len(lines) >= 3
    assert set(lines) <= {f"one long step ({n} s elapsed)" for n in range(3)}


@pytest.mark.parametrize(("chosen", "used"), [(None, 1), (2, 2)])
def test_training_with_pytorch_uses_one_thread_unless_told_otherwise(monkeypatch, chosen, used):
    monkeypatch.setattr(base, "chosen_by_user", lambda: chosen)
    before = torch.get_num_threads()
    with base._one_thread():
        assert torch.get_num_threads() == used
    assert torch.get_num_threads() == before
