# Every target sets up .venv if it is missing. An image has a finished one, and an empty READY.
PYTHON ?= python3
VENV ?= .venv
READY ?= $(VENV)/.ready
export PATH := $(abspath $(VENV))/bin:$(PATH)
# DVC asks for both. The user of a container may have neither.
export HOME ?= /tmp
export LOGNAME ?= $(shell id -un 2>/dev/null || id -u)

OF_TORCH := torch cuda-bindings cuda-pathfinder cuda-toolkit nvidia-cublas nvidia-cuda-cupti \
	nvidia-cuda-nvrtc nvidia-cuda-runtime nvidia-cudnn-cu13 nvidia-cufft \
	nvidia-cufile nvidia-curand nvidia-cusolver nvidia-cusparse \
	nvidia-cusparselt-cu13 nvidia-nccl-cu13 nvidia-nvjitlink nvidia-nvshmem-cu13 \
	nvidia-nvtx triton

# Files keep their order, in which those with the longest tests come first.
PYTEST := python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help repro finetune reinforce reader run apply ui test test-fast check format figures bench clean lock

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1	/' | expand -t 18

repro: $(READY) ## run the stages that are stale, and print what came out
	@python -m nanopoet.params
	@python -m tools.repair_dvc
	@dvc repro report
	@python -m tools.summary

finetune: $(READY) ## then teach the model to write for an author, a form and a title
	@python -m nanopoet.params
	@python -m tools.repair_dvc
	@dvc repro report_finetuned
	@python -m tools.summary finetune

reinforce: $(READY) ## then teach it the rules of verse: form, rhyme, tones
	@python -m nanopoet.params
	@python -m tools.repair_dvc
	@dvc repro report_reinforced
	@python -m tools.summary reinforce

reader: $(READY) ## then train a strong reader once, and let it read all poems (one to two hours)
	@python -m nanopoet.params
	@python -m tools.repair_dvc
	@python -m tools.reader
	@dvc repro report_reinforced

run: $(READY) ## run a recipe beside the default: make run RECIPE=notebook
	@python -m tools.repair_dvc
	@python -m tools.run_recipe $(RECIPE) $(if $(SEEDS),'--seeds=$(SEEDS)')

apply: $(READY) ## bring an experiment into the workspace: make apply EXPERIMENT=lr-12
	@python -m tools.apply_experiment $(EXPERIMENT)

ui: $(READY) ## open the runs in MLflow, for this machine alone
	@python -m tools.mlflow_ui

test: $(READY) ## run all tests but the slow ones
	$(PYTEST)

# It leaves out the longest: exports, benchmarks, and samples beside exact distributions.
test-fast: $(READY) ## run the tests that start no process, in under a minute
	$(PYTEST) -m "not slow and not process" nanopoet tests/unit tests/docs \
	  $(addprefix --ignore tests/unit/,export bench writing/test_sampling.py)

check: $(READY) ## lint, format and types
	ruff check .
	ruff format --check .
	mypy

format: $(READY) ## format the code and fix what ruff can fix
	ruff check --fix .
	ruff format .

figures: $(READY) ## write the figures of the last run into the docs
	python -m tools.figures

bench: $(READY) ## measure speed, memory and time to a loss (a quarter of an hour)
	python -m bench

clean: ## remove caches and build files; data, models and runs stay
	rm -rf build dist .coverage *.egg-info .*_cache .hypothesis
	find nanopoet stages tools bench tests -name __pycache__ -prune -exec rm -rf {} +

lock: ## choose the versions in requirements.lock again, within pyproject.toml
	$(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/python -m pip install --quiet uv==0.13.9
	$(VENV)-lock/bin/uv pip compile --quiet --universal --python-version 3.11.5 \
		--generate-hashes --no-annotate --extra dev $(addprefix --no-emit-package ,$(OF_TORCH)) \
		--custom-compile-command "make lock" pyproject.toml --output-file requirements.lock

# Everything by its hash but torch, whose builds for CPU and CUDA differ and bring their own.
$(VENV)/.packages: requirements.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11, 5) else "error: Python 3.11.5 or later is needed, $(PYTHON) is %d.%d.%d; name another: make PYTHON=python3.12" % v[:3])'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --require-hashes --requirement requirements.lock
	$(VENV)/bin/python -m pip install --quiet torch==2.13.0
	@touch $@

$(VENV)/.ready: pyproject.toml $(VENV)/.packages
	$(VENV)/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@$(VENV)/bin/python -m tools.dvc_plots_page
	@touch $@
