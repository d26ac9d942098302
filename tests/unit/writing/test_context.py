"""Texts that are continued together: each as by itself, to the last bit."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from nanopoet.models.base import LanguageModel
from nanopoet.models.kv_pool import KVPool
from nanopoet.models.registry import make_model
from nanopoet.ops.linear import CAN_PACK, packed
from nanopoet.writing import context as context_module
from nanopoet.writing.context import Context, compute
from tests.support.models import CONFIGS, tiny_model

STEPS = 12
TEXTS = [([1], 1), ([1, 5, 6], 1), ([1, 7], 16), ([*range(1, 27)], 1), ([4] * 5, 4)]
"""Prompt and rows of some contexts."""


def following(step: int, rows: int) -> Tensor:
    return (torch.arange(rows) * 7 + step) % 30


def model_of(config: str, block_size: int) -> LanguageModel:
    """Make a model whose heads are as large as torch's batched matmul needs for equal rounding."""
    sizes = {"block_size": block_size, "emb_size": 32}
    return make_model(CONFIGS[config] | sizes, torch.Generator().manual_seed(0)).eval()


def shared(model: LanguageModel, begun: Sequence[int]) -> list[list[Tensor]]:
    """Continue all texts in one pool, each from a step on, and return the logits of each."""
    pool = KVPool(model.block_size, 64)
    contexts = [Context(model, prompt, rows) for prompt, rows in TEXTS]
    found: list[list[Tensor]] = [[] for _ in TEXTS]
    for step in range(STEPS + max(begun)):
        going = [number for number, first in enumerate(begun) if first <= step < first + STEPS]
        compute([contexts[number] for number in going], pool)
        for number in going:
            found[number].append(contexts[number].logits())
            contexts[number].append(following(len(found[number]), contexts[number].rows))
            if len(found[number]) == STEPS:
                contexts[number].leave()
    assert len(pool.free) == 64
    return found


@pytest.mark.skipif(not CAN_PACK[torch.float32], reason="no packed matmuls on this machine")
@pytest.mark.parametrize("config", CONFIGS)
def test_the_logits_do_not_depend_on_the_others(config: str) -> None:
    """A difference in the last bit would change one poem in many."""
    model = model_of(config, block_size=64)
    after_each_other = [STEPS * number for number in range(len(TEXTS))]
    with packed(model):
        alone = shared(model, after_each_other)
        together = shared(model, [0, 2, 4, 4, 6])
    for own, others in zip(alone, together, strict=True):
        for left, right in zip(own, others, strict=True):
            assert torch.equal(left, right)


@pytest.mark.parametrize("config", CONFIGS)
def test_the_logits_in_a_pool_are_those_of_the_model(
    config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a text outgrows what the model sees, and where a prompt takes several passes."""
    monkeypatch.setattr(context_module, "TOKENS", 6)
    model = model_of(config, block_size=8)
    for (prompt, rows), found in zip(TEXTS, shared(model, [0, 2, 4, 4, 6]), strict=True):
        context = Context(model, prompt, rows)
        for step, logits in enumerate(found):
            torch.testing.assert_close(logits, context.logits())
            context.append(following(step + 1, rows))


def test_a_long_text_goes_on_from_its_last_half() -> None:
    model, _ = tiny_model()
    context, start = Context(model, [1, 5], 2), 0
    for step in range(3 * model.block_size):
        if context.ids.shape[1] - start > model.block_size:
            start = context.ids.shape[1] - model.block_size // 2
        seen = context.ids[:, start:]
        torch.testing.assert_close(context.logits(), model(seen)[0][:, -1].expand(2, -1))
        context.append(following(step, 2))
    assert start > model.block_size


def test_rows_that_are_kept_go_on_as_they_were() -> None:
    model, _ = tiny_model()
    every, some = Context(model, [1, 5], 4), Context(model, [1, 5], 4)
    for step in range(3):
        every.logits(), some.logits()
        every.append(following(step, 4))
        some.append(following(step, 4))
    some.keep(torch.tensor([3, 1]))
    torch.testing.assert_close(some.logits(), every.logits()[[3, 1]])
    assert some.rows == 2
