"""Shapes of poems: how long each line is, which mark ends it, and which lines rhyme."""

from collections.abc import Sequence
from typing import NamedTuple

from nanopoet.common.text import LINE_ENDS
from nanopoet.prosody.forms import FORMS

NO_RHYME = "-"
"""Letter in a scheme of a line that rhymes with no other."""


class Shape(NamedTuple):
    """The lines of a poem.

    Attributes:
        lengths: number of characters of each line.
        scheme: one letter for each line. Lines with the same letter rhyme, in upper or lower case.
            An upper-case letter stands for a line that may repeat a rhyme character. `-` stands
            for a line without rhyme. A scheme of a 五言绝句 is `-a-a`.
        marks: for each line, the marks that may end it. Without marks, all may that end lines.
    """

    lengths: tuple[int, ...]
    scheme: str
    marks: tuple[str, ...] = ()

    @property
    def slots(self) -> tuple[tuple[int, int], ...]:
        """Line and place of each character."""
        return tuple((line, place) for line, n in enumerate(self.lengths) for place in range(n))

    @property
    def rhyming(self) -> tuple[int, ...]:
        """Numbers of the lines that rhyme."""
        return tuple(line for line, letter in enumerate(self.scheme) if letter != NO_RHYME)

    def slot(self, line: int, place: int) -> int:
        """Return the number of a character in the poem; `place` −1 is the last of the line."""
        return sum(self.lengths[:line]) + place % self.lengths[line]


def plain_shape(lengths: Sequence[int]) -> Shape:
    """Return the shape of lines of which the even ones rhyme.

    >>> plain_shape([5, 5]).scheme
    '-a'
    """
    return Shape(tuple(lengths), ("-a" * len(lengths))[: len(lengths)])


REGULAR = {name: plain_shape([form.length] * form.lines) for name, form in FORMS.items()}
"""Shapes of the regular forms by their short names."""


class MisfitError(Exception):
    """Given text that does not fit into a shape.

    Attributes:
        problem: what does not fit, as `line 2 has more than 5 characters`.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


def place_text(text: str, shape: Shape, blanks: str = "") -> tuple[dict[int, str], dict[int, str]]:
    """Lay a text into a shape, from its first character on.

    A mark must stand where a line ends. Marks may be left out.

    Args:
        text: characters and marks.
        shape: the lines.
        blanks: characters that stand for characters that are not given.

    Returns:
        slot → character, and line → mark, of all that is given.

    Raises:
        MisfitError: the text does not fit.

    >>> place_text("白日，", plain_shape([2, 2]))
    ({0: '白', 1: '日'}, {0: '，'})
    >>> place_text("？日水", plain_shape([2, 2]), blanks="？")
    ({1: '日', 2: '水'}, {})
    """
    characters: dict[int, str] = {}
    marks: dict[int, str] = {}
    line = place = slot = 0
    for character in text:
        if character in LINE_ENDS and character not in blanks:
            if place == 0:
                raise MisfitError(
                    f"the mark {character} stands at the beginning of line {line + 1}"
                )
            if place < shape.lengths[line]:
                raise MisfitError(
                    f"line {line + 1} has {place} characters, not {shape.lengths[line]}"
                )
            marks[line] = character
            line, place = line + 1, 0
            continue
        if line < len(shape.lengths) and place == shape.lengths[line]:
            line, place = line + 1, 0
        if line == len(shape.lengths):
            raise MisfitError(f"it goes on after line {line}, the last")
        if character not in blanks:
            characters[slot] = character
        place, slot = place + 1, slot + 1
    return characters, marks
