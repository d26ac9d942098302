"""The notebook's GPT: learned positions, pre-norm LayerNorm, GELU, biases, untied output layer.

This is the architecture of GPT-2 (Radford et al. 2019, "Language Models are Unsupervised Multitask
Learners"), but the projection of queries, keys and values has no bias.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nanopoet.models.base import LanguageModel
from nanopoet.models.kv_cache import Extend
from nanopoet.models.kv_pool import Cache
from nanopoet.ops.attention import causal_attention
from nanopoet.ops.dropout import dropout
from nanopoet.ops.linear import Linear


class CausalSelfAttention(nn.Module):
    """Causal multi-head attention (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762).

    Args:
        emb_size: C.
        head_num: H, which divides `emb_size`.
        dropout: probability of dropping an attention weight or an output, in training mode.
    """

    def __init__(self, emb_size: int, head_num: int, dropout: float) -> None:
        super().__init__()
        self.head_num = head_num
        self.dropout = dropout
        self.qkv = Linear(emb_size, 3 * emb_size, bias=False)
        self.proj = Linear(emb_size, emb_size)

    def forward(self, x: Tensor, extend: Extend | None = None) -> Tensor:
        """Attend (B, T, C) → (B, T, C), with the cached keys and values if `extend` is given."""
        B, T, C = x.shape
        qkv = self.qkv(x).view(B, T, 3, self.head_num, C // self.head_num)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (B, H, T, D) each
        length: int | Tensor | None = None
        if extend:
            k, v, length = extend(k, v)
        p = self.dropout if self.training else 0.0
        y = causal_attention(q, k, v, p, length)
        return dropout(self.proj(y.transpose(1, 2).reshape(B, T, C)), p)


class MLP(nn.Module):
    """Two linear layers with a GELU between them, 4 C wide inside.

    Args:
        emb_size: C.
        dropout: probability of dropping an output, in training mode.
    """

    def __init__(self, emb_size: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.fc = Linear(emb_size, 4 * emb_size)
        self.proj = Linear(4 * emb_size, emb_size)

    def forward(self, x: Tensor) -> Tensor:
        """Transform each position, (B, T, C) → (B, T, C)."""
        return dropout(self.proj(F.gelu(self.fc(x))), self.dropout if self.training else 0.0)


class Block(nn.Module):
    """Attention, then the MLP; each reads a normalized input and adds to the residual stream.

    Args:
        emb_size: C.
        head_num: H, which divides `emb_size`.
        dropout: see `CausalSelfAttention` and `MLP`.
    """

    def __init__(self, emb_size: int, head_num: int, dropout: float) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(emb_size)
        self.attn = CausalSelfAttention(emb_size, head_num, dropout)
        self.ln_2 = nn.LayerNorm(emb_size)
        self.mlp = MLP(emb_size, dropout)

    def forward(self, x: Tensor, extend: Extend | None) -> Tensor:
        """Update the residual stream, (B, T, C) → (B, T, C)."""
        x = x + self.attn(self.ln_1(x), extend)
        y: Tensor = x + self.mlp(self.ln_2(x))
        return y


class GPTLanguageModel(LanguageModel):
    """The notebook's model.

    Args:
        vocab_size: V, number of token ids.
        emb_size: C, width of the residual stream.
        block_size: longest T.
        layer_num: number of blocks.
        head_num: H, attention heads per block; divides `emb_size`.
        dropout: probability of zeroing an activation in training mode.
        generator: source of the initial weights; torch's global one by default.

    Raises:
        ValueError: `head_num` does not divide `emb_size`.

    >>> model = GPTLanguageModel(
    ...     vocab_size=11868, emb_size=256, block_size=256, layer_num=8, head_num=8, dropout=0.1)
    >>> model.num_parameters
    12466268
    """

    def __init__(
        self,
        vocab_size: int,
        emb_size: int,
        block_size: int,
        layer_num: int,
        head_num: int,
        dropout: float,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if emb_size % head_num:
            raise ValueError(f"head_num {head_num} does not divide emb_size {emb_size}")
        self.config = {
            "architecture": "classic",
            "vocab_size": vocab_size,
            "emb_size": emb_size,
            "block_size": block_size,
            "layer_num": layer_num,
            "head_num": head_num,
            "dropout": dropout,
        }
        self.block_size = block_size
        self.token_embedding = nn.Embedding(vocab_size, emb_size)
        self.position_embedding = nn.Embedding(block_size, emb_size)
        self.blocks = nn.ModuleList(Block(emb_size, head_num, dropout) for _ in range(layer_num))
        self.ln_f = nn.LayerNorm(emb_size)
        self.lm_head = Linear(emb_size, vocab_size)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02, generator=generator)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def _hidden(self, x: Tensor, positions: slice | Tensor, cache: Cache | None) -> Tensor:
        y: Tensor = self.ln_f(
            self._run_blocks(x + self.position_embedding.weight[positions], cache)
        )
        return y
