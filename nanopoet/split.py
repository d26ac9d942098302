"""Poems → a training and a validation part."""

from array import array
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from nanopoet.errors import NanopoetError
from nanopoet.poems import Poem
from nanopoet.twins import Twin, twins_across

Array = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


def split_data(
    poems: Sequence[Poem],
    val_every: int = 10,
    *,
    twins: Literal["ignore", "together"] = "ignore",
) -> tuple[list[Poem], list[Poem]]:
    """Sort by style (stable) and take every `val_every`-th poem, from the first on, for validation.

    Sorted so, each style gives its share to both parts. The seed's rule: 9 to 1.

    With `twins="together"`, a validation poem whose group of twins (see `nanopoet.twins`) reaches
    into the training part then moves there: no group is on both sides, validation shrinks a
    little, and all that is left in it was there before.

    Raises:
        NanopoetError: no poem is left for validation.

    >>> poems = [Poem(content=c, title="", author="", style=s) for c, s in ("春乙", "夏甲", "秋乙")]
    >>> train, val = split_data(poems, val_every=2)
    >>> [poem["content"] for poem in train], [poem["content"] for poem in val]
    (['秋'], ['春', '夏'])
    """
    order, in_val = split_positions(poems, val_every)
    if twins == "together":
        in_val = without_twins(in_val, twins_across(poems, order[in_val]))
    return [poems[i] for i in order[~in_val]], [poems[i] for i in order[in_val]]


def split_positions(poems: Iterable[Poem], val_every: int) -> tuple[Array, Mask]:
    """Where the poems are, sorted by style, and which of these places are in validation; (N,)."""
    numbers: dict[str, int] = {}
    styles = array("i", (numbers.setdefault(poem["style"], len(numbers)) for poem in poems))
    rank = np.empty(len(numbers), dtype=np.int64)
    rank[[numbers[style] for style in sorted(numbers)]] = np.arange(len(numbers))
    order = np.argsort(rank[np.asarray(styles)], kind="stable")
    return order, np.arange(len(order)) % val_every == 0


def without_twins(in_val: Mask, twins: Sequence[Twin | None]) -> Mask:
    """Take out of validation what has a twin in train.

    Args:
        in_val: (N,) as `split_positions` gives it.
        twins: of those that are in it, as `twins_across` gives them.

    Raises:
        NanopoetError: no poem is left for validation.
    """
    stays = np.array([twin is None for twin in twins], dtype=bool)
    if len(stays) and not stays.any():
        raise NanopoetError(
            f"split.twins = 'together' leaves no poem for validation: all {len(stays):,} have a "
            f"twin in the training part; give more poems or set split.twins to ignore"
        )
    left = in_val.copy()
    left[in_val] = stays
    return left
