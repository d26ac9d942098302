"""A linear layer that is faster on a CPU while its model evaluates or generates."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nanopoet.ops.matmul import HAS_ONE_DNN, linear, multiplies_faster

HAS_AMX = bool(torch.cpu.get_capabilities().get("amx_bf16"))
"""True if this CPU has Intel's Advanced Matrix Extensions (AMX)."""

CAN_PACK = {
    torch.float32: HAS_ONE_DNN,
    torch.bfloat16: HAS_ONE_DNN and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()),
}
"""Dtype of a matmul → whether its weights are packed: on CPUs where that is known to be faster."""

MIN_WEIGHTS_FOR_ONE_ROW = 1 << 20
"""Least number of weights that are packed for a single fp32 row on a CPU without AMX.

An output layer has more, the matrices of a block have fewer. Generation takes 3% less time with it
on a CPU with AVX-512 (Zen 5)."""

_holders_lock = RLock()  # reentrant: the garbage collector may close a generator at any time


class Linear(nn.Linear):
    """`nn.Linear` that multiplies faster on a CPU, in training and inside `packed`.

    With gradients, it is `nanopoet.ops.matmul.linear` in fp32. On other devices, and outside of
    `packed`, it is `F.linear`.

    Inside `packed`, oneDNN reads the weights packed in its own order. These are the operations that
    torch's compiler uses for a frozen model. Weights are packed at their first use in a dtype.

    A single fp32 row, as in single-token decoding, is an exception. With AMX, MKL multiplies it.
    Without AMX, the weights are packed from `MIN_WEIGHTS_FOR_ONE_ROW` on. With fewer weights MKL
    gets the row twice, because it is slow with one row there. `python -m bench.ops` compares.
    """

    _holders = 0  # open `packed` blocks
    _packed: dict[torch.dtype, Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Multiply (..., in_features) → (..., out_features)."""
        autocast = torch.is_autocast_enabled("cpu")
        # Gradients first: torch's compiler then does not specialise on the state of packing.
        if torch.is_grad_enabled() and multiplies_faster(x) and not autocast:
            y: Tensor = linear(x, self.weight)
            return y if self.bias is None else y + self.bias
        if torch.is_grad_enabled() or x.device.type != "cpu" or (weights := self._packed) is None:
            return F.linear(x, self.weight, self.bias)
        dtype = torch.get_autocast_dtype("cpu") if autocast else x.dtype
        packs = CAN_PACK.get(dtype, False)
        if dtype == torch.float32 and x.numel() == self.in_features:
            packs = packs and not HAS_AMX and self.weight.numel() >= MIN_WEIGHTS_FOR_ONE_ROW
            if not packs and not HAS_AMX:
                return self._row_twice(x)
        if not packs:
            return F.linear(x, self.weight, self.bias)
        if dtype not in weights:
            weight = self.weight.detach().to(dtype)
            weights[dtype] = torch.ops.mkldnn._reorder_linear_weight(weight)
        bias = None if self.bias is None else self.bias.to(dtype)
        y = torch.ops.mkldnn._linear_pointwise(x.to(dtype), weights[dtype], bias, "none", [], "")
        return y

    def _row_twice(self, x: Tensor) -> Tensor:
        row = x.reshape(1, -1)
        y = (self.weight @ torch.cat([row, row]).t())[:, 0]
        y = y if self.bias is None else y + self.bias
        return y.reshape(*x.shape[:-1], -1)


@contextmanager
def packed(model: nn.Module) -> Iterator[None]:
    """Keep packed weights of every `Linear` of a model until the block ends.

    Hold it open around all texts or batches that are computed with the same weights, since each
    block packs again. The weights must not change inside. Blocks may be nested or overlap, in
    several threads too. The last one that ends drops the packed weights.

    Args:
        model: a `Linear`, or a module that contains some.
    """
    layers = [module for module in model.modules() if isinstance(module, Linear)]
    with _holders_lock:
        for layer in layers:
            if not layer._holders:
                layer._packed = {}
            layer._holders += 1
    try:
        yield
    finally:
        with _holders_lock:
            for layer in layers:
                layer._holders -= 1
                if not layer._holders:
                    layer._packed = None
