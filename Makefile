# Two commands matter: `make demo` and `make test`. Both work on a bare Linux machine and install what they need.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
WORKERS ?= 4
# One more than processors: tests wait for disks and sockets, too.
PYTESTS ?= $(shell echo $$(( $$(nproc) + 1 )))
# Memory for processor time: Go's compiler and the test clusters' API servers collect garbage a quarter as often.
TEST_GOGC ?= 400
# Some machines set it for all; the hundreds of processes of a test run would each compile anew what they import.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo demo-down test check unit oracles processes local-tests cluster-tests bench generate images up down clean

help: ## What can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

$(READY): pyproject.toml constraints.txt
	@echo "Installing the project and its tools into $(VENV) (about 20 s from an empty cache)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(READY) ## The whole loop on real data, on this machine
	@$(BIN)/python -m demo

demo-down: $(READY) ## Take away what the demo made
	@$(BIN)/python -m demo down

test: check local-tests cluster-tests ## Everything that must hold: static checks, unit tests, tests on a real cluster

check: $(READY) ## Formatting, lint, types, import contracts, generated files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m perennial.api --check

unit: $(READY) ## Unit tests: no process is started, time is virtual
	$(BIN)/pytest -p no:pytest-kind tests/unit -m "not process" --numprocesses $(PYTESTS) --dist worksteal

oracles: $(READY) ## Crashes at every write, late views, misuse: the three controllers over an API server in memory
	$(BIN)/pytest -p no:pytest-kind tests/oracles --numprocesses auto --dist worksteal

processes: $(READY) ## The trainer and the server as processes: killed, drained, told nonsense
	$(BIN)/pytest -p no:pytest-kind tests/unit -m process --numprocesses auto --dist worksteal

# All import what is tested: together they do so once. The longest come first: a worker that begins one last would be
# waited for.
local-tests: $(READY) ## Unit tests, oracles and those of processes in one run
	$(BIN)/pytest -p no:pytest-kind tests/oracles tests/unit --numprocesses $(PYTESTS) --dist worksteal

cluster-tests: $(READY) ## Tests on real clusters, as many at a time as WORKERS says
	GOGC=$(TEST_GOGC) $(BIN)/pytest tests/cluster --numprocesses $(WORKERS) --dist loadgroup --no-loadscope-reorder

bench: $(READY) ## Measure and print (docs/benchmarks.md says what to expect)
	$(BIN)/python -m tests.benchmarks

generate: $(READY) ## Write what comes from the models: CRDs, reference docs, schemas
	$(BIN)/python -m perennial.api

images: $(READY) ## Build the operator's and the runtime's images and load them
	$(BIN)/python -m cluster images

up: $(READY) ## A cluster on this machine
	$(BIN)/python -m cluster up

down: $(READY) ## Take it down
	$(BIN)/python -m cluster down

clean: ## Forget the environment; caches outside the repository stay
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
