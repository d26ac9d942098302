"""Token arrays → models/poet/: weights, vocabulary, loss history, samples; and an MLflow run."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from nanopoet.common.device import keep_freed_memory
from nanopoet.common.files import write_json
from nanopoet.common.text import as_lines
from nanopoet.models.checkpoint import save_model
from nanopoet.params import Params, load_params
from nanopoet.tokens.dataset import TokenArrays
from nanopoet.tokens.tokenizer import CharTokenizer
from nanopoet.training import distributed
from nanopoet.training.history import StepRecord, write_history
from nanopoet.training.resume import (
    broadcast_state,
    discard_state,
    restore_state,
    save_state,
    scratch_folder,
)
from nanopoet.training.trainer import Trainer, build_model
from stages.runner import ROOT, run
from stages.tracking import uploader

MODEL = Path("models/poet")


def main() -> None:
    params = load_params()
    if params.pretrain.torchrun and not distributed.is_launched():
        distributed.launch(params.pretrain.torchrun, "stages.pretrain")
        return
    with distributed.process_group(lead="DVC_STAGE" in os.environ):
        _pretrain(params)


def _pretrain(params: Params) -> None:
    keep_freed_memory()
    recipe = params.pretrain
    tokenizer = CharTokenizer.load("data/vocab.json")
    train_tokens = TokenArrays.load("data/train").tokens
    val_tokens = TokenArrays.load("data/val").tokens
    model = build_model(tokenizer.vocab_size, recipe)
    trainer = Trainer(model, train_tokens, val_tokens, tokenizer, recipe)
    if distributed.rank() > 0:  # process 0 does all that is told and kept
        broadcast_state(trainer)
        for _ in trainer:
            pass
        return
    print(f"pretrain: {trainer.machine}", flush=True)

    root = ROOT / ".nanopoet/resume"
    with scratch_folder(root, trainer, [train_tokens, val_tokens]) as scratch:
        run_id = restore_state(scratch, trainer)
        broadcast_state(trainer)
        if trainer.step:
            print(f"pretrain: goes on after step {trainer.step - 1}", flush=True)
        lock = scratch.with_suffix(".lock")
        with uploader.open_run(params, run_id, trainer.records, lock) as mlflow_run:
            for record, tokens_per_second in _with_bar(trainer):
                tflop_per_second = tokens_per_second * trainer.flops_per_token / 1e12
                rates = {
                    "tokens_per_second": tokens_per_second,
                    "tflop_per_second": tflop_per_second,
                }
                mlflow_run.log_step(record, rates)
                if trainer.step % recipe.checkpoint_every == 0:
                    save_state(scratch, trainer, mlflow_run.account.run_id)
            origin = {"steps": recipe.max_steps, "pretrain": recipe.model_dump()}
            save_model(MODEL, model, tokenizer, origin)
            write_history(MODEL, trainer.records)
            mlflow_run.account.model = MODEL
        discard_state(scratch)

    last = trainer.records[-1]
    figures = {
        "parameters": model.num_parameters,
        "steps": len(trainer.records),
        "tokens": last.tokens,
        "loss_train": last.loss_train,
        "loss_val": last.loss_val,
    }
    write_json("metrics/pretrain.json", figures)
    print(
        f"pretrain: {MODEL}/, {figures['parameters']:,} parameters after {figures['steps']:,} "
        f"steps; loss train {figures['loss_train']:.3f}, val {figures['loss_val']:.3f}"
    )


def _with_bar(trainer: Trainer) -> Iterator[tuple[StepRecord, float]]:
    """The trainer's records and tokens per second so far, with a bar and a line per evaluation."""
    recipe = trainer.params
    tokens_per_step = recipe.batch_size * recipe.block_size
    bar = tqdm(
        trainer,
        initial=trainer.step,
        total=recipe.max_steps,
        unit="step",
        disable=None,
        desc="pretraining",
    )
    first = trainer.step
    for record in bar:
        rate = (trainer.step - first) * tokens_per_step / trainer.seconds
        bar.set_postfix_str(f"loss {record.loss_train:.3f}, {rate:,.0f} tokens/s", refresh=False)
        if record.samples is not None:
            poem = as_lines(next(iter(record.samples.values()))).replace("\n", " ")
            losses = f"train {record.loss_train:.3f}  val {record.loss_val:.3f}"
            bar.write(f"step {record.step:5d}  {losses}  {rate:6,.0f} tokens/s  {poem}")
            sys.stdout.flush()
        yield record, rate


if __name__ == "__main__":
    run(main)
