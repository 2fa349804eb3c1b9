# Footwork. `make` alone lists what there is. Needs Python 3.11 or later, git and make (GNU 3.81 or later); uv is used when
# it is there. Everything lands in this folder: .venv for the packages, .data for the built-in services.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTEST := $(BIN)/python -m pytest
# A process per core, each with its own database, bucket and Redis database; a file's tests stay together.
PARALLEL ?= -n auto --maxprocesses=8 --dist=loadfile

.DEFAULT_GOAL := help
.PHONY: help setup demo up test lint bench lock clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

setup: $(STAMP) ## make .venv from the lock

demo: setup ## play the main job on real parts; PHOTOS=folder for your own photographs
	$(BIN)/footwork demo $(if $(PHOTOS),--photos "$(PHOTOS)")

up: setup ## start everything for development and print the addresses; Ctrl-C stops it
	$(BIN)/footwork up

test: setup ## all tests; ARGS="tests/jobs -k feed" for some
	$(PYTEST) $(PARALLEL) $(ARGS)

lint: setup ## style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup ## the benchmarks behind docs/performance.md
	$(PYTEST) tests/benchmarks -s $(ARGS)

lock: ## renew requirements.lock from pyproject.toml (needs uv)
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-emit-find-links --no-header --no-annotate --quiet -o requirements.lock

clean: ## remove .venv, caches and the data of the built-in services
	rm -rf $(VENV) .data .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Only the lock says what is installed, and every file of it is checked against its hash. Footwork itself is linked in.
$(STAMP): requirements.lock pyproject.toml
	@sh infra/deploy/check-python.sh "$(PYTHON)"
	@echo "Installing into $(VENV): about 130 packages, one to three minutes."
	@if command -v uv >/dev/null 2>&1; then \
		set -ex; \
		uv venv --quiet --allow-existing --python $(PYTHON) $(VENV); \
		uv pip install --quiet --python $(BIN)/python --compile-bytecode --require-hashes -r requirements.lock; \
		uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .; \
	else \
		set -ex; \
		$(PYTHON) -m venv $(VENV); \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock; \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .; \
	fi
	@touch $@
