"""What is wrong from the start is refused before anything heavy is imported."""

import subprocess
import sys

import pytest
from studied import studied_zoo

from nws import gallery, meta, vocabulary

HEAVY = ("torch", "sklearn", "matplotlib", "skimage")


def test_the_names_are_those_of_what_there_is():
    assert tuple(meta.METAS) == vocabulary.META_CLASSIFIERS
    assert tuple(gallery.FIGURES) == vocabulary.FIGURES


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("classify nope", "nope"),
        ("classify ZOO --property optimiser", "'optimiser' is unknown: use one of optimizer"),
        ("classify ZOO --snapshots 5-9", "--snapshots 5-9"),
        ("classify ZOO --snapshots 90", "snapshot 90"),
        ("classify ZOO --meta dcm", "'dcm' is unknown: use one of dmc"),
        ("classify ZOO --slice many", "--slice many"),
        ("classify ZOO --workers 0", "--workers 0"),
        ("audit missing.pt", "missing.pt"),
        ("audit ZOO/zoo.json --with nomodels", "nomodels"),
        ("figures nope --out out", "nope"),
        ("figures ZOO --out out --only figure99", "'figure99' is unknown"),
        ("report nope", "nope"),
        ("export nope --to numpy --out out", "nope"),
        ("import checkpoints nope zoo", "nope"),
        ("verify nope", "nope"),
    ],
)
def test_refused_before_heavy_imports(command, said, tmp_path, zoo):
    words = [word.replace("ZOO", str(zoo.path)) for word in command.split()]
    script = (
        f"import sys; sys.argv = ['nws', *{words!r}]\nfrom nws.cli import main\ntry: main()\n"
        f"finally: print(*sorted(set({HEAVY}) & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 2, run.stderr
    assert said in run.stderr
    assert run.stderr.count("\n") == 1
    assert run.stdout.split() == []


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    return studied_zoo(tmp_path_factory.mktemp("refusals") / "zoo", nets=12)
