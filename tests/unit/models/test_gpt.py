import pytest
import torch

from nanopoet.models.gpt import CausalSelfAttention, GPTLanguageModel


@pytest.fixture
def model() -> GPTLanguageModel:
    return GPTLanguageModel(30, 16, 8, 2, 2, 0.1, generator=torch.Generator().manual_seed(0))


def test_parameter_count(model: GPTLanguageModel) -> None:
    per_block = 12 * 16**2 + 10 * 16
    assert model.num_parameters == (30 + 8) * 16 + 2 * per_block + 2 * 16 + 16 * 30 + 30


def test_attention_with_dropout_is_the_fused_attention_on_average() -> None:
    torch.manual_seed(0)
    attention = CausalSelfAttention(16, 2, dropout=0.1)
    x = torch.randn(1, 8, 16)
    expected = attention.eval()(x)
    attention.train()
    mean = torch.stack([attention(x) for _ in range(4000)]).mean(0)
    torch.testing.assert_close(mean, expected, atol=0.02 * expected.abs().max().item(), rtol=0)


def test_heads_that_do_not_divide_the_width_are_an_error() -> None:
    with pytest.raises(ValueError, match="does not divide"):
        GPTLanguageModel(30, 16, 8, 2, 3, 0.1)
