"""Faults of a poem against the rules of regular verse, each at the character that makes it.

`nanopoet.prosody.rules` judges whole poems; this says where they went wrong. A poem of the form
that was asked for has no fault of form, rhyme, distinctness and tone exactly if its `Verse` keeps
the rules `rhyme`, `rhyme_distinct` and `regulated`, or has no answer for them.
"""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from nanopoet.common.text import LINE_ENDS, PAUSES, SILENT
from nanopoet.prosody.forms import FORMS, can_become, regular_style
from nanopoet.prosody.rhyme import LEVEL, OBLIQUE, groups, tones
from nanopoet.prosody.rules import is_special

Rule = Literal["form", "rhyme", "rhyme_distinct", "tone", "repeat", "unknown"]

_BY_STYLE = {form.style: (name, form) for name, form in FORMS.items()}
_NO_CHARACTER = LINE_ENDS + PAUSES + SILENT


class Fault(NamedTuple):
    """A broken rule.

    Attributes:
        rule: its name; `unknown` if a character has no reading where rhyme or tone is judged.
        place: index of the character in the text; the length of the text if it ended too early.
    """

    rule: Rule
    place: int


def faults(text: str, style: str) -> Iterator[Fault]:
    """Yield the faults of a poem, rule by rule.

    The place of a fault of form is the first character after which the text cannot become a poem
    of the form. Nothing behind it is judged. A fault against another rule changes nothing for the
    characters that follow: the next rhyme is compared with those that rhymed.

    Args:
        text: the poem.
        style: the regular form that was asked for, by its name in the corpus. If it is empty, any
            is right: that from which the poem departs last.

    >>> [*faults("白日依山盡，黃河入海流。欲窮千里目，更上一層城。", "五言绝句")]
    [Fault(rule='rhyme', place=22)]
    >>> [*faults("白日依山盡，黃河入海流。欲窮", "五言绝句")]
    [Fault(rule='form', place=14)]
    """
    own = regular_style(text)
    style = style or own or max(_BY_STYLE, key=lambda each: _breaks(text, _BY_STYLE[each][0]))
    name, form = _BY_STYLE[style]
    end = len(text) if own == style else _breaks(text, name)
    lines = _places(text[:end])
    yield from _repeats(text, lines)
    whole = [line for line in lines if len(line) == form.length]
    yield from _rhymes(text, [line[-1] for line in whole[:1] + whole[1::2]])
    yield from _tones(text, whole)
    if own != style:
        yield Fault("form", end)


def _breaks(text: str, form: str) -> int:
    """Return the place from which a text cannot become a poem in a form, by bisection."""
    low, high = 0, len(text)  # text[:low] can become one
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if can_become(text[:middle], form) else (low, middle - 1)
    return low


def _places(text: str) -> list[list[int]]:
    """Return the places of the characters of each line."""
    lines: list[list[int]] = [[]]
    for place, character in enumerate(text):
        if character not in _NO_CHARACTER:
            lines[-1].append(place)
        elif lines[-1] and character in LINE_ENDS + PAUSES:
            lines.append([])
    return [line for line in lines if line]


def _repeats(text: str, lines: Sequence[Sequence[int]]) -> Iterator[Fault]:
    """Yield the characters that stood in the poem before."""
    seen: set[str] = set()
    for place in (place for line in lines for place in line):
        if text[place] in seen:
            yield Fault("repeat", place)
        seen.add(text[place])


def _rhymes(text: str, ends: Sequence[int]) -> Iterator[Fault]:
    """Yield the ends of even lines that do not rhyme, or come again.

    Args:
        text: the poem.
        ends: places of the ends of the first line, which need not rhyme, and of the even lines.
    """
    shared: frozenset[str] = frozenset()
    for number, place in enumerate(ends):
        if text[place] in (text[earlier] for earlier in ends[:number]):
            yield Fault("rhyme_distinct", place)
        if number == 0:
            continue
        if not (own := groups(text[place])):
            yield Fault("unknown", place)
        elif shared and not shared & own:
            yield Fault("rhyme", place)
        else:
            shared = shared & own or own


def _tones(text: str, lines: Sequence[Sequence[int]]) -> Iterator[Fault]:
    """Yield the characters at even places of lines whose tone fits neither of the two orders.

    An order says which of the tones the first line begins with; `rules.is_regulated` explains it.
    """
    possible = [(LEVEL, OBLIQUE), (OBLIQUE, LEVEL)]
    for number, line in enumerate(lines):
        judged = line[1:6:2]
        if is_special("".join(text[place] for place in line)):
            judged = judged[:-1]
        for turn, place in enumerate(judged, start=(number + 1) // 2):
            known = tones(text[place])
            fitting = [order for order in possible if order[turn % 2] in known]
            if not fitting:
                yield Fault("tone" if known else "unknown", place)
            possible = fitting or possible
