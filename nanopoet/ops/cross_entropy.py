"""Cross-entropy of an output layer, a few rows at a time.

The logits of a batch are its largest tensor by far. At 64 × 256 places, with 11,868 tokens in the
vocabulary, they take 778 MB in fp32. Nothing needs all of them at once.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from nanopoet.ops.matmul import product
from nanopoet.ops.second_loss import SecondRows


def softmax_gradient(
    logits: Tensor,
    targets: Tensor,
    scale: Tensor,
    second_rows: Sequence[SecondRows] = (),
) -> tuple[Tensor, Tensor]:
    """Compute the cross-entropy of R rows together with its gradient.

    Args:
        logits: (R, V).
        targets: (R,) ids.
        scale: (R, 1) weight of each row's loss in the total.
        second_rows: for each second loss, what it asks for in all R rows; without `at`.

    Returns:
        losses (R,), fp32, in nats, unscaled, without the second losses; gradient of the scaled
        total, with the second losses, by the logits, (R, V), in the dtype of the logits.
    """
    x, at = logits.float(), targets[:, None]
    largest = x.amax(dim=1, keepdim=True)
    shares = torch.exp(x - largest)
    total = shares.sum(dim=1, keepdim=True)
    losses = largest + total.log() - x.gather(1, at)  # (R, 1)
    second = [_second_factors(shares, total, rows) for rows in second_rows]
    others = 1 + sum(each.others for each in second)
    gradient = (shares * (others * scale / total)).to(logits.dtype)
    for rows, each in zip(second_rows, second, strict=True):
        if rows.tokens is None:
            gradient += (each.members * scale).to(logits.dtype)
            continue
        # What is no member goes to the target's column, which is overwritten below. So an id that
        # is listed twice does no harm.
        members = torch.where(rows.members, rows.tokens, at)
        changed = gradient.gather(1, members) + each.members * scale
        gradient.scatter_(1, members, changed.to(logits.dtype))
    own = torch.expm1(-losses) + torch.exp(-losses) * sum(each.right for each in second)
    gradient.scatter_(1, at, (own * scale).to(logits.dtype))
    return losses.squeeze(1), gradient


def second_gradient(logits: Tensor, rows: SecondRows, scale: Tensor) -> Tensor:
    """Compute the gradient of a second loss alone, in some rows.

    Args:
        logits: (N, V).
        rows: what the loss asks for, and in which R of the N rows; with `at`.
        scale: (N, 1) weight of each row's loss in the total.

    Returns:
        (R, V), in the dtype of the logits.
    """
    shares = logits[rows.at].float().softmax(dim=1)
    second = _second_factors(shares, torch.ones_like(shares[:, :1]), rows)
    gradient = shares * second.others
    if rows.tokens is None:
        gradient += second.members
    else:
        gradient.scatter_add_(1, rows.tokens, second.members)
    return (gradient * scale[rows.at]).to(logits.dtype)


class _SecondFactors(NamedTuple):
    """The gradient of a second loss by the logits, for R rows of probabilities p.

    With P the probability of all right tokens and w the weight, it is w p (1 − 1/P) for a right
    token and w p for any other. P counts as 1e-6 at least.

    Attributes:
        right: (R, 1) factor of p for a right token.
        others: (R, 1) factor of p for all but the members.
        members: (R, K) what the gradient of the members has on top of that.
    """

    right: Tensor
    others: Tensor
    members: Tensor


def _second_factors(shares: Tensor, total: Tensor, rows: SecondRows) -> _SecondFactors:
    """Compute the gradient of a second loss for (R, V) `shares` of a `total`, (R, 1)."""
    members = shares if rows.tokens is None else shares.gather(1, rows.tokens)
    members = members / total * rows.members
    together = members.sum(dim=1, keepdim=True)
    inside, weights = rows.inside[:, None], rows.weights[:, None]
    change = weights / torch.where(inside, together, 1 - together).clamp(min=1e-6)
    others = torch.where(inside, weights, weights - change)
    return _SecondFactors(weights - change, others, members * torch.where(inside, -change, change))


def divergence_gradient(logits: Tensor, wanted: Tensor, scale: Tensor) -> Tensor:
    """Compute the gradient of KL(softmax(logits) ‖ softmax(wanted)) by the logits.

    Args:
        logits: (R, V).
        wanted: (R, V).
        scale: (R, 1) weight of each row's divergence in the total.

    Returns:
        (R, V), in the dtype of the logits.
    """
    own = logits.float().log_softmax(dim=1)
    gap, shares = own - wanted.float().log_softmax(dim=1), own.exp()
    mean = (shares * gap).sum(dim=1, keepdim=True)
    return (shares * (gap - mean) * scale).to(logits.dtype)


def sum_transposed(parts: list[Tensor]) -> Tensor:
    """Add (C, V) parts in their order → (V, C) in fp32."""
    total = parts[0].float()
    for part in parts[1:]:
        total = total + part
    return total.t().contiguous()


class Kernels(NamedTuple):
    """Functions of the loss besides its matmuls: as written here, or compiled."""

    softmax_gradient: Callable[..., tuple[Tensor, Tensor]] = softmax_gradient
    sum_transposed: Callable[[list[Tensor]], Tensor] = sum_transposed


EAGER_KERNELS = Kernels()
"""The functions as written here."""


def linear_cross_entropy(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    kernels: Kernels = EAGER_KERNELS,
    no_target: int | None = None,
    second_rows: Sequence[SecondRows] = (),
    wanted: Tensor | None = None,
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
        second_rows: what `SecondLoss.rows` returns, for each second loss. The gradient has them,
            but the returned value does not, so that values compare with those of other trainings.
        wanted: (N, V) logits of a distribution for each row. The gradient then is that of the
            divergence KL(softmax(x Wᵀ + b) ‖ softmax(wanted)) instead. Rows of `no_target` are
            left out of the computation; they may hold anything.
    """
    if wanted is not None and no_target is not None:
        counted = targets != no_target  # most rows of a batch of short texts do not count
        part = linear_cross_entropy(
            x[counted], weight, bias, targets[counted], kernels, wanted=wanted[counted]
        )
        return part * (counted.sum() / len(x))
    loss: Tensor = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
        x, weight, bias, targets, kernels, no_target, second_rows, wanted
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
        second_rows: Sequence[SecondRows],
        wanted: Tensor | None,
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
        counts = torch.ones_like(targets) if no_target is None else targets != no_target
        scale = counts[:, None] / len(x)
        losses, grad_weights = [], []
        with torch.autocast(device, enabled=False):
            for part in row_parts(x):
                logits = product(inputs[part], matrix)  # (R, V)
                if bias is not None:
                    logits += bias.to(dtype)
                if excess:
                    logits[:, size:] = float("-inf")
                second = [_padded(rows.within(part), excess) for rows in second_rows]
                everywhere = [rows for rows in second if rows.at is None]
                loss, gradient = kernels.softmax_gradient(
                    logits, targets[part], scale[part], everywhere
                )
                for rows in second:
                    if rows.at is not None:
                        gradient[rows.at] += second_gradient(logits, rows, scale[part])
                if wanted is not None:
                    divergence = divergence_gradient(logits[:, :size], wanted[part], scale[part])
                    gradient = F.pad(divergence, (0, excess))
                losses.append(loss @ scale[part, 0])
                grad_x[part] = product(gradient, matrix.t())
                if not ctx.needs_input_grad[1]:
                    continue
                # As (V, R) @ (R, C) instead, oneDNN takes an eighth longer in bf16.
                grad_weights.append(product(inputs[part].t().contiguous(), gradient.t()))
                if grad_bias is not None:
                    grad_bias += gradient.sum(0, dtype=torch.float32)
            grad_weight = kernels.sum_transposed(grad_weights)[:size] if grad_weights else None
        ctx.save_for_backward(
            grad_x.to(x.dtype), grad_weight, None if grad_bias is None else grad_bias[:size]
        )
        return torch.stack(losses).sum()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        [grad] = grads
        scaled = [None if saved is None else saved * grad for saved in ctx.saved_tensors]
        return (*scaled, None, None, None, None, None)


def _padded(rows: SecondRows, excess: int) -> SecondRows:
    if rows.tokens is not None or not excess:
        return rows
    return rows._replace(members=F.pad(rows.members, (0, excess)))


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
