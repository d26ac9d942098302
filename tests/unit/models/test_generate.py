from functools import partial
from typing import Any

import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from nanopoet.common.device import Precision, autocast
from nanopoet.models.base import LanguageModel
from nanopoet.models.generate import _sample_text, generate, sample, stream
from nanopoet.ops import linear
from nanopoet.ops.attention import MIN_BATCH_FOR_FULL_CAPACITY
from nanopoet.ops.linear import Linear, packed
from nanopoet.tokens.tokenizer import BEGIN_ID, PADDING_ID, SPECIAL_TOKENS

SPECIAL = slice(BEGIN_ID + 1, len(SPECIAL_TOKENS))
"""Ids that no text has."""


@pytest.mark.parametrize("length", [1, 3, 8, 11])
def test_it_appends_and_goes_on_beyond_the_block(model: LanguageModel, length: int) -> None:
    context = torch.randint(30, (2, length))
    ids = model.train().generate(context, max_new_tokens=20)
    assert ids.shape == (2, length + 20)
    assert torch.equal(ids[:, :length], context)
    assert ids.max() < 30
    assert model.training


@pytest.mark.parametrize("rows", [4, MIN_BATCH_FOR_FULL_CAPACITY])
@pytest.mark.parametrize("length", [1, 5, 8, 11])
def test_the_cache_changes_nothing(model: LanguageModel, length: int, rows: int) -> None:
    context = torch.randint(30, (rows, length), generator=torch.Generator().manual_seed(1))
    for temperature in (0.0, 1.0):
        with_cache, without = (
            generate(
                model,
                context,
                40,
                temperature=temperature,
                generator=torch.Generator().manual_seed(2),
                use_cache=use_cache,
            )
            for use_cache in (True, False)
        )
        assert torch.equal(with_cache, without)
    assert len(set(with_cache[0].tolist())) > 5  # unlike greedy texts, sampled ones vary


def test_within_the_block_it_sees_all_tokens_before(model: LanguageModel) -> None:
    ids = generate(model, torch.tensor([[0]]), 7, temperature=0)
    for t in range(1, 8):
        logits, _ = model(ids[:, :t])
        logits[0, -1, SPECIAL] = float("-inf")
        assert ids[0, t] == logits[0, -1].argmax()


def test_it_follows_its_generator(model: LanguageModel) -> None:
    def draw(seed: int) -> list[int]:
        generator = torch.Generator().manual_seed(seed)
        ids: list[int] = model.generate(torch.tensor([[0]]), 20, generator=generator)[0].tolist()
        return ids

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


def test_a_cold_model_is_greedy(model: LanguageModel) -> None:
    likeliest = model.generate(torch.tensor([[0]]), 5, temperature=0)
    for temperature in (-0.0, 1e-6, 1e-29, 1e-31, 1e-38, 1e-45, 5e-324):
        for options in ({}, {"top_p": 0.5}, {"top_k": 3}):
            ids = model.generate(torch.tensor([[0]]), 5, temperature=temperature, **options)
            assert torch.equal(ids, likeliest)


@pytest.mark.parametrize("options", [{}, {"top_k": 1}, {"top_p": 0.01}, {"use_cache": False}])
@pytest.mark.parametrize("temperature", [0.0, 1.0, 10.0])
def test_a_text_has_no_special_token_but_begin(
    model: LanguageModel, temperature: float, options: dict[str, Any]
) -> None:
    """An untrained model gives a third of the probability to them."""
    context = torch.zeros(40, 1, dtype=torch.int64)
    ids = model.generate(context, 30, temperature=temperature, **options)
    assert not ((ids >= SPECIAL.start) & (ids < SPECIAL.stop)).any()
    if temperature >= 1 and not options:
        assert (ids[:, 1:] == BEGIN_ID).any()


def test_drawing_again_leaves_the_other_draws_and_the_shares_of_characters() -> None:
    logits = torch.linspace(0, 2, 30).expand(50_000, -1)
    points = torch.rand(50_000, 1, generator=torch.Generator().manual_seed(3))
    draw = partial(sample, temperature=1.0, top_k=None, top_p=1.0)
    first, ids = draw(logits, points), _sample_text(draw, logits.clone(), points, BEGIN_ID)
    special = (first >= SPECIAL.start) & (first < SPECIAL.stop)
    assert torch.equal(ids[~special], first[~special])
    expected = logits[0].softmax(dim=-1)
    expected[SPECIAL] = 0
    again = ids[special].bincount(minlength=30)
    torch.testing.assert_close(again / again.sum(), expected / expected.sum(), atol=0.01, rtol=0)


def test_a_stopped_sequence_is_padded(model: LanguageModel) -> None:
    generator = torch.Generator().manual_seed(0)
    ids = model.generate(torch.tensor([[1], [2], [3]]), 500, generator=generator, stop_id=15)
    assert ids.shape[1] < 501
    for row in ids.tolist():
        first = row.index(15)
        assert set(row[first:]) == {15}
    assert ids[:, -2].ne(15).any()  # generation ended with the last one


def test_stopped_sequences_leave_the_others_as_they_are(model: LanguageModel) -> None:
    """When half have stopped, only the others are computed, with the same result."""
    context = torch.arange(1, 17)[:, None]
    together = generate(
        model, context, 60, generator=torch.Generator().manual_seed(0), stop_id=15
    ).tolist()
    going = generate(model, context, 60, generator=torch.Generator().manual_seed(0)).tolist()
    stops = [row.index(15) if 15 in row[1:] else len(row) for row in together]
    assert len(set(stops)) > 5
    for row, free, stop in zip(together, going, stops, strict=True):
        assert row[:stop] == free[:stop]


