"""Causal attention, by the quickest way that the device has."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from nanopoet.ops.dropout import dropout

SHORT = 256
"""Longest T for which the CPU is quicker without its fused kernel: by 5.1 times at 128 and 1.2
at 256, forward and backward, compiled, with AMX (torch 2.13, `python -m bench.ops`). In fp32
and forward alone the fused kernel is the quicker one."""

AT_ONCE = 128
"""Most queries that a CPU answers together, so that the first ones leave out the later keys, which
they do not see. All 256 at once take a tenth longer, forward and backward, 64 at once 3% (compiled,
bf16, Zen 5)."""

MANY = 8
"""Least B from which the CPU is quicker when lone queries read all of a room, which lies in one
piece, the part that is still empty included: writing takes a fifth less in bf16 with 32 at once."""


def causal_attention(
    q: Tensor, k: Tensor, v: Tensor, p: float = 0.0, length: int | None = None
) -> Tensor:
    """What each position reads from itself and those before it.

    Args:
        q: (B, H, T, D) queries.
        k: (B, K, T, D) keys, of which each head serves H / K heads of queries in a row; a lone
            query (T = 1) sees all of them, however many.
        v: their values.
        p: probability of dropping a weight.
        length: number of keys and values where they have room for more, with zeros behind them.

    Returns:
        (B, H, T, D) in the dtype of v.
    """
    T = q.shape[2]
    if length is not None:
        if q.device.type == "cpu" and T == 1 and len(q) >= MANY:
            return _whole_room(q, k, v, length)
        k, v = k[:, :, :length], v[:, :, :length]
    backward = torch.is_grad_enabled() or v.dtype != torch.float32
    if q.device.type == "cpu" and (p or (1 < T <= SHORT and backward)):
        return _spelt_out(q, k, v, p)
    shared = k.shape[1] < q.shape[1]
    return F.scaled_dot_product_attention(q, k, v, dropout_p=p, is_causal=T > 1, enable_gqa=shared)


def _whole_room(q: Tensor, k: Tensor, v: Tensor, length: int) -> Tensor:
    empty = q.new_zeros(k.shape[2])
    empty[length:] = float("-inf")
    keys, values = k.flatten(0, 1), v.flatten(0, 1)  # (B K, R, D)
    rows = q.reshape(len(keys), -1, q.shape[3])  # (B K, H / K, D)
    scores = torch.baddbmm(empty, rows, keys.transpose(1, 2), alpha=q.shape[3] ** -0.5)
    return torch.bmm(scores.softmax(dim=-1).to(v.dtype), values).view_as(q)


def _spelt_out(q: Tensor, k: Tensor, v: Tensor, p: float) -> Tensor:
    T = q.shape[2]
    size = T if p else AT_ONCE  # dropout draws for all weights together
    parts = [
        _last_rows(queries, k[:, :, :end], v[:, :, :end], p)
        for queries, end in zip(torch.split(q, size, 2), range(size, T + size, size), strict=True)
    ]
    return torch.cat(parts, dim=2)


def _last_rows(q: Tensor, k: Tensor, v: Tensor, p: float) -> Tensor:
    """Attention of the last S positions' queries, (B, H, S, D), to all T keys."""
    rows = q.reshape(*k.shape[:2], -1, q.shape[3])  # (B, K, H / K × S, D)
    scores = (rows @ k.transpose(-2, -1)).view(*q.shape[:3], -1)  # (B, H, S, T)
    weights: Tensor = _CausalSoftmax.apply(  # type: ignore[no-untyped-call]
        scores, q.shape[3] ** -0.5
    )
    weights = dropout(weights.to(v.dtype), p)
    return (weights.view(*rows.shape[:3], -1) @ v).view_as(q)


class _CausalSoftmax(torch.autograd.Function):
    """Softmax of scores times a scale, (B, H, S, T), whose rows are those of the last S of T
    positions; each counts the scores up to its own.

    Keeps nothing but the weights for the way back, in the dtype of the scores.
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
