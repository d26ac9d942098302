"""Marks of a text: where sentences and lines of verse end, and how a poem is printed."""

from collections.abc import Iterable, Iterator

NEW_LINES = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
"""Characters that begin a new line: those of `str.splitlines`."""

SENTENCE_ENDS = "。！？；…｡.!?;"
"""Marks after which a poem is printed on a new line."""

LINE_ENDS = SENTENCE_ENDS + "，：—,:" + NEW_LINES
"""Characters that end a line of verse."""

PAUSES = "、､・·/／|｜\t \u00a0\u3000"
"""Characters that end a line of verse in some poems, and stand inside a line in others."""

CLOSING = "」』”’》〉）］】〕)]}"
"""Closing quotes and brackets."""

SILENT = CLOSING + "「『“‘《〈（［【〔([{\"'＂＇\u200b\u200c\u200d\u2060\ufeff"
"""Quotes, brackets and invisible characters, which neither end a line nor count in it."""

_SAME_LINE = frozenset(CLOSING + SENTENCE_ENDS)


def as_lines(text: str) -> str:
    """Break a text after each sentence, and drop its blank lines.

    >>> print(as_lines("白日依山盡，黃河入海流。欲窮千里目，更上一層樓。"))
    白日依山盡，黃河入海流。
    欲窮千里目，更上一層樓。
    """
    return "".join(iter_lines(text))


def iter_lines(characters: Iterable[str]) -> Iterator[str]:
    r"""Yield the characters of a text as they come, with the line breaks of `as_lines`.

    >>> list(iter_lines("山。」水。"))
    ['山', '。', '」', '\n水', '。']
    """
    begun = ended = False
    for character in characters:
        if character in NEW_LINES or (ended and character.isspace()):
            ended = begun
        elif ended and character not in _SAME_LINE:
            yield "\n" + character
            ended = False
        else:
            yield character
            begun, ended = True, ended or character in SENTENCE_ENDS
