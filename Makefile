# Everything a clone needs, from nothing but a Python. `make demo` and `make test` are the two to know.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
JOBS ?= 2

.PHONY: help demo test lint long bench sample clean

help:
	@echo "make demo    install into $(VENV) and show the whole path, offline, in a minute or two"
	@echo "make test    linters, types, layers, and the test suite"
	@echo "make long    the tests that take minutes"
	@echo "make bench   the figures of the README, measured on this machine"
	@echo "make sample  make recordings/2024-06-01.arrow again, bit for bit"

# One stamp per set of extras: an environment that is there is not made twice.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "error: $$($(PYTHON) --version 2>&1) is too old, or there is no $(PYTHON): 3.11 or newer is needed" >&2; \
		echo "hint: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[claude]'
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/.installed

demo: $(VENV)/.installed
	$(BIN)/engine demo

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check --quiet
	$(BIN)/ruff format --quiet --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

test: lint
	$(BIN)/pytest -q -n $(JOBS)

long: $(VENV)/.installed-dev
	$(BIN)/pytest -q -n $(JOBS) -m long

# Alone on the machine: other work spoils the ratios.
bench: $(VENV)/.installed-dev
	$(BIN)/python -m bench

sample: $(VENV)/.installed
	$(BIN)/python -m engine.serve.sample recordings/2024-06-01.arrow

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis bench/.cache
