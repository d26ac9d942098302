"""Second losses beside the cross-entropy.

Each is −log of the probability that all right tokens have together. The true probabilities minimise
it, as they minimise the cross-entropy.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SecondRows(NamedTuple):
    """The right tokens of a second loss at R of the N places of a batch.

    At a place they are its members if `inside` is true there, else all others.

    Attributes:
        tokens: (R, K) ids among which the members are; None for all V.
        members: (R, K) which of them are members; no id twice.
        inside: (R,) whether the members are the right tokens.
        weights: (R,) of the loss.
        at: (R,) the places, ascending; None for all N.
    """

    tokens: Tensor | None
    members: Tensor
    inside: Tensor
    weights: Tensor
    at: Tensor | None = None

    def within(self, part: slice) -> "SecondRows":
        """Return the rows for the places of a part, counted from its start."""
        if self.at is None:
            rows, at = part, None
        else:
            first, end = torch.searchsorted(self.at, torch.tensor([part.start, part.stop])).tolist()
            rows = slice(first, end)
            at = self.at[rows] - part.start
        tokens = None if self.tokens is None else self.tokens[rows]
        return SecondRows(tokens, self.members[rows], self.inside[rows], self.weights[rows], at)


class SecondLoss(nn.Module):
    """A loss beside the cross-entropy.

    Args:
        weight: of this loss, beside the cross-entropy.
        before: ids. The loss counts for targets that come before one of these; with None, for all.
    """

    before: Tensor | None

    def __init__(self, weight: float, before: Sequence[int] | None = None) -> None:
        super().__init__()
        self.weight = weight
        self.register_buffer("before", _ids(before), persistent=False)

    @abstractmethod
    def rows(self, idx: Tensor, targets: Tensor) -> SecondRows:
        """Say which tokens are right at the B T places of a batch.

        Args:
            idx: (B, T) token ids.
            targets: (B, T) the ids that follow.
        """

    def _places(self, targets: Tensor) -> tuple[Tensor | None, Tensor]:
        """Return where the loss counts, as `SecondRows.at`, and with which weights.

        The last target of a row has no known follower.
        """
        if self.before is None:
            return None, torch.full((targets.numel(),), self.weight, device=targets.device)
        counts = F.pad(_among(targets[:, 1:], self.before), (0, 1)).flatten()
        if counts.device.type != "cpu":  # a CUDA graph cannot know how many count
            return None, self.weight * counts
        at = counts.nonzero()[:, 0]
        return at, torch.full(at.shape, self.weight)


class ClassLoss(SecondLoss):
    """Asks for a token of the target's class.

    Args:
        classes: (V,) the class of each token, below S.
        right: (S, V) whether a token is right where the target is of a class.
        weight: see `SecondLoss`.
        before: see `SecondLoss`.
    """

    classes: Tensor
    right: Tensor

    def __init__(
        self, classes: Tensor, right: Tensor, weight: float, before: Sequence[int] | None = None
    ) -> None:
        super().__init__(weight, before)
        self.register_buffer("classes", classes, persistent=False)
        self.register_buffer("right", right, persistent=False)

    def rows(self, idx: Tensor, targets: Tensor) -> SecondRows:
        """Say which tokens are right at the places of a batch."""
        del idx
        at, weights = self._places(targets)
        counted = targets.flatten() if at is None else targets.flatten()[at]
        right = self.right[self.classes[counted]]
        return SecondRows(None, right, torch.ones_like(counted, dtype=torch.bool), weights, at)


class ListLoss(SecondLoss):
    """Asks which of some tokens comes next, or that none of them does.

    Args:
        tokens: ids.
        weight: see `SecondLoss`.
    """

    tokens: Tensor

    def __init__(self, tokens: Sequence[int], weight: float) -> None:
        super().__init__(weight)
        self.register_buffer("tokens", _ids(tokens), persistent=False)

    def rows(self, idx: Tensor, targets: Tensor) -> SecondRows:
        """Say which tokens are right at the places of a batch."""
        del idx
        at, weights = self._places(targets)
        own = targets.flatten()[:, None] == self.tokens  # (N, K)
        inside = own.any(dim=1)
        return SecondRows(self.tokens.expand_as(own), own | ~inside[:, None], inside, weights, at)


class ContextLoss(SecondLoss):
    """Asks whether the next token has occurred before in a piece of the same text.

    A piece is the title, for example. The loss is 0 where the piece has no token so far.

    Args:
        begin: id of the token before the piece.
        end: id of the token after it.
        text_begin: id of the token that begins a text.
        counted: (V,) whether a token can be a member; `text_begin` cannot.
        weight: see `SecondLoss`.
        before: see `SecondLoss`.
        seen_before: ids. Only tokens that come before one of these are members; with None, all.
    """

    counted: Tensor
    seen_before: Tensor | None

    def __init__(
        self,
        begin: int,
        end: int,
        text_begin: int,
        counted: Tensor,
        weight: float,
        before: Sequence[int] | None = None,
        seen_before: Sequence[int] | None = None,
    ) -> None:
        super().__init__(weight, before)
        self._begin, self._end, self._text_begin = begin, end, text_begin
        self.register_buffer("counted", counted, persistent=False)
        self.register_buffer("seen_before", _ids(seen_before), persistent=False)

    def rows(self, idx: Tensor, targets: Tensor) -> SecondRows:
        """Say which tokens are right at the places of a batch."""
        text = (idx == self._text_begin).cumsum(dim=1)  # number of the text at each place
        piece = (idx == self._begin).cumsum(dim=1) > (idx == self._end).cumsum(dim=1)
        piece &= self.counted[idx]
        if self.seen_before is not None:
            piece &= _among(targets, self.seen_before)
        # Of equal tokens in the piece of a text, the first one stands for all.
        alike = (idx[:, :, None] == idx[:, None]) & (text[:, :, None] == text[:, None])
        piece &= ~(alike & piece[:, None]).tril(-1).any(dim=2)
        at, weights = self._places(targets)
        places = torch.arange(idx.numel(), device=idx.device) if at is None else at  # (R,)
        row, column = places // idx.shape[1], places[:, None] % idx.shape[1]
        members = torch.arange(idx.shape[1], device=idx.device) <= column
        members &= (text[row] == text.take(places)[:, None]) & piece[row]  # (R, T)
        seen = idx[row]
        inside = (members & (seen == targets.take(places)[:, None])).any(dim=1)
        return SecondRows(seen, members, inside, weights, at)


def _ids(ids: Sequence[int] | None) -> Tensor | None:
    return None if ids is None else torch.tensor(ids, dtype=torch.long)


def _among(tokens: Tensor, ids: Tensor) -> Tensor:
    return (tokens[..., None] == ids).any(dim=-1)
