"""The rules of regular verse, asked of one poem: form, rhyme, tones.

A rule that meets a character without a known reading is not judged: None, not a guess. Where a
character has several readings, the one that keeps the rule counts. docs/evaluation.md says where
each rule comes from.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Self

from nanopoet.prosody.forms import regular_style, split_lines
from nanopoet.prosody.rhyme import LEVEL, OBLIQUE, groups, tones


@dataclass(frozen=True)
class Verse:
    """What the rules say of one poem.

    Attributes:
        text: the poem.
        lines: its lines, without `，` and `。`.
        form: the regular form that it has, or None; then no rule below is asked.
        rhyme: the even lines end in characters of one rhyme group.
        rhyme_distinct: no two even lines end in the same character.
        alternate: of each line, whether the tones of its 2nd, 4th and 6th characters alternate.
        oppose: of each couplet, whether its lines differ in the tone of the 2nd character (對).
        adhere: of each couplet after the first, whether its first line has the tone of the line
            before there (粘).
        regulated: all three hold at once throughout, with one reading for each character.
        repeated: share of the characters that occur earlier in the poem.
    """

    text: str
    lines: tuple[str, ...]
    form: str | None
    rhyme: bool | None
    rhyme_distinct: bool | None
    alternate: tuple[bool | None, ...]
    oppose: tuple[bool | None, ...]
    adhere: tuple[bool | None, ...]
    regulated: bool | None
    repeated: float

    @classmethod
    def of(cls, text: str) -> Self:
        """Ask all rules of a poem.

        >>> verse = Verse.of("白日依山盡，黃河入海流。欲窮千里目，更上一層樓。")
        >>> verse.form, verse.rhyme, verse.regulated
        ('五言绝句', True, True)
        """
        lines = split_lines(text)
        form = regular_style(text)
        characters = "".join(lines)
        repeated = 1 - len(set(characters)) / len(characters) if characters else 0.0
        if form is None:
            return cls(text, lines, None, None, None, (), (), (), None, repeated)
        ends = rhyme_characters(lines)
        return cls(
            text,
            lines,
            form,
            rhyme=share_a_group(ends),
            rhyme_distinct=len(set(ends)) == len(ends),
            alternate=tuple(map(alternates, lines)),
            oppose=tuple(map(opposes, lines[::2], lines[1::2])),
            adhere=tuple(map(adheres, lines[1::2], lines[2::2])),
            regulated=is_regulated(lines),
            repeated=repeated,
        )

    @property
    def score(self) -> float | None:
        """How far the poem keeps the rules, from 0 to 1; an irregular one keeps none.

        The mean of what its form, rhyme, distinct rhyme characters, alternation, 對, 粘 and
        characters that are not repeated come to; None if one of them could not be judged at all.
        """
        if self.form is None:
            return 0.0
        shares = [1.0, self.rhyme, self.rhyme_distinct, 1 - self.repeated]
        shares += [held(rule) for rule in (self.alternate, self.oppose, self.adhere)]
        known = [share for share in shares if share is not None]
        return fmean(known) if len(known) == len(shares) else None


def held(answers: Iterable[float | None]) -> float | None:
    """Mean of the answers that are known, yes being 1 and no 0; None if none is known.

    >>> held([True, None, False, True, True])
    0.75
    """
    known = [answer for answer in answers if answer is not None]
    return fmean(known) if known else None


def rhyme_characters(lines: Sequence[str]) -> tuple[str, ...]:
    """The characters that should rhyme: the last ones of the even lines."""
    return tuple(line[-1] for line in lines[1::2])


def share_a_group(characters: Sequence[str]) -> bool | None:
    """Whether one rhyme group holds all characters.

    >>> share_a_group("光霜鄉"), share_a_group("光東"), share_a_group("光𠮷")
    (True, False, None)
    """
    sets = [groups(character) for character in characters]
    return bool(frozenset.intersection(*sets)) if sets and all(sets) else None


def alternates(line: str) -> bool | None:
    """Whether the tones of the 2nd, 4th and 6th characters can alternate.

    >>> alternates("白日依山盡"), alternates("床前明月光"), alternates("疑是地上霜")
    (True, True, False)
    """
    return _fits([line], [0])


def opposes(first: str, second: str) -> bool | None:
    """Whether the 2nd characters of two lines can have opposite tones (對)."""
    return _fits([first, second], [0, 1], places=(1,))


def adheres(first: str, second: str) -> bool | None:
    """Whether the 2nd characters of two lines can have the same tone (粘)."""
    return _fits([first, second], [0, 0], places=(1,))


def is_regulated(lines: Sequence[str]) -> bool | None:
    """Whether alternation, 對 and 粘 hold at once, with one reading for each character.

    The first line's 2nd tone decides that of all others: opposite within a couplet, the same
    from the end of one couplet to the beginning of the next.
    """
    return _fits(lines, [(i + 1) // 2 % 2 for i in range(len(lines))])


def is_special(line: str) -> bool:
    """Whether a line can end in 平平仄平仄, which tradition allows in the place of 平平平仄仄.

    (Wang Li 王力, 詩詞格律, 1977, chapter 2, section 2: 特定的一種平仄格式.)

    >>> is_special("寒衣處處催"), is_special("涼風起天末")
    (False, True)
    """
    pattern = (LEVEL, LEVEL, OBLIQUE, LEVEL, OBLIQUE)
    return all(tone in tones(character) for tone, character in zip(pattern, line[-5:], strict=True))


def _fits(
    lines: Sequence[str], begins: Sequence[int], places: Sequence[int] = (1, 3, 5)
) -> bool | None:
    """Whether tones can alternate at `places` of each line, as far as it is long.

    Line i begins in the tone of the first line if `begins[i]` is 0, in the other one if it is 1.
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
