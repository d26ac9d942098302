"""What a page marks in a poem: the tone of each character, and what should rhyme."""

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
    """A character, the name of its tone class, and the sign for that."""

    text: str
    tone: str
    mark: str


class Mark(ToneMark):
    """A character of a whole poem.

    `rhyme` names its rhyme groups where the rule wants a rhyme and is empty elsewhere; `held` says
    whether the poem rhymes.
    """

    rhyme: str
    held: bool


def mark_tone(character: str) -> ToneMark:
    """What is to be marked of a character by itself.

    >>> mark_tone("看")
    {'text': '看', 'tone': 'either', 'mark': '◐'}
    """
    tone, sign = _SIGNS[tones(character)]
    return {"text": character, "tone": tone, "mark": sign}


def mark(text: str) -> list[list[Mark]]:
    """The lines of a poem, each as its characters with what is to be marked.

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
