"""Sphinx: the pages of this folder and the docstrings of the public interface. `make docs` builds them, warnings are errors."""

import re

import nws

project, author, copyright = "nws", "the nws authors", "2026, the nws authors"
release = version = nws.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc"]
html_theme = "furo"
html_title = f"nws {version}"
exclude_patterns = ["_build"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
# Links from a page to a file of the repository are for readers of the repository.
suppress_warnings = ["myst.xref_missing"]


def docstring_blocks(app, what, name, obj, options, lines: list[str]) -> None:
    """Docstrings here are plain text: prose with `code`, and tables in columns. Tables and examples are shown as they stand."""
    blocks = re.split(r"\n\s*\n", "\n".join(lines).strip())
    lines.clear()
    for block in blocks:
        if re.search(r"^ |\S {2,}\S|^>>>", block, re.MULTILINE):
            lines += [".. code-block:: text", "", *(f"   {line}" for line in block.split("\n")), ""]
        else:
            pieces = block.split("`")
            pieces[::2] = [re.sub(r"([\\*_|:<>\[\]])", r"\\\1", text) for text in pieces[::2]]
            lines += ["``".join(pieces).replace("\n", " "), ""]


def setup(app) -> None:
    app.connect("autodoc-process-docstring", docstring_blocks)
