"""The right tokens of a second loss, over the whole vocabulary."""

import torch
from torch import Tensor

from nanopoet.ops.second_loss import SecondRows


def right_tokens(rows: SecondRows, vocab_size: int) -> Tensor:
    """Return which of all tokens are right in each row, (R, V)."""
    members = rows.members
    if rows.tokens is not None:
        found = torch.zeros(len(members), vocab_size, dtype=torch.int64)
        found.scatter_add_(1, rows.tokens, members.long())
        assert (found <= 1).all(), "an id is a member once"
        members = found.bool()
    return torch.where(rows.inside[:, None], members, ~members)
