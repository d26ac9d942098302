"""Stage `pretrain`: token arrays → models/poet/ with weights, vocabulary and loss history."""

import os
from pathlib import Path

from nanopoet.common.device import keep_freed_memory
from nanopoet.common.files import write_json
from nanopoet.models.checkpoint import save_model
from nanopoet.params import Params, load_params
from nanopoet.tokens.dataset import TokenArrays
from nanopoet.tokens.tokenizer import CharTokenizer
from nanopoet.training import distributed
from nanopoet.training.history import write_history
from nanopoet.training.resume import (
    broadcast_state,
    discard_state,
    remove_abandoned_states,
    restore_state,
    save_state,
    scratch_folder,
)
from nanopoet.training.trainer import Trainer, build_model
from stages.progress import show_progress
from stages.runner import ROOT, run
from stages.tracking.uploader import open_run

MODEL = Path("models/poet")
RESUME = ROOT / ".nanopoet/resume"
"""Folder of the states from which interrupted trainings continue."""


def main() -> None:
    """Train a model, in several processes if `pretrain.torchrun` asks for them."""
    params = load_params()
    if params.pretrain.torchrun and not distributed.is_launched():
        distributed.launch(params.pretrain.torchrun, "stages.pretrain")
        return
    with distributed.process_group(lead="DVC_STAGE" in os.environ):
        keep_freed_memory()
        tokenizer = CharTokenizer.load("data/vocab.json")
        train, val = TokenArrays.load("data/train").tokens, TokenArrays.load("data/val").tokens
        model = build_model(tokenizer.vocab_size, params.pretrain)
        trainer = Trainer(model, train, val, tokenizer, params.pretrain)
        if distributed.rank() > 0:  # process 0 alone writes files and prints
            broadcast_state(trainer)
            for _ in trainer:
                pass
            return
        print(f"pretrain: {trainer.machine}", flush=True)
        with scratch_folder(RESUME, trainer, [train, val]) as scratch:
            for abandoned in remove_abandoned_states(RESUME):
                print(f"pretrain: removed {abandoned}, not continued for 14 days", flush=True)
            train_and_save(params, trainer, scratch)
            discard_state(scratch)
        write_metrics(trainer)


def train_and_save(params: Params, trainer: Trainer, scratch: Path) -> None:
    """Train from the last state in `scratch`, show it in MLflow, and write the model folder."""
    recipe = params.pretrain
    run_id = restore_state(scratch, trainer)
    broadcast_state(trainer)
    if trainer.step:
        print(f"pretrain: continues after step {trainer.step - 1}", flush=True)
    with open_run(params, run_id, trainer.records, scratch.with_suffix(".lock")) as mlflow_run:
        for record, rates in show_progress(trainer):
            mlflow_run.log_step(record, rates)
            if trainer.step % recipe.checkpoint_every == 0:
                save_state(scratch, trainer, mlflow_run.run_id)
        origin = {"steps": recipe.max_steps, "pretrain": recipe.model_dump()}
        save_model(MODEL, trainer.model, trainer.tokenizer, origin)
        write_history(MODEL, trainer.records)
        mlflow_run.model = MODEL


def write_metrics(trainer: Trainer) -> None:
    """Write metrics/pretrain.json and print a summary."""
    last, parameters = trainer.records[-1], trainer.model.num_parameters
    metrics = {
        "parameters": parameters,
        "steps": len(trainer.records),
        "tokens": last.tokens,
        "loss_train": last.loss_train,
        "loss_val": last.loss_val,
    }
    write_json("metrics/pretrain.json", metrics)
    print(
        f"pretrain: {MODEL}/, {parameters:,} parameters after {len(trainer.records):,} steps; "
        f"loss train {last.loss_train:.3f}, val {last.loss_val:.3f}"
    )


if __name__ == "__main__":
    run(main)
