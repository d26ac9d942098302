"""Seconds of training until the validation loss is below a mark, on the real corpus.

The recipes are `default`, `notebook` and, on a GPU, `small`. Time in the compiler counts, time in
evaluations does not.
"""

from typing import Any

from nanopoet.param_sections import PretrainParams
from nanopoet.params import load_params
from nanopoet.recipes import load_recipe
from nanopoet.tokens.dataset import TokenArrays
from nanopoet.tokens.tokenizer import CharTokenizer
from nanopoet.training.pretraining import make_trainer

MARKS = (6.0, 5.5, 5.0, 4.7, 4.3)
"""Validation losses in nats per character."""
RECIPES = {"cpu": ("default", "notebook"), "cuda": ("default", "small", "notebook")}
"""Type of device → recipes that are measured; other devices are treated as a CPU."""


def measure_all(device: str) -> dict[str, list[dict[str, float]]]:
    """Measure tokens, seconds and validation loss at each evaluation step of each recipe."""
    names = RECIPES.get(device, RECIPES["cpu"])
    return {
        name: _curve(
            (load_params() if name == "default" else load_recipe(name)[0]).pretrain, device
        )
        for name in names
    }


def _curve(params: PretrainParams, device: str) -> list[dict[str, float]]:
    """Train a recipe; `notebook` too gets the encoded data with separators, which change little."""
    changes: dict[str, Any] = {"device": device, "eval_every": params.max_steps // 20}
    params = params.model_copy(update=changes)
    tokenizer = CharTokenizer.load("data/vocab.json")
    train, val = (TokenArrays.load(f"data/{part}").tokens for part in ("train", "val"))
    trainer = make_trainer(train, val, tokenizer, params)
    return [
        {"tokens": record.tokens, "seconds": trainer.seconds, "loss_val": record.loss_val}
        for record in trainer
        if record.loss_val is not None
    ]


def seconds_to(curve: list[dict[str, float]], mark: float) -> float | None:
    """Return the seconds of the first loss below `mark`, or None if there is none."""
    return next((point["seconds"] for point in curve if point["loss_val"] < mark), None)
