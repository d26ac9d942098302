"""Division of the poems into a training and a validation part."""

from array import array
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from nanopoet.common.errors import NanopoetError
from nanopoet.corpus.duplicates import duplicates_across
from nanopoet.corpus.poems import Duplicate, Poem

Array = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


def split_data(
    poems: Sequence[Poem],
    val_every: int = 10,
    *,
    duplicates: Literal["ignore", "together"] = "ignore",
) -> tuple[list[Poem], list[Poem]]:
    """Sort poems by style and take every `val_every`-th poem for validation, from the first on.

    The sort is stable, and each style gives its share to both parts. The teaching notebook divides
    poems in this way, 9 to 1.

    Args:
        poems: the poems.
        val_every: distance between two validation poems.
        duplicates: `ignore`, or `together` to move validation poems that have a duplicate or
            near-duplicate in the training part there (see `nanopoet.corpus.duplicates`).

    Returns:
        The training poems and the validation poems.

    Raises:
        NanopoetError: `val_every` is below 2, or no poem is left for one of the parts.

    >>> poems = [Poem(content=c, title="", author="", style=s) for c, s in ("春乙", "夏甲", "秋乙")]
    >>> train, val = split_data(poems, val_every=2)
    >>> [poem["content"] for poem in train], [poem["content"] for poem in val]
    (['秋'], ['春', '夏'])
    """
    order, in_val = split_positions(poems, val_every)
    if duplicates == "together":
        in_val = without_duplicates(in_val, duplicates_across(poems, order[in_val]))
    return [poems[i] for i in order[~in_val]], [poems[i] for i in order[in_val]]


def split_positions(poems: Iterable[Poem], val_every: int) -> tuple[Array, Mask]:
    """Return where `split_data` puts N poems, before duplicates move.

    Returns:
        (N,) int64: the indices of the poems, sorted by style.
        (N,) bool: whether the poem at each of these indices is in validation.

    Raises:
        NanopoetError: `val_every` is below 2, or there is only one poem.
    """
    if val_every < 2:
        raise NanopoetError(f"val_every = {val_every} is not allowed: 2 or more, or none is left")
    numbers: dict[str, int] = {}
    styles = array("i", (numbers.setdefault(poem["style"], len(numbers)) for poem in poems))
    rank = np.empty(len(numbers), dtype=np.int64)
    rank[[numbers[style] for style in sorted(numbers)]] = np.arange(len(numbers))
    order = np.argsort(rank[np.asarray(styles)], kind="stable")
    if len(order) < 2:
        raise NanopoetError(
            "the corpus needs at least 2 poems, one to train on and one for validation; give "
            "load.source more"
        )
    return order, np.arange(len(order)) % val_every == 0


def without_duplicates(in_val: Mask, duplicates: Sequence[Duplicate | None]) -> Mask:
    """Take poems with a duplicate or near-duplicate in train out of validation.

    Args:
        in_val: (N,) bool, as `split_positions` returns it.
        duplicates: for each validation poem, as `duplicates_across` returns it.

    Returns:
        (N,) bool: whether each poem is in validation now.

    Raises:
        NanopoetError: no poem is left for validation.
    """
    stays = np.array([duplicate is None for duplicate in duplicates], dtype=bool)
    if len(stays) and not stays.any():
        raise NanopoetError(
            f"split.duplicates = 'together' leaves no poem for validation: all {len(stays):,} have "
            f"a duplicate in the training part; give more poems or set split.duplicates to ignore"
        )
    left = in_val.copy()
    left[in_val] = stays
    return left
