"""Tests of both architectures."""

from collections.abc import Callable

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from nanopoet.models.base import LanguageModel
from nanopoet.models.kv_cache import KVCache
from nanopoet.models.registry import make_model
from nanopoet.tokens.tokenizer import PADDING_ID
from tests.support.models import CONFIGS


def test_the_config_makes_the_model_again(model: LanguageModel) -> None:
    again = make_model(model.config)
    assert type(again) is type(model)
    assert again.num_parameters == model.num_parameters
    assert again.config == model.config


def test_the_generator_decides_the_weights() -> None:
    for config in CONFIGS.values():
        one, same, other = (
            make_model(config, torch.Generator().manual_seed(seed)).blocks[0].state_dict()
            for seed in (0, 0, 1)
        )
        assert all(torch.equal(one[name], same[name]) for name in one)
        assert not all(torch.equal(one[name], other[name]) for name in one)


def test_activation_checkpointing_changes_no_gradient(model: LanguageModel) -> None:
    """Dropout drops the same elements again. Fewer activations are kept for the backward pass."""
    idx, targets = torch.randint(30, (2, 3, 8))
    model.train()
    found = []
    for model.activation_checkpointing in (False, True):
        kept: list[torch.Tensor] = []
        with torch.random.fork_rng(), saved_tensors_hooks(_keep_in(kept), lambda x: x):
            torch.manual_seed(1)
            loss = model.loss(idx, targets)
            gradients = torch.autograd.grad(loss, list(model.parameters()))
        found.append((loss, gradients, sum(tensor.numel() for tensor in kept)))
    [plain, checkpointed] = found
    assert torch.equal(plain[0], checkpointed[0])
    assert all(map(torch.equal, plain[1], checkpointed[1]))
    assert checkpointed[2] < plain[2]


def _keep_in(kept: list[torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        return tensor

    return pack


def test_shapes_and_losses(model: LanguageModel) -> None:
    idx, targets = torch.randint(30, (2, 3, 8))
    logits, loss = model(idx, targets)
    assert logits.shape == (3, 8, 30)
    expected = -logits.log_softmax(-1).gather(-1, targets[..., None]).squeeze(-1)
    torch.testing.assert_close(loss, expected.mean())
    torch.testing.assert_close(model.loss(idx, targets), expected.mean())
    torch.testing.assert_close(model.token_losses(idx, targets), expected)
    assert model(idx)[1] is None


def test_padding_has_no_loss_in_a_model_that_takes_fields(model: LanguageModel) -> None:
    idx, targets = torch.randint(30, (2, 3, 8))
    targets[0, 3] = PADDING_ID
    model.takes_fields = True
    expected = model.token_losses(idx, targets)
    assert (expected == 0).tolist() == (targets == PADDING_ID).tolist()
    loss = model.loss(idx, targets)
    torch.testing.assert_close(loss, expected.mean())
    model.takes_fields = False
    assert model.loss(idx, targets) > loss


def test_the_chunked_loss_has_the_gradient_of_the_plain_one(model: LanguageModel) -> None:
    idx, targets = torch.randint(30, (2, 3, 8))
    gradients = []
    for loss in (model(idx, targets)[1], model.loss(idx, targets)):
        model.zero_grad()
        (3 * loss).backward()
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    assert len(gradients[0]) == len(gradients[1]) == len(list(model.parameters()))
    for plain, chunked in zip(*gradients, strict=True):
        torch.testing.assert_close(chunked, plain)


def test_no_position_sees_later_ones(model: LanguageModel) -> None:
    for mode in (True, False):
        model.train(mode)
        idx = torch.randint(30, (1, 8))
        changed = idx.clone()
        changed[0, 5:] = (changed[0, 5:] + 1) % 30
        torch.manual_seed(0)
        before, _ = model(idx)
        torch.manual_seed(0)
        after, _ = model(changed)
        torch.testing.assert_close(before[:, :5], after[:, :5])
        assert not torch.allclose(before[:, 5:], after[:, 5:])


def test_the_order_of_earlier_tokens_matters(model: LanguageModel) -> None:
    one, other = model(torch.tensor([[1, 2, 3]]))[0], model(torch.tensor([[2, 1, 3]]))[0]
    assert not torch.allclose(one[:, -1], other[:, -1])


def test_dropout_works_in_training_mode_alone(model: LanguageModel) -> None:
    idx = torch.randint(30, (1, 8))
    assert torch.equal(model(idx)[0], model(idx)[0])
    model.train()
    assert not torch.equal(model(idx)[0], model(idx)[0])


def test_a_cache_gives_the_logits_of_the_whole(model: LanguageModel) -> None:
    idx = torch.randint(30, (3, 8))
    whole, _ = model(idx)
    cache = KVCache(model.block_size)
    parts = [model(idx[:, :4], cache=cache)[0]]
    parts += [model(idx[:, i : i + 1], cache=cache)[0] for i in range(4, 8)]
    assert cache.length == 8
    torch.testing.assert_close(torch.cat(parts, dim=1), whole)


def test_too_many_tokens_are_an_error(model: LanguageModel) -> None:
    with pytest.raises(ValueError, match="9 tokens are more than block_size 8"):
        model(torch.zeros(1, 9, dtype=torch.int64))
    cache = KVCache(model.block_size)
    model(torch.zeros(1, 8, dtype=torch.int64), cache=cache)
    with pytest.raises(ValueError, match="9 tokens are more than block_size 8"):
        model(torch.zeros(1, 1, dtype=torch.int64), cache=cache)


def test_an_unknown_architecture_is_an_error() -> None:
    with pytest.raises(KeyError, match="rnn"):
        make_model({"architecture": "rnn"})
