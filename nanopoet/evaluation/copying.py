"""What of a text stands in other texts already."""

from collections.abc import Iterable, Sequence

import numpy as np

from nanopoet.common.types import Array
from nanopoet.corpus.poems import Poem
from nanopoet.prosody.forms import split_lines

_BITS = 21
"""A code point has so many; what is above them in a key numbers the substring before it."""


def longest_copies(texts: Sequence[str], sources: Sequence[str]) -> Array:
    """Length of the longest passage of each of N texts that stands in a source, (N,) int64.

    Passages grow by one character at a time, in all places at once: of the sources, only places
    whose passage some text has are looked at again.

    >>> longest_copies(["春眠不覺曉", "曉風殘月", "𠮷"], ["春眠", "楊柳岸曉風殘月"]).tolist()
    [2, 4, 0]
    """
    text, ends = _codes(texts)
    source, _ = _codes(sources)
    owner = np.repeat(np.arange(len(texts)), np.diff(ends))
    longest = np.zeros(len(texts), np.int64)
    places, source_places = np.arange(len(text)), np.arange(len(source))
    # The passage that begins at a place has a number, the same wherever it stands.
    numbers, source_numbers = np.zeros_like(places), np.zeros_like(source_places)
    length = 0
    while len(source_places):
        keys, places = _longer(numbers, places, text, length)
        source_keys, source_places = _longer(source_numbers, source_places, source, length)
        distinct, numbers = np.unique(keys, return_inverse=True)
        source_numbers = np.searchsorted(distinct, source_keys)
        there = source_numbers < len(distinct)
        there[there] = distinct[source_numbers[there]] == source_keys[there]
        source_numbers, source_places = source_numbers[there], source_places[there]
        alive = np.isin(numbers, source_numbers)
        numbers, places = numbers[alive], places[alive]
        length += 1
        longest[owner[places]] = length
    return longest


def lines_that_recur(texts: Sequence[str], poems: Iterable[Poem]) -> list[list[bool]]:
    """Of each line of each text, whether it is a line of some poem, to the letter.

    >>> poems = [Poem(content="春眠不覺曉，處處聞啼鳥。", title="", author="", style="")]
    >>> lines_that_recur(["春眠不覺曉，花落知多少。"], poems)
    [[True, False]]
    """
    lines = [split_lines(text) for text in texts]
    wanted = {line for each in lines for line in each}
    found = {line for poem in poems for line in split_lines(poem["content"]) if line in wanted}
    return [[line in found for line in each] for each in lines]


def _codes(texts: Sequence[str]) -> tuple[Array, Array]:
    """The code points of all texts, each text ended by a 0, and where each begins, (N + 1,)."""
    codes = np.frombuffer("".join(text + "\0" for text in texts).encode("utf-32-le"), "<u4")
    ends = np.cumsum([0, *(len(text) + 1 for text in texts)])
    return codes.astype(np.int64), ends


def _longer(numbers: Array, places: Array, codes: Array, length: int) -> tuple[Array, Array]:
    """Passages of `length` characters → keys and places of those that go on to be one longer."""
    following = codes[places + length]
    inside = following != 0
    return (numbers << _BITS | following)[inside], places[inside]
