import pytest
import torch

from nanopoet.model import CausalSelfAttention, GPTLanguageModel, dropout


@pytest.fixture
def model() -> GPTLanguageModel:
    return GPTLanguageModel(30, 16, 8, 2, 2, 0.1, generator=torch.Generator().manual_seed(0))


def test_parameter_count(model: GPTLanguageModel) -> None:
    per_block = 12 * 16**2 + 10 * 16
    assert model.num_parameters == (30 + 8) * 16 + 2 * per_block + 2 * 16 + 16 * 30 + 30


def test_shapes_and_loss(model: GPTLanguageModel) -> None:
    idx = torch.randint(30, (3, 8))
    logits, loss = model.eval()(idx, idx)
    assert logits.shape == (3, 8, 30)
    expected = -logits.log_softmax(-1).gather(-1, idx[..., None]).mean()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(model.token_losses(idx, idx).mean(), expected)
    assert model(idx)[1] is None


def test_no_position_sees_what_follows(model: GPTLanguageModel) -> None:
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


def test_attention_with_dropout_is_the_fused_attention_on_average() -> None:
    attention = CausalSelfAttention(16, 2, dropout=0.1)
    x = torch.randn(1, 8, 16)
    expected = attention.eval()(x)
    attention.train()
    torch.manual_seed(0)
    mean = torch.stack([attention(x) for _ in range(4000)]).mean(0)
    torch.testing.assert_close(mean, expected, atol=0.02 * expected.abs().max().item(), rtol=0)


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_dropout(p: float) -> None:
    torch.manual_seed(0)
    x = torch.ones(999, 1001)
    y = dropout(x, p)
    kept = y != 0
    assert kept.float().mean().item() == pytest.approx(1 - p, abs=2e-3)
    torch.testing.assert_close(y[kept], torch.full_like(y[kept], 1 / (1 - p)))
    for shift in (1, 2, 4):  # elements that share a draw do not share their fate
        both = (kept[:, shift:] & kept[:, :-shift]).float().mean().item()
        assert both == pytest.approx((1 - p) ** 2, abs=4e-3)


def test_dropout_without_probability_draws_nothing() -> None:
    x = torch.randn(5)
    state = torch.get_rng_state()
    assert dropout(x, 0) is x
    assert torch.equal(torch.get_rng_state(), state)


def test_generate_appends_and_slides(model: GPTLanguageModel) -> None:
    context = torch.tensor([[0], [3]])
    ids = model.train().generate(context, max_new_tokens=20)
    assert ids.shape == (2, 21)
    assert torch.equal(ids[:, :1], context)
    assert ids.max() < 30
    assert model.training


def test_generate_follows_its_generator(model: GPTLanguageModel) -> None:
    def draw(seed: int) -> list[int]:
        generator = torch.Generator().manual_seed(seed)
        ids: list[int] = model.generate(torch.tensor([[0]]), 20, generator=generator)[0].tolist()
        return ids

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


def test_a_cold_model_is_greedy(model: GPTLanguageModel) -> None:
    ids = model.generate(torch.tensor([[0]]), 1, temperature=1e-6)
    logits, _ = model.eval()(torch.tensor([[0]]))
    assert ids[0, 1] == logits[0, -1].argmax()


def test_limits(model: GPTLanguageModel) -> None:
    with pytest.raises(ValueError, match="block_size 8"):
        model(torch.zeros(1, 9, dtype=torch.int64))
    with pytest.raises(ValueError, match="does not divide"):
        GPTLanguageModel(30, 16, 8, 2, 3, 0.1)
