# make quickstart   from nothing to a finished first run
# make check test   what a change has to pass

# The first that works: shims of versions that are not installed do not.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
STAMP := .venv/installed
NAME ?= quickstart

.PHONY: setup quickstart test test-all check format clean
.DEFAULT_GOAL := setup

setup: $(STAMP)

$(STAMP): pyproject.toml
	@test -x $(BIN)/python || test -n "$(PYTHON)" || { echo "pmd needs Python 3.11, 3.12 or 3.13" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing pmd and what it needs into .venv; the first time this takes some minutes"
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --editable ".[dev]"
	@touch $@

quickstart: setup
	$(BIN)/pmd run recipes/quickstart.yaml --name $(NAME) --fresh-name

test: setup
	$(BIN)/python -m pytest -m "not slow and not vllm and not gpu" $(ARGS)

test-all: setup
	$(BIN)/python -m pytest $(ARGS)

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
