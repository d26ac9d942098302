"""Attention heads that begin by looking at the tokens just before.

To see at a full stop which character stood before it, as a rhyme asks for, takes a head that looks
back by a token. Out of random weights one comes about sooner or later, and a short training may be
over before. Here it is there from the start, and training may make of it what it will;
docs/recipe.md tells what that gave.
"""

from collections.abc import Sequence

import torch

from nanopoet.models.qwen3 import Attention, Qwen3LanguageModel, rotary_tables, rotate

_COMMON = 0.05
"""Size, per channel, of what all embeddings begin with in common; their own parts have 0.02."""
_STRENGTH = 2.0
"""Size, per channel, of a query or a key out of that; what else is in it has 1."""


@torch.no_grad()
def add_previous_token_heads(
    model: Qwen3LanguageModel, lags: Sequence[int], generator: torch.Generator | None = None
) -> None:
    """Let head i of an untrained model's first block attend to the token `lags[i]` tokens back.

    All embeddings get a vector in common, out of which the head makes a query and a key that are
    alike after their rotations where they are so far apart. Only the quickest quarter of the pairs
    of channels takes part in these, so that they are much less alike elsewhere.

    Raises:
        ValueError: more lags than heads.
    """
    attn = model.blocks[0].attn
    assert isinstance(attn, Attention)
    H, K, D = attn.head_num, attn.kv_head_num, attn.head_size
    if len(lags) > H:
        raise ValueError(f"{len(lags)} lags are more than head_num {H}")
    common = torch.randn(model.token_embedding.embedding_dim, generator=generator)
    model.token_embedding.weight += _COMMON * common
    seen = _STRENGTH * common / common.dot(common)  # (C)

    quick = max(1, D // 8)
    key = torch.zeros(D)
    key[:quick] = (D / quick) ** 0.5
    cos, sin = rotary_tables(max(lags) + 1, D)
    weight = torch.unflatten(attn.qkv_proj.weight, 0, (-1, D))  # (H + 2 K, D, C)
    queries, keys, _ = torch.split(weight, [H, K, K])
    for query_weight, lag in zip(queries, lags, strict=False):
        query_weight += torch.outer(rotate(key, cos[lag], -sin[lag]), seen)
    for key_weight in keys[: -(-len(lags) * K // H)]:
        key_weight += torch.outer(key, seen)
