"""What characters have in common: a radical, a rhyme group, a tone."""

import unicodedata
from bisect import bisect_right
from collections.abc import Sequence

from nanopoet.prosody.rhyme import readings
from nanopoet.tokens.tokenizer import SPECIAL_TOKENS, CharTokenizer

FIRST, LAST = 0x4E00, 0x9FA5
"""The block that Unicode orders by radical and strokes, a radical itself first (The Unicode
Standard, chapter 18, "Han")."""
_RADICALS = [ord(unicodedata.normalize("NFKC", chr(sign))) for sign in range(0x2F00, 0x2FD6)]


def radical(character: str) -> str | None:
    """The one of the 214 radicals under which a dictionary has a character of the first block.

    >>> [radical(character) for character in "清請鷗天。"]
    ['水', '言', '鳥', '大', None]
    """
    if not FIRST <= ord(character) <= LAST:
        return None
    return chr(_RADICALS[bisect_right(_RADICALS, ord(character)) - 1])


def features(character: str, kinds: Sequence[str]) -> list[str]:
    """The features of a character, of the kinds `radical`, `rhyme` and `tone`.

    A character with several readings has those of all.

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
    """The features of each of the V tokens; special tokens have none."""
    of_characters = [features(character, kinds) for character in tokenizer.characters]
    return [[] for _ in SPECIAL_TOKENS] + of_characters
