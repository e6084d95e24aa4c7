# Two commands do all set-up: `make run` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test lint deb clean

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

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .hypothesis
