"""The modern GPT: RoPE, RMSNorm, normalized queries and keys, SwiGLU, no biases.

This is the Qwen3 architecture (Qwen Team 2025, https://arxiv.org/abs/2505.09388), which other tools
load without changes. The initial weights are our own: the projections back into the residual stream
begin at zero.
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
from nanopoet.ops.rotary import rotary_tables, rotate

NORM_EPS = 1e-6
"""Added to the mean square in RMSNorm, as in Qwen3."""
_EPS = torch.tensor(NORM_EPS)


def rms_norm(x: Tensor, weight: Tensor) -> Tensor:
    """Scale the last dimension to a root mean square of 1, then by `weight`.

    This is RMSNorm (Zhang & Sennrich 2019, https://arxiv.org/abs/1910.07467).

    Args:
        x: (..., C).
        weight: (C), or another shape that broadcasts.

    Returns:
        (..., C), fp32.
    """
    x = x.float()
    if torch.is_grad_enabled() or x.device.type != "cpu":
        return F.rms_norm(x, x.shape[-1:], eps=NORM_EPS) * weight
    # Torch's own is a dozen small operations on a CPU, which slows down single-token decoding.
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return x * torch.addcmul(_EPS, length, length, value=1 / x.shape[-1]).rsqrt_() * weight


class Attention(nn.Module):
    """Causal attention with normalized queries and keys.

    Several query heads may share a key and value head (grouped-query attention, Ainslie et al.
    2023, https://arxiv.org/abs/2305.13245). Each generated token then reads a smaller cache.

    Args:
        emb_size: C.
        head_num: H, number of query heads.
        kv_head_num: K, number of key and value heads; divides `head_num`.
    """

    def __init__(self, emb_size: int, head_num: int, kv_head_num: int) -> None:
        super().__init__()
        self.head_num, self.kv_head_num = head_num, kv_head_num
        self.head_size = emb_size // head_num
        heads = head_num + 2 * kv_head_num  # queries, then keys, then values
        self.qkv_proj = Linear(emb_size, heads * self.head_size, bias=False)
        self.o_proj = Linear(emb_size, emb_size, bias=False)
        self.qk_norm = nn.Parameter(torch.ones(2, 1, self.head_size))

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, extend: Extend | None) -> Tensor:
        """Attend (B, T, C) → (B, T, C), with the cached keys and values if `extend` is given."""
        B, T, C = x.shape
        H, K = self.head_num, self.kv_head_num
        qkv = self.qkv_proj(x).view(B, T, H + 2 * K, self.head_size)
        q_norm, k_norm = self.qk_norm
        norms = torch.cat([q_norm.expand(H, -1), k_norm.expand(K, -1)])
        qk = rotate(rms_norm(qkv[:, :, : H + K], norms), cos, sin).to(qkv.dtype)
        q, k = torch.split(qk.transpose(1, 2), [H, K], dim=1)  # (B, H, T, D), (B, K, T, D)
        v = qkv[:, :, H + K :].transpose(1, 2)
        length: int | Tensor | None = None
        if extend:
            k, v, length = extend(k, v)
        y = causal_attention(q, k, v, length=length)
        out: Tensor = self.o_proj(y.transpose(1, 2).reshape(B, T, C))
        return out


class MLP(nn.Module):
    """SwiGLU (Shazeer 2020, https://arxiv.org/abs/2002.05202): a gate times a value, projected.

    Args:
        emb_size: C.
        mlp_size: width of gate and value.
    """

    def __init__(self, emb_size: int, mlp_size: int) -> None:
        super().__init__()
        self.gate_up_proj = Linear(emb_size, 2 * mlp_size, bias=False)
        self.down_proj = Linear(mlp_size, emb_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Transform each position, (B, T, C) → (B, T, C)."""
        gate, up = self.gate_up_proj(x).chunk(2, dim=-1)
        y: Tensor = self.down_proj(F.silu(gate) * up)
        return y


class Block(nn.Module):
    """Attention, then the MLP; each reads a normalized input and adds to the residual stream.

    Args:
        emb_size: C.
        head_num: see `Attention`.
        kv_head_num: see `Attention`.
        mlp_size: see `MLP`.
        dropout: probability of zeroing an element that a sublayer adds, in training mode.
    """

    def __init__(
        self, emb_size: int, head_num: int, kv_head_num: int, mlp_size: int, dropout: float
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.attn_norm = nn.Parameter(torch.ones(emb_size))
        self.attn = Attention(emb_size, head_num, kv_head_num)
        self.mlp_norm = nn.Parameter(torch.ones(emb_size))
        self.mlp = MLP(emb_size, mlp_size)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, extend: Extend | None) -> Tensor:
        """Update the residual stream, (B, T, C) → (B, T, C)."""
        p = self.dropout if self.training else 0.0
        y = self.attn(rms_norm(x, self.attn_norm), cos, sin, extend)
        x = x + dropout(y, p)
        return x + dropout(self.mlp(rms_norm(x, self.mlp_norm)), p)


class Qwen3LanguageModel(LanguageModel):
    """The modern model: a decoder-only transformer with the architecture of Qwen3.

    Args:
        vocab_size: V, number of token ids.
        emb_size: C, width of the residual stream.
        block_size: longest T.
        layer_num: number of blocks.
        head_num: H, query heads per block; 2 H divides `emb_size`.
        kv_head_num: K, key and value heads per block; divides `head_num`, which is the default.
        mlp_size: width inside the MLP.
        dropout: probability of zeroing an element that a sublayer adds, in training mode.
        generator: source of the initial weights; torch's global one by default.

    Raises:
        ValueError: a size does not divide another.

    >>> model = Qwen3LanguageModel(
    ...     vocab_size=11868, emb_size=256, block_size=256, layer_num=8, head_num=4,
    ...     mlp_size=640, dropout=0.0)
    >>> model.num_parameters
    12111104
    """

    rotary: Tensor

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
        kv_head_num: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        kv_head_num = head_num if kv_head_num is None else kv_head_num
        if head_num % kv_head_num:
            raise ValueError(f"kv_head_num {kv_head_num} does not divide head_num {head_num}")
        if emb_size % (2 * head_num):
            raise ValueError(f"2 × head_num {head_num} does not divide emb_size {emb_size}")
        self.config = {
            "architecture": "modern",
            "vocab_size": vocab_size,
            "emb_size": emb_size,
            "block_size": block_size,
            "layer_num": layer_num,
            "head_num": head_num,
            "kv_head_num": kv_head_num,
            "mlp_size": mlp_size,
            "dropout": dropout,
        }
        self.block_size = block_size
        self.token_embedding = nn.Embedding(vocab_size, emb_size)
        self.blocks = nn.ModuleList(
            Block(emb_size, head_num, kv_head_num, mlp_size, dropout) for _ in range(layer_num)
        )
        self.norm = nn.Parameter(torch.ones(emb_size))
        self.lm_head = Linear(emb_size, vocab_size, bias=False)
        tables = rotary_tables(block_size, emb_size // head_num)
        self.register_buffer("rotary", tables, persistent=False)
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

    def _hidden(self, x: Tensor, positions: slice | Tensor, cache: Cache | None) -> Tensor:
        cos, sin = self.rotary[:, positions, None].unbind()  # (T, 1, 2, D/2)
        return rms_norm(self._run_blocks(x, cache, cos, sin), self.norm)
