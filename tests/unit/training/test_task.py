"""Finetuning: what the model learns from fields, in both architectures."""

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

from nanopoet.corpus.poems import Poem
from nanopoet.models.registry import make_model
from nanopoet.params import finetune_recipe, load_params
from nanopoet.tokens.encode import encode_poems
from nanopoet.tokens.fields import FieldPoems, encode_request
from nanopoet.tokens.tokenizer import BEGIN_ID, CONTENT_END_ID, CharTokenizer
from nanopoet.training.pretraining import build_model, warm_start
from nanopoet.training.resume import restore_state, save_state, scratch_folder
from nanopoet.training.task import finetuning, pretraining, take_fields
from nanopoet.training.trainer import Trainer
from tests.support.params import CLASSIC, MODERN, SMALL

POEMS = [
    Poem(content=character * length, title="", author="", style=style)
    for character in "春夏秋"
    for style, length in (("短", 3), ("長", 6))
] * 10
"""The style decides the length, and nothing decides the character."""


def _finetuned(
    write_params: Callable[..., Path], recipe: dict[str, Any], **changes: Any
) -> Trainer:
    """Pretrain, and return the finetuning that goes on from there."""
    tokenizer = CharTokenizer(POEMS)
    params = load_params(
        write_params(
            pretrain=SMALL["pretrain"]
            | {n: value for n, value in recipe.items() if n != "separators"}
            | {"max_steps": 20, "eval_every": 20},
            finetune=SMALL["finetune"] | changes,
            evaluate=SMALL["evaluate"],
        )
    )
    tokens = encode_poems(POEMS, tokenizer, separate=True).tokens
    model = build_model(tokenizer.vocab_size, params.pretrain)
    task = pretraining(tokens, tokens, tokenizer, params.pretrain)
    list(Trainer(model, task, tokenizer, params.pretrain))
    take_fields(model, tokenizer, params.finetune)
    encoded = FieldPoems.of(POEMS, tokenizer)
    task = finetuning(encoded, encoded, tokenizer, model.block_size, params.finetune)
    return Trainer(model, task, tokenizer, finetune_recipe(params.pretrain, params.finetune))


@pytest.mark.parametrize(("recipe", "loss_on"), [(MODERN, "all"), (CLASSIC, "content")])
def test_it_learns_to_write_what_is_asked_for(
    write_params: Callable[..., Path], recipe: dict[str, Any], loss_on: str
) -> None:
    changes = {"max_steps": 120, "eval_every": 120, "loss_on": loss_on, "field_dropout": 0.2}
    requests = [{"author": "", "style": style, "title": ""} for style in ("短", "長")]
    trainer = _finetuned(write_params, recipe, sample_requests=requests, **changes)
    records = list(trainer)
    assert records[-1].samples
    assert {name: len(poem) for name, poem in records[-1].samples.items()} == {"短": 3, "長": 6}
    losses = [record.loss_val for record in records if record.loss_val is not None]
    assert losses[-1] < 0.7 * losses[0]


def test_a_poem_begins_and_ends_as_the_pretrained_model_knows_it(
    write_params: Callable[..., Path],
) -> None:
    trainer = _finetuned(write_params, MODERN)
    content = encode_request(trainer.tokenizer)[-1]
    old, new = (trainer.model(torch.tensor([[begin, 11, 11]]))[0] for begin in (BEGIN_ID, content))
    assert torch.equal(old, new)
    assert torch.equal(old[..., BEGIN_ID], old[..., CONTENT_END_ID])


def test_other_options_have_states_of_their_own(
    write_params: Callable[..., Path], tmp_path: Path
) -> None:
    found = set()
    for changes in ({}, {"field_dropout": 0.1}, {"loss_on": "all"}):
        with scratch_folder(tmp_path, _finetuned(write_params, MODERN, **changes), []) as folder:
            found.add(folder)
    assert len(found) == 3


def test_a_restored_finetuning_ends_with_the_same_weights(
    write_params: Callable[..., Path], tmp_path: Path
) -> None:
    whole, part, last = (_finetuned(write_params, MODERN) for _ in range(3))
    list(whole)
    for _ in part:
        if part.step == 3:
            break
    save_state(tmp_path, part, "run")
    assert restore_state(tmp_path, last) == "run"
    list(last)
    pairs = zip(whole.model.parameters(), last.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert whole.records == last.records


@pytest.mark.parametrize(
    "weights", [*product((0.0, 2.0), (0.0, 3.0), (0.0, 1.0), (0.0, 4.0), (0.0, 5.0))]
)
def test_a_second_loss_without_weight_is_left_out(
    write_params: Callable[..., Path], weights: tuple[float, ...]
) -> None:
    tokenizer = CharTokenizer.from_characters("春，。")
    config = {"architecture": "classic", "vocab_size": tokenizer.vocab_size, "emb_size": 4}
    config |= {"block_size": 4, "layer_num": 1, "head_num": 1, "dropout": 0.0}
    model = make_model(config, torch.Generator().manual_seed(0))
    names = (
        "shape_weight",
        "rhyme_weight",
        "rhyme_distinct_weight",
        "title_weight",
        "repeat_weight",
    )
    params = load_params(write_params(finetune=dict(zip(names, weights, strict=True))))
    take_fields(model, tokenizer, params.finetune)
    assert [each.weight for each in model.second_losses] == [each for each in weights if each]
    assert set(model.state_dict()) == set(dict(model.named_parameters()))


@pytest.mark.parametrize("weights", [*product((0.0, 2.0), (0.0, 3.0))])
def test_a_pretraining_has_the_losses_on_rhymes_that_have_a_weight(
    write_params: Callable[..., Path], weights: tuple[float, float]
) -> None:
    tokenizer = CharTokenizer.from_characters("春，。樓")
    config = {"architecture": "classic", "vocab_size": tokenizer.vocab_size, "emb_size": 4}
    config |= {"block_size": 4, "layer_num": 1, "head_num": 1, "dropout": 0.0}
    model = make_model(config, torch.Generator().manual_seed(0))
    changes = dict(zip(("rhyme_weight", "rhyme_distinct_weight"), weights, strict=True))
    params = load_params(write_params(pretrain=changes))
    row = torch.tensor([[BEGIN_ID, *tokenizer.encode("樓。春樓。")]])
    warm_start(model, row.numpy()[0], tokenizer, params.pretrain)
    found = [each.rows(row[:, :-1], row[:, 1:]).weights.tolist() for each in model.second_losses]
    rhymes, distinct = weights
    expected = [[rhymes, rhymes]] * (rhymes > 0) + [[distinct, distinct]] * (distinct > 0)
    assert found == expected
