import math

import pytest
import torch

from nanopoet.models.qwen3 import Qwen3LanguageModel, rms_norm
from nanopoet.ops.rotary import rotary_tables, rotate


def _model() -> Qwen3LanguageModel:
    return Qwen3LanguageModel(30, 16, 8, 2, 2, 24, 0.0, generator=torch.Generator().manual_seed(0))


def test_parameter_count() -> None:
    per_block = 4 * 16**2 + 3 * 16 * 24 + 2 * 16 + 2 * 8
    assert _model().num_parameters == 2 * 30 * 16 + 2 * per_block + 16


def test_heads_may_share_keys_and_values() -> None:
    """Heads that share keys and values compute the same as heads with equal ones."""
    shared = Qwen3LanguageModel(30, 16, 8, 1, 4, 24, 0.0, kv_head_num=2).eval()
    alone = Qwen3LanguageModel(30, 16, 8, 1, 4, 24, 0.0).eval()
    assert alone.num_parameters - shared.num_parameters == 2 * 2 * 4 * 16
    for parameter in shared.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    weights = shared.state_dict()
    name = "blocks.0.attn.qkv_proj.weight"
    q, k, v = weights[name].split([16, 8, 8])
    twice = [x.view(2, 4, 16).repeat_interleave(2, dim=0).flatten(0, 1) for x in (k, v)]
    alone.load_state_dict(weights | {name: torch.cat([q, *twice])})
    idx = torch.randint(30, (2, 8))
    torch.testing.assert_close(shared(idx)[0], alone(idx)[0])


def test_key_heads_that_do_not_divide_the_heads_are_an_error() -> None:
    with pytest.raises(ValueError, match="kv_head_num 3 does not divide head_num 4"):
        Qwen3LanguageModel(30, 16, 8, 1, 4, 24, 0.0, kv_head_num=3)


def test_an_untrained_block_adds_nothing() -> None:
    model = _model()
    idx = torch.tensor([[3, 7, 11]])
    expected = rms_norm(model.token_embedding(idx), model.norm)
    torch.testing.assert_close(model.hidden(idx), expected)


@pytest.mark.parametrize("learning", [True, False])
@pytest.mark.parametrize("size", [1e-4, 1.0, 1e4])
def test_rms_norm_is_torch_s(learning: bool, size: float) -> None:
    x, weight = size * torch.randn(3, 2, 16), torch.rand(2, 1)
    expected = torch.nn.functional.rms_norm(x, (16,), eps=1e-6) * weight
    with torch.set_grad_enabled(learning):
        torch.testing.assert_close(rms_norm(x, weight), expected)


def test_rotary_tables_are_exact() -> None:
    """Torch's fp32 cosines are off in their last bits, not always by the same amount."""
    cos, sin = rotary_tables(256, 64)
    angles = [[t * 10_000.0 ** (-d / 32) for d in range(32)] for t in range(256)]
    exact_cos, exact_sin = (
        torch.tensor([[function(angle) for angle in row] for row in angles])
        for function in (math.cos, math.sin)
    )
    for half, sign in enumerate((-1, 1)):
        assert torch.equal(cos[:, half], exact_cos)
        assert torch.equal(sin[:, half], sign * exact_sin)


def test_a_rotation_turns_halves_together() -> None:
    cos, sin = rotary_tables(20, 8)
    a, b = torch.randn(2, 4).unbind()
    turned = rotate(torch.cat([a, b]), cos[7], sin[7])
    expected = torch.view_as_complex(torch.stack([a, b], dim=-1)) * torch.polar(
        torch.ones(4), 7 * 10_000.0 ** (-torch.arange(4) / 4)
    )
    torch.testing.assert_close(turned, torch.cat([expected.real, expected.imag]))


def test_a_score_of_rotated_vectors_depends_on_their_distance() -> None:
    q, k = torch.randn(1, 1, 1, 8), torch.randn(1, 1, 1, 8)
    cos, sin = rotary_tables(20, 8)

    def score(i: int, j: int) -> torch.Tensor:
        return (rotate(q, cos[i], sin[i]) * rotate(k, cos[j], sin[j])).sum()

    torch.testing.assert_close(score(3, 1), score(19, 17))
    assert not torch.isclose(score(3, 1), score(3, 2))
    torch.testing.assert_close(score(0, 0), (q * k).sum())


def test_a_head_needs_an_even_width() -> None:
    with pytest.raises(ValueError, match="does not divide"):
        Qwen3LanguageModel(30, 12, 8, 2, 4, 24, 0.0)
