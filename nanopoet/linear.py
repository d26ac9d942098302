"""A linear layer that is quick with a few rows, too."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FEW_ROWS, MANY_COLUMNS = 64, 4096


class Linear(nn.Linear):
    """`nn.Linear`, with the factors of the product turned round for a few rows on a CPU.

    What writes poems multiplies a row or some dozens by each weight matrix. W xᵀ is then
    quicker than x Wᵀ, which is the same product (MKL and torch 2.13; `python -m bench.kernels`
    shows by how much for the output layer). A lone row is doubled, since MKL is slow with one
    column; that pays in a whole model, whose weights are not in a cache, not in a row alone.
    With many columns, as the output layer has, fp32 is quicker so for any number of rows.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_features) → (..., out_features)"""
        rows = x.numel() // self.in_features
        wide = self.out_features >= MANY_COLUMNS and not torch.is_autocast_enabled("cpu")
        if x.device.type != "cpu" or (rows > FEW_ROWS and not wide):
            return F.linear(x, self.weight, self.bias)
        flat = x.reshape(rows, self.in_features)
        if rows == 1:
            y = (self.weight @ torch.cat([flat, flat]).t())[:, :1]
        else:
            y = self.weight @ flat.t()
        y = y.t() if self.bias is None else y.t() + self.bias
        return y.reshape(*x.shape[:-1], self.out_features)
