"""Muon: momentum whose updates are made orthogonal."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

NS_STEPS = 3
"""Newton–Schulz iterations of Muon. Its usual five take a fifth of a step here and gain nothing
(docs/recipe.md)."""


_NS_COEFFICIENTS = 3.4445, -4.7750, 2.0315
"""Of Jordan et al. 2024: they lift small singular values quickly."""


class Muon(torch.optim.Optimizer):
    """Momentum whose updates are made orthogonal (https://kellerjordan.github.io/posts/muon).

    `torch.optim.Muon` always multiplies in bf16. A CPU without the instruction emulates that, many
    times slower than fp32 (`python -m bench.ops`). In bf16 this one does the same, bit by bit.

    Args:
        matrices: parameters with two dimensions.
        lr: for a square matrix; a tall one gets more, by the root of its height over its width.
        momentum: Nesterov's.
        weight_decay: decoupled.
        dtype: in which updates are made orthogonal.
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
            alike: dict[torch.Size, list[Tensor]] = {}
            for matrix in group["params"]:
                if matrix.grad is not None:
                    alike.setdefault(matrix.shape, []).append(matrix)
            for (height, width), matrices in alike.items():
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
    """Bring the singular values of N matrices, (N, height, width), near 1 by Newton–Schulz
    iterations.
    """
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    a, b, c = _NS_COEFFICIENTS
    for _ in range(NS_STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
