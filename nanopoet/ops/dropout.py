"""Dropout that a CPU draws quickly."""

import torch
from torch import Tensor


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
