"""Optimisers and the learning-rate schedule."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from nanopoet.device import Precision
from nanopoet.language_model import LanguageModel
from nanopoet.params import PretrainParams
from nanopoet.shared import SharedAdamW

NS_STEPS = 3
"""Newton–Schulz iterations of Muon. Its usual five take a fifth of a step here and gain nothing
(docs/recipe.md)."""
_NS_COEFFICIENTS = 3.4445, -4.7750, 2.0315
"""Of Jordan et al. 2024: they lift small singular values quickly."""


class Muon(torch.optim.Optimizer):
    """Momentum whose updates are made orthogonal (https://kellerjordan.github.io/posts/muon).

    `torch.optim.Muon` always multiplies in bf16. A CPU without the instruction emulates that, many
    times slower than fp32 (`python -m bench.kernels`). In bf16 this one does the same, bit by bit.

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


def make_optimizers(
    model: LanguageModel,
    params: PretrainParams,
    precision: Precision,
    features: Sequence[Sequence[str]] = (),
) -> list[torch.optim.Optimizer]:
    """The optimisers that together update every parameter of `model`.

    `adamw` has them all, the token embedding with a rate of its own. `muon` takes the matrices of
    the blocks from it and makes their updates orthogonal, in the precision of matrix products.
    Where tokens have features, a third one updates what rows of the embedding and of the output
    layer share.

    Args:
        model: on its device.
        params: the recipe.
        precision: of Muon's products.
        features: what each of the V tokens has in common with others; empty if nothing counts.
    """
    embedding = model.token_embedding.weight
    matrices = [p for p in model.blocks.parameters() if p.ndim == 2]
    if params.optimizer == "adamw":
        matrices = []
    elsewhere = {id(embedding), *map(id, matrices)}
    rest = [p for p in model.parameters() if id(p) not in elsewhere]
    betas = params.beta1, params.beta2
    adamw = torch.optim.AdamW(
        [{"params": [embedding], "lr": params.embedding_lr}, {"params": rest, "lr": params.lr}],
        betas=betas,
        weight_decay=params.weight_decay,
        fused=True,
    )
    optimizers: list[torch.optim.Optimizer] = [adamw]
    if matrices:
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        optimizers.append(
            Muon(matrices, params.muon_lr, params.muon_momentum, params.weight_decay, dtype)
        )
    if any(features):
        tables = [
            {"params": [embedding], "lr": params.embedding_lr},
            {"params": [model.lm_head.weight], "lr": params.lr},
        ]
        optimizers.append(SharedAdamW(tables, features, betas))
    return optimizers


def lr_factor(step: int, max_steps: int, warmup_steps: int, decay: float) -> float:
    """Share of the full learning rate at a step: up linearly, along the top, down linearly.

    Args:
        step: number of the update, from 0.
        max_steps: number of all updates.
        warmup_steps: updates on the way up; the one after them has the full rate.
        decay: share of all updates on the way down; after the last one the rate would be 0.

    >>> [round(lr_factor(step, 10, warmup_steps=2, decay=0.5), 2) for step in range(10)]
    [0.33, 0.67, 1.0, 1.0, 1.0, 1.0, 0.8, 0.6, 0.4, 0.2]
    """
    up = (step + 1) / (warmup_steps + 1)
    down = (max_steps - step) / (decay * max_steps) if decay else 1.0
    return min(1.0, up, down)
