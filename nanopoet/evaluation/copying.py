"""Passages and lines of texts that also stand in other texts."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch

from nanopoet.common.types import Array
from nanopoet.corpus.poems import Poem
from nanopoet.prosody.forms import split_lines

_BITS = 21
"""Bits of a code point. The higher bits of a key hold the number of the passage before it."""


def longest_copies(texts: Sequence[str], sources: Sequence[str]) -> Array:
    """Measure the longest passage of each text that also stands in a source.

    The passages that begin at all places of texts and sources grow together, a character at a
    time. Equal passages have the same number. A place drops out when its passage occurs only on
    its own side.

    Args:
        texts: N texts.
        sources: the texts in which passages are looked up.

    Returns:
        (N,) int64 lengths in characters.

    >>> longest_copies(["春眠不覺曉", "曉風殘月", "𠮷"], ["春眠", "楊柳岸曉風殘月"]).tolist()
    [2, 4, 0]
    """
    text, ends = _codes(texts)
    source, _ = _codes(sources)
    owner = np.repeat(np.arange(len(texts)), np.diff(ends))
    longest = np.zeros(len(texts), np.int64)
    places, source_places = np.arange(len(text)), np.arange(len(source))
    numbers, source_numbers = np.zeros_like(places), np.zeros_like(source_places)
    length = 0
    while len(source_places):
        keys, places = _longer(numbers, places, text, length)
        source_keys, source_places = _longer(source_numbers, source_places, source, length)
        distinct, numbers = np.unique(keys, return_inverse=True)
        # Torch's runs in several threads.
        source_numbers = torch.searchsorted(
            torch.from_numpy(distinct), torch.from_numpy(source_keys)
        ).numpy()
        found = source_numbers < len(distinct)
        found[found] = distinct[source_numbers[found]] == source_keys[found]
        source_numbers, source_places = source_numbers[found], source_places[found]
        shared = np.isin(numbers, source_numbers)
        numbers, places = numbers[shared], places[shared]
        length += 1
        longest[owner[places]] = length
    return longest


def lines_that_recur(texts: Sequence[str], poems: Iterable[Poem]) -> list[list[bool]]:
    """Tell for each line of each text whether it is also a line of a poem, character by character.

    >>> poems = [Poem(content="春眠不覺曉，處處聞啼鳥。", title="", author="", style="")]
    >>> lines_that_recur(["春眠不覺曉，花落知多少。"], poems)
    [[True, False]]
    """
    lines = [split_lines(text) for text in texts]
    wanted = {line for each in lines for line in each}
    found = {line for poem in poems for line in split_lines(poem["content"]) if line in wanted}
    return [[line in found for line in each] for each in lines]


def _codes(texts: Sequence[str]) -> tuple[Array, Array]:
    """Return the code points of N texts, each ended by a 0, and where each begins, (N + 1,)."""
    codes = np.frombuffer("".join(text + "\0" for text in texts).encode("utf-32-le"), "<u4")
    ends = np.cumsum([0, *(len(text) + 1 for text in texts)])
    return codes.astype(np.int64), ends


def _longer(numbers: Array, places: Array, codes: Array, length: int) -> tuple[Array, Array]:
    """Extend passages of `length` characters by one; return keys and places, without text ends."""
    following = codes[places + length]
    inside = following != 0
    return (numbers << _BITS | following)[inside], places[inside]
