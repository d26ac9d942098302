"""Token arrays → models/poet/: weights, vocabulary, loss history, samples; and an MLflow run."""

import sys
from pathlib import Path

from tqdm import tqdm

from nanopoet.checkpoint import save_model
from nanopoet.device import keep_freed_memory
from nanopoet.files import write_json
from nanopoet.generate import as_lines
from nanopoet.history import write_history
from nanopoet.params import load_params
from nanopoet.tensors import TokenArrays
from nanopoet.tokenizer import CharTokenizer
from nanopoet.train import StepRecord, build_model, train
from stages import tracking
from stages.stage import run

MODEL = Path("models/poet")


def main() -> None:
    params = load_params()
    keep_freed_memory()
    recipe = params.pretrain
    tokenizer = CharTokenizer.load("data/vocab.json")
    train_tokens = TokenArrays.load("data/train").tokens
    val_tokens = TokenArrays.load("data/val").tokens
    model = build_model(tokenizer.vocab_size, recipe)
    steps = train(model, train_tokens, val_tokens, tokenizer, recipe)
    bar = tqdm(steps, total=recipe.max_steps, unit="step", disable=None, desc="pretraining")

    records: list[StepRecord] = []
    with tracking.new_run(params) as mlflow_run:
        for record in bar:
            records.append(record)
            mlflow_run.log_step(record)
            if record.loss_val is not None:
                bar.write(_line(record))
                sys.stdout.flush()
        origin = {"steps": recipe.max_steps, "pretrain": recipe.model_dump()}
        save_model(MODEL, model, tokenizer, origin)
        write_history(MODEL, records)
        mlflow_run.log_result(MODEL, records)

    last = records[-1]
    figures = {
        "parameters": model.num_parameters,
        "steps": len(records),
        "tokens": last.tokens,
        "loss_train": last.loss_train,
        "loss_val": last.loss_val,
    }
    write_json("metrics/pretrain.json", figures)
    print(
        f"pretrain: {MODEL}/, {figures['parameters']:,} parameters after {figures['steps']:,} "
        f"steps; loss train {figures['loss_train']:.3f}, val {figures['loss_val']:.3f}"
    )


def _line(record: StepRecord) -> str:
    poem = as_lines(record.sample or "").replace("\n", " ")
    return (
        f"step {record.step:5d}  train {record.loss_train:.3f}  val {record.loss_val:.3f}  {poem}"
    )


if __name__ == "__main__":
    run(main)
