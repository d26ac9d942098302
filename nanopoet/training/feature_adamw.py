"""Characters that have a feature in common learn from one another."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

EPS = 1e-8
"""AdamW's, as torch has it."""


class Bags(NamedTuple):
    """N weighted sums of a table's rows.

    Attributes:
        rows: (E,) the rows, those of the first sum first.
        starts: (N,) where each sum begins in `rows`.
        weights: (E,) what each row counts.
    """

    rows: Tensor
    starts: Tensor
    weights: Tensor

    @classmethod
    def of(cls, sums: Sequence[Sequence[tuple[int, float]]], device: torch.device) -> "Bags":
        """From N lists of (row, weight)."""
        pairs = [pair for each in sums for pair in each]
        lengths = torch.tensor([0, *map(len, sums)])
        return cls(
            torch.tensor([row for row, _ in pairs], dtype=torch.long, device=device),
            lengths.cumsum(0)[:-1].to(device),
            torch.tensor([weight for _, weight in pairs], device=device),
        )

    def sum(self, table: Tensor) -> Tensor:
        """(M, C) → (N, C)"""
        return F.embedding_bag(
            self.rows, table, self.starts, mode="sum", per_sample_weights=self.weights
        )


class FeatureAdamW(torch.optim.Optimizer):
    """AdamW's update of what rows of a table have in common, beside AdamW on the rows themselves.

    Were row v of a table (V, C) the sum of a row of its own and of the mean of its features' rows
    in a second table (F, C), AdamW would update both. This makes the second one's updates and adds
    them to the first one's rows, so that there is no second table: the model stays as it is.

    Args:
        params: tables (V, C), in groups with rates of their own.
        features: V lists of features; one that no two rows share does not count.
        betas: AdamW's.
    """

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        features: Sequence[Sequence[str]],
        betas: tuple[float, float],
    ) -> None:
        super().__init__(params, {"betas": betas})
        device = self.param_groups[0]["params"][0].device
        count = Counter(feature for row in features for feature in row)
        index = {name: i for i, name in enumerate(n for n, rows in count.items() if rows > 1)}
        shared = [[index[name] for name in row if name in index] for row in features]
        have: list[list[tuple[int, float]]] = [[] for _ in index]
        for row, each in enumerate(shared):
            for feature in each:
                have[feature].append((row, 1 / len(each)))
        self._of_feature = Bags.of(have, device)
        self._of_row = Bags.of([[(f, 1 / len(each)) for f in each] for each in shared], device)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update the rows of each table."""
        assert closure is None, "the trainer computes gradients once"
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for table in group["params"]:
                assert table.grad is not None
                grad = self._of_feature.sum(table.grad)  # (F, C)
                state = self.state[table]
                if not state:
                    state["step"] = torch.zeros(())
                    state["exp_avg"] = torch.zeros_like(grad)
                    state["exp_avg_sq"] = torch.zeros_like(grad)
                state["step"] += 1
                step = state["step"].item()
                average = state["exp_avg"].lerp_(grad, 1 - beta1)
                square = state["exp_avg_sq"].mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
                size = (square / (1 - beta2**step)).sqrt().add_(EPS)
                update = average / size / (1 - beta1**step)
                table.add_(self._of_row.sum(update), alpha=-group["lr"])
