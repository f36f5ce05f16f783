"""Documents cannot drift: every command line in them is parsed by the real program, every path they name exists."""

import ast
import os
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import nws
from nws.cli import app

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
SHELL = {"sh", "bash", "shell", "console"}
NOT_OURS = {"git", "cd", "pip", "apt-get", "export"}  # commands that a page may show and that no test of ours can parse


def fenced(page: Path) -> list[tuple[str, str]]:
    """(language, text) of each fenced block."""
    return re.findall(r"^```(\w*)[^\n]*\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[str]:
    """The command lines of a page's shell blocks: continued lines joined, prompts and comments dropped, one per `&&`."""
    found = []
    for language, text in fenced(page):
        for line in text.replace("\\\n", " ").splitlines() if language in SHELL else ():
            tokens = shlex.split(line.removeprefix("$ "), comments=True)
            found += [part.strip() for part in shlex.join(tokens).split("'&&'") if part.strip()]
    return found


LINES = [pytest.param(line, id=f"{page.name}: {line}") for page in PAGES for line in commands(page)]


@cache
def flags(script: str) -> set[str]:
    """The flags in the help of a script at the repository's root."""
    shown = subprocess.run([sys.executable, script, "--help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"--[\w-]+", shown))


def check_nws(arguments: list[str]) -> None:
    app.parse_args(arguments, exit_on_error=False, print_error=False)


def check_make(arguments: list[str]) -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert {a for a in arguments if "=" not in a} <= targets


def check_python(arguments: list[str]) -> None:
    script = ROOT / arguments[0]
    if script.parent == ROOT:
        assert {a.split("=")[0] for a in arguments[1:] if a.startswith("--")} <= flags(arguments[0])
    assert script.is_file(), f"{arguments[0]} does not exist"


CHECKS = {"nws": check_nws, "make": check_make, "python": check_python, "python3": check_python}


def check(line: str) -> None:
    tokens = shlex.split(line)
    while tokens and re.fullmatch(r"\w+=.*", tokens[0]):  # NAME=value in front of a command
        tokens = tokens[1:]
    name = Path(tokens[0]).name  # .venv/bin/nws is nws
    if name not in NOT_OURS:
        assert name in CHECKS, f"no check for {name!r}: add one to tests/test_docs.py"
        CHECKS[name](tokens[1:])


@pytest.mark.parametrize("line", LINES)
def test_commands_are_real(line: str) -> None:
    check(line)


def test_the_readme_shows_the_commands_people_need() -> None:
    assert {"make run", "make test"} <= set(commands(README))
    assert {line.split()[1] for line in commands(README) if line.startswith("nws ")} >= {
        "demo",
        "sample",
        "info",
        "verify",
        "classify",
    }


@pytest.mark.parametrize(
    "line", ["nws smaple zoo", "nws sample zoo --netz 3", "make tset", "python recipes/no_such.py", "rm -r zoo"]
)
def test_a_wrong_command_is_noticed(line: str) -> None:
    with pytest.raises(Exception):  # noqa: B017 (the CLI's own parse errors and our assertions)
        check(line)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_examples_parse_and_name_what_exists(page: Path) -> None:
    for language, text in fenced(page):
        if language == "python":
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "nws":
                    assert hasattr(nws, node.attr), f"nws.{node.attr}"


# The annotated tree of the README


def tree() -> list[str]:
    """The paths that the README's tree names: indented under their folder, two spaces before the remark."""
    text = next(text for language, text in fenced(README) if language == "text" and "src/nws/" in text)
    paths: list[str] = []
    folders: list[str] = []
    for line in text.splitlines():
        name = re.split(r"\s{2,}", line.strip())[0]
        depth = (len(line) - len(line.lstrip())) // 2
        folders[depth:] = [name]
        paths.append("".join(folders))
    return paths


@pytest.mark.parametrize("path", tree())
def test_the_tree_names_what_exists(path: str) -> None:
    assert (ROOT / path).exists()
    assert (ROOT / path).is_dir() == path.endswith("/")


def test_the_tree_names_every_module() -> None:
    package = ROOT / "src" / "nws"
    modules = {f"src/nws/{path.name}" for path in package.glob("*.py") if not path.stem.startswith("__")}
    modules |= {f"src/nws/{path.parent.name}/" for path in package.glob("*/__init__.py")}
    assert modules <= set(tree()), f"README.md does not explain {', '.join(sorted(modules - set(tree())))}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_exist(page: Path) -> None:
    prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    targets = [t for t in re.findall(r"\]\(([^)#\s]+)", prose) if "://" not in t]
    missing = [t for t in targets if not os.path.lexists(page.parent / t)]
    assert not missing
