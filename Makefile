# Targets are listed by `make help`, from the comments after ##.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# Folder of the environment, and the Python that makes it.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
# Test processes side by side.
JOBS ?= 2
# Index of CPU builds of torch, used only if no NVIDIA driver is found.
TORCH_CPU_INDEX ?= https://download.pytorch.org/whl/cpu

# Waiting threads sleep instead of spinning, which costs seconds wherever cores are shared.
export OMP_WAIT_POLICY := passive
export PATH := $(abspath $(BIN)):$(PATH)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: install
install: $(VENV)/.installed ## make the environment in .venv, with what is needed for development

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "error: $(PYTHON) is older than 3.11 — install a newer one and give it: make PYTHON=python3.12" >&2; exit 2; }
	@echo "installing into $(VENV) (about 2 GB, some minutes)"
	$(PYTHON) -m venv $(VENV)
	@# Without a GPU, the CPU build of torch saves gigabytes. If its index cannot be reached, the usual one is used.
	@command -v nvidia-smi > /dev/null || $(BIN)/python -m pip install --quiet --retries 1 --timeout 20 \
		--index-url $(TORCH_CPU_INDEX) -c constraints.txt torch \
		|| echo "no CPU build of torch from $(TORCH_CPU_INDEX); taking the one of the package index"
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@

.PHONY: demo
demo: install ## see HEMGS compress a small scene at sixteen rates (two cores, no GPU, minutes)
	$(BIN)/snakemake --profile profiles/demo
	@echo
	@echo "Open results/page/index.html in a browser; tables are in results/tables, figures in results/figures."

.PHONY: report
report: install ## put the demonstration's tables, figures and page into results/report.zip
	$(BIN)/snakemake --profile profiles/demo --report results/report.zip

.PHONY: test
test: lint ## run every check and test
	OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=2 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal --ignore tests/cluster
	@# These tests run last and alone: they start a Slurm, and their time limits assume idle cores.
	tests/cluster/run

.PHONY: bench
bench: install ## print how fast rendering, coding and training are here
	$(BIN)/python -m tests.speed

.PHONY: lint
lint: install ## check style, types, words, import directions and the workflow
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python tools/check_words.py
	$(BIN)/lint-imports
	$(BIN)/snakefmt --check --compact-diff workflow
	$(BIN)/snakemake --lint

.PHONY: format
format: install ## put code into the agreed form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt workflow

.PHONY: schemas
schemas: install ## make workflow/schemas from the models that check configurations
	$(BIN)/python -m tools.make_schemas

.PHONY: clean
clean: ## remove the environment and the caches of tools; results stay
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
