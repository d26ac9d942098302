"""Cross-entropy of an output layer, a few rows at a time.

The logits of a batch are its largest tensor by far: 64 × 256 tokens over
11,868 characters take 778 MB in fp32. Nothing needs all of them at once.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


def softmax_gradient(logits: Tensor, targets: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Cross-entropy of R rows and its gradient, in one go.

    Args:
        logits: (R, V).
        targets: (R,) ids.
        scale: weight of a row's loss in the total.

    Returns:
        losses (R,), fp32, unscaled; gradient of the scaled total by the logits, (R, V), in
        their dtype.
    """
    x, at = logits.float(), targets[:, None]
    largest = x.amax(dim=1, keepdim=True)
    shares = torch.exp(x - largest)
    total = shares.sum(dim=1, keepdim=True)
    losses = largest + total.log() - x.gather(1, at)  # (R, 1)
    gradient = (shares * (scale / total)).to(logits.dtype)
    gradient.scatter_(1, at, (torch.expm1(-losses) * scale).to(logits.dtype))
    return losses.squeeze(1), gradient


def add_up(parts: list[Tensor]) -> Tensor:
    """The sum of all (C, V) parts, in their order, as (V, C) in fp32."""
    total = parts[0].float()
    for part in parts[1:]:
        total = total + part
    return total.t().contiguous()


class Kernels(NamedTuple):
    """What the loss has besides matrix products: as it is written here, or compiled."""

    softmax_gradient: Callable[[Tensor, Tensor, float], tuple[Tensor, Tensor]] = softmax_gradient
    add_up: Callable[[list[Tensor]], Tensor] = add_up


AS_WRITTEN = Kernels()


def linear_cross_entropy(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    kernels: Kernels = AS_WRITTEN,
) -> Tensor:
    """Mean cross-entropy, in nats and fp32, of softmax(x Wᵀ + b).

    Computes the gradients on the way forward, so that each row's logits exist
    once and briefly. Products run in autocast's dtype, all else in fp32.

    Args:
        x: (N, C).
        weight: (V, C).
        bias: (V,) or None.
        targets: (N,) ids.
        kernels: what it computes with, besides matrix products.
    """
    loss: Tensor = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
        x, weight, bias, targets, kernels
    )
    return loss


def token_cross_entropy(
    x: Tensor, output_layer: Callable[[Tensor], Tensor], targets: Tensor
) -> Tensor:
    """Cross-entropy of each row, (N,) fp32 in nats; no gradient.

    Args:
        x: (N, C).
        output_layer: (R, C) → (R, V), the logits of R rows.
        targets: (N,) ids.
    """
    losses = []
    for part in row_parts(x):
        logits = output_layer(x[part]).float()  # (R, V)
        losses.append(F.cross_entropy(logits, targets[part], reduction="none"))
    return torch.cat(losses)


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, kernels: Kernels
    ) -> Tensor:
        device = x.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
        inputs, matrix = x.to(dtype), weight.to(dtype)
        size = len(weight)
        if excess := -size % logits_multiple(device):
            matrix = F.pad(matrix, (0, 0, 0, excess))
            bias = None if bias is None else F.pad(bias, (0, excess))
        grad_x = torch.empty_like(inputs)
        grad_bias = None if bias is None else torch.zeros_like(bias)
        losses, grad_weights = [], []
        with torch.autocast(device, enabled=False):
            for part in row_parts(x):
                logits = inputs[part] @ matrix.t()  # (R, V)
                if bias is not None:
                    logits += bias.to(dtype)
                if excess:
                    logits[:, size:] = float("-inf")
                loss, gradient = kernels.softmax_gradient(logits, targets[part], 1 / len(x))
                losses.append(loss.sum())
                torch.mm(gradient, matrix, out=grad_x[part])
                # The other way round, (V, R) @ (R, C), oneDNN takes an eighth longer in bf16.
                grad_weights.append(inputs[part].t().contiguous() @ gradient)
                if grad_bias is not None:
                    grad_bias += gradient.sum(0, dtype=torch.float32)
            grad_weight = kernels.add_up(grad_weights)
        ctx.save_for_backward(
            grad_x.to(x.dtype), grad_weight[:size], None if grad_bias is None else grad_bias[:size]
        )
        return torch.stack(losses).sum() / len(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        [grad] = grads
        scaled = [None if saved is None else saved * grad for saved in ctx.saved_tensors]
        return (*scaled, None, None)


def row_parts(x: Tensor) -> Iterator[slice]:
    """Slices of the rows of x, (N, C), so few that their logits stay small, and enough to keep the
    device busy.
    """
    rows = 1024 if x.device.type == "cpu" else 8192
    for start in range(0, len(x), rows):
        yield slice(start, start + rows)


def logits_multiple(device: str) -> int:
    """Of what the number of logits has to be a multiple for products to be quick.

    A GPU's quickest kernels want rows that begin at 16 bytes; it loses a third of the time of all
    products of an output layer of 11,868 rows.
    """
    return 64 if device == "cuda" else 1
