"""Seconds of training until the validation loss is below a mark, for the default recipe, the
seed's and on a GPU that of ten epochs, on the real corpus. Looks at the loss do not count, the
compiler does.
"""

from typing import Any

from nanopoet.params import PretrainParams, load_params
from nanopoet.recipes import load_recipe
from nanopoet.tokens.dataset import TokenArrays
from nanopoet.tokens.tokenizer import CharTokenizer
from nanopoet.training.trainer import Trainer, build_model

MARKS = (6.0, 5.5, 5.0, 4.7, 4.3)
RECIPES = {"cpu": ("default", "notebook"), "cuda": ("default", "small", "notebook")}
"""Those whose curves are measured; elsewhere as on a CPU."""


def measure_all(device: str) -> dict[str, list[dict[str, float]]]:
    """For each recipe its curve: tokens, seconds and loss at each look."""
    names = RECIPES.get(device, RECIPES["cpu"])
    return {
        name: _curve(
            (load_params() if name == "default" else load_recipe(name)[0]).pretrain, device
        )
        for name in names
    }


def _curve(params: PretrainParams, device: str) -> list[dict[str, float]]:
    """The seed's recipe too gets the separators of the data as encoded; its curve hardly moves."""
    changes: dict[str, Any] = {"device": device, "eval_every": params.max_steps // 20}
    params = params.model_copy(update=changes)
    tokenizer = CharTokenizer.load("data/vocab.json")
    train, val = (TokenArrays.load(f"data/{part}").tokens for part in ("train", "val"))
    trainer = Trainer(build_model(tokenizer.vocab_size, params), train, val, tokenizer, params)
    return [
        {"tokens": record.tokens, "seconds": trainer.seconds, "loss_val": record.loss_val}
        for record in trainer
        if record.loss_val is not None
    ]


def seconds_to(curve: list[dict[str, float]], mark: float) -> float | None:
    """When the loss first was below `mark`, or None if it never was."""
    return next((point["seconds"] for point in curve if point["loss_val"] < mark), None)
