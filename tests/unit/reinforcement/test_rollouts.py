"""Batches of a model's own poems."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nanopoet.common.errors import NanopoetError
from nanopoet.corpus.poems import Poem
from nanopoet.param_sections import Params
from nanopoet.params import load_params, reinforce_recipe
from nanopoet.reinforcement.judge import Judge, Rule
from nanopoet.reinforcement.rollouts import Rollouts, reward_figures
from nanopoet.reinforcement.task import reinforcing
from nanopoet.tokens.batches import Batch
from nanopoet.tokens.fields import FieldPoems
from nanopoet.tokens.tokenizer import CONTENT_END_ID, PADDING_ID, CharTokenizer
from nanopoet.training.pretraining import build_model
from nanopoet.training.resume import restore_state, save_state
from nanopoet.training.task import take_fields
from nanopoet.training.trainer import Trainer
from tests.support.params import SMALL
from tests.support.poems import SPRING_VIEW, STORK_TOWER, make_poems

POEMS = [
    *make_poems(40),
    Poem(content=STORK_TOWER, title="登鸛雀樓", author="王之渙", style="五言绝句"),
    Poem(content=SPRING_VIEW, title="春望" * 40, author="杜甫", style="五言律诗"),
    Poem(content="春，夏。", title="", author="", style=""),
]
TOKENIZER = CharTokenizer(POEMS)


def _params(write_params: Callable[..., Path], **changes: Any) -> Params:
    return load_params(
        write_params(
            pretrain=SMALL["pretrain"] | {"block_size": 72},
            reinforce=SMALL["reinforce"] | {"sample_length": 60} | changes,
            evaluate=SMALL["evaluate"],
        )
    )


def _trainer(params: Params) -> Trainer:
    model = build_model(TOKENIZER.vocab_size, params.pretrain)
    take_fields(model, TOKENIZER, params.finetune)
    val = FieldPoems.of(POEMS, TOKENIZER)
    task = reinforcing(model, POEMS, val, TOKENIZER, params.reinforce, "fp32")
    return Trainer(model, task, TOKENIZER, reinforce_recipe(params.pretrain, params.reinforce))


def _batch(trainer: Trainer, seed: int = 1) -> Batch:
    return trainer.task.batches(0, np.random.default_rng(seed))


def test_rows_hold_requests_and_poems_and_only_poems_have_targets(
    write_params: Callable[..., Path],
) -> None:
    params = _params(write_params, batch_size=12)
    batch = _batch(_trainer(params))
    assert batch.wanted is not None
    assert batch.wanted.shape == (*batch.inputs.shape, TOKENIZER.vocab_size)
    assert batch.inputs.shape == batch.targets.shape
    assert len(batch.inputs) == 12
    assert batch.inputs.shape[1] <= params.pretrain.block_size
    for inputs, targets in zip(batch.inputs, batch.targets, strict=True):
        text = TOKENIZER.decode(inputs)
        first = int(np.flatnonzero(targets != PADDING_ID)[0])
        assert text[first] == "C"
        content = targets[targets != PADDING_ID]
        assert (content[:-1] == inputs[first + 1 : first + len(content)]).all()
        assert CONTENT_END_ID not in content[:-1]
        assert (targets[first + len(content) :] == PADDING_ID).all()


def test_what_is_wanted_is_the_reference_less_the_penalties(
    write_params: Callable[..., Path],
) -> None:
    params = _params(write_params, field_dropout=0.0, batch_size=4, kl_weight=0.5)
    trainer = _trainer(params)
    batch = _batch(trainer)
    judge, penalties = Judge(TOKENIZER), params.reinforce.penalties.model_dump()
    assert batch.wanted is not None
    wanted = torch.from_numpy(batch.wanted)
    with torch.no_grad():
        expected, _ = trainer.model(torch.from_numpy(batch.inputs))
    costs = []
    for row, (inputs, targets) in enumerate(zip(batch.inputs, batch.targets, strict=True)):
        prompt = TOKENIZER.decode(inputs)
        style = prompt[prompt.index("S") + 1 : prompt.index("s")]
        first = int(np.flatnonzero(targets != PADDING_ID)[0])
        content = targets[targets != PADDING_ID].tolist()
        for rule, place, tokens in judge.breaches(content, style):
            expected[row, first + place] -= penalties[rule] / 0.5 * tokens
        costs.append(sum(penalties[fault.rule] for fault in judge.faults(content, style)))
    counted = torch.from_numpy(batch.targets) != PADDING_ID
    torch.testing.assert_close(wanted[counted], expected[counted], atol=1e-5, rtol=1e-5)
    assert batch.figures["reward"] == pytest.approx(-np.mean(costs))
    assert max(costs) > 0


def test_forms_are_asked_for_alike_and_long_titles_leave_space(
    write_params: Callable[..., Path],
) -> None:
    """There are 41 poems of one form and one of another, whose title is 80 characters long."""
    trainer = _trainer(_params(write_params, field_dropout=0.0, batch_size=40))
    prompts = [TOKENIZER.decode(row).split("C")[0] for row in _batch(trainer).inputs]
    long = sum("五言律诗" in prompt for prompt in prompts)
    assert 8 <= long <= 32
    assert all("春望" not in prompt for prompt in prompts)
    assert {"五言绝句", "五言律诗"} == {p[p.index("S") + 1 : p.index("s")] for p in prompts}


def test_where_no_request_has_space_nothing_is_asked_for(write_params: Callable[..., Path]) -> None:
    params = load_params(
        write_params(
            pretrain=SMALL["pretrain"] | {"block_size": 30},
            reinforce=SMALL["reinforce"] | {"field_dropout": 0.0},
            evaluate=SMALL["evaluate"],
        )
    )
    batch = _batch(_trainer(params))
    assert {TOKENIZER.decode(row)[:2] for row in batch.inputs} == {"BC"}
    assert batch.inputs.shape[1] <= 30


def test_fields_are_left_out(write_params: Callable[..., Path]) -> None:
    nothing = _trainer(_params(write_params, field_dropout=1.0))
    assert {TOKENIZER.decode(row)[:2] for row in _batch(nothing).inputs} == {"BC"}


def test_a_corpus_without_regular_verse_is_refused(write_params: Callable[..., Path]) -> None:
    params = _params(write_params)
    model = build_model(TOKENIZER.vocab_size, params.pretrain)
    with pytest.raises(NanopoetError, match=r"no poem is in a regular form.*stop at finetune"):
        Rollouts(model, model, TOKENIZER, POEMS[-1:], params.reinforce, "fp32")


def test_the_parts_of_the_reward_add_up() -> None:
    params = load_params().reinforce.penalties
    found: list[list[Rule]] = [["rhyme"], ["form", "repeat", "form"]]
    figures = reward_figures(found, params)
    assert figures["reward"] == pytest.approx(
        sum(value for name, value in figures.items() if name != "reward")
    )
    assert figures["reward_form"] < 0
    assert str(figures["reward_tone"]) == "0.0"


def test_before_the_first_update_nothing_has_diverged(write_params: Callable[..., Path]) -> None:
    record = next(iter(_trainer(_params(write_params))))
    assert record.figures["kl"] == pytest.approx(0, abs=1e-5)
    assert record.figures["loss_reference"] == pytest.approx(record.loss_train, abs=1e-5)


def test_the_embedding_stays(write_params: Callable[..., Path]) -> None:
    trainer = _trainer(_params(write_params))
    before = {name: p.clone() for name, p in trainer.model.named_parameters()}
    list(trainer)
    changed = {n for n, p in trainer.model.named_parameters() if not torch.equal(p, before[n])}
    assert "lm_head.weight" in changed
    assert changed == set(before) - {"token_embedding.weight"}


def test_an_update_makes_faults_less_likely(write_params: Callable[..., Path]) -> None:
    trainer = _trainer(_params(write_params, batch_size=16))
    batch = trainer.task.batches(0, np.random.default_rng([trainer.params.seed, 0]))
    assert batch.wanted is not None
    inputs, counts = torch.from_numpy(batch.inputs), torch.from_numpy(batch.targets != PADDING_ID)
    wanted = torch.from_numpy(batch.wanted).log_softmax(dim=-1)

    def divergence() -> float:
        with torch.no_grad():
            own = trainer.model(inputs)[0].log_softmax(dim=-1)
        return float((own.exp() * (own - wanted)).sum(dim=-1)[counts].mean())

    before = divergence()
    next(iter(trainer))
    assert divergence() < before


@pytest.mark.parametrize("stop", [1, 3])
def test_a_restored_training_ends_with_the_same_weights(
    write_params: Callable[..., Path], tmp_path: Path, stop: int
) -> None:
    params = _params(write_params)
    whole = _trainer(params)
    records = list(whole)
    first = _trainer(params)
    for _, _ in zip(range(stop), first, strict=False):
        pass
    save_state(tmp_path, first, None)
    second = _trainer(params)
    restore_state(tmp_path, second)
    assert second.step == stop
    list(second)
    assert second.records == records
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, second.model.state_dict()[name]), name
