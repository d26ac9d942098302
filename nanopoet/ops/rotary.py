"""Rotary position embeddings (Su et al. 2021, https://arxiv.org/abs/2104.09864)."""

import numpy as np
import torch
from torch import Tensor

ROPE_THETA = 10_000.0
"""Base of the wavelengths."""


def rotary_tables(block_size: int, head_size: int) -> Tensor:
    """Compute the cosines and signed sines that `rotate` takes, (2, T, 2, D/2), fp32.

    NumPy computes them, in fp64. Torch's threads race in the first cosines of a process, and
    sometimes half of them are off by 1e-4.

    Args:
        block_size: T.
        head_size: D, even.
    """
    pairs = np.arange(0, head_size, 2)
    angles = np.outer(np.arange(block_size), ROPE_THETA ** (-pairs / head_size))
    cos, sin = np.cos(angles), np.sin(angles)
    tables = np.stack([[cos, cos], [-sin, sin]])  # (2, 2, T, D/2)
    return torch.from_numpy(tables).transpose(1, 2).float().contiguous()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate channels d and d + D/2 together, by the angle of their position and frequency.

    Args:
        x: (..., D).
        cos: (..., 2, D/2), from `rotary_tables`.
        sin: (..., 2, D/2), from `rotary_tables`.
    """
    halves = torch.unflatten(x, -1, (2, -1))  # the compiler makes fast code of the flip
    return (halves * cos + halves.flip(-2) * sin).flatten(-2)
