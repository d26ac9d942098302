# Every target sets up .venv if it is missing.
PYTHON ?= python3
VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

OF_TORCH := torch cuda-bindings cuda-pathfinder cuda-toolkit nvidia-cublas nvidia-cuda-cupti \
	nvidia-cuda-nvrtc nvidia-cuda-runtime nvidia-cudnn-cu13 nvidia-cufft \
	nvidia-cufile nvidia-curand nvidia-cusolver nvidia-cusparse \
	nvidia-cusparselt-cu13 nvidia-nccl-cu13 nvidia-nvjitlink nvidia-nvshmem-cu13 \
	nvidia-nvtx triton

.DEFAULT_GOAL := help
.PHONY: help repro run test check ui bench lock

help: ## what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1	/'

repro: $(VENV)/.ready ## run the pipeline, as far as it is stale, and say what came out
	@python -m nanopoet.params
	@python -m tools.repair_dvc
	@dvc repro report
	@python -m tools.summary

run: $(VENV)/.ready ## run a recipe of recipes.yaml beside the default: make run RECIPE=notebook
	@python -m tools.repair_dvc
	@options=$$(python -m nanopoet.recipes $(RECIPE)) && \
		dvc exp run --temp --name $(RECIPE) $$options report

test: $(VENV)/.ready ## run the tests
	python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

check: $(VENV)/.ready ## lint, format and types
	ruff check .
	ruff format --check .
	mypy

ui: $(VENV)/.ready ## open the runs in MLflow, on this machine alone
	@python -m tools.mlflow_ui

bench: $(VENV)/.ready ## compare speed, memory and time to a loss with the seed's (half an hour)
	python -m bench

lock: ## choose the versions in requirements.lock anew, within pyproject.toml
	$(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/python -m pip install --quiet uv==0.13.9
	$(VENV)-lock/bin/uv pip compile --quiet --universal --python-version 3.11.5 \
		--generate-hashes --no-annotate --extra dev $(addprefix --no-emit-package ,$(OF_TORCH)) \
		--custom-compile-command "make lock" pyproject.toml --output-file requirements.lock

# Everything by its hash but torch, whose builds for CPU and CUDA differ and bring their own.
$(VENV)/.ready: pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11, 5) else "error: Python 3.11.5 or later is needed, $(PYTHON) is %d.%d.%d; name another: make PYTHON=python3.12" % v[:3])'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --require-hashes --requirement requirements.lock
	$(VENV)/bin/python -m pip install --quiet torch==2.13.0
	$(VENV)/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@$(VENV)/bin/python -m tools.dvc_plots_page
	@touch $@
