"""Cross-entropy of an output layer, a few rows at a time.

The logits of a batch are its largest tensor by far. For 64 × 256 tokens and 11,868 characters they
take 778 MB in fp32. Nothing needs all of them at once.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


def softmax_gradient(logits: Tensor, targets: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Compute the cross-entropy of R rows together with its gradient.

    Args:
        logits: (R, V).
        targets: (R,) ids.
        scale: weight of a row's loss in the total.

    Returns:
        losses (R,), fp32, in nats, unscaled; gradient of the scaled total by the logits, (R, V),
        in the dtype of the logits.
    """
    x, at = logits.float(), targets[:, None]
    largest = x.amax(dim=1, keepdim=True)
    shares = torch.exp(x - largest)
    total = shares.sum(dim=1, keepdim=True)
    losses = largest + total.log() - x.gather(1, at)  # (R, 1)
    gradient = (shares * (scale / total)).to(logits.dtype)
    gradient.scatter_(1, at, (torch.expm1(-losses) * scale).to(logits.dtype))
    return losses.squeeze(1), gradient


def sum_transposed(parts: list[Tensor]) -> Tensor:
    """Add (C, V) parts in their order → (V, C) in fp32."""
    total = parts[0].float()
    for part in parts[1:]:
        total = total + part
    return total.t().contiguous()


class Kernels(NamedTuple):
    """Functions of the loss besides its matmuls: as written here, or compiled."""

    softmax_gradient: Callable[[Tensor, Tensor, float], tuple[Tensor, Tensor]] = softmax_gradient
    sum_transposed: Callable[[list[Tensor]], Tensor] = sum_transposed


EAGER_KERNELS = Kernels()
"""The functions as written here."""


class ClassLoss(NamedTuple):
    """A second loss: that the next token is of the right class.

    It is −log of the probability that the tokens of the target's class have together.

    Attributes:
        tokens: each is a class of its own; all other tokens are one class.
        weight: of this loss, beside the cross-entropy.
    """

    tokens: tuple[int, ...]
    weight: float


class Policy(NamedTuple):
    """Weights of rows that make the gradient of the cross-entropy a policy gradient.

    Rows are tokens that the model has drawn itself. An update then raises the probability of those
    with a positive advantage, and keeps the model near another one, by the divergence
    KL(model ‖ reference). For tokens that are drawn from the model, the gradient of the divergence
    is that of the cross-entropy times (cross-entropy − reference).

    Attributes:
        advantages: (N,) how much better than usual what follows from the token was. 1 in all rows,
            with a KL weight of 0, makes it the plain cross-entropy.
        reference: (N,) cross-entropy of each token under the other model, in nats.
        kl_weights: (N,) weight of the divergence.
    """

    advantages: Tensor
    reference: Tensor
    kl_weights: Tensor

    def weights(self, losses: Tensor, rows: slice) -> Tensor:
        """Compute the weights (R,) of the gradients of rows with cross-entropies `losses` (R,)."""
        excess = losses - self.reference[rows]
        return self.advantages[rows] + self.kl_weights[rows] * excess


def add_class_gradient(
    gradient: Tensor, targets: Tensor, class_loss: ClassLoss, scale: float
) -> None:
    """Add the gradient of a second loss to the gradient of the cross-entropy, in place.

    With p the probabilities, o the target of a row, P the probability of all `tokens`, and w the
    weight, the second loss has the gradient w (p − o) if the target is one of `tokens`. Else it is
    w p for `tokens`, and −w p P / (1 − P) for all others.

    Args:
        gradient: (R, V), `scale` × (p − o).
        targets: (R,) ids.
        class_loss: the second loss.
        scale: weight of a row's loss in the total.
    """
    tokens, weight = class_loss
    columns = torch.stack([gradient[:, token] for token in tokens], dim=1)
    alone = torch.stack([targets == token for token in tokens]).any(dim=0)
    share = (columns.float().sum(dim=1) / scale).clamp(0, 1 - 1e-6)
    less = torch.where(alone, 0, weight * share / (1 - share))
    gradient *= torch.where(alone, 1 + weight, 1 - less)[:, None].to(gradient.dtype)
    for column, token in zip(columns.unbind(dim=1), tokens, strict=True):
        gradient[:, token] = column * (1 + weight)
    at = targets[:, None]
    own = gradient.gather(1, at) - (less * scale)[:, None].to(gradient.dtype)
    gradient.scatter_(1, at, own)


