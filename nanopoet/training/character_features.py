"""Features that characters share: radicals, rhyme groups and tones."""

import unicodedata
from bisect import bisect_right
from collections.abc import Sequence

from nanopoet.prosody.rhyme import readings
from nanopoet.tokens.tokenizer import SPECIAL_TOKENS, CharTokenizer

FIRST, LAST = 0x4E00, 0x9FA5
"""Code points that Unicode orders by radical and strokes, each radical first (The Unicode Standard,
chapter 18, "Han")."""
_RADICALS = [ord(unicodedata.normalize("NFKC", chr(sign))) for sign in range(0x2F00, 0x2FD6)]


def radical(character: str) -> str | None:
    """Find the radical of a character, one of 214, or None outside of `FIRST` to `LAST`.

    Dictionaries order characters by these radicals.

    >>> [radical(character) for character in "清請鷗天。"]
    ['水', '言', '鳥', '大', None]
    """
    if not FIRST <= ord(character) <= LAST:
        return None
    return chr(_RADICALS[bisect_right(_RADICALS, ord(character)) - 1])


def features(character: str, kinds: Sequence[str]) -> list[str]:
    """List the features of a character.

    A character with several readings has the features of all of them.

    Args:
        character: a single character.
        kinds: some of `radical`, `rhyme` and `tone`.

    >>> features("看", ["radical", "tone"])
    ['radical 目', 'tone 仄', 'tone 平']
    >>> features("月", ["rhyme"])
    ['rhyme 入聲六月']
    """
    found = radical(character)
    of_kind = {
        "radical": {found} if found else set(),
        "rhyme": {reading.group for reading in readings(character)},
        "tone": {reading.tone for reading in readings(character)},
    }
    return [f"{kind} {value}" for kind in sorted(set(kinds)) for value in sorted(of_kind[kind])]


def token_features(tokenizer: CharTokenizer, kinds: Sequence[str]) -> list[list[str]]:
    """List the features of each of the V tokens; special tokens have none.

    Args:
        tokenizer: has the vocabulary.
        kinds: some of `radical`, `rhyme` and `tone`.
    """
    of_characters = [features(character, kinds) for character in tokenizer.characters]
    return [[] for _ in SPECIAL_TOKENS] + of_characters
