"""Stage `finetune`: models/poet/ and poems with their fields → models/finetuned/."""

import os
from pathlib import Path

import numpy as np

from nanopoet.common.device import keep_freed_memory
from nanopoet.corpus.poems import iter_poems
from nanopoet.models.checkpoint import load_model
from nanopoet.params import finetune_recipe, load_params
from nanopoet.tokens.fields import FieldPoems
from nanopoet.training import distributed
from nanopoet.training.task import finetuning, take_fields
from nanopoet.training.trainer import Trainer
from nanopoet.writing.catalogue import CATALOGUE, Catalogue
from stages.runner import run
from stages.training import train

BASE, MODEL = Path("models/poet"), Path("models/finetuned")


def main() -> None:
    """Train the pretrained model on, so that it writes for an author, a style and a title."""
    params = load_params()
    options = params.finetune
    recipe = finetune_recipe(params.pretrain, options)
    if recipe.torchrun and not distributed.is_launched():
        distributed.launch(recipe.torchrun, "stages.finetune")
        return
    with distributed.process_group(lead="DVC_STAGE" in os.environ):
        keep_freed_memory()
        model, tokenizer = load_model(BASE)
        take_fields(model, tokenizer, options)
        poems = FieldPoems.of(iter_poems("data/train.jsonl"), tokenizer)
        val = FieldPoems.of(iter_poems("data/val.jsonl"), tokenizer)
        task = finetuning(poems, val, tokenizer, model.block_size, options)
        trainer = Trainer(model, task, tokenizer, recipe)
        base = np.frombuffer((BASE / "model.safetensors").read_bytes(), dtype=np.uint8)
        if distributed.rank() == 0:
            Catalogue.of(iter_poems("data/train.jsonl")).save(MODEL / CATALOGUE)
        arrays = [base, poems.tokens, poems.ends, val.tokens, val.ends]
        origin = {"steps": recipe.max_steps, "finetune": options.model_dump()}
        train(params, trainer, arrays, MODEL, origin)


if __name__ == "__main__":
    run(main)
