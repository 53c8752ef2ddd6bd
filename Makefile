# Every target makes .venv when it is missing. CI calls the same targets (.ci/run).
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
# Remove a target whose recipe failed or was stopped.
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Touched last, so that an interrupted installation is repeated.
INSTALLED := $(VENV)/.installed
# Each process imports torch and Detectron2 first, so that more than four gain little.
PYTEST := $(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist worksteal
PACKAGING := $(wildcard packaging/detectron2/*.py packaging/detectron2/*.txt)

.PHONY: help setup demo test test-slow test-all acceptance check format wheel bench docs clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

setup: $(INSTALLED) ## Create .venv, then check whether this machine can train
	@$(BIN)/detfinetune doctor

demo: $(INSTALLED) ## Train on generated aerial scenes and draw detections
	$(BIN)/detfinetune train +experiment=satellite

test: $(INSTALLED) ## Run the tests, without the slow ones
	$(PYTEST) -m "not slow and not gpu and not network" $(PYTEST_ARGS)

test-slow: $(INSTALLED) ## Run the slow tests, and the property tests with more examples
	$(PYTEST) -m "(slow or hypothesis) and not gpu and not network" --hypothesis-profile thorough $(PYTEST_ARGS)

test-all: test test-slow ## Run all tests but those that need a GPU or the internet

acceptance: $(INSTALLED) ## Try it all on this machine, with its GPU and its internet
	@failed=0; set -x; \
	  $(BIN)/python -m pytest -q -m "gpu or network" $(PYTEST_ARGS) || failed=1; \
	  $(BIN)/python tests/acceptance.py $(ACCEPTANCE_ARGS) || failed=1; \
	  exit $$failed

check: $(INSTALLED) ## Check lint, formatting, types and import directions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED) ## Format the code and fix lint errors
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# In an empty folder elsewhere, so that nothing of the checkout is found but the copied tests.
CORE_TESTS := test_api.py config models/rcnn/test_build.py engine/test_recipe.py engine/test_trainer.py \
  evaluation/test_metrics.py
wheel: ## Build the wheel; import, train and test with it in a fresh environment, without extras
	@rm -rf dist; folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; unset PYTHONPATH; set -x; \
	  $(PYTHON) -m venv "$$folder/venv"; export PATH="$$folder/venv/bin:$$PATH"; \
	  pip wheel -q --no-deps --wheel-dir dist .; wheel=$$(realpath dist/*.whl); \
	  cp -r tests pyproject.toml "$$folder"; cd "$$folder"; \
	  pip install -q "$$wheel"; \
	  python tests/core_alone.py; \
	  detfinetune doctor --offline; \
	  python -c 'from pathlib import Path; from detfinetune.sample_scenes import write_sample_scenes; \
	    write_sample_scenes(Path("scenes"), num_scenes=14)'; \
	  detfinetune train +experiment=satellite data.root=scenes augment.image_size=128 \
	    solver.max_iter=10 evaluation.eval_period=0; \
	  pip install -q "pytest>=8" "pytest-timeout>=2.3" "hypothesis>=6.100"; \
	  python -m pytest -q -m "not slow and not gpu and not network" $(addprefix tests/,$(CORE_TESTS))

bench: ## List the benchmarks
	@awk 'FNR == 1 && /^"""/ {gsub(/"""/, ""); print FILENAME ": " $$0}' benchmarks/*.py

docs: $(INSTALLED) ## Check the links in the docs
	$(BIN)/python -m pytest -q tests/test_docs.py

clean: ## Remove .venv and caches; runs and datasets stay
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -not -path './runs/*' -prune -exec rm -rf {} +

# pip writes to a log; the terminal shows one line per large download, and the end of the log on errors.
$(INSTALLED): pyproject.toml $(PACKAGING)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "error: $(PYTHON) is missing or older than 3.10; set another one: make $(or $(MAKECMDGOALS),setup) PYTHON=python3.11" >&2; exit 1; }
	@if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	  echo "Creating $(VENV) with $$($(PYTHON) --version)"; \
	  $(PYTHON) -m venv --clear $(VENV) || { \
	    echo "error: the virtual environment cannot be created; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }; \
	fi
	@echo "Installing into $(VENV): 3 GB of downloads the first time, most of it torch"
	@$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off -e ".[dev]" 2>&1 \
	  | tee $(VENV)/install.log \
	  | awk '/(Downloading|Using cached) .*\([0-9][0-9][0-9]\.[0-9]+ MB\)/ {sub(/-.*\(/, " ("); print; fflush()} \
	         /^Installing collected packages/ {print "  Unpacking"; fflush()}' || { \
	    tail -n 40 $(VENV)/install.log >&2; \
	    echo "error: the installation failed; see $(VENV)/install.log" >&2; exit 1; }
	@touch $@
