"""The rules of regular verse, applied to one poem: form, rhyme, tones.

A rule about a character without a known reading has no answer: None instead of a guess. If a
character has several readings, the reading that keeps the rule counts. docs/evaluation.md gives
the source of each rule.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Self

from nanopoet.prosody.forms import regular_style, split_lines
from nanopoet.prosody.rhyme import LEVEL, OBLIQUE, groups, tones


@dataclass(frozen=True)
class Verse:
    """A poem and whether it keeps each rule.

    Attributes:
        text: the poem.
        lines: its lines, without marks.
        form: its regular form by the name in the corpus; None if it has none. Then the rules from
            `rhyme` to `regulated` are not applied.
        rhyme: whether the even lines end in characters of one rhyme group.
        rhyme_level: whether the second line, with which the others rhyme, ends in a level tone
            (押平聲韻).
        rhyme_distinct: whether the first line and all even lines end in different characters. The
            first line may rhyme, and need not (首句入韻).
        alternate: for each line, whether the tones of characters 2, 4 and 6 alternate.
        oppose: for each couplet, whether the tones of the 2nd characters are opposite (對).
        adhere: for each couplet after the first, whether the 2nd characters of its first line and
            of the line before have the same tone (粘).
        regulated: whether the last three rules hold throughout, with one reading per character.
        repeated: share of the characters that occur earlier in the poem.
    """

    text: str
    lines: tuple[str, ...]
    form: str | None
    rhyme: bool | None
    rhyme_level: bool | None
    rhyme_distinct: bool | None
    alternate: tuple[bool | None, ...]
    oppose: tuple[bool | None, ...]
    adhere: tuple[bool | None, ...]
    regulated: bool | None
    repeated: float

    @classmethod
    def of(cls, text: str) -> Self:
        """Apply all rules to a poem.

        >>> verse = Verse.of("白日依山盡，黃河入海流。欲窮千里目，更上一層樓。")
        >>> verse.form, verse.rhyme, verse.regulated
        ('五言绝句', True, True)
        """
        lines = split_lines(text)
        form = regular_style(text)
        characters = "".join(lines)
        repeated = 1 - len(set(characters)) / len(characters) if characters else 0.0
        if form is None:
            return cls(text, lines, None, None, None, None, (), (), (), None, repeated)
        ends = rhyme_characters(lines)
        rhyme_tones = tones(ends[0])
        return cls(
            text,
            lines,
            form,
            rhyme=share_a_group(ends),
            rhyme_level=LEVEL in rhyme_tones if rhyme_tones else None,
            rhyme_distinct=len({lines[0][-1], *ends}) == 1 + len(ends),
            alternate=tuple(map(alternates, lines)),
            oppose=tuple(map(opposes, lines[::2], lines[1::2])),
            adhere=tuple(map(adheres, lines[1::2], lines[2::2])),
            regulated=is_regulated(lines),
            repeated=repeated,
        )

    @property
    def score(self) -> float | None:
        """Degree to which the poem keeps the rules, from 0 to 1; 0 without a regular form.

        It is the mean of seven shares: form (1), rhyme, distinct rhyme characters, alternation, 對,
        粘, and characters that are not repeated. It is None if one of them has no answer.
        """
        if self.form is None:
            return 0.0
        shares = [1.0, self.rhyme, self.rhyme_distinct, 1 - self.repeated]
        shares += [held(rule) for rule in (self.alternate, self.oppose, self.adhere)]
        known = [share for share in shares if share is not None]
        return fmean(known) if len(known) == len(shares) else None


def held(answers: Iterable[float | None]) -> float | None:
    """Average the known answers, with 1 for True and 0 for False; None if no answer is known.

    >>> held([True, None, False, True, True])
    0.75
    """
    known = [answer for answer in answers if answer is not None]
    return fmean(known) if known else None


def rhyme_characters(lines: Sequence[str]) -> tuple[str, ...]:
    """Return the characters that should rhyme: the last character of each even line.

    >>> rhyme_characters(["床前明月光", "疑是地上霜", "舉頭望明月", "低頭思故鄉"])
    ('霜', '鄉')
    """
    return tuple(line[-1] for line in lines[1::2])


def share_a_group(characters: Sequence[str]) -> bool | None:
    """Tell whether one rhyme group has all characters; None if a reading is unknown.

    >>> share_a_group("光霜鄉"), share_a_group("光東"), share_a_group("光𠮷")
    (True, False, None)
    """
    sets = [groups(character) for character in characters]
    return bool(frozenset.intersection(*sets)) if sets and all(sets) else None


def alternates(line: str) -> bool | None:
    """Tell whether the tones of characters 2, 4 and 6 can alternate.

    >>> alternates("白日依山盡"), alternates("床前明月光"), alternates("疑是地上霜")
    (True, True, False)
    """
    return _fits([line], [0])


def opposes(first: str, second: str) -> bool | None:
    """Tell whether the 2nd characters of two lines can have opposite tones (對)."""
    return _fits([first, second], [0, 1], places=(1,))


def adheres(first: str, second: str) -> bool | None:
    """Tell whether the 2nd characters of two lines can have the same tone (粘)."""
    return _fits([first, second], [0, 0], places=(1,))


def is_regulated(lines: Sequence[str]) -> bool | None:
    """Tell whether alternation, 對 and 粘 hold at once, with one reading per character.

    The tone of the 2nd character of the first line decides the tones in all lines: opposite within
    a couplet, the same from the end of a couplet to the beginning of the next.
    """
    return _fits(lines, [(i + 1) // 2 % 2 for i in range(len(lines))])


def is_special(line: str) -> bool:
    """Tell whether a line can end in 平平仄平仄, which tradition allows instead of 平平平仄仄.

    Source: Wang Li 王力, 詩詞格律, 1977, chapter 2, section 2 (特定的一種平仄格式).

    >>> is_special("寒衣處處催"), is_special("涼風起天末")
    (False, True)
    """
    pattern = (LEVEL, LEVEL, OBLIQUE, LEVEL, OBLIQUE)
    return all(tone in tones(character) for tone, character in zip(pattern, line[-5:], strict=True))


def _fits(
    lines: Sequence[str], begins: Sequence[int], places: Sequence[int] = (1, 3, 5)
) -> bool | None:
    """Tell whether tones can alternate at `places` of each line; None if a reading is unknown.

    Args:
        lines: the lines, each judged as far as it reaches.
        begins: for each line, 0 to begin in the tone of the first line, 1 in the other tone.
        places: indices of the characters to judge.
    """
    asked = []
    for line, begin in zip(lines, begins, strict=True):
        judged = [place for place in places if place < len(line)]
        if len(judged) > 1 and is_special(line):
            judged.pop()
        asked += [(tones(line[place]), (begin + i) % 2) for i, place in enumerate(judged)]
    if not all(known for known, _ in asked):
        return None
    orders = ((LEVEL, OBLIQUE), (OBLIQUE, LEVEL))
    return any(all(order[turn] in known for known, turn in asked) for order in orders)
