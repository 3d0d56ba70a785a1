# Everything a newcomer types. Each target does the set-up it needs; nothing but Python (3.11 or newer, with venv) is expected.

PYTHON ?= python3
WORKERS ?= 2
BENCH ?=
BENCH_FORMATS ?=

BIN := .venv/bin
STAMP := .venv/.set-up
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input
LOCKS := requirements/dev.txt requirements/geo.txt

.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench clean
.DELETE_ON_ERROR:

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

setup: $(STAMP) ## fill .venv with the locked packages, so that .venv/bin/auditlake runs
	@echo "ready: .venv/bin/auditlake"

demo: $(STAMP) ## take ten thousand real request lines through a whole year
	@$(BIN)/auditlake demo

test: check ## check, then all tests (WORKERS=2 at once; PYTEST="-k roll" for some)
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(PYTEST)

check: $(STAMP) ## lint, formatting, types, direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: $(STAMP) ## a million lines into storage, then every format (BENCH="--lines 100000", BENCH_FORMATS="--lines 20000" for fewer)
	$(BIN)/python -m bench.ingest $(BENCH)
	$(BIN)/python -m bench.formats $(BENCH_FORMATS)

clean: ## remove .venv and all caches; data directories stay
	rm -rf .venv build dist *.egg-info .ruff_cache .mypy_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Made anew whenever a lock file or the project's own description changes; otherwise it costs nothing.
$(STAMP): $(LOCKS) pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  found=$$({ $(PYTHON) --version; } 2>/dev/null) || found=absent; \
	  echo "auditlake needs Python 3.11 or newer; '$(PYTHON)' is $$found. Name another: make setup PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "'$(PYTHON)' lacks venv. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "setting up .venv: some minutes the first time"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(PIP) --require-hashes -r requirements/dev.txt
	@$(PIP) --require-hashes --no-deps -r requirements/geo.txt
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@
