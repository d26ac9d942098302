"""Causal attention by the fastest method of the device."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from nanopoet.ops.dropout import dropout

MAX_UNFUSED_LENGTH = 256
"""Longest T for which a CPU is faster without its fused kernel.

Forward and backward, compiled, with AMX, it is 5.1 times as fast at 128 and 1.2 times at 256
(torch 2.13, `python -m bench.ops`). In a forward pass alone in fp32 the fused kernel is faster."""

QUERY_CHUNK_SIZE = 128
"""Most queries that a CPU computes at once, so that early queries skip the keys after them.

Forward and backward, compiled, in bf16 (Zen 5), 256 at once take a tenth longer, and 64 at once
take 3% longer."""

MIN_BATCH_FOR_FULL_CAPACITY = 8
"""Least B from which single-token decoding on a CPU reads the cache up to its full capacity.

The cache is contiguous as a whole, but not up to its length. Generation of 32 texts at once takes a
fifth less time in bf16."""


def causal_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    p: float = 0.0,
    length: int | Tensor | None = None,
) -> Tensor:
    """Attend from each position to itself and the positions before it.

    With S keys for T > 1 queries, the queries are those of the last T of S positions. This is for
    scoring: without a gradient, and without dropout.

    Args:
        q: (B, H, T, D) queries.
        k: (B, K, S, D) keys; each key head serves H / K consecutive query heads. In single-token
            decoding (T = 1 query) the query sees all keys.
        v: the values, in the shape of the keys.
        p: probability of dropping a weight.
        length: number of keys and values, if the tensors have a larger capacity filled up with
            zeros; or the number of each sequence, (B,), in single-token decoding.

    Returns:
        (B, H, T, D) in the dtype of v.
    """
    T = q.shape[2]
    if isinstance(length, Tensor):
        return _over_full_capacity(q, k, v, length)
    if length is not None:
        if q.device.type == "cpu" and T == 1 and len(q) >= MIN_BATCH_FOR_FULL_CAPACITY:
            return _over_full_capacity(q, k, v, length)
        k, v = k[:, :, :length], v[:, :, :length]
    backward = torch.is_grad_enabled() or v.dtype != torch.float32
    if 1 < T < k.shape[2]:
        return _behind_others(q, k, v)
    if q.device.type == "cpu" and (p or (1 < T <= MAX_UNFUSED_LENGTH and backward)):
        return _unfused(q, k, v, p)
    shared = k.shape[1] < q.shape[1]
    return F.scaled_dot_product_attention(q, k, v, dropout_p=p, is_causal=T > 1, enable_gqa=shared)


def _over_full_capacity(q: Tensor, k: Tensor, v: Tensor, length: int | Tensor) -> Tensor:
    """Attend from (B, H, 1, D) to the first `length` of S keys, (B, K, S, D)."""
    lengths = torch.as_tensor(length, device=q.device).expand(len(q)).repeat_interleave(k.shape[1])
    beyond = torch.arange(k.shape[2], device=q.device) >= lengths[:, None, None]  # (B K, 1, S)
    empty = torch.zeros_like(beyond, dtype=q.dtype).masked_fill_(beyond, float("-inf"))
    keys, values = k.flatten(0, 1), v.flatten(0, 1)  # (B K, S, D)
    rows = q.reshape(len(keys), -1, q.shape[3])  # (B K, H / K, D)
    scores = torch.baddbmm(empty, rows, keys.transpose(1, 2), alpha=q.shape[3] ** -0.5)
    return torch.bmm(scores.softmax(dim=-1).to(v.dtype), values).view_as(q)


def _behind_others(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attend from the last T of S positions, (B, H, T, D), to S keys, (B, K, S, D)."""
    size, keys, values = (q.shape[2], k.shape[2]), k.flatten(0, 1), v.flatten(0, 1)
    future = torch.ones(size, dtype=torch.bool, device=q.device).triu_(size[1] - size[0] + 1)
    hidden = torch.zeros(size, dtype=q.dtype, device=q.device).masked_fill_(future, float("-inf"))
    rows = q.reshape(len(keys), -1, q.shape[3])  # (B K, H / K × T, D)
    hidden = hidden.repeat(rows.shape[1] // size[0], 1)
    scores = torch.baddbmm(hidden, rows, keys.transpose(1, 2), alpha=q.shape[3] ** -0.5)
    return (scores.softmax(dim=-1).to(v.dtype) @ values).view_as(q)


def _unfused(q: Tensor, k: Tensor, v: Tensor, p: float) -> Tensor:
    T = q.shape[2]
    size = T if p else QUERY_CHUNK_SIZE  # dropout draws for all weights together
    parts = [
        _last_queries(queries, k[:, :, :end], v[:, :, :end], p)
        for queries, end in zip(torch.split(q, size, 2), range(size, T + size, size), strict=True)
    ]
    return torch.cat(parts, dim=2)


def _last_queries(q: Tensor, k: Tensor, v: Tensor, p: float) -> Tensor:
    """Attend from the last S of T positions, (B, H, S, D), to all T keys, (B, K, T, D)."""
    rows = q.reshape(*k.shape[:2], -1, q.shape[3])  # (B, K, H / K × S, D)
    scores = (rows @ k.transpose(-2, -1)).view(*q.shape[:3], -1)  # (B, H, S, T)
    weights: Tensor = _CausalSoftmax.apply(  # type: ignore[no-untyped-call]
        scores, q.shape[3] ** -0.5
    )
    weights = dropout(weights.to(v.dtype), p)
    return (weights.view(*rows.shape[:3], -1) @ v).view_as(q)


class _CausalSoftmax(torch.autograd.Function):
    """Softmax of scaled scores, (B, H, S, T), of the last S of T positions.

    Each row counts the scores up to its own position. Only the weights are kept for the backward
    pass, in the dtype of the scores.
    """

    @staticmethod
    def forward(ctx: Any, scores: Tensor, scale: float) -> Tensor:
        # With int64 instead, torch's compiler makes several passes of it.
        positions = torch.arange(scores.shape[-1], dtype=torch.int32, device=scores.device)
        future = positions > positions[-scores.shape[-2] :, None]
        visible = (scores.float() * scale).masked_fill_(future, float("-inf"))
        weights = visible.softmax(dim=-1).to(scores.dtype)
        ctx.save_for_backward(weights)
        ctx.scale = scale
        return weights

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        [kept], [grad] = ctx.saved_tensors, grads
        weights = kept.float()
        change = grad.float() * weights
        change = change - weights * change.sum(dim=-1, keepdim=True)
        return (change * ctx.scale).to(kept.dtype), None
