"""Marks for a page that shows a poem: the tone of each character, and the rhymes."""

from typing import TypedDict

from nanopoet.prosody.rhyme import groups, tones
from nanopoet.prosody.rules import Verse

_SIGNS = {
    frozenset("平"): ("level", "○"),
    frozenset("仄"): ("oblique", "●"),
    frozenset("平仄"): ("either", "◐"),
    frozenset(): ("unknown", "?"),
}


class ToneMark(TypedDict):
    """A character with its tone.

    Attributes:
        text: the character.
        tone: its tone class: level, oblique, either or unknown.
        mark: the sign for the tone class: ○, ●, ◐ or ?.
    """

    text: str
    tone: str
    mark: str


class Mark(ToneMark):
    """A character of a poem.

    Attributes:
        rhyme: its rhyme groups, joined by `、`, if it should rhyme by the rules; otherwise empty.
        held: whether the poem rhymes.
    """

    rhyme: str
    held: bool


def mark_tone(character: str) -> ToneMark:
    """Mark a single character.

    >>> mark_tone("看")
    {'text': '看', 'tone': 'either', 'mark': '◐'}
    """
    tone, sign = _SIGNS[tones(character)]
    return {"text": character, "tone": tone, "mark": sign}


def mark(text: str) -> list[list[Mark]]:
    """Mark the characters of a poem, line by line.

    >>> poem = "白日依山盡，黃河入海流。欲窮千里目，更上一層樓。"
    >>> [(c["text"], c["mark"], c["rhyme"]) for c in mark(poem)[3]][2:]
    [('一', '●', ''), ('層', '○', ''), ('樓', '○', '下平聲十一尤')]
    """
    verse = Verse.of(text)
    marked = []
    for number, line in enumerate(verse.lines):
        row: list[Mark] = []
        for place, character in enumerate(line):
            rhymes = verse.form and number % 2 and place == len(line) - 1
            rhyme = "、".join(sorted(groups(character))) if rhymes else ""
            row.append({**mark_tone(character), "rhyme": rhyme, "held": verse.rhyme is True})
        marked.append(row)
    return marked
