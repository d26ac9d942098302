"""The arithmetic of the teaching notebook, as the baseline of training and generation speed.

The parameters are a `GPTLanguageModel`; forward pass, update and sampling are the notebook's.
Attention is unfused, in fp32, with dropout on its weights. The logits of all positions exist at
once. The optimizer is plain AdamW. Each new character takes a forward pass over the whole window.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from nanopoet.models.gpt import Block, CausalSelfAttention, GPTLanguageModel

SIZE = {"emb_size": 256, "block_size": 256, "layer_num": 8, "head_num": 8, "dropout": 0.1}
"""Arguments of the notebook's model."""


def logits(model: GPTLanguageModel, idx: Tensor) -> Tensor:
    """Compute the logits of all positions, (B, T) ids → (B, T, V)."""
    positions = model.position_embedding(torch.arange(idx.shape[1], device=idx.device))
    x = model.token_embedding(idx) + positions
    for block in model.blocks:
        assert isinstance(block, Block)
        x = x + _attention(block.attn, block.ln_1(x))
        y = block.mlp.proj(F.gelu(block.mlp.fc(block.ln_2(x))))
        x = x + F.dropout(y, block.mlp.dropout, model.training)
    out: Tensor = model.lm_head(model.ln_f(x))
    return out


def _attention(attn: CausalSelfAttention, x: Tensor) -> Tensor:
    B, T, C = x.shape
    q, k, v = attn.qkv(x).view(B, T, 3, attn.head_num, -1).permute(2, 0, 3, 1, 4)
    scores = q @ k.transpose(-2, -1) * k.shape[-1] ** -0.5
    past = torch.ones(T, T, dtype=torch.bool, device=x.device).tril()
    weights = scores.masked_fill(~past, float("-inf")).softmax(dim=-1)
    y = F.dropout(weights, attn.dropout, attn.training) @ v
    out = attn.proj(y.transpose(1, 2).reshape(B, T, C))
    return F.dropout(out, attn.dropout, attn.training)


def train_step(
    model: GPTLanguageModel, optimizer: torch.optim.Optimizer, idx: Tensor, targets: Tensor
) -> float:
    """Make one update on (B, T) ids and targets; return the loss before it, in nats per token."""
    loss = F.cross_entropy(logits(model, idx).flatten(0, 1), targets.flatten())
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    optimizer.step()
    return loss.item()


@torch.no_grad()
def generate(model: GPTLanguageModel, idx: Tensor, max_new_tokens: int) -> Tensor:
    """Sample a continuation, (B, T) ids → (B, T + max_new_tokens)."""
    for _ in range(max_new_tokens):
        last = logits(model, idx[:, -model.block_size :])[:, -1]
        idx = torch.cat([idx, torch.multinomial(last.softmax(dim=-1), num_samples=1)], dim=1)
    return idx
