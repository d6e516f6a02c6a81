# Everyday commands; each makes the virtual environment first if it is missing. `make help` lists them.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

# Most tests wait for real programs most of the time: more workers than cores do not disturb each other.
WORKERS ?= 3

# Coverage of lines and branches, in percent. It only goes up.
COVERAGE_FLOOR := 96

# Set up again when what is to be installed changed.
DEMO_READY := $(VENV)/.installed-demo
DEV_READY := $(VENV)/.installed-dev

# What `make simulate` and `make chaos` try.
SEEDS ?= 1..200
MINUTES ?= 30
SEED ?= 1

.DEFAULT_GOAL := help
.PHONY: help demo test lint quick pitfalls simulate simulate-long chaos bench docs picture wheel clean

help:
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "AgentCom needs Python 3.11 or newer: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

$(DEMO_READY): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[demo]'
	@touch $@

$(DEV_READY): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ $(DEMO_READY)

.venv: $(DEV_READY) ## set up the virtual environment for everything below

demo: $(DEMO_READY) ## the main job on an embedded Redis, with a real repository
	$(BIN)/agentcom demo

lint: $(DEV_READY) ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

test: lint ## lint, then the whole test suite with coverage, that of its subprocesses included
	@rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest -n $(WORKERS) --dist loadfile
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report --fail-under=$(COVERAGE_FLOOR)

quick: $(DEV_READY) ## the tests that start no process, in seconds
	$(BIN)/python -m pytest -q -m 'not process'

pitfalls: $(DEV_READY) ## the ten mistakes, what prevents each, and whether that holds
	$(BIN)/python -m tests.pitfalls

simulate: $(DEV_READY) ## whole pools in simulated worlds; SEEDS=1..200
	$(BIN)/python -m tests.simulation --seeds $(SEEDS)

simulate-long: $(DEV_READY) ## the same until a million tasks have lived, on all cores
	$(BIN)/python -m tests.simulation --lifecycles 1000000

chaos: $(DEV_READY) ## real processes killed, frozen and cut off; MINUTES=30 SEED=1
	$(BIN)/python -m tests.chaos --minutes $(MINUTES) --seed $(SEED)

bench: $(DEV_READY) ## the benchmarks
	$(BIN)/python -m benchmarks

docs: $(DEV_READY) ## write the generated parts of docs/ again
	$(BIN)/python -m docs.generate

picture: $(DEV_READY) ## make docs/monitor.svg again: the monitor's screen of the demo
	$(BIN)/python -m docs.picture

wheel: $(DEV_READY) ## build the wheel into dist/, and install it into a clean environment
	rm -rf dist
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .
	rm -rf build/clean && $(PYTHON) -m venv build/clean
	build/clean/bin/python -m pip install --quiet --disable-pip-version-check dist/*.whl
	build/clean/bin/agentcom --version

clean: ## remove whatever the commands above made
	rm -rf $(VENV) build dist .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
