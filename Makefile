# Two commands do all set-up: `make run` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test lint deb bench bench-docs bench-core clean

run: $(VENV)/.run
	@exec packaging/run.sh $(BIN)

test: $(VENV)/.test
	@$(BIN)/python -m pytest -q -m "not e2e"

lint: $(VENV)/.dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

deb:
	@packaging/build-deb.sh

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "chatbridge needs Python 3.11 or newer")'
	@# A half-made one, as without Debian's python3-venv, would be taken for whole the next time.
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.run: setup.cfg pyproject.toml | $(VENV)/bin/python
	@echo "Installing chatbridge into $(VENV) (once) ..."
	@$(BIN)/pip install -q --disable-pip-version-check -e '.'
	@touch $@

$(VENV)/.test: setup.cfg pyproject.toml | $(VENV)/bin/python
	@echo "Installing chatbridge and its test tools into $(VENV) (once) ..."
	@$(BIN)/pip install -q --disable-pip-version-check -e '.[test]'
	@touch $@ $(VENV)/.run

$(VENV)/.dev: setup.cfg pyproject.toml | $(VENV)/.test
	@$(BIN)/pip install -q --disable-pip-version-check -e '.[test,dev]'
	@touch $@

# The daemon under load, with nginx and codex-relay beside it where they are installed. ROUNDS=1 SCENARIOS=short,burst
# for a part of it; bench-docs runs all and writes the tables into docs/performance.md; bench-core needs no network.
ROUNDS ?= 3
SCALE ?= 1

bench: $(VENV)/.bench
	@$(BIN)/python benchmarks/bench.py --rounds $(ROUNDS) --scale $(SCALE) $(if $(SCENARIOS),--scenarios $(SCENARIOS))

bench-docs: $(VENV)/.bench
	@$(BIN)/python benchmarks/bench.py --rounds $(ROUNDS) --docs docs/performance.md

bench-core: $(VENV)/.bench
	@$(BIN)/python -m pytest -q benchmarks/test_core.py

$(VENV)/.bench: setup.cfg pyproject.toml | $(VENV)/.test
	@$(BIN)/pip install -q --disable-pip-version-check -e '.[bench]'
	@$(BIN)/pip install -q --disable-pip-version-check codex-relay==0.5.8 || echo "codex-relay cannot be installed here: left out"
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .hypothesis
