"""Poems → a training and a validation part."""

from collections.abc import Sequence
from typing import Literal

from nanopoet.errors import NanopoetError
from nanopoet.poems import Poem
from nanopoet.twins import twins_in


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
    by_style = sorted(poems, key=lambda poem: poem["style"])
    train = [poem for i, poem in enumerate(by_style) if i % val_every]
    val = by_style[::val_every]
    if twins == "ignore":
        return train, val
    moves = [twin is not None for twin in twins_in(val, train)]
    if moves and all(moves):
        raise NanopoetError(
            f"split.twins = 'together' leaves no poem for validation: all {len(val):,} have a twin "
            f"in the training part; give more poems or set split.twins to ignore"
        )
    train = [p for i, p in enumerate(by_style) if i % val_every or moves[i // val_every]]
    return train, [poem for poem, moves_it in zip(val, moves, strict=True) if not moves_it]
