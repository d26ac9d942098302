"""Stage `reinforce`: models/finetuned/, rules of verse → models/reinforced/."""

import os
from pathlib import Path

import numpy as np

from nanopoet.common.device import choose_device, choose_precision, keep_freed_memory
from nanopoet.corpus.poems import read_poems
from nanopoet.models.checkpoint import load_model
from nanopoet.params import load_params, reinforce_recipe
from nanopoet.reinforcement.task import reinforcing
from nanopoet.tokens.fields import FieldPoems
from nanopoet.training import distributed
from nanopoet.training.trainer import Trainer
from nanopoet.writing.catalogue import CATALOGUE, Catalogue
from stages.runner import run
from stages.training import train

BASE, MODEL = Path("models/finetuned"), Path("models/reinforced")


def main() -> None:
    """Train the finetuned model on, so that its poems keep the rules of regular verse."""
    params = load_params()
    options = params.reinforce
    recipe = reinforce_recipe(params.pretrain, options)
    if recipe.torchrun and not distributed.is_launched():
        distributed.launch(recipe.torchrun, "stages.reinforce")
        return
    with distributed.process_group(lead="DVC_STAGE" in os.environ):
        keep_freed_memory()
        model, tokenizer = load_model(BASE)
        device = distributed.own_device(choose_device(recipe.device))
        precision, _ = choose_precision(recipe.precision, device)
        poems = read_poems("data/train.jsonl")
        val = FieldPoems.of(read_poems("data/val.jsonl"), tokenizer)
        task = reinforcing(model.to(device), poems, val, tokenizer, options, precision)
        trainer = Trainer(model, task, tokenizer, recipe)
        if distributed.rank() == 0:
            Catalogue.load(BASE / CATALOGUE).save(MODEL / CATALOGUE)
        files = [BASE / "model.safetensors", Path("data/train.jsonl"), Path("data/val.jsonl")]
        arrays = [np.frombuffer(file.read_bytes(), dtype=np.uint8) for file in files]
        origin = {"steps": recipe.max_steps, "reinforce": options.model_dump()}
        train(params, trainer, arrays, MODEL, origin)


if __name__ == "__main__":
    run(main)
