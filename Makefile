# Every command the project knows. `make help` lists them.
# Needs Python >= 3.11 and the package index; uv is installed into .uv/ when it is not on PATH.

SHELL := /bin/sh
BIN   := .venv/bin
UV    := PYTHON="$(PYTHON)" tools/uv
SYNC  := $(UV) sync --quiet --locked --inexact

# Options: make demo SIZE=20000 · make test ARGS="-k registry" JOBS=0 · make setup PYTHON=/path/to/python3.13
PYTHON ?=
SIZE   ?=
ARGS   ?=
JOBS   ?= auto

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format check bench soak docs build clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## create .venv with all that development needs
	@$(SYNC)

demo: ## run the card-payments demo from raw data to scores (SIZE=number of transactions)
	@$(SYNC) --no-default-groups --extra demo
	@$(BIN)/likewise demo $(if $(SIZE),--size $(SIZE))

test: ## set up what the tests need and run them all (ARGS=pytest options, JOBS=processes)
	@$(SYNC) --no-default-groups --group test
	@$(BIN)/python -m pytest -n $(JOBS) $(ARGS)

lint: setup ## ruff, strict types and the import floors
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/mypy
	@$(BIN)/python tools/check_floors.py

format: setup ## put every file into the project's format
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

check: lint test ## everything that must pass before a change lands

bench: setup ## time the benchmarks, each against its baseline in the same run (ARGS=which, and their options)
	@$(BIN)/python -m benchmarks $(ARGS)

soak: setup ## hold the guarantees at full length, and search longer; see docs/guarantees.md (ARGS="-k T1." of one only)
	@LIKEWISE_SOAK=1 $(BIN)/python -m pytest -n $(JOBS) --timeout=3600 -o faulthandler_timeout=0 \
		--hypothesis-profile=soak -m "hypothesis or guarantee" $(ARGS)

docs: setup ## write the generated reference pages, then run every example in README.md and docs/
	@$(BIN)/python tools/generate_docs.py
	@$(BIN)/python -m pytest -q tests/test_docs.py tests/test_docstrings.py

build: ## build the wheel and the sdist into dist/
	@$(UV) build --quiet

clean: ## remove everything that these commands made
	rm -rf .venv .uv dist .pytest_cache .mypy_cache .ruff_cache .hypothesis demo
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
