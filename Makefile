# Every target sets up .venv if it is missing.
PYTHON ?= python3
VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help repro run test check ui bench

help: ## what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1	/'

repro: $(VENV)/.ready ## run the pipeline, as far as it is stale, and say what came out
	@python -m nanopoet.params
	@dvc repro report
	@python -m stages.summary

run: $(VENV)/.ready ## run a recipe of recipes.yaml beside the default: make run RECIPE=seed
	@options=$$(python -m nanopoet.recipes $(RECIPE)) && \
		dvc exp run --temp --name $(RECIPE) $$options report

test: $(VENV)/.ready ## run the tests
	python -m pytest

check: $(VENV)/.ready ## lint, format and types
	ruff check .
	ruff format --check .
	mypy

ui: $(VENV)/.ready ## open the runs in MLflow, on this machine alone
	@python -m stages.ui

bench: $(VENV)/.ready ## compare speed, memory and time to a loss with the seed's (half an hour)
	python -m bench

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"error: Python 3.11 or later is needed, $(PYTHON) is {v[0]}.{v[1]}; name another: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@$(VENV)/bin/python -m stages.plots_page
	@touch $@
