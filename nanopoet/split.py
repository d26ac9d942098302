"""Poems → a training and a validation part."""

from collections.abc import Sequence

from nanopoet.poems import Poem


def split_data(poems: Sequence[Poem], val_every: int = 10) -> tuple[list[Poem], list[Poem]]:
    """Sort by style (stable) and take every `val_every`-th poem, from the first on, for validation.

    Sorted so, each style gives its share to both parts. The seed's rule: 9 to 1.

    >>> poems = [Poem(content=c, title="", author="", style=s) for c, s in ("春乙", "夏甲", "秋乙")]
    >>> train, val = split_data(poems, val_every=2)
    >>> [poem["content"] for poem in train], [poem["content"] for poem in val]
    (['秋'], ['春', '夏'])
    """
    by_style = sorted(poems, key=lambda poem: poem["style"])
    train = [poem for i, poem in enumerate(by_style) if i % val_every]
    return train, by_style[::val_every]
