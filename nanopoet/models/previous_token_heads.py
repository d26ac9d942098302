"""Attention heads that attend to the tokens just before, from the start of training.

A rhyme character stands just before a full stop. To predict the next rhyme, a model needs a head
that attends to the previous token there. From random weights such a head forms late, and a short
training may end before it does. Here it exists at step 0, and training may change it.
docs/experiment-log.md has the measurements.
"""

from collections.abc import Sequence

import torch

from nanopoet.models.qwen3 import Attention, Qwen3LanguageModel
from nanopoet.ops.rotary import rotary_tables, rotate

_COMMON_STD = 0.05
"""Standard deviation of the vector that all embeddings share; their own parts have 0.02."""
_STRENGTH = 2.0
"""Root mean square, per channel, of a query or key made from the shared vector; the rest has 1."""


@torch.no_grad()
def add_previous_token_heads(
    model: Qwen3LanguageModel, lags: Sequence[int], generator: torch.Generator | None = None
) -> None:
    """Make head i of a model's first block attend to the token `lags[i]` positions back.

    All embeddings get a shared vector. From it the head makes a query and a key whose rotations
    agree at this distance. Only the quarter of the channel pairs with the highest frequencies takes
    part, so that query and key agree much less at other distances.

    Args:
        model: untrained; changed in place.
        lags: distances in tokens, one for each of the first heads.
        generator: source of the shared vector; torch's global one by default.

    Raises:
        ValueError: more lags than heads.
    """
    attn = model.blocks[0].attn
    assert isinstance(attn, Attention)
    H, K, D = attn.head_num, attn.kv_head_num, attn.head_size
    if len(lags) > H:
        raise ValueError(f"{len(lags)} lags are more than head_num {H}")
    common = torch.randn(model.token_embedding.embedding_dim, generator=generator)
    model.token_embedding.weight += _COMMON_STD * common
    seen = _STRENGTH * common / common.dot(common)  # (C)

    fast = max(1, D // 8)
    key = torch.zeros(D)
    key[:fast] = (D / fast) ** 0.5
    cos, sin = rotary_tables(max(lags) + 1, D)
    weight = torch.unflatten(attn.qkv_proj.weight, 0, (-1, D))  # (H + 2 K, D, C)
    queries, keys, _ = torch.split(weight, [H, K, K])
    for query_weight, lag in zip(queries, lags, strict=False):
        query_weight += torch.outer(rotate(key, cos[lag], -sin[lag]), seen)
    for key_weight in keys[: -(-len(lags) * K // H)]:
        key_weight += torch.outer(key, seen)
