"""Dropout with fast random numbers on a CPU."""

import torch
from torch import Tensor


def dropout(x: Tensor, p: float) -> Tensor:
    """Zero each element with probability p and scale the rest by 1/(1 - p).

    It does what `F.dropout` does, several times faster on a CPU: one 64-bit random number serves
    four elements. So p has steps of 1/65536. The numbers come from torch's global generator.

    Args:
        x: a tensor of any shape.
        p: from 0, which draws no random numbers, to below 1.
    """
    if p == 0:
        return x
    words = torch.randint(-(2**63), 2**63 - 1, (-(-x.numel() // 4),), device=x.device)
    bits = words.view(torch.int16)[: x.numel()].view(x.shape)
    keep = bits >= round(p * 2**16) - 2**15
    return x * keep * (1 / (1 - p))
