# Every target sets up .venv if it is missing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: repro test check ui bench format

repro: $(VENV)/.ready ## the whole pipeline; only what is stale runs
	python -m nanopoet.params
	dvc repro --quiet evaluate || exit 1
	python -m stages.summary
