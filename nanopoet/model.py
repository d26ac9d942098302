"""The seed's GPT: learned positions, pre-norm LayerNorm, GELU, untied output layer.

Shape letters, here and in the whole package: B batch, T time (position in the
window), C channels (`emb_size`), H heads, D channels of a head, V `vocab_size`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nanopoet.generate import generate

_ROWS = 512
"""Rows of logits at once, so few that they stay small."""


def dropout(x: Tensor, p: float) -> Tensor:
    """Zero each element with probability p (in steps of 1/65536) and scale the rest by 1/(1 - p).

    What `F.dropout` does, several times faster on a CPU: one 64-bit draw serves
    four elements. Uses torch's global generator.
    """
    if p == 0:
        return x
    words = torch.randint(-(2**63), 2**63 - 1, (-(-x.numel() // 4),), device=x.device)
    bits = words.view(torch.int16)[: x.numel()].view(x.shape)
    keep = bits >= round(p * 2**16) - 2**15
    return x * keep * (1 / (1 - p))


class CausalSelfAttention(nn.Module):
    """Multi-head attention in which a position sees itself and what came before it."""

    def __init__(self, emb_size: int, head_num: int, dropout: float) -> None:
        super().__init__()
        self.head_num = head_num
        self.dropout = dropout
        self.qkv = nn.Linear(emb_size, 3 * emb_size, bias=False)
        self.proj = nn.Linear(emb_size, emb_size)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) → (B, T, C)"""
        B, T, C = x.shape
        qkv = self.qkv(x).view(B, T, 3, self.head_num, C // self.head_num)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (B, H, T, D) each
        p = self.dropout if self.training else 0.0
        if p and x.device.type == "cpu":
            # The CPU's fused kernel has no dropout.
            scores = q * k.shape[-1] ** -0.5 @ k.transpose(-2, -1)  # (B, H, T, T)
            future = torch.ones(T, T, dtype=torch.bool, device=x.device).triu(1)
            weights = scores.masked_fill(future, float("-inf")).softmax(dim=-1)
            y = dropout(weights.to(v.dtype), p) @ v
        else:
            y = F.scaled_dot_product_attention(q, k, v, dropout_p=p, is_causal=True)
        return dropout(self.proj(y.transpose(1, 2).reshape(B, T, C)), p)


class MLP(nn.Module):
    """Two linear layers with a GELU between, four times as wide inside."""

    def __init__(self, emb_size: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.fc = nn.Linear(emb_size, 4 * emb_size)
        self.proj = nn.Linear(4 * emb_size, emb_size)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) → (B, T, C)"""
        return dropout(self.proj(F.gelu(self.fc(x))), self.dropout if self.training else 0.0)


class Block(nn.Module):
    """Attention, then the MLP; each reads a normalised input and adds to the residual stream."""

    def __init__(self, emb_size: int, head_num: int, dropout: float) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(emb_size)
        self.attn = CausalSelfAttention(emb_size, head_num, dropout)
        self.ln_2 = nn.LayerNorm(emb_size)
        self.mlp = MLP(emb_size, dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) → (B, T, C)"""
        x = x + self.attn(self.ln_1(x))
        y: Tensor = x + self.mlp(self.ln_2(x))
        return y


class GPTLanguageModel(nn.Module):
    """A decoder-only transformer over token ids.

    Args:
        vocab_size: V, number of token ids.
        emb_size: C, width of the residual stream.
        block_size: longest T.
        layer_num: number of blocks.
        head_num: H, attention heads per block; divides `emb_size`.
        dropout: probability of zeroing an activation in training mode.
        generator: source of the initial weights; torch's global one by default.

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
        self.lm_head = nn.Linear(emb_size, vocab_size)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02, generator=generator)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    @property
    def num_parameters(self) -> int:
        """Number of trainable numbers."""
        return sum(parameter.numel() for parameter in self.parameters())

    def forward(self, idx: Tensor, targets: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Predict the token after each position.

        Args:
            idx: (B, T) token ids, T at most `block_size`.
            targets: (B, T) the ids that follow, or None.

        Returns:
            logits (B, T, V), and the mean cross-entropy in nats per token, fp32
            (None without targets).
        """
        logits: Tensor = self.lm_head(self.hidden(idx))  # (B, T, V)
        if targets is None:
            return logits, None
        return logits, F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())

    def hidden(self, idx: Tensor) -> Tensor:
        """(B, T) token ids → (B, T, C), what the output layer reads."""
        T = idx.shape[1]
        if self.block_size < T:
            raise ValueError(f"{T} tokens are more than block_size {self.block_size}")
        x = self.token_embedding(idx) + self.position_embedding.weight[:T]
        for block in self.blocks:
            x = block(x)
        y: Tensor = self.ln_f(x)
        return y

    @torch.no_grad()
    def token_losses(self, idx: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy of each token, (B, T) fp32 in nats; never holds all logits at once."""
        hidden = torch.split(self.hidden(idx).flatten(0, 1), _ROWS)
        losses = [
            F.cross_entropy(self.lm_head(x).float(), y, reduction="none")
            for x, y in zip(hidden, torch.split(targets.flatten(), _ROWS), strict=True)
        ]
        return torch.cat(losses).view_as(targets)

    def generate(
        self,
        idx: Tensor,
        max_new_tokens: int,
        *,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Continue (B, T) token ids by sampling; see `nanopoet.generate.generate`."""
        return generate(self, idx, max_new_tokens, temperature=temperature, generator=generator)
