"""Second losses: that the next token is of the right kind.

Such a loss is −log of the probability that all right tokens have together. The true probabilities
minimise it, as they minimise the cross-entropy.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn


class SecondRows(NamedTuple):
    """Places of a batch of N in which a second loss counts, and what it asks for there.

    Attributes:
        right: (R, V) which tokens are right.
        weights: (R,) of the loss.
        at: (R,) the places, in their order; None for all N.
    """

    right: Tensor
    weights: Tensor
    at: Tensor | None = None

    def inside(self, part: slice) -> "SecondRows":
        """Return the rows for the places of a part, counted from its start."""
        if self.at is None:
            return SecondRows(self.right[part], self.weights[part])
        first, end = torch.searchsorted(self.at, torch.tensor([part.start, part.stop])).tolist()
        rows = slice(first, end)
        return SecondRows(self.right[rows], self.weights[rows], self.at[rows] - part.start)


class SecondLoss(nn.Module):
    """A loss beside the cross-entropy.

    Args:
        weight: of this loss, beside the cross-entropy.
    """

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight

    @abstractmethod
    def rows(self, idx: Tensor, targets: Tensor) -> SecondRows:
        """Say which tokens are right at the B T places of a batch.

        Args:
            idx: (B, T) token ids.
            targets: (B, T) the ids that follow.
        """


class ClassLoss(SecondLoss):
    """Asks for a token of the target's class.

    Args:
        classes: (V,) the class of each token, below S.
        right: (S, V) whether a token is right where the target is of a class.
        weight: see `SecondLoss`.
        before: ids. The loss counts for targets that come before one of these; without ids, for
            all.
    """

    classes: Tensor
    right: Tensor
    before: Tensor

    def __init__(
        self, classes: Tensor, right: Tensor, weight: float, before: Sequence[int] = ()
    ) -> None:
        super().__init__(weight)
        self.register_buffer("classes", classes, persistent=False)
        self.register_buffer("right", right, persistent=False)
        self.register_buffer("before", torch.tensor(before, dtype=torch.long), persistent=False)

    def rows(self, idx: Tensor, targets: Tensor) -> SecondRows:
        """Say which tokens are right at the places of a batch."""
        del idx
        targets = targets.flatten()
        counts = torch.ones_like(targets, dtype=torch.bool)
        if len(self.before):
            counts = (targets.roll(-1)[:, None] == self.before).any(dim=1)
            if counts.device.type == "cpu":  # a CUDA graph cannot know how many count
                at = counts.nonzero()[:, 0]
                right = self.right[self.classes[targets[at]]]
                return SecondRows(right, torch.full(at.shape, self.weight), at)
        return SecondRows(self.right[self.classes[targets]], self.weight * counts)


class ContextLoss(SecondLoss):
    """Asks whether the next token is one of those that stand in a piece of the same text before.

    It counts where such tokens are.

    Args:
        begin: id of the token before the piece.
        end: id of the token after it.
        text_begin: id of the token that begins a text.
        counted: (V,) whether a token is looked for; not so `text_begin`.
        weight: see `SecondLoss`.
    """

    counted: Tensor

    def __init__(
        self, begin: int, end: int, text_begin: int, counted: Tensor, weight: float
    ) -> None:
        super().__init__(weight)
        self._begin, self._end, self._text_begin = begin, end, text_begin
        self.register_buffer("counted", counted, persistent=False)

    def rows(self, idx: Tensor, targets: Tensor) -> SecondRows:
        """Say which tokens are right at the places of a batch."""
        text = (idx == self._text_begin).cumsum(dim=1)  # number of the text at each place
        inside = (idx == self._begin).cumsum(dim=1) > (idx == self._end).cumsum(dim=1)
        inside &= self.counted[idx]
        before = (text[:, :, None] == text[:, None, :]).tril() & inside[:, None, :]  # (B, T, T)
        # Without `nonzero`, whose size a CUDA graph cannot know.
        seen = torch.where(before, idx[:, None, :], self._text_begin)
        among = torch.zeros(*idx.shape, len(self.counted), dtype=torch.bool, device=idx.device)
        among.scatter_(2, seen, value=True)
        among[:, :, self._text_begin] = False
        has = among.gather(2, targets[:, :, None])
        weights = self.weight * before.any(dim=2)
        return SecondRows((among == has).flatten(0, 1), weights.flatten())
