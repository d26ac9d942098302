"""Poems → a training and a validation part."""

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
    """Sort by style (stable) and take every `val_every`-th poem, from the first on, for validation.

    Sorted so, each style gives its share to both parts. The seed's rule: 9 to 1.

    With `duplicates="together"`, a validation poem whose group of duplicates reaches into the
    training part moves there (see `nanopoet.corpus.duplicates`). No group is then on both sides.
    Validation shrinks a little, and all that is left in it was there before.

    Raises:
        NanopoetError: no poem is left for validation.

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
    """Where the poems are, sorted by style, and which of these places are in validation; (N,)."""
    numbers: dict[str, int] = {}
    styles = array("i", (numbers.setdefault(poem["style"], len(numbers)) for poem in poems))
    rank = np.empty(len(numbers), dtype=np.int64)
    rank[[numbers[style] for style in sorted(numbers)]] = np.arange(len(numbers))
    order = np.argsort(rank[np.asarray(styles)], kind="stable")
    return order, np.arange(len(order)) % val_every == 0


def without_duplicates(in_val: Mask, duplicates: Sequence[Duplicate | None]) -> Mask:
    """Take out of validation what has a duplicate in train.

    Args:
        in_val: (N,) as `split_positions` gives it.
        duplicates: of those that are in it, as `duplicates_across` gives them.

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
