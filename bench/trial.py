"""One trial of a recipe, scored on a development part of the training poems.

`python -m bench.trial pretrain.lr=0.01 pretrain.seed=1` changes params.yaml, holds out every
twentieth training poem, trains on the rest and scores the held-out poems. One score covers all
characters, another the characters before a full stop, most of which rhyme. Validation poems take no
part, so the scores may decide on a recipe. With `--recipe small` the changes apply to this recipe
of recipes.yaml. docs/experiment-log.md is the log.
"""

import argparse
import json

import numpy as np
from tqdm import tqdm

from nanopoet.common.device import keep_freed_memory
from nanopoet.common.errors import NanopoetError
from nanopoet.common.yaml import parse_yaml, read_yaml
from nanopoet.evaluation.scoring import score_tokens
from nanopoet.models.checkpoint import save_model
from nanopoet.param_sections import Params
from nanopoet.params import check_params
from nanopoet.recipes import load_recipe
from nanopoet.tokens.dataset import TokenArrays
from nanopoet.tokens.tokenizer import CharTokenizer
from nanopoet.training.pretraining import make_trainer
from stages.runner import run

EVERY, FIRST = 20, 10
"""Distance of the held-out poems, and the first of them: poems 10, 30, 50, …"""


def hold_out(arrays: TokenArrays) -> tuple[TokenArrays, TokenArrays]:
    """Split the training part into the poems to train on and the held-out poems."""
    held_out = np.arange(len(arrays.offsets) - 1) % EVERY == FIRST
    return _choose(arrays, ~held_out), _choose(arrays, held_out)


def _choose(arrays: TokenArrays, chosen: np.ndarray) -> TokenArrays:
    lengths = np.diff(arrays.offsets)
    tokens = arrays.tokens[np.repeat(chosen, lengths)]
    return TokenArrays(tokens, np.concatenate([[0], np.cumsum(lengths[chosen])]))


def changed_params(changes: list[str], recipe: str | None = None) -> Params:
    """Read params.yaml, or a recipe of recipes.yaml, and apply `section.leaf=value` changes.

    Raises:
        NanopoetError: a change has another form, or an unknown or invalid parameter.
    """
    raw = load_recipe(recipe)[0].model_dump() if recipe else read_yaml("params.yaml")
    for change in changes:
        name, _, value = change.partition("=")
        section, _, leaf = name.partition(".")
        if not leaf or section not in raw:
            raise NanopoetError(f"{change!r} is not a change; write section.leaf=value")
        raw[section][leaf] = parse_yaml(value, change)
    return check_params(raw, "params.yaml with the changes")


def main() -> None:
    """Run the trial and print its figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("changes", nargs="*", metavar="section.leaf=value")
    parser.add_argument("--recipe", help="one of recipes.yaml, instead of the default")
    parser.add_argument("--save", metavar="FOLDER", help="keep the model there")
    arguments = parser.parse_args()
    keep_freed_memory()
    params = changed_params(arguments.changes, arguments.recipe)
    tokenizer = CharTokenizer.load("data/vocab.json")
    train, dev = hold_out(TokenArrays.load("data/train"))
    recipe = params.pretrain.model_copy(update={"eval_every": params.pretrain.max_steps})
    trainer = make_trainer(train.tokens, dev.tokens, tokenizer, recipe)
    model = trainer.model
    records = list(tqdm(trainer, total=recipe.max_steps, unit="step", disable=None))
    if arguments.save:
        save_model(arguments.save, model, tokenizer, {})
    scores = score_tokens(
        model,
        dev,
        context=params.evaluate.context,
        batch_size=params.evaluate.batch_size,
        device=trainer.device,
        precision=trainer.precision,
    )
    before_stop = scores.targets[1:] == tokenizer.encode("。")[0]
    figures = {
        "recipe": arguments.recipe or "default",
        "changes": arguments.changes,
        "dev": round(scores.nats.sum().item() / dev.characters.sum().item(), 4),
        "dev_rhymes": round(scores.nats[:-1][before_stop].mean().item(), 4),
        "train": round(float(np.mean([r.loss_train for r in records[-20:]])), 4),
        "parameters": model.num_parameters,
        "tokens": records[-1].tokens,
        "seconds": round(trainer.seconds),
        "machine": trainer.machine,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    run(main, takes_arguments=True)