def test_a_stream_gives_what_generate_gives(model: LanguageModel) -> None:
    context = torch.tensor([[1], [2], [3]])
    steps = stream(
        model, context, 30, generator=torch.Generator().manual_seed(0), stop_id=15, top_p=0.9
    )
    whole = generate(
        model, context, 30, generator=torch.Generator().manual_seed(0), stop_id=15, top_p=0.9
    )
    assert torch.equal(torch.cat([context, *steps], dim=1), whole)


@pytest.mark.skipif(not linear.CAN_PACK[torch.float32], reason="oneDNN is not here")
def test_weights_are_packed_once_a_text_or_longer(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 0
    pack = torch.ops.mkldnn._reorder_linear_weight

    def counted(weight: torch.Tensor) -> torch.Tensor:
        nonlocal count
        count += 1
        result: torch.Tensor = pack(weight)
        return result

    monkeypatch.setattr(torch.ops.mkldnn, "_reorder_linear_weight", counted)
    layers = sum(isinstance(module, Linear) for module in model.modules())
    context = torch.tensor([[1], [2]])
    generate(model, context, 20)
    assert count == layers
    generate(model, context, 20)
    assert count == 2 * layers
    with packed(model):
        for _ in range(3):
            generate(model, context, 20)
    assert count == 3 * layers


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_model_and_thread_are_in_their_own_mode_between_steps(
    model: LanguageModel, precision: Precision
) -> None:
    generator = torch.Generator().manual_seed(0)
    steps = stream(model.train(), torch.tensor([[1], [2]]), 30, generator=generator)
    for _ in range(3):
        with autocast(torch.device("cpu"), precision):
            ids = next(steps)
        assert ids.shape == (2, 1)
        assert model.training
        assert not torch.is_inference_mode_enabled()
        loss = model.loss(ids, ids)  # one can train on the ids, unlike on tensors of inference
        torch.autograd.backward(loss)
    steps.close()  # type: ignore[attr-defined]
    assert model.training


def test_ids_come_as_often_as_their_probabilities_say() -> None:
    logits = torch.tensor([0.0, float("-inf"), 2.0, -1.0, 1.0, float("-inf")])
    rows = logits.expand(20_000, -1)
    for temperature in (1.0, 0.5):
        points = torch.rand(20_000, 1, generator=torch.Generator().manual_seed(3))
        ids = sample(rows, points, temperature, None, 1.0)
        share = ids.flatten().bincount(minlength=6)
        expected = (logits / temperature).softmax(dim=-1)
        torch.testing.assert_close(share / 20_000, expected, atol=0.01, rtol=0)
        assert not share[expected == 0].any()


@pytest.mark.parametrize("point", [0.0, 1.0])
def test_the_ends_of_the_range_hit_possible_ids(point: float) -> None:
    logits = torch.tensor([[float("-inf"), 1.0, float("-inf"), 3.0, float("-inf")]])
    assert sample(logits, torch.tensor([[point]]), 1.0, None, 1.0).item() == (3 if point else 1)


@pytest.mark.parametrize(
    ("top_k", "top_p", "possible"),
    [
        (None, 1.0, {0, 1, 2, 3}),
        (2, 1.0, {1, 2}),
        (1, 1.0, {2}),
        (9, 1.0, {0, 1, 2, 3}),
        (None, 0.5, {2}),
        (None, 0.51, {1, 2}),
        (None, 0.81, {0, 1, 2}),
        (None, 1e-9, {2}),
        (3, 0.8, {1, 2}),  # of three, the likeliest have 0.5 / 0.95 and 0.3 / 0.95
    ],
)
def test_top_k_and_top_p_leave_the_likeliest(
    top_k: int | None, top_p: float, possible: set[int]
) -> None:
    rows = torch.tensor([0.15, 0.3, 0.5, 0.05]).log().expand(2000, -1)
    points = torch.rand(2000, 1, generator=torch.Generator().manual_seed(0))
    ids = sample(rows, points, 1.0, top_k, top_p)
    assert set(ids.flatten().tolist()) == possible


def test_forced_tokens_come_first_so_prompts_of_other_lengths_go_on_together(
    model: LanguageModel,
) -> None:
    prompts = [[0, 12, 13, 14], [0, 15], [0, 16, 17]]
    alone = [
        generate(model, torch.tensor([each]), 3, temperature=0)[0].tolist() for each in prompts
    ]
    rest = [torch.tensor(prompt[1:]) for prompt in prompts]
    forced = pad_sequence(rest, batch_first=True, padding_value=PADDING_ID)
    begin = torch.zeros(3, 1, dtype=torch.long)
    together = generate(model, begin, 6, temperature=0, forced=forced)
    for row, expected in zip(together.tolist(), alone, strict=True):
        assert row[: len(expected)] == expected


@pytest.mark.parametrize(
    "values",
    [{"temperature": -1.0}, {"temperature": float("nan")}, {"top_k": 0}, {"top_p": 0.0}],
)
def test_sampling_out_of_range_is_refused(model: LanguageModel, values: dict[str, Any]) -> None:
    [(name, value)] = values.items()
    with pytest.raises(ValueError, match=f"{name}={value}"):
        model.generate(torch.zeros(1, 1, dtype=torch.long), 3, **values)
