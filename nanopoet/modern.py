"""The modern GPT: RoPE, RMSNorm, normalised queries and keys, SwiGLU, no biases, no dropout.

This is the Qwen3 architecture (Qwen Team 2025, https://arxiv.org/abs/2505.09388),
which other tools load as it is. Initial weights are our own: the projections
back into the residual stream begin at zero.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nanopoet.cache import KVCache
from nanopoet.dropout import dropout
from nanopoet.language_model import LanguageModel

ROPE_THETA = 10_000.0
"""Base of the rotary wavelengths (Su et al. 2021, https://arxiv.org/abs/2104.09864)."""
NORM_EPS = 1e-6


def rms_norm(x: Tensor, weight: Tensor) -> Tensor:
    """Scale the last dimension to a root mean square of 1, then by `weight`; fp32."""
    return F.rms_norm(x.float(), weight.shape, weight, NORM_EPS)


def rotary_angles(start: int, stop: int, head_size: int, device: torch.device) -> Tensor:
    """Angle of each position from `start` to `stop` and each pair of channels, (T, D / 2)."""
    pairs = torch.arange(0, head_size, 2, device=device, dtype=torch.float32)
    positions = torch.arange(start, stop, device=device, dtype=torch.float32)
    return torch.outer(positions, ROPE_THETA ** (-pairs / head_size))


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn channels d and d + D/2 of (B, T, H, D) together; cosine and sine are (T, 1, D / 2)."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


class Attention(nn.Module):
    """Multi-head attention in which a position sees itself and what came before it."""

    def __init__(self, emb_size: int, head_num: int) -> None:
        super().__init__()
        self.head_num = head_num
        head_size = emb_size // head_num
        self.q_proj = nn.Linear(emb_size, emb_size, bias=False)
        self.k_proj = nn.Linear(emb_size, emb_size, bias=False)
        self.v_proj = nn.Linear(emb_size, emb_size, bias=False)
        self.o_proj = nn.Linear(emb_size, emb_size, bias=False)
        self.q_norm = nn.Parameter(torch.ones(head_size))
        self.k_norm = nn.Parameter(torch.ones(head_size))

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, cache: KVCache | None, layer: int
    ) -> Tensor:
        """(B, T, C) → (B, T, C)"""
        B, T, C = x.shape
        heads = (B, T, self.head_num, C // self.head_num)
        v = self.v_proj(x).view(heads)
        q = rotate(rms_norm(self.q_proj(x).view(heads), self.q_norm), cos, sin).to(v.dtype)
        k = rotate(rms_norm(self.k_proj(x).view(heads), self.k_norm), cos, sin).to(v.dtype)
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)  # (B, H, T, D)
        if cache:
            k, v = cache.extend(layer, k, v)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=T > 1)
        out: Tensor = self.o_proj(y.transpose(1, 2).reshape(B, T, C))
        return out


class MLP(nn.Module):
    """SwiGLU (Shazeer 2020, https://arxiv.org/abs/2002.05202): a gate times a value, projected."""

    def __init__(self, emb_size: int, mlp_size: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(emb_size, mlp_size, bias=False)
        self.up_proj = nn.Linear(emb_size, mlp_size, bias=False)
        self.down_proj = nn.Linear(mlp_size, emb_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) → (B, T, C)"""
        y: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return y


class Block(nn.Module):
    """Attention, then the MLP; each reads a normalised input and adds to the residual stream."""

    def __init__(self, emb_size: int, head_num: int, mlp_size: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.attn_norm = nn.Parameter(torch.ones(emb_size))
        self.attn = Attention(emb_size, head_num)
        self.mlp_norm = nn.Parameter(torch.ones(emb_size))
        self.mlp = MLP(emb_size, mlp_size)

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, cache: KVCache | None, layer: int
    ) -> Tensor:
        """(B, T, C) → (B, T, C)"""
        p = self.dropout if self.training else 0.0
        y = self.attn(rms_norm(x, self.attn_norm), cos, sin, cache, layer)
        x = x + dropout(y, p)
        return x + dropout(self.mlp(rms_norm(x, self.mlp_norm)), p)


class ModernLanguageModel(LanguageModel):
    """A decoder-only transformer in today's form.

    Args:
        vocab_size: V, number of token ids.
        emb_size: C, width of the residual stream.
        block_size: longest T.
        layer_num: number of blocks.
        head_num: H, attention heads per block; divides `emb_size`, and gives each an even width.
        mlp_size: width inside the MLP.
        dropout: probability of zeroing what a sublayer adds, in training mode.
        generator: source of the initial weights; torch's global one by default.

    >>> model = ModernLanguageModel(
    ...     vocab_size=11868, emb_size=256, block_size=256, layer_num=8, head_num=4,
    ...     mlp_size=640, dropout=0.0)
    >>> model.num_parameters
    12111104
    """

    def __init__(
        self,
        vocab_size: int,
        emb_size: int,
        block_size: int,
        layer_num: int,
        head_num: int,
        mlp_size: int,
        dropout: float,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if emb_size % (2 * head_num):
            raise ValueError(f"2 × head_num {head_num} does not divide emb_size {emb_size}")
        self.config = {
            "architecture": "modern",
            "vocab_size": vocab_size,
            "emb_size": emb_size,
            "block_size": block_size,
            "layer_num": layer_num,
            "head_num": head_num,
            "mlp_size": mlp_size,
            "dropout": dropout,
        }
        self.block_size = block_size
        self.token_embedding = nn.Embedding(vocab_size, emb_size)
        self.blocks = nn.ModuleList(
            Block(emb_size, head_num, mlp_size, dropout) for _ in range(layer_num)
        )
        self.norm = nn.Parameter(torch.ones(emb_size))
        self.lm_head = nn.Linear(emb_size, vocab_size, bias=False)
        self._init_weights(generator)

    def _init_weights(self, generator: torch.Generator | None) -> None:
        for table in (self.token_embedding, self.lm_head):
            nn.init.normal_(table.weight, std=0.02, generator=generator)
        for name, parameter in self.blocks.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                nn.init.zeros_(parameter)
            elif parameter.ndim == 2:
                bound = (3 / parameter.shape[1]) ** 0.5  # unit variance out of unit variance in
                nn.init.uniform_(parameter, -bound, bound, generator=generator)

    def _hidden(self, idx: Tensor, cache: KVCache | None) -> Tensor:
        start = cache.length if cache else 0
        x = self.token_embedding(idx)
        head_size = self.config["emb_size"] // self.config["head_num"]
        angles = rotary_angles(start, start + idx.shape[1], head_size, x.device)[:, None]
        cos, sin = angles.cos(), angles.sin()  # (T, 1, D / 2)
        for layer, block in enumerate(self.blocks):
            x = block(x, cos, sin, cache, layer)
        if cache:
            cache.advance(idx.shape[1])
        return rms_norm(x, self.norm)
