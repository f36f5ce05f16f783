"""docs/families.md and docs/readers.md do what they say: their blocks are run one after the other, in a folder of their own."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from test_docs import fenced

DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.mark.parametrize(("page", "blocks"), [("families.md", 7), ("readers.md", 8)])
def test_every_block_of_the_page_runs(page: str, blocks: int, tmp_path: Path) -> None:
    ran = 0
    for language, text in fenced(DOCS / page):
        if language == "python" and text.startswith("# my"):
            (tmp_path / text.split()[1]).write_text(text, encoding="utf-8")
            continue
        if language == "text":  # a command that was measured, on a zoo that takes hours
            continue
        lines = text.splitlines() if language == "sh" else [None]
        for line in lines:
            command = ["-c", f"import nws\n{text}"] if line is None else ["-m", "nws", *shlex.split(line)[1:]]
            done = subprocess.run([sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{line or text}\n{done.stderr}"
            ran += 1
    assert ran == blocks