def linear_cross_entropy(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    kernels: Kernels = EAGER_KERNELS,
    no_target: int | None = None,
    class_loss: ClassLoss | None = None,
    policy: Policy | None = None,
) -> Tensor:
    """Compute the mean cross-entropy, in nats and fp32, of softmax(x Wᵀ + b).

    The forward pass computes the gradients too, so that the logits of a row exist once and briefly.
    Matmuls run in autocast's dtype, all else in fp32.

    `torch.nn.functional.linear_cross_entropy` (torch 2.13) computes the same in less time, but in
    more memory. It holds the logits of all rows: for 64 × 256 tokens the peak memory grows by
    2.3 GB, here by 0.4 GB. With chunks it holds fewer, but takes about four times the CPU time, and
    torch's compiler does not compile it. `python -m bench.ops` compares the times.

    Args:
        x: (N, C).
        weight: (V, C).
        bias: (V,) or None.
        targets: (N,) ids.
        kernels: the functions besides matmuls.
        no_target: the id whose rows have loss 0. They count in the mean.
        class_loss: a second loss. The gradient has it, but the returned value does not, so that
            values compare with those of other trainings.
        policy: weights of the rows' gradients; the returned value does not have them either.
    """
    loss: Tensor = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
        x, weight, bias, targets, kernels, no_target, class_loss, policy
    )
    return loss


def token_cross_entropy(
    x: Tensor, output_layer: Callable[[Tensor], Tensor], targets: Tensor
) -> Tensor:
    """Compute the cross-entropy of each row, (N,) fp32 in nats, without a gradient.

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
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        kernels: Kernels,
        no_target: int | None,
        class_loss: ClassLoss | None,
        policy: Policy | None,
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
                if class_loss is not None:
                    add_class_gradient(gradient, targets[part], class_loss, 1 / len(x))
                if policy is not None:
                    gradient *= policy.weights(loss, part)[:, None].to(gradient.dtype)
                if no_target is not None:
                    without = targets[part] == no_target
                    loss = loss.masked_fill(without, 0)
                    gradient.masked_fill_(without[:, None], 0)
                losses.append(loss.sum())
                torch.mm(gradient, matrix, out=grad_x[part])
                if not ctx.needs_input_grad[1]:
                    continue
                # As (V, R) @ (R, C) instead, oneDNN takes an eighth longer in bf16.
                grad_weights.append(inputs[part].t().contiguous() @ gradient)
                if grad_bias is not None:
                    grad_bias += gradient.sum(0, dtype=torch.float32)
            grad_weight = kernels.sum_transposed(grad_weights)[:size] if grad_weights else None
        ctx.save_for_backward(
            grad_x.to(x.dtype), grad_weight, None if grad_bias is None else grad_bias[:size]
        )
        return torch.stack(losses).sum() / len(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        [grad] = grads
        scaled = [None if saved is None else saved * grad for saved in ctx.saved_tensors]
        return (*scaled, None, None, None, None, None)


def row_parts(x: Tensor) -> Iterator[slice]:
    """Yield slices of the rows of x, (N, C).

    They are small enough that their logits take little memory, and large enough to keep the device
    busy.
    """
    rows = 1024 if x.device.type == "cpu" else 8192
    for start in range(0, len(x), rows):
        yield slice(start, start + rows)


def logits_multiple(device: str) -> int:
    """Return the multiple to which the vocabulary is padded on a type of device.

    The fastest matmul kernels of a GPU want rows that begin at 16 bytes. Without padding, it loses
    a third of the time of the matmuls of an output layer of 11,868 rows.
    """
    return 64 if device == "cuda" else 1
