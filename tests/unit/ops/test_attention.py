import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from nanopoet.ops.attention import (
    MAX_UNFUSED_LENGTH,
    MIN_BATCH_FOR_FULL_CAPACITY,
    QUERY_CHUNK_SIZE,
    causal_attention,
)


def _qkv(T: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    q, k, v = torch.randn(3, 2, 3, T, 8, generator=torch.Generator().manual_seed(T))
    return q.requires_grad_(), k.requires_grad_(), v.requires_grad_()


@pytest.mark.parametrize("K", [1, 3, 6])
@pytest.mark.parametrize(
    "T",
    [1, 2, 33, QUERY_CHUNK_SIZE, QUERY_CHUNK_SIZE + 1, MAX_UNFUSED_LENGTH, MAX_UNFUSED_LENGTH + 1],
)
def test_it_is_torch_s_with_its_gradients(T: int, K: int) -> None:
    q = torch.randn(2, 6, T, 8, requires_grad=True)
    k, v = (torch.randn(2, K, T, 8, requires_grad=True) for _ in "kv")
    direction = torch.randn(2, 6, T, 8)
    ours = causal_attention(q, k, v)
    each_k, each_v = (x.repeat_interleave(6 // K, dim=1) for x in (k, v))
    theirs = scaled_dot_product_attention(q, each_k, each_v, is_causal=True)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(
        torch.autograd.grad((ours * direction).sum(), [q, k, v]),
        torch.autograd.grad((theirs * direction).sum(), [q, k, v]),
    )


def test_large_scores_stay_finite() -> None:
    q, k, v = (x.detach() for x in _qkv(5))
    ours = causal_attention(1e4 * q, k, v)
    theirs = scaled_dot_product_attention(1e4 * q, k, v, is_causal=True)
    torch.testing.assert_close(ours, theirs)


def test_bf16_comes_out_as_bf16() -> None:
    q, k, v = _qkv(33)
    ours = causal_attention(q.bfloat16(), k.bfloat16(), v.bfloat16())
    assert ours.dtype == torch.bfloat16
    exact = scaled_dot_product_attention(q, k, v, is_causal=True)
    torch.testing.assert_close(ours.float(), exact, atol=0.03, rtol=0.03)


def test_single_token_decoding_sees_all_keys() -> None:
    q, k, v = _qkv(6)
    torch.testing.assert_close(
        causal_attention(q[:, :, -1:], k, v), causal_attention(q, k, v)[:, :, -1:]
    )


@pytest.mark.parametrize("B", [1, MIN_BATCH_FOR_FULL_CAPACITY - 1, MIN_BATCH_FOR_FULL_CAPACITY])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("T", [1, 5])
@pytest.mark.parametrize("K", [1, 2, 4])
def test_keys_may_have_a_larger_capacity(K: int, T: int, dtype: torch.dtype, B: int) -> None:
    q, k, v = torch.randn(3, B, 4, 5, 8, dtype=dtype)
    q, k, v = q[:, :, -T:], k[:, :K], v[:, :K]
    keys, values = (torch.nn.functional.pad(x, (0, 0, 0, 11)) for x in (k, v))
    exact = causal_attention(q.float(), k.float(), v.float())
    found = causal_attention(q, keys, values, length=5)
    assert found.dtype == dtype
    assert found.shape == q.shape
    error = 1e-5 if dtype == torch.float32 else 0.03
    torch.testing.assert_close(found.float(), exact, atol=error, rtol=error)


@pytest.mark.parametrize("K", [1, 2, 4])
@pytest.mark.parametrize("T", [2, 5])
def test_queries_may_be_those_of_the_last_positions(T: int, K: int) -> None:
    q, k, v = torch.randn(3, 4, 9, 8), torch.randn(3, K, 9, 8), torch.randn(3, K, 9, 8)
    expected = causal_attention(q, k, v)[:, :, -T:]
    torch.testing.assert_close(causal_attention(q[:, :, -T:], k, v), expected)


def test_dropped_weights_keep_the_mean() -> None:
    q, k, _ = (x.detach() for x in _qkv(40))
    ones = torch.ones(2, 3, 40, 8)
    torch.manual_seed(0)
    y = torch.stack([causal_attention(q, k, ones, p=0.5) for _ in range(50)])
    assert set(y[:, :, :, 0].flatten().tolist()) == {
        0.0,
        2.0,
    }  # the first position sees only itself
    assert y.mean().item() == pytest.approx(1, abs=0.02)
