# Every target that needs packages first makes the virtual environment, with the exact versions of constraints.txt.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help venv demo test faults lint check format benchmark clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

venv: $(STAMP) ## make the virtual environment, or bring it up to date

$(STAMP): pyproject.toml constraints.txt
	@echo 'Installing the packages of constraints.txt into $(VENV): several minutes, once'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(STAMP) ## compare the four handwritten maps with Captum's on twenty photos and write the report
	@$(BIN)/suite run configs/quick.yaml; status=$$?; \
	if [ $$status -lt 2 ]; then echo "The report: $(CURDIR)/reports/quick/report.html"; fi; \
	exit $$status

test: $(STAMP) ## run all tests, the quick ones first, a process a core; QUICK_OPTIONS=--cov=suite prints which branches they reach
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 $(QUICK_OPTIONS)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal -m slow

faults: $(STAMP) ## kill a run of every study twenty times; its rows must be those of an undisturbed one
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m faults

lint: $(STAMP) ## style only: ruff
	$(BIN)/ruff check .
	$(BIN)/ruff check --quiet --preview --select PLR1702 suite
	$(BIN)/ruff format --check .

check: lint ## style, types and import layers
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

benchmark: ## NAME=attribution|sanity|scores|attacks beside the other libraries, in an environment of its own
	$(PYTHON) -m venv .venv-benchmarks
	.venv-benchmarks/bin/python -m pip install --quiet --constraint constraints.txt --editable . quantus==0.6.0 grad-cam
	.venv-benchmarks/bin/python benchmarks/$(NAME).py $(OPTIONS)

clean: ## remove the virtual environment and all caches; reports stay
	rm -rf $(VENV) .venv-benchmarks build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find suite tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
