"""A linear layer that is quick with a few rows, too."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FEW_ROWS = 64


class Linear(nn.Linear):
    """`nn.Linear`, with the factors of the product turned round for a few rows on a CPU.

    What writes poems multiplies a row or some dozens by each weight matrix. W xᵀ then
    takes as little as a third of the time of x Wᵀ, which is the same product (MKL and
    torch 2.13: `python -m bench.kernels`), and a lone row is quicker when doubled.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_features) → (..., out_features)"""
        rows = x.numel() // self.in_features
        if x.device.type != "cpu" or rows > FEW_ROWS:
            return F.linear(x, self.weight, self.bias)
        flat = x.reshape(rows, self.in_features)
        if rows == 1:
            y = (self.weight @ torch.cat([flat, flat]).t())[:, :1]
        else:
            y = self.weight @ flat.t()
        y = y.t() if self.bias is None else y.t() + self.bias
        return y.reshape(*x.shape[:-1], self.out_features)
