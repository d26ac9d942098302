"""Rhyme schemes of tunes, learned from poems.

Two lines *rhyme* if their last characters share a group of the 平水韻 in far more poems than by
chance. Chance is the probability that line ends from two different poems share a group. Poets of 词
also rhyme neighbouring groups, so lines that rhyme share a group in 40 to 80% of the poems. By
chance it is at most 12% in the commonest tunes.

So two lines count as rhyming if they share a group in 30% of the poems, in three times the share by
chance, and in three poems. If two lines rhyme with a third one, all three rhyme.

A line *repeats* a rhyme character if, in half of the poems, it ends in the same character as an
earlier line of the rhyme. An example is 如梦令.
"""

from collections.abc import Sequence
from string import ascii_lowercase

import numpy as np

from nanopoet.common.types import Array
from nanopoet.prosody.rhyme import groups
from nanopoet.writing.shapes import NO_RHYME

SHARE = 0.3
"""Smallest share of poems in which two rhyming lines share a group."""
TIMES_CHANCE = 3
"""Smallest ratio of this share to the share by chance."""
POEMS = 3
"""Smallest number of such poems."""
REPEATED = 0.5
"""Smallest share of poems in which a line that may repeat a rhyme character does so."""


def rhyme_scheme(poems: Sequence[Sequence[str]]) -> str:
    """Learn which lines rhyme from N poems of the same shape.

    Args:
        poems: their lines, (N, L).

    Returns:
        L letters, as `nanopoet.writing.shapes.Shape.scheme`.

    >>> rhyme_scheme([["光", "月", "霜"], ["山", "日", "間"], ["東", "夜", "風"]])
    'a-a'
    """
    ends = np.array([[line[-1] for line in lines] for lines in poems])
    has = _groups_of(ends)
    together = np.array([(has & has[:, [i]]).any(axis=2).sum(axis=0) for i in range(ends.shape[1])])
    mean = has.mean(axis=0)
    chance = mean @ mean.T
    least = np.maximum(POEMS, len(poems) * np.maximum(SHARE, TIMES_CHANCE * chance))
    rhymes = together >= least
    scheme = [NO_RHYME] * ends.shape[1]
    letters = iter(ascii_lowercase)
    for line in range(len(scheme)):
        if scheme[line] == NO_RHYME and rhymes[line, line + 1 :].any():
            letter = next(letters, NO_RHYME)
            for other in _connected(rhymes, line):
                scheme[other] = letter
    for line, letter in enumerate(scheme):
        earlier = [other for other in range(line) if scheme[other].lower() == letter != NO_RHYME]
        if any((ends[:, line] == ends[:, other]).mean() >= REPEATED for other in earlier):
            scheme[line] = letter.upper()
    return "".join(scheme)


def _groups_of(ends: Array) -> Array:
    """Return which groups the last characters (N, L) have, (N, L, G) bool."""
    sets = [[groups(str(end)) for end in row] for row in ends]
    names = sorted(frozenset().union(*(each for row in sets for each in row)))
    return np.array([[[name in each for name in names] for each in row] for row in sets])


def _connected(rhymes: Array, line: int) -> list[int]:
    """Return the lines that rhyme with a line, directly or by others, itself included."""
    found, new = {line}, [line]
    while new:
        following = set(np.flatnonzero(rhymes[new.pop()]).tolist()) - found
        found |= following
        new += following
    return sorted(found)
