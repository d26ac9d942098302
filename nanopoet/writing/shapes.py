"""Shapes of poems: how long each line is, which mark ends it, and which lines rhyme."""

from collections.abc import Sequence
from typing import NamedTuple

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
