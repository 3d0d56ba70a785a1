# Everything a newcomer types. Each target does the set-up it needs; nothing but Python (3.11 or newer, with venv) is expected.

PYTHON ?= python3
WORKERS ?= 2
BENCHES := ingest stages formats geolocate hot roll year serve
BENCH_INGEST ?=
BENCH_STAGES ?=
BENCH_FORMATS ?=
BENCH_GEOLOCATE ?=
BENCH_HOT ?=
BENCH_ROLL ?=
BENCH_YEAR ?=
BENCH_PEERS ?=
BENCH_SERVE ?=
BENCH_KERNEL ?=

BIN := .venv/bin
STAMP := .venv/.set-up
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input
LOCKS := requirements/dev.txt requirements/geo.txt

.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench $(BENCHES:%=bench-%) bench-peers bench-kernel soak clean
.DELETE_ON_ERROR:
.NOTPARALLEL: # what is measured runs alone

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

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

bench: $(BENCHES:%=bench-%) ## measure all that needs no other program (bench-hot: one of them; BENCH_INGEST="--lines 100000": less)

$(BENCHES:%=bench-%): bench-%: $(STAMP)
	$(BIN)/python -m bench.$* $(BENCH_$(shell echo $* | tr a-z A-Z))

bench-peers: $(STAMP) ## measure ingest beside GoAccess; where that is missing, root gets it by apt-get
	@command -v goaccess >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get install -y goaccess; } || { \
	  echo "bench-peers needs GoAccess. On Debian and Ubuntu: apt-get install goaccess" >&2; exit 1; }
	$(BIN)/python -m bench.peers $(BENCH_PEERS)

bench-kernel: $(STAMP) ## measure a prototype of a compiled kernel; needs cc
	$(BIN)/python -m bench.kernel $(BENCH_KERNEL)

soak: $(STAMP) ## kill the server 200 times while lines come and analysts ask; takes about half an hour
	KILLS=200 $(BIN)/python -m pytest tests/simulation/test_serve_kill.py --timeout 7200

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
