# Every target makes .venv when it is missing. CI calls the same targets (.ci/run).
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
# A target whose recipe failed or was stopped is not taken as made.
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Touched last, so that an installation that was stopped half-way is started again.
INSTALLED := $(VENV)/.installed
# Each process imports torch and Detectron2 first, so that more than four gain little.
PYTEST := $(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist worksteal
PACKAGING := $(wildcard packaging/detectron2/*.py packaging/detectron2/*.toml)

.PHONY: help setup demo test test-slow test-all check format bench docs clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' Makefile

setup: $(INSTALLED) ## Make .venv with everything in it, then look whether training can work
	@$(BIN)/python tools/doctor.py

demo: $(INSTALLED) ## Train on generated aerial scenes and show what the detector finds
	$(BIN)/python tools/train_net.py +experiment=satellite

test: $(INSTALLED) ## Run the tests, without the slow ones
	$(PYTEST) -m "not slow and not gpu" $(PYTEST_ARGS)

test-slow: $(INSTALLED) ## Run the slow tests, and the property tests with more examples
	$(PYTEST) -m "(slow or hypothesis) and not gpu" --hypothesis-profile thorough $(PYTEST_ARGS)

test-all: test test-slow ## Run all tests but those that need a GPU

check: $(INSTALLED) ## Lint, formatting, types, import directions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED) ## Format the code and mend what the linter can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: ## Say what each benchmark measures
	@awk 'FNR == 1 && /^"""/ {gsub(/"""/, ""); print FILENAME ": " $$0}' benchmarks/*.py

docs: $(INSTALLED) ## Check that the links in the documents lead somewhere
	$(BIN)/python -m pytest -q tests/test_docs.py

clean: ## Remove .venv and caches; runs and datasets stay
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -not -path './runs/*' -prune -exec rm -rf {} +

# pip speaks into a log; the terminal gets one line for each large download, and the log's end when
# something fails.
$(INSTALLED): pyproject.toml $(PACKAGING)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "error: $(PYTHON) is missing or older than 3.10; name another one: make $(or $(MAKECMDGOALS),setup) PYTHON=python3.11" >&2; exit 1; }
	@if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	  echo "Making $(VENV) with $$($(PYTHON) --version)"; \
	  $(PYTHON) -m venv --clear $(VENV) || { \
	    echo "error: no virtual environment could be made; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }; \
	fi
	@echo "Installing into $(VENV): 3 GB of downloads the first time, most of it torch"
	@$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off -e ".[dev]" 2>&1 \
	  | tee $(VENV)/install.log \
	  | awk '/(Downloading|Using cached) .*\([0-9][0-9][0-9]\.[0-9]+ MB\)/ {sub(/-.*\(/, " ("); print; fflush()} \
	         /^Installing collected packages/ {print "  Unpacking"; fflush()}' || { \
	    tail -n 40 $(VENV)/install.log >&2; \
	    echo "error: the installation failed; all that pip said is in $(VENV)/install.log" >&2; exit 1; }
	@touch $@
