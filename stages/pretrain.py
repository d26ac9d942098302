"""Stage `pretrain`: token arrays → models/poet/ with weights, vocabulary and loss history."""

import os
from pathlib import Path

from nanopoet.common.device import keep_freed_memory
from nanopoet.params import decisive, load_params
from nanopoet.tokens.dataset import TokenArrays
from nanopoet.tokens.tokenizer import CharTokenizer
from nanopoet.training import distributed
from nanopoet.training.pretraining import make_trainer
from stages.runner import run
from stages.training import train

MODEL = Path("models/poet")


def main() -> None:
    """Train a model, in several processes if `pretrain.torchrun` asks for them."""
    params = load_params()
    recipe = params.pretrain
    if recipe.torchrun and not distributed.is_launched():
        distributed.launch(recipe.torchrun, "stages.pretrain")
        return
    with distributed.process_group(lead="DVC_STAGE" in os.environ):
        keep_freed_memory()
        tokenizer = CharTokenizer.load("data/vocab.json")
        tokens, val = (
            TokenArrays.load(f"data/{part}", tokenizer.vocab_size).tokens
            for part in ("train", "val")
        )
        trainer = make_trainer(tokens, val, tokenizer, recipe)
        origin = {"steps": recipe.max_steps, "pretrain": decisive(recipe)}
        train(params, trainer, [tokens, val], MODEL, origin)


if __name__ == "__main__":
    run(main)
