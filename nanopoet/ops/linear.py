"""A linear layer that multiplies in the quickest way that a CPU has where nothing is learned."""

import platform

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

AMX = bool(torch.cpu.get_capabilities().get("amx_bf16"))
_ONE_DNN = torch._C._has_mkldnn and platform.machine() in ("x86_64", "AMD64")
PACKS = {
    torch.float32: _ONE_DNN,
    torch.bfloat16: _ONE_DNN and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()),
}
"""Whether weights are packed for products in a dtype: on CPUs where that is known to be quick."""

LARGE = 1 << 20
"""Least number of weights with which a lone row in fp32 gets them packed on CPUs before AMX: an
output layer has more, the matrices of a block have fewer. Measured on one, with AVX-512 (Zen 5),
where writing a poem takes 3% less time by it."""

_updates = 0
"""Steps of any optimiser so far: torch does not count the changes that fused ones make."""


def _count_update(*_: object) -> None:
    global _updates
    _updates += 1


register_optimizer_step_post_hook(_count_update)


class Linear(nn.Linear):
    """`nn.Linear`, quicker on a CPU while no gradient is wanted, as in writing.

    Weights are packed once, in the order in which oneDNN reads them; one that has changed is
    packed again. The operations are those that torch's own compiler uses for a frozen model.
    A lone row in fp32 stays with MKL where AMX is, and elsewhere with weights that are few: packed
    ones would cost more than they save or, on Zen 5, as much. MKL gets the row twice on CPUs before
    AMX, as it is slow there with one. `python -m bench.ops` compares.
    """

    _packed: tuple[tuple[object, ...], Tensor, Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_features) → (..., out_features)"""
        if torch.is_grad_enabled() or x.device.type != "cpu":
            return F.linear(x, self.weight, self.bias)
        autocast = torch.is_autocast_enabled("cpu")
        dtype = torch.get_autocast_dtype("cpu") if autocast else x.dtype
        packs = PACKS.get(dtype, False)
        if dtype == torch.float32 and x.numel() == self.in_features:
            packs = packs and not AMX and self.weight.numel() >= LARGE
            if not packs and not AMX:
                return self._row_twice(x)
        if not packs:
            return F.linear(x, self.weight, self.bias)
        bias = None if self.bias is None else self.bias.to(dtype)
        product: Tensor = torch.ops.mkldnn._linear_pointwise(
            x.to(dtype), self._packed_weight(dtype), bias, "none", [], ""
        )
        return product

    def _row_twice(self, x: Tensor) -> Tensor:
        row = x.reshape(1, -1)
        y = (self.weight @ torch.cat([row, row]).t())[:, 0]
        y = y if self.bias is None else y + self.bias
        return y.reshape(*x.shape[:-1], -1)

    def _packed_weight(self, dtype: torch.dtype) -> Tensor:
        weight = self.weight.detach()
        state = weight.data_ptr(), weight._version, _updates, dtype
        if self._packed is None or self._packed[0] != state:
            packed = torch.ops.mkldnn._reorder_linear_weight(weight.to(dtype))
            self._packed = state, weight, packed  # no other weight gets this one's address
        return self._packed[2]
