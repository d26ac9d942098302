"""An optimizer by which characters with a common feature learn from one another."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

EPS = 1e-8
"""Epsilon of AdamW, torch's default."""


class WeightedRowSums(NamedTuple):
    """N weighted sums of the rows of a table, E terms in all.

    Attributes:
        rows: (E,) the row of each term, in the order of the sums.
        starts: (N,) index of the first term of each sum.
        weights: (E,) the factor of each term.
    """

    rows: Tensor
    starts: Tensor
    weights: Tensor

    @classmethod
    def from_terms(
        cls, sums: Sequence[Sequence[tuple[int, float]]], device: torch.device
    ) -> "WeightedRowSums":
        """Make N sums from N lists of (row, weight)."""
        pairs = [pair for each in sums for pair in each]
        lengths = torch.tensor([0, *map(len, sums)])
        return cls(
            torch.tensor([row for row, _ in pairs], dtype=torch.long, device=device),
            lengths.cumsum(0)[:-1].to(device),
            torch.tensor([weight for _, weight in pairs], device=device),
        )

    def sum(self, table: Tensor) -> Tensor:
        """Sum rows of a table, (M, C) → (N, C)."""
        return F.embedding_bag(
            self.rows, table, self.starts, mode="sum", per_sample_weights=self.weights
        )


class FeatureAdamW(torch.optim.Optimizer):
    """AdamW on the features that rows of a table share, beside AdamW on the rows themselves.

    Suppose row v of a table, (V, C), were its own row plus the mean of its features' rows in a
    second table, (F, C). AdamW would then update both tables. This optimizer computes the update of
    the second table and adds it to the rows of the first. So there is no second table, and the
    model stays the same. AdamW: Loshchilov & Hutter 2019, https://arxiv.org/abs/1711.05101.

    Args:
        params: groups of tables, (V, C) each, with a learning rate for each group.
        features: V lists of features; a feature of a single row does not count.
        betas: as in AdamW.
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
        self._of_feature = WeightedRowSums.from_terms(have, device)
        self._of_row = WeightedRowSums.from_terms(
            [[(f, 1 / len(each)) for f in each] for each in shared], device
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update the rows of each table from its gradient."""
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
