# Two commands for a new user: `make demo` and `make test`. Each sets up .venv by itself.
# A GPU build of torch: CONSTRAINTS= make demo, after installing torch into .venv yourself.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CONSTRAINTS ?= constraints.txt
PIP_FLAGS := $(if $(CONSTRAINTS),-c $(CONSTRAINTS))

# Networks this small gain little by a second thread; threads that spin while they wait slow one another down where cores
# are shared, and those that sleep instead take three times as long where they are not.
export OMP_NUM_THREADS ?= 1
export OMP_WAIT_POLICY ?= PASSIVE

# One process of tests a core; those that they start find modules compiled.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal

.DEFAULT_GOAL := help

.PHONY: help
help:  ## Lists the commands.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check $(PIP_FLAGS) -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check $(PIP_FLAGS) -e '.[dev]'
	@touch $@ $(VENV)/.installed

.PHONY: demo
demo: $(VENV)/.installed  ## Installs, trains discrete CQL on embedded data, prints a table, draws the curve.
	$(BIN)/python examples/demo.py

.PHONY: test
test: $(VENV)/.installed-dev  ## Installs and runs every test, slow ones too.
	$(PYTEST)

.PHONY: static
static: format-check lint types

.PHONY: check
check: static fast  ## What a commit must pass: format, lint, types, fast tests.

.PHONY: format
format: $(VENV)/.installed-dev  ## Formats the code.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: format-check
format-check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .

.PHONY: lint
lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .

.PHONY: types
types: $(VENV)/.installed-dev
	$(BIN)/mypy --strict

.PHONY: fast
fast: $(VENV)/.installed-dev
	$(PYTEST) -m 'not slow'

.PHONY: try
try: $(VENV)/.installed-dev  ## Runs the tests nearest to what has changed since main, in half a minute.
	$(BIN)/python scripts/changed_tests.py

.PHONY: faults
faults: $(VENV)/.installed-dev  ## Kills, fills, flips, forges and fuzzes at large, and prints the table of it.
	OFFLINEKIT_FAULTS=full $(BIN)/python -m pytest tests/faults tests/datasets/test_malformed_files.py tests/test_golden.py

.PHONY: mutants
mutants: $(VENV)/.installed-dev  ## Breaks the mathematics of each algorithm and sees a test fail.
	$(BIN)/python scripts/mutate.py

$(VENV)/.installed-docs: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check $(PIP_FLAGS) -e '.[docs]'
	@touch $@ $(VENV)/.installed

.PHONY: docs
docs: $(VENV)/.installed-docs  ## Builds these documents as a site: site/index.html.
	$(BIN)/python -m mkdocs build --strict

.PHONY: clean
clean:  ## Removes what the commands above made.
	rm -rf $(VENV) build dist site *.egg-info .mypy_cache .ruff_cache .pytest_cache
