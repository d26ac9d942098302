"""Returns of the tokens of a poem: the penalties of the faults from there on."""

from collections.abc import Sequence

import numpy as np

from nanopoet.common.types import Array
from nanopoet.param_sections import PenaltyParams
from nanopoet.prosody.faults import Fault


def returns(
    found: Sequence[Fault], length: int, penalties: PenaltyParams, discount: float
) -> Array:
    """Compute the return of each token of a poem.

    A fault costs its penalty at the character that makes it. The return of a token is what it
    costs itself, and, discounted for each token between, what the tokens after it cost.

    Args:
        found: the faults of the poem.
        length: L, its tokens; the one after its last character ends it.
        penalties: by the names of the rules.
        discount: 0 holds a token responsible for itself alone, 1 for all that follows.

    Returns:
        (L,), none above 0.

    >>> penalties = PenaltyParams(
    ...     form=1, rhyme=1, rhyme_distinct=0, tone=0.5, repeat=0, unknown=0
    ... )
    >>> returns([Fault("tone", 1), Fault("form", 3)], 4, penalties, discount=0.5).tolist()
    [-0.375, -0.75, -0.5, -1.0]
    """
    rewards = np.zeros(length)
    for rule, place in found:
        rewards[min(place, length - 1)] -= getattr(penalties, rule)
    total = 0.0
    for place in reversed(range(length)):
        total = rewards[place] = rewards[place] + discount * total
    return rewards


def advantages(group: Sequence[Array]) -> list[Array]:
    """Compare the returns of poems for one request, place by place.

    The mean over the group is what a token at this place usually earns. So no second model has to
    learn that (Shao et al. 2024, https://arxiv.org/abs/2402.03300, section 4.1).

    Args:
        group: the returns (L,) of each poem.

    Returns:
        for each poem, by how much its returns exceed the mean, (L,).

    >>> [each.tolist() for each in advantages([np.array([0.0, -1.0]), np.array([0.0])])]
    [[0.0, 0.0], [0.0]]
    """
    longest = max(map(len, group))
    padded = np.full((len(group), longest), np.nan)
    for row, each in zip(padded, group, strict=True):
        row[: len(each)] = each
    mean = np.nanmean(padded, axis=0)
    return [each - mean[: len(each)] for each in group]
