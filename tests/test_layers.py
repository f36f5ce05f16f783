"""Imports point down only, and `import nws` is light."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[1] / "src"

# Top to bottom: a module imports from the tiers below its own, a package also from itself. A new module goes in here.
TIERS = (
    {"__main__"},
    {"cli"},
    {"report"},
    {"importers", "exporters"},
    {"legacy", "demo", "auditing", "bench", "benchmark", "gallery"},
    {"figures"},
    {"analysis"},
    {"tables"},
    {"terminal"},
    {"sampling", "tasks"},
    {"bars"},
    {"meta", "zoo"},
    {"representations"},
    {"train"},
    {"images", "augment", "weights"},
    {"net", "device"},
    {"families"},
    {"dropout", "fitting", "layout", "recorded"},
    {"atomic", "cells", "processes", "progress"},
    {"shift"},
    {"errors", "processor", "threads", "vocabulary"},
)
RANK = {module: rank for rank, tier in enumerate(TIERS) for module in tier}
HEAVY = {"torch", "pandas", "sklearn", "skimage", "matplotlib", "pyarrow"}  # half a second and more each
NOT_A_NOUN = {"utils", "util", "common", "helpers", "misc"}

# Dotted name -> file, for every module of the package.
MODULES = {
    ".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((SRC / "nws").rglob("*.py"))
}


class Imports(ast.NodeVisitor):
    """The modules of nws that a file names anywhere in it, but for type checkers only."""

    def __init__(self, module: str, path: Path):
        self.module, self.found = module, set[str]()
        self.visit(ast.parse(path.read_text(encoding="utf-8")))

    def visit_If(self, node: ast.If) -> None:
        if "TYPE_CHECKING" not in ast.dump(node.test):
            self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        self.found |= {alias.name for alias in node.names if alias.name.split(".")[0] == "nws"}

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        assert node.level == 0, f"{self.module}, line {node.lineno}: import by the full name, from nws. ..."
        if node.module and node.module.split(".")[0] == "nws":
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                if whole in MODULES:
                    self.found.add(whole)
                elif whole != "nws.__version__":  # provenance: everyone may ask for it
                    self.found.add(node.module)


IMPORTS = {module: Imports(module, path).found for module, path in MODULES.items()}


def part(module: str) -> str:
    """ "meta" of "nws.meta.dmc"."""
    return module.split(".")[1]


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"nws"}))
def test_imports_point_down(module: str) -> None:
    own = part(module)
    assert own in RANK, f"{module} is new: give {own!r} a place in TIERS (tests/test_layers.py), below all that may import it"
    for other in IMPORTS[module]:
        assert other != "nws", f"{module} imports from the package's front door: name the module that defines it"
        assert part(other) == own or RANK.get(part(other), 0) > RANK[own], f"{module} imports {other}, which does not lie below it"


def test_there_is_no_import_cycle() -> None:
    graph = {module: found - {module} for module, found in IMPORTS.items() if module != "nws"}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_modules_are_named_after_what_they_hold() -> None:
    assert not {name for module in MODULES for name in module.split(".")} & NOT_A_NOUN


@pytest.mark.parametrize("module", ["nws", "nws.cli"])
def test_importing_is_light(module: str) -> None:
    code = f"import sys, {module}; print(*sorted({HEAVY} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not loaded, f"import {module} loads {', '.join(loaded)}: import them in the functions that need them"
