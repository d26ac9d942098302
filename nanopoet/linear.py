"""A linear layer whose product is turned round where that is quicker."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MANY_COLUMNS = 4096
AMX = bool(torch.cpu.get_capabilities().get("amx_bf16"))
"""Whether this CPU has Intel's matrix unit, which tells those with a quick x Wᵀ from others."""


class Linear(nn.Linear):
    """`nn.Linear`, with the factors of some products turned round on a CPU without AMX.

    W xᵀ is the same product as x Wᵀ. On the CPUs before AMX it is the quicker one in fp32 with
    many columns, as the output layer has (MKL and torch 2.13; `python -m bench.kernels`), and for
    a lone row, which is doubled since MKL is slow with one column; that pays in a whole model,
    whose weights are not in a cache, not in a row alone. On a CPU with AMX neither is quicker,
    and a doubled row takes twice the time.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_features) → (..., out_features)"""
        if AMX or x.device.type != "cpu":
            return F.linear(x, self.weight, self.bias)
        rows = x.numel() // self.in_features
        wide = self.out_features >= MANY_COLUMNS and not torch.is_autocast_enabled("cpu")
        if rows > 1 and not wide:
            return F.linear(x, self.weight, self.bias)
        flat = x.reshape(rows, self.in_features)
        if rows == 1:
            y = (self.weight @ torch.cat([flat, flat]).t())[:, :1]
        else:
            y = self.weight @ flat.t()
        y = y.t() if self.bias is None else y.t() + self.bias
        return y.reshape(*x.shape[:-1], self.out_features)
