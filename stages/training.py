"""The frame around a training: resume, progress, MLflow, the model folder and its metrics."""

import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nanopoet.common.files import write_json
from nanopoet.common.types import Array
from nanopoet.models.checkpoint import save_model
from nanopoet.param_sections import Params
from nanopoet.training import distributed
from nanopoet.training.history import StepRecord, write_history
from nanopoet.training.resume import (
    broadcast_state,
    discard_state,
    remove_abandoned_states,
    restore_state,
    save_state,
    scratch_folder,
)
from nanopoet.training.trainer import Trainer
from stages.progress import show_progress
from stages.runner import ROOT
from stages.tracking.uploader import open_run

RESUME = ROOT / ".nanopoet/resume"
"""Folder of the states from which interrupted trainings continue."""

HISTORY_SECONDS = 10.0
"""Seconds between two writes of the history of a training under way, for `dvc plots`."""

STEP_COMPLETED = ROOT / ".dvc/tmp/exps/run/DVCLIVE_STEP_COMPLETED"
"""File that DVC's extension for VS Code watches, to draw the experiments in the queue again."""

_KEPT = "model_"
"""Beginning of the folders of intermediate models; the step follows."""


def train(
    params: Params, trainer: Trainer, arrays: Sequence[Array], folder: Path, origin: dict[str, Any]
) -> None:
    """Train, and write the model folder and the metrics of the stage.

    Args:
        params: of the pipeline.
        trainer: in each process of the training; process 0 alone writes files and prints.
        arrays: what decides the result besides the parameters, the vocabulary and the code.
        folder: the model folder to write.
        origin: what the model folder says of its training.
    """
    if distributed.rank() > 0:
        broadcast_state(trainer)
        for _ in trainer:
            pass
        return
    stage = trainer.task.name
    print(f"{stage}: {trainer.machine}", flush=True)
    with scratch_folder(RESUME, trainer, arrays) as scratch:
        for abandoned in remove_abandoned_states(RESUME):
            print(f"{stage}: removed {abandoned}, not continued for 14 days", flush=True)
        _train_and_save(params, trainer, scratch, folder, origin)
        discard_state(scratch)
    _write_metrics(trainer, folder)


def _train_and_save(
    params: Params, trainer: Trainer, scratch: Path, folder: Path, origin: dict[str, Any]
) -> None:
    """Train from the last state in `scratch`, show it in MLflow, and write the model folder."""
    run_id = restore_state(scratch, trainer)
    broadcast_state(trainer)
    if trainer.step:
        print(f"{trainer.task.name}: continues after step {trainer.step - 1}", flush=True)
    name, lock = trainer.task.name, scratch.with_suffix(".lock")
    with (
        open_run(name, params, run_id, trainer.records, lock) as mlflow_run,
        _history_so_far(folder) as show_history,
    ):
        mlflow_run.models |= _kept_models(scratch, trainer)
        for record, rates in show_progress(trainer):
            mlflow_run.log_step(record, rates)
            if _is_to_log(trainer):
                mlflow_run.models[record.step] = _keep_model(scratch, folder, trainer, origin)
            if trainer.step % trainer.params.checkpoint_every == 0:
                save_state(scratch, trainer, mlflow_run.run_id)
            show_history(trainer.records)
        _save(folder, trainer, origin)
        mlflow_run.model = folder


@contextmanager
def _history_so_far(folder: Path) -> Iterator[Callable[[Sequence[StepRecord]], None]]:
    """Give a function that writes the history of a training under way, for `dvc plots`.

    DVC has removed the model folder before. Where a stage was started by hand, the old model stays
    until the new one is there. If the training ends early, a new folder is removed: DVC refuses to
    check out a model where files are that it does not know.
    """
    is_new, written = not (folder / "config.json").exists(), -math.inf

    def write(records: Sequence[StepRecord]) -> None:
        nonlocal written
        if not is_new or time.monotonic() - written < HISTORY_SECONDS:
            return
        write_history(folder, records)
        if "DVC_EXP_NAME" in os.environ:
            write_json(STEP_COMPLETED, {"pid": os.getpid(), "step": records[-1].step})
        written = time.monotonic()

    try:
        yield write
    except BaseException:
        if is_new:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _is_to_log(trainer: Trainer) -> bool:
    """Tell whether the model of the last step is an intermediate one that MLflow gets."""
    step, every = trainer.step - 1, trainer.params.log_model_every
    return every > 0 and step % every == 0 and 0 < step < trainer.params.max_steps - 1


def _keep_model(scratch: Path, folder: Path, trainer: Trainer, origin: dict[str, Any]) -> Path:
    """Write the model of the last step beside the saved states, until MLflow has it.

    What the stage has put into `folder`, such as a catalogue, belongs to the model.
    """
    kept, partial = scratch / f"{_KEPT}{trainer.step - 1}", scratch / "partial"
    if not kept.exists():
        shutil.rmtree(partial, ignore_errors=True)
        if folder.exists():
            shutil.copytree(folder, partial)
        _save(partial, trainer, origin | {"steps": trainer.step})
        partial.rename(kept)
    return kept


def _kept_models(scratch: Path, trainer: Trainer) -> dict[int, Path]:
    """Return the models that earlier processes kept, by step."""
    kept = {int(path.name.removeprefix(_KEPT)): path for path in scratch.glob(f"{_KEPT}*")}
    return {step: path for step, path in kept.items() if step < trainer.step}


def _save(folder: Path, trainer: Trainer, origin: dict[str, Any]) -> None:
    save_model(folder, trainer.model, trainer.tokenizer, origin)
    write_history(folder, trainer.records)


def _write_metrics(trainer: Trainer, folder: Path) -> None:
    """Write metrics/<stage>.json and print a summary."""
    last, parameters = trainer.records[-1], trainer.model.num_parameters
    metrics = {
        "parameters": parameters,
        "steps": len(trainer.records),
        "tokens": last.tokens,
        "loss_train": last.loss_train,
        "loss_val": last.loss_val,
    }
    stage = trainer.task.name
    write_json(f"metrics/{stage}.json", metrics)
    print(
        f"{stage}: {folder}/, {parameters:,} parameters after {len(trainer.records):,} steps; "
        f"loss train {last.loss_train:.3f}, val {last.loss_val:.3f}"
    )
