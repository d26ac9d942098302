"""Muon: momentum with orthogonalized updates."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

NS_STEPS = 3
"""Newton–Schulz iterations. The usual five take a fifth of the time of a step here and gain nothing
(docs/experiment-log.md)."""

_NS_COEFFICIENTS = 3.4445, -4.7750, 2.0315
"""Coefficients of Jordan et al. 2024, https://kellerjordan.github.io/posts/muon, which raise small
singular values in few iterations."""


class Muon(torch.optim.Optimizer):
    """Momentum with orthogonalized updates (Jordan et al. 2024).

    The method is explained at https://kellerjordan.github.io/posts/muon. `torch.optim.Muon` always
    multiplies in bf16. A CPU without bf16 instructions emulates them, many times slower than fp32
    (`python -m bench.ops`). With dtype bf16 the results are torch's, bit by bit.

    Args:
        matrices: parameters with two dimensions.
        lr: learning rate of a square matrix. A matrix that is taller than wide gets more, by the
            square root of height / width.
        momentum: Nesterov momentum.
        weight_decay: decoupled weight decay.
        dtype: dtype of the orthogonalization.
    """

    def __init__(
        self,
        matrices: Iterable[Tensor],
        lr: float,
        momentum: float,
        weight_decay: float,
        dtype: torch.dtype,
    ) -> None:
        super().__init__(matrices, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update each matrix that has a gradient."""
        assert closure is None, "the trainer computes gradients once"
        for group in self.param_groups:
            lr, momentum = group["lr"], group["momentum"]
            by_shape: dict[torch.Size, list[Tensor]] = {}
            for matrix in group["params"]:
                if matrix.grad is not None:
                    by_shape.setdefault(matrix.shape, []).append(matrix)
            for (height, width), matrices in by_shape.items():
                grads = [matrix.grad for matrix in matrices if matrix.grad is not None]
                averages = [self._momentum_buffer(matrix) for matrix in matrices]
                torch._foreach_lerp_(averages, grads, 1 - momentum)
                updates = torch.stack(torch._foreach_lerp(grads, averages, momentum))
                updates = orthogonal(updates.to(self.dtype)).to(updates.dtype)
                torch._foreach_mul_(matrices, 1 - lr * group["weight_decay"])
                torch._foreach_add_(
                    matrices, updates.unbind(), alpha=-lr * max(1, height / width) ** 0.5
                )

    def _momentum_buffer(self, matrix: Tensor) -> Tensor:
        state = self.state[matrix]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(matrix)
        buffer: Tensor = state["momentum_buffer"]
        return buffer


def orthogonal(x: Tensor) -> Tensor:
    """Bring the singular values of N matrices near 1 by Newton–Schulz iterations.

    Args:
        x: (N, height, width).

    Returns:
        (N, height, width) in the dtype of x.
    """
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    a, b, c = _NS_COEFFICIENTS
    for _ in range(NS_STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
