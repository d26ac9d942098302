"""Matrix products for training, by the fastest library of the device.

In fp32 on an x86 CPU, torch multiplies with MKL. It has oneDNN, too, which takes half of the time
for a matrix as wide as a vocabulary, and less time for most others. `python -m bench.ops` compares
them.
"""

import platform
from typing import Any

import torch
from torch import Tensor

HAS_ONE_DNN = torch._C._has_mkldnn and platform.machine() in ("x86_64", "AMD64")
"""True if torch has oneDNN's kernels for this CPU."""


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """Compute x Wᵀ of (..., K) and (C, K) → (..., C), with gradients."""
    rows = x.reshape(x.shape[:-1].numel(), x.shape[-1])
    y: Tensor = _Linear.apply(rows, weight)  # type: ignore[no-untyped-call]
    return y.view(*x.shape[:-1], len(weight))


def product(a: Tensor, b: Tensor) -> Tensor:
    """Compute a bᵀ of (R, K) and (C, K) → (R, C), without a gradient."""
    return _one_dnn(a, b) if multiplies_faster(a) else a @ b.t()


def multiplies_faster(x: Tensor) -> bool:
    """Tell whether oneDNN multiplies a tensor of this device and dtype faster than torch does."""
    return HAS_ONE_DNN and x.device.type == "cpu" and x.dtype == torch.float32


# As an operator of our own, because torch's compiler takes oneDNN's for constant weights alone.
@torch.library.custom_op("nanopoet::product", mutates_args=())
def _one_dnn(a: Tensor, b: Tensor) -> Tensor:
    y: Tensor = torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], "")
    return y


@_one_dnn.register_fake
def _(a: Tensor, b: Tensor) -> Tensor:
    return a.new_empty(len(a), len(b))


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return product(x, weight)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        [grad], (x, weight) = grads, ctx.saved_tensors
        # MKL is the faster one for the sum over all rows.
        return product(grad, weight.t()), grad.t() @ x
