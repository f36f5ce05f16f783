# Needs Python 3.11 or newer and make; everything else goes into .venv, so nothing outside this folder is touched.
#   make run        set-up, then a small zoo and what can be read from its weights
#   make test       set-up, then the tests (make test-all: the slow ones too)
#   make lint       formatting, lint and types
#   make docs       the documentation as HTML, in docs/_build/html
#   make clean      removes what set-up, tests and docs made; zoos stay
# PYTHON=python3.12 chooses another Python, PIP_ARGS="..." passes through to pip or uv.

PYTHON ?= python3
PIP_ARGS ?=
BIN := .venv/bin
NATIVE := CMakeLists.txt $(shell find src -name '*.[ch]pp')
UV := $(shell command -v uv 2>/dev/null)

ifneq ($(UV),)
  ifneq ($(PIP_FIND_LINKS),)
    export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
  endif
  INSTALL = uv pip install --python $(BIN)/python -c constraints.txt $(PIP_ARGS)
else
  INSTALL = $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt $(PIP_ARGS)
endif

.PHONY: run test test-all lint docs clean

run: .venv/.nws
	$(BIN)/nws demo

# One thread per test process: two processes with two threads each are slower than either alone.
test: .venv/.nws-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 -m "not slow"

test-all: .venv/.nws-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2

lint: .venv/.nws-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: .venv/.nws-docs
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

clean:
	rm -rf .venv docs/_build build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp per set of packages: made after the installation succeeded, renewed when the versions change.
.venv/.nws: .venv/.made pyproject.toml constraints.txt $(NATIVE)
	$(INSTALL) -e .
	@touch $@

.venv/.nws-dev: .venv/.made pyproject.toml constraints.txt $(NATIVE)
	$(INSTALL) -e '.[dev]'
	@touch $@ .venv/.nws

.venv/.nws-docs: .venv/.made pyproject.toml constraints.txt
	$(INSTALL) -e '.[docs]'
	@touch $@ .venv/.nws

# Debian splits Python: venv may be there without ensurepip, and pip without either. Whatever is there is used.
.venv/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "nws needs Python 3.11 or newer, '$(PYTHON)' is not: name one with 'make PYTHON=python3.12 ...'" >&2; exit 2; }
	@if [ -n "$(UV)" ]; then uv venv -q --allow-existing --python "$(PYTHON)" .venv; \
	elif $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then $(PYTHON) -m venv .venv; \
	elif $(PYTHON) -c 'import pip, venv' 2>/dev/null; then \
	  $(PYTHON) -m venv --without-pip .venv && $(PYTHON) -m pip --python $(BIN)/python install -q pip; \
	else echo "this Python can make no virtual environment: 'apt-get install python3-venv' (Debian, Ubuntu) or install uv" >&2; exit 2; fi
	@touch $@
