"""What every test stands on: no user's cache or data folder, no window, one thread, and the shared real data where it exists."""

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]

# Before anything imports torch or matplotlib. The font cache takes seconds to build, so it is kept, but not in the user's folder.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["MPLBACKEND"] = "Agg"
os.environ["MPLCONFIGDIR"] = str(ROOT / ".pytest_cache" / "matplotlib")

# A shell starts background jobs (`make test &`, nohup) with Ctrl-C ignored, and programs inherit that: those that tests stop with
# Ctrl-C would not hear it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A slow machine is no failure, and CI must not fail on an example that nobody can repeat.
settings.register_profile("nws", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("nws")


@pytest.fixture(autouse=True)
def _own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A cache of the test's own, and no $NWS_DATA: what a test sees never depends on who runs it."""
    monkeypatch.delenv("NWS_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real image sets and files written by the 2020 program: beside the repository, or $NWS_SHARED."""
    folder = Path(os.environ.get("NWS_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip("no folder of shared data beside the repository; $NWS_SHARED may name one")
    return folder
